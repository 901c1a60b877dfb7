"""One WebSocket: every message re-checks its session, and a session that ends closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sessile.errors import SessileError
from sessile.kernel.reason import Reason
from sessile.web.access import Access
from sessile.web.answer import Message, Receive, Send
from sessile.web.problem import Problem
from sessile.web.watch import Over, Watch

SESSION_OVER = 4401
"""The close code for a session that has ended, or is none; as 401 is in HTTP."""
FORBIDDEN = 4403
TRY_AGAIN = 1013
"""RFC 6455's registry: "Try Again Later"; for a store that is away."""

_CODES = {400: SESSION_OVER, 401: SESSION_OVER, 403: FORBIDDEN, 503: TRY_AGAIN}


class Socket:
    """What the application receives and sends through.

    Messages are no acts of a person, which a script may send as well: an application that knows better calls
    `authority.touch`. What it puts into `request.session` is saved when it accepts and when it ends; a WebSocket
    begins no session.
    """

    __slots__ = ("_access", "_closed", "_receive", "_scope", "_send", "_watch", "accepted")

    def __init__(self, access: Access, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._access = access
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watch = None if access.live is None else Watch(access, access.live)
        self._closed = False
        self.accepted = False

    async def run(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        watch = self._watch
        if watch is not None:
            watch.start()
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            if watch is None or not watch.stop():
                raise
        except SessileError as error:
            await self._refuse(self._access.problem(error))
        except Exception:
            if watch is None or not watch.over:
                raise
        finally:
            if watch is not None:
                watch.stop()
        if watch is not None and watch.over:
            await self._cut()
        else:
            await self._save()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive" and self._watch is not None and not await self._watch.alive():
            await self._cut()
            return {"type": "websocket.disconnect", "code": SESSION_OVER, "reason": "the session has ended"}
        if message["type"] == "websocket.disconnect":
            self._closed = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self._closed and kind == "websocket.close":
            return
        if kind in ("websocket.accept", "websocket.send") and self._watch is not None:
            if not await self._watch.alive():
                await self._cut()
                raise Over("the session behind this WebSocket has ended")
            if kind == "websocket.accept":
                await self._save()
        if kind == "websocket.accept":
            self.accepted = True
        elif kind in ("websocket.close", "websocket.http.response.start"):
            self._closed = True
        await self._send(message)

    async def _save(self) -> None:
        access = self._access
        if access.live is not None and access.data.used and access.data.changed:
            await access.data.save(access.authority.store, access.live.session.id)

    async def _cut(self) -> None:
        reason = self._watch.reason if self._watch is not None else None
        code = TRY_AGAIN if reason is Reason.UNAVAILABLE else SESSION_OVER
        await self._close(code, reason or Reason.REVOKED)

    async def _refuse(self, problem: Problem) -> None:
        if self.accepted or self._closed:
            await self._close(_CODES.get(problem.status, 1011), problem.reason or problem.title)
        else:
            await answer_handshake(self._scope, self._send, problem)

    async def _close(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


async def refuse_handshake(scope: dict[str, Any], receive: Receive, send: Send, problem: Problem) -> None:
    """Answer a handshake that no application has seen."""
    await receive()  # websocket.connect
    await answer_handshake(scope, send, problem)


async def answer_handshake(scope: dict[str, Any], send: Send, problem: Problem) -> None:
    """Refuse a WebSocket before it is accepted: the problem where the server can say it, else HTTP 403."""
    if "websocket.http.response" not in scope.get("extensions", ()):
        code = _CODES.get(problem.status, 1008)
        await send({"type": "websocket.close", "code": code, "reason": problem.reason or problem.title})
        return
    body = problem.body()
    headers = [*problem.response_headers(), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
