"""The outermost layer: headers on every answer, whoever makes it, and no error without an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sessile.server.problems import problem
from sessile.web.client import TrustedPeers, read_scheme
from sessile.web.problem import Problem

logger = logging.getLogger("sessile")

MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body. Nothing that the server takes is near it."""
HSTS: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
CSP: Final = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: with it browsers say `Origin: null` on our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cache-control", b"no-store"),
)

TOO_LARGE: Final = problem(413, "Content too large", f"A request's body is at most {MAX_BODY} bytes.", "too_large")
MEDIA_TYPE: Final = problem(
    415,
    "Unsupported media type",
    "Send JSON as application/json; tokens to revoke, introspect and exchange as a form.",
    "media_type",
)
_API: Final = "/api/"
_FORMS: Final = ("/api/v1/revoke", "/api/v1/introspect", "/api/v1/token")
_JSON: Final = (b"application/json",)
_FORM: Final = (b"application/x-www-form-urlencoded", b"multipart/form-data")


async def send_problem(send: Send, found: Problem) -> None:
    await send({"type": "http.response.start", "status": found.status, "headers": found.response_headers()})
    await send({"type": "http.response.body", "body": found.body()})


class Guard:
    """Adds what is missing of `HEADERS` to every answer, and gives the answer `broken` where the application broke."""

    def __init__(self, app: ASGIApp, *, trusted: TrustedPeers, broken: Callable[[Scope], ASGIApp]) -> None:
        self._app = app
        self._trusted = trusted
        self._broken = broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = (*HEADERS, HSTS) if read_scheme(scope, self._trusted) == "https" else HEADERS
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                message = {**message, "headers": headers + [pair for pair in wanted if pair[0] not in there]}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception:
            if started:
                raise
            logger.exception("unexpected error at %s", scope["method"])
            await self._broken(scope)(scope, receive, guarded)


class Bodies:
    """Reads a request's body before anything else does; refuses what is too large, and what is of another type than
    the API takes: a form that another site sends cannot pass for JSON (ASVS V3.5.2).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        if not _fits(scope):
            await send_problem(send, MEDIA_TYPE)
            return
        if _announced(scope) > MAX_BODY:
            await send_problem(send, TOO_LARGE)  # at once: not after having waited for it
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                await send_problem(send, TOO_LARGE)
                return
            if not message.get("more_body", False):
                break
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _announced(scope: Scope) -> int:
    """The length of the body as the client says it; 0 where it does not."""
    said = dict(scope["headers"]).get(b"content-length", b"")
    if not said:
        return 0
    return int(said) if said.isdigit() and len(said) < 20 else MAX_BODY + 1


def _fits(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    sent = headers.get(b"content-type", b"")
    if not scope["path"].startswith(_API) or (not sent and headers.get(b"content-length") == b"0"):
        return True
    return sent.partition(b";")[0].strip().lower() in (_FORM if scope["path"] in _FORMS else _JSON)
