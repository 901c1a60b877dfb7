"""The device cookie: a browser on which somebody signed in before is no stranger to the throttle, nor to its person."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from sessile.factors.devices import KEPT
from sessile.receipt import Issued
from sessile.server.state import Server
from sessile.web import cookie as cookies


def shown_device(request: Request, server: Server) -> str | None:
    value = cookies.read(request.scope["headers"], server.device_cookie.raw_name)
    return value.decode("latin-1") if isinstance(value, bytes) else None


async def keep_device(request: Request, response: Response, server: Server, issued: Issued) -> None:
    """Remember this browser for the person who signed in. It signs nobody in and names nobody.

    A new one is an event, of which the person is told by mail. It is written before the browser gets its session:
    nobody signs in anew unheard.
    """
    shown, _ = await server.devices.remember(shown_device(request, server), issued)
    name, header = server.device_cookie.set_header(shown)
    response.raw_headers.append((name, header + b"; Max-Age=%d" % KEPT.total_seconds()))
