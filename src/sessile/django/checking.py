"""What `manage.py check` says about the settings. Each message names the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from sessile.django.front import ENGINE, MIDDLEWARE, allowed_hosts, cookie, front, given_settings

_LIFETIMES = ("SESSION_COOKIE_AGE", "SESSION_EXPIRE_AT_BROWSER_CLOSE")


def check(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return [*_settings(), *_engine(), *_middleware(), *_lifetimes()]


def _settings() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    looks: tuple[Callable[[], object], ...] = (given_settings, cookie, lambda: allowed_hosts(given_settings()))
    for number, look in enumerate(looks, 1):
        try:
            look()
        except ValueError as error:
            found.append(Error(str(error), id=f"sessile.E00{number}"))
            if number == 1:  # the hosts are in there
                break
    if not found:
        try:
            front()
        except ValueError as error:
            found.append(Error(str(error), id="sessile.E004"))
        else:
            found += [Warning(said, id="sessile.W001") for said in cookie().deviations]
    return found


def _engine() -> list[CheckMessage]:
    if settings.SESSION_ENGINE == ENGINE:
        return []
    return [Error(f"write SESSION_ENGINE = {ENGINE!r}", id="sessile.E005")]


def _middleware() -> list[CheckMessage]:
    from django.contrib.sessions.middleware import SessionMiddleware

    from sessile.django.middleware import SessileMiddleware

    found = [one for name in settings.MIDDLEWARE if isinstance(one := import_string(name), type)]
    ours = [at for at, one in enumerate(found) if issubclass(one, SessileMiddleware)]
    sessions = [at for at, one in enumerate(found) if issubclass(one, SessionMiddleware)]
    if len(ours) != 1 or sessions != ours:
        return [
            Error(
                f"put {MIDDLEWARE!r} into MIDDLEWARE in the place of"
                " 'django.contrib.sessions.middleware.SessionMiddleware'",
                id="sessile.E006",
            )
        ]
    return []


def _lifetimes() -> list[CheckMessage]:
    return [
        Warning(
            f"{name} has no effect: how long a session lives is the policy's, and its cookie ends with the browser",
            hint='leave it out; Authority(…, policy=Policy.aal2(idle=…)) in SESSILE["authority"]',
            id="sessile.W002",
        )
        for name in _LIFETIMES
        if settings.is_overridden(name)
    ]
