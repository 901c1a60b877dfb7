"""What is noticed of sessions, gathered beside the requests: where keys are used from, and what was touched.

Everything is added up in memory, bounded, and written by the upkeep: what is new within a second, what goes on once a
minute. A process that is killed loses the counts of the last minute, not that it happened.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sessile.clock import Clock
from sessile.errors import SessileError
from sessile.kernel.event import Event, touched_event
from sessile.kernel.session import Client, Session
from sessile.kernel.trace import ALLOWED, LONGEST, Trace, TraceKind
from sessile.stores import Backend
from sessile.stores.noticing import Noticed

logger = logging.getLogger("sessile")

MOST: Final = 20_000
"""Traces in the memory of one process; of more than that the oldest that are written are forgotten."""
AGAIN_NS: Final = 60_000_000_000
"""How often what goes on is written."""
_BATCH: Final = 200

Key = tuple[str, TraceKind, str, str, str]


class _Mark:
    __slots__ = ("event", "first", "last", "times", "written")

    def __init__(self, now: datetime, event: Event | None) -> None:
        self.first = self.last = now
        self.times = 1
        self.written: int | None = None
        """When, in nanoseconds of `Clock.elapsed`; None: not yet."""
        self.event = event


class Traces:
    """The traces of one process. Callable from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now = clock.now
        self._marks: dict[Key, _Mark] = {}
        self._lock = threading.Lock()
        """Held while marks come and go; that two threads at once count one time too few is accepted."""
        self._writing = asyncio.Lock()
        self.wake: Callable[[], None] = _nobody
        """Something new waits to be written."""

    def __len__(self) -> int:
        return len(self._marks)

    def touched(
        self, session: Session, resource: str, action: str = "", decision: str = ALLOWED, client: Client | None = None
    ) -> None:
        """The session asked for a resource. See `Active.touch_resource`. Raises ValueError."""
        mark = self._marks.get((session.id, TraceKind.TOUCH, resource, action, decision))
        if mark is not None:
            mark.times += 1
            mark.last = self._now()
            return
        for text in (resource, action, decision):
            if len(text) > LONGEST or not text.isprintable():
                raise ValueError(f"a resource and an action are printable text of at most {LONGEST} characters")
        if not resource:
            raise ValueError("name the resource: secret:prod/db, path:/reports")
        event = None
        if not session.kind.is_a_persons:
            event = touched_event(session, resource, action, decision, client or session.client)
        self._new((session.id, TraceKind.TOUCH, resource, action, decision), event)

    def knows(self, session_id: str, decision: str) -> bool:
        """Whether it is noted here that the session's token was used in vain, for that reason."""
        return _in_vain(session_id, decision) in self._marks

    def refused(self, session: Session, event: Event, decision: str) -> None:
        """The token of an agent or a service was used in vain. The event is written for the first time."""
        key = _in_vain(session.id, decision)
        mark = self._marks.get(key)
        if mark is None:
            self._new(key, event)
        else:
            mark.times += 1
            mark.last = self._now()

    def used(self, session: Session, client: Client | None) -> None:
        """The token of an agent or a service was used from there."""
        if session.kind.is_a_persons:
            return
        client = client or Client()
        agent = client.label or client.user_agent or ""
        key = (session.id, TraceKind.USE, _shown(client.ip or ""), _shown(agent), ALLOWED)
        mark = self._marks.get(key)
        if mark is None:
            self._new(key, None)
        else:
            mark.times += 1
            mark.last = self._now()

    def _new(self, key: Key, event: Event | None) -> None:
        with self._lock:
            if len(self._marks) >= MOST:
                self._make_room()
            if len(self._marks) < MOST:
                self._marks[key] = _Mark(self._now(), event)
            else:
                logger.warning("more is touched than can be written down: one was left out")
        self.wake()

    def _make_room(self) -> None:
        written = [key for key, mark in self._marks.items() if mark.written is not None and not mark.times]
        for key in written[: MOST // 10]:
            del self._marks[key]

    async def flush(self, store: Backend, *, everything: bool = False) -> None:
        """Write what is new and what goes on; all of it at the end. What was under way is written too when it returns.

        Raises StoreUnavailable, and then keeps it."""
        async with self._writing:
            now = self._clock.elapsed()
            with self._lock:
                due = [
                    (key, mark)
                    for key, mark in self._marks.items()
                    if mark.times and (everything or mark.written is None or now - mark.written >= AGAIN_NS)
                ]
            for start in range(0, len(due), _BATCH):
                await self._write(store, due[start : start + _BATCH], now)

    async def _write(self, store: Backend, due: list[tuple[Key, _Mark]], now: int) -> None:
        batch, counted = [], []
        for (subject, kind, what, how, decision), mark in due:
            counted.append((mark, mark.times, mark.written))
            trace = Trace(
                subject=subject, kind=kind, what=what, how=how, decision=decision, first=mark.first, last=mark.last,
                times=mark.times,
            )  # fmt: skip
            batch.append(Noticed(trace, mark.event))
            mark.times, mark.written = 0, now
        try:
            await store.notice(batch)
        except SessileError:
            for mark, times, written in counted:
                mark.times, mark.written = mark.times + times, written
            raise


def _in_vain(session_id: str, decision: str) -> Key:
    return session_id, TraceKind.TOUCH, "token", "use", decision


def _nobody() -> None:
    pass


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])
