"""What an open authority does beside requests: writes touches, tells what was over, sweeps, finishes reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime

from sessile.errors import SessileError
from sessile.nhi.budgets import SYNC_SECONDS
from sessile.nhi.traces import Traces
from sessile.nhi.walk import EVERY_SECONDS, walk_all
from sessile.stores import Backend

logger = logging.getLogger("sessile")

FLUSH_SECONDS = 0.25
"""How long touches are gathered before they are written."""
SWEEP_SECONDS = 60.0
_SWEEP_ROWS = 500
_CLOSING_SECONDS = 1.0
"""How long is walked on where no other process may come soon: `sessile revoke`."""


class Upkeep:
    """Background tasks on the running loop. All survive a store that is away."""

    def __init__(
        self, store: Backend, traces: Traces, *, spend: Callable[[], Awaitable[None]],
        resume: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._traces = traces
        self._spend = spend
        self._resume = resume
        self._seen: dict[str, datetime] = {}
        self._lock = threading.Lock()
        """Held while `_seen` is looked at and changed: the sync face checks on many threads."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        traces.wake = self._wake_up
        work = (
            self._flush_forever(), self._sweep_forever(), self._resume_forever(), self._spend_forever(),
            self._walk_forever(),
        )  # fmt: skip
        self._tasks = [self._loop.create_task(one) for one in work]

    def _wake_up(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: whoever closes writes
            self._loop.call_soon_threadsafe(self._wake.set)

    def seen(self, session_id: str, now: datetime) -> None:
        """A person acted in this session. Written within `FLUSH_SECONDS`; callable from any thread."""
        with self._lock:
            first = not self._seen
            self._seen[session_id] = now
        if first:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def flush(self) -> None:
        """Write what was gathered. Raises StoreUnavailable, and then keeps it."""
        await self._touch()
        await self._traces.flush(self._store)

    async def _touch(self) -> None:
        with self._lock:
            batch, self._seen = self._seen, {}
        if not batch:
            return
        try:
            await self._store.touch(batch)
        except SessileError:
            with self._lock:
                self._seen = batch | self._seen
            raise

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(SessileError):  # the sessions end a little early, never late
            await self._touch()
            await self._traces.flush(self._store, everything=True)
            await self._spend()
        with contextlib.suppress(SessileError, TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await walk_all(self._store, pause=0)

    async def _flush_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except SessileError as error:
                logger.warning("last acts not written, trying again: %s", error)
                await asyncio.sleep(1.0)
                self._wake.set()

    async def _resume_forever(self) -> None:
        """Finish what a process began and did not live to finish: now, and once in a while."""
        while True:
            try:
                await self._resume()
            except SessileError as error:
                logger.warning("containments not finished, trying again in a minute: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _walk_forever(self) -> None:
        """Tell of what was over with something that ended."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await walk_all(self._store)
            except SessileError as error:
                logger.warning("not all that was over with something is told, trying again: %s", error)

    async def _spend_forever(self) -> None:
        """Report what was counted of budgets, and hear what others counted."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            try:
                await self._spend()
            except SessileError as error:
                logger.warning("budgets not added up, trying again: %s", error)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._traces.flush(self._store)
                swept = _SWEEP_ROWS
                while swept == _SWEEP_ROWS:
                    swept = await self._store.sweep(_SWEEP_ROWS)
                    await asyncio.sleep(0.05)  # requests go first
            except SessileError as error:
                logger.warning("nothing swept, trying again in a minute: %s", error)
