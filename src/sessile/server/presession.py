"""Pre-sessions: what the login page and its passkeys are bound to before anybody is signed in, and what a browser holds
between the two steps of a sign-in. They open nothing.
"""

from __future__ import annotations

import secrets
from typing import Final

from fastapi import Request
from starlette.responses import Response

from sessile.factors.two_steps import LIFETIME, PreSession
from sessile.server.state import Server
from sessile.web import cookie as cookies

_BYTES: Final = 16
_LENGTH: Final = 22


def shown_presession(request: Request, server: Server) -> str | None:
    """What this browser shows, if it is one."""
    value = cookies.read(request.scope["headers"], server.form_cookie.raw_name)
    shown = value.decode("latin-1") if isinstance(value, bytes) else ""
    return shown if len(shown) == _LENGTH and shown.isascii() else None


def new_presession() -> str:
    return secrets.token_urlsafe(_BYTES)


def keep_presession(response: Response, server: Server, value: str) -> None:
    response.raw_headers.append(server.form_cookie.set_header(value))


def shown_second(request: Request, server: Server) -> str | None:
    """The pre-session of a first step that this browser shows; `TwoSteps` says whether it is one."""
    value = cookies.read(request.scope["headers"], server.second_cookie.raw_name)
    return value.decode("latin-1") if isinstance(value, bytes) and value else None


def keep_second(response: Response, server: Server, made: PreSession) -> None:
    name, header = server.second_cookie.set_header(made.secret)
    response.raw_headers.append((name, header + b"; Max-Age=%d" % LIFETIME.total_seconds()))


def drop_second(response: Response, server: Server) -> None:
    response.raw_headers.append(server.second_cookie.clear_header())
