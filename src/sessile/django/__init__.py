"""Sessions in Django's words. In the settings::

    SESSILE = {"authority": Authority("sqlite:////var/lib/app/sessile.db"), "origins": ["https://app.example.com"]}
    SESSION_ENGINE = "sessile.django.sessions"
    SESSION_COOKIE_NAME = "__Host-sessile"
    SESSION_COOKIE_SECURE = True
    INSTALLED_APPS = [..., "sessile.django"]
    MIDDLEWARE = [..., "sessile.django.SessileMiddleware", ...]  # in the place of Django's SessionMiddleware

`request.session` is Django's session as it knows it, `request.sessile` the `SyncAccess` of this request. What is
missing in the settings, `manage.py check` says.
"""

from sessile.django.front import access, authority, principal_of
from sessile.django.middleware import SessileMiddleware, require
from sessile.wsgi import AccessDenied, SyncAccess

__all__ = ["AccessDenied", "SessileMiddleware", "SyncAccess", "access", "authority", "principal_of", "require"]
