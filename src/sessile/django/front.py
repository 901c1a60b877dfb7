"""The settings, and what is made of them once for each process."""

from __future__ import annotations

import functools
from typing import Any, cast

from django.conf import settings

from sessile.authority import Authority
from sessile.kernel.principal import canonical
from sessile.sync import SyncAuthority
from sessile.web.cookie import CookieSpec
from sessile.web.hosts import LOOPBACK
from sessile.wsgi import Front, Settings, SyncAccess

ENGINE = "sessile.django.sessions"
MIDDLEWARE = "sessile.django.SessileMiddleware"
KEYS = frozenset({"authority", "origins", "allowed_hosts", "trusted_proxies", "no_activity", "import_from"})


@functools.cache
def front() -> Front:
    """What the middleware and the engine go by.

    Raises:
        ValueError: a setting that cannot be; says what to write.
    """
    given = given_settings()
    made: Settings = {"cookie": cookie(), "allowed_hosts": allowed_hosts(given)}
    rest = {key: given[key] for key in ("origins", "trusted_proxies", "no_activity") if key in given}
    return Front(given["authority"], cast(Settings, {**made, **rest}))


def given_settings() -> dict[str, Any]:
    """`settings.SESSILE`, if it can be. Raises ValueError."""
    given = getattr(settings, "SESSILE", None)
    if not isinstance(given, dict) or not isinstance(given.get("authority"), Authority):
        raise ValueError(
            'say where the sessions are: SESSILE = {"authority": Authority("sqlite:////var/lib/app/sessile.db")},'
            " with `from sessile import Authority`"
        )
    if unknown := sorted(given.keys() - KEYS):
        raise ValueError(f"SESSILE knows no {unknown[0]!r}, only {', '.join(sorted(KEYS))}")
    former = given.get("import_from")
    if former is not None and not (isinstance(former, (tuple, list)) and len(former) == 2):
        raise ValueError(
            'name the former engine and its cookie: "import_from": ("django.contrib.sessions.backends.db", "sessionid")'
        )
    return given


def cookie() -> CookieSpec:
    """The session's cookie, by Django's own settings. Raises ValueError."""
    if not settings.is_overridden("SESSION_COOKIE_NAME"):
        raise ValueError('write SESSION_COOKIE_NAME = "__Host-sessile" and SESSION_COOKIE_SECURE = True')
    if not settings.SESSION_COOKIE_HTTPONLY:
        raise ValueError("the session's cookie is always HttpOnly: leave SESSION_COOKIE_HTTPONLY out")
    return CookieSpec(
        name=settings.SESSION_COOKIE_NAME, secure=bool(settings.SESSION_COOKIE_SECURE),
        same_site=settings.SESSION_COOKIE_SAMESITE, path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
    )  # fmt: skip


def allowed_hosts(given: dict[str, Any]) -> tuple[str, ...]:
    """Django's list, without its wildcards where SESSILE names hosts of its own. Raises ValueError."""
    own = (*given.get("allowed_hosts", ()), *given.get("origins", ()))
    wild = [host for host in settings.ALLOWED_HOSTS if host.startswith((".", "*"))]
    if wild and not own:
        raise ValueError(
            f"ALLOWED_HOSTS has the wildcard {wild[0]!r}; hosts are named one by one here:"
            ' SESSILE["allowed_hosts"] = ["app.example.com"]'
        )
    plain = [host for host in settings.ALLOWED_HOSTS if host not in wild]
    return (*given.get("allowed_hosts", ()), *(plain or (() if own else LOOPBACK)))


def authority() -> SyncAuthority:
    """The authority of this process, for views, commands and tests."""
    return front().sync


def access(request: Any) -> SyncAccess:
    """What this request may do, signed in or not.

    Raises:
        RuntimeError: the settings have no SessileMiddleware.
    """
    found = getattr(request, "sessile", None)
    if not isinstance(found, SyncAccess):
        raise RuntimeError(f"no session here: put {MIDDLEWARE!r} into MIDDLEWARE")
    return found


def principal_of(user: Any) -> str:
    """The name of a user's principal: the user name, or `#` and the primary key where that is no principal's name as
    it stands. Two users never share one: `Alice` and `alice` are two users, but would be one name.
    """
    return name_of(user.get_username(), user.pk)


def name_of(username: object, key: object) -> str:
    text = str(username)
    try:
        plain = canonical(text) == text and ":" not in text and not text.startswith("#")
    except ValueError:
        plain = False
    return text if plain else canonical(f"#{key}")
