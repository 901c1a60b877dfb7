"""Long answers and WebSockets end with their session, not only the next request."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

from sessile.errors import NotFound, SessileError
from sessile.kernel.decide import Active
from sessile.kernel.reason import Reason
from sessile.web.access import Access

RECHECK_SECONDS = 2.0
"""How often the session behind an open answer or WebSocket is looked at while nothing passes through it, and nothing
is heard of it: what time does to it, and what hangs above it."""


class Over(OSError):
    """The session behind an open answer has ended. An OSError, as for a client that is gone (ASGI 2.4)."""


class Watch:
    """Tells whether the session behind an open scope is still alive, and looks by itself while nothing passes.

    By the session, not by its token: a token that was rotated out while a stream was open is no theft.
    """

    __slots__ = ("_access", "_active", "_asking", "_cancelled", "_handle", "_listening", "_task", "over", "reason")

    def __init__(self, access: Access, active: Active) -> None:
        self._access = access
        self._active = active
        self._handle: asyncio.TimerHandle | None = None
        self._listening = ExitStack()
        self._asking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self.over = False
        self.reason: Reason | None = None

    async def alive(self) -> bool:
        if self.over or self._access.peek() is not None:
            return not self.over
        try:
            found = await self._access.authority.session(self._active.session.id)
        except NotFound:
            self.reason = Reason.UNKNOWN
        except SessileError:
            # Nobody can prove that it is alive: closed, as "try again" (not as a logout).
            self.reason = Reason.UNAVAILABLE
        else:
            if found.live:
                return True
            now = self._access.authority.clock.now()
            # An epoch ends sessions without a mark on each: what neither limit explains was revoked.
            if found.ended is None and now >= found.expires:
                self.reason = Reason.EXPIRED
            elif found.ended is None and found.idle_expires is not None and now >= found.idle_expires:
                self.reason = Reason.IDLE
            else:
                self.reason = Reason.REVOKED
        self.over = True
        return False

    def start(self) -> None:
        """Cancel the task that calls this as soon as the session is over."""
        self._task = asyncio.current_task()
        session = self._active.session
        objects = {f"s:{session.id}", f"p:{session.uid}"}
        for link in session.lineage:
            objects |= {f"s:{link.session}", f"p:{link.uid}"}
        self._listening.enter_context(self._access.authority.watching.listening(objects, self._look))
        self._arm()

    def stop(self) -> bool:
        """Look no further. True if this watch, and nobody else, has cancelled the task."""
        self._listening.close()
        if self._handle is not None:
            self._handle.cancel()
        if self._asking is not None:
            self._asking.cancel()
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() == 0

    def _arm(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(RECHECK_SECONDS, self._look)

    def _look(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._asking is not None and not self._asking.done():
            # What it has read may be from before.
            self._asking.cancel()
        self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        if await self.alive():
            self._arm()
        elif self._task is not None:
            self._cancelled = True
            self._task.cancel()
