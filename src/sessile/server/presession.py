"""The pre-session: what the login page and its passkeys are bound to before anybody is signed in. It opens nothing."""

from __future__ import annotations

import secrets
from typing import Final

from fastapi import Request
from starlette.responses import Response

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
