"""Watching sessions: whoever asks hears of a change as soon as this process knows of it.

The near cache is told of whatever can turn a yes into a no; so it passes that on. A store that follows an engine is
pushed; SQLite, which tells nobody, is looked at ten times a second, and only while somebody watches. What the passing
of time does (the idle and the overall limit) is looked at when it is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import count

import msgspec

from sessile.clock import Clock
from sessile.errors import NotFound
from sessile.kernel.ids import check_session_id
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo
from sessile.near import NearCache
from sessile.stores import Backend

LOOK_SECONDS = 0.1
WARNING = timedelta(minutes=2)
"""How long before its end a session counts as expiring."""
_NEAR_THE_END = timedelta(seconds=5)
"""How often a session that is about to end is read: an act of the person is announced to nobody."""
_AT_MOST = timedelta(seconds=60)
"""The longest between two reads, so that a wall clock that was set is noticed."""
_AT_ONCE = 16
"""Reads under way at once: an ending of everybody wakes every watcher."""


class _Watcher:
    __slots__ = ("due", "objects", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.objects: frozenset[str] = frozenset()
        self.due = 0


class Watching:
    """Who watches what, in this process. Everything but `_heard` runs on the loop of the watchers."""

    def __init__(self, store: Backend, near: NearCache, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._watchers: set[_Watcher] = set()
        self._by_object: dict[str, set[_Watcher]] = {}
        self._due: list[tuple[int, int, _Watcher]] = []
        self._number = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._current = False
        self._reads = asyncio.Semaphore(_AT_ONCE)
        near.listener = self._heard

    def __len__(self) -> int:
        return len(self._watchers)

    async def states(self, session_id: str, warning: timedelta) -> AsyncGenerator[SessionInfo, None]:
        """See `Authority.watch`."""
        check_session_id(session_id)
        woken = asyncio.Event()
        with self._watcher(woken.set) as watcher:
            said: tuple[SessionInfo, bool] | None = None
            while True:
                # Cleared before the read: what is heard meanwhile is looked at afterwards.
                woken.clear()
                async with self._reads:
                    info, objects = await self._read(session_id)
                if objects - watcher.objects:
                    # Read again, now that all it hangs on is listened to.
                    self._listen(watcher, objects)
                    continue
                if info.live:
                    # Before it is yielded: whoever takes a while to come back misses nothing.
                    self._look_again(watcher, info, warning)
                if (now := (info, ends(info) - self._clock.now() <= warning)) != said:
                    said = now
                    yield info
                if not info.live:
                    return
                await woken.wait()

    @contextlib.contextmanager
    def listening(self, objects: Iterable[str], wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake`, on this loop, whenever one of these objects was touched: look then, it says no more."""
        with self._watcher(wake) as watcher:
            self._listen(watcher, frozenset(objects))
            yield

    def wake_all(self) -> None:
        """Let everybody look: the store was closed or is in doubt."""
        for watcher in tuple(self._watchers):
            watcher.wake()

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self, session_id: str) -> tuple[SessionInfo, frozenset[str]]:
        """The session, and every object whose invalidation can end it."""
        info = await self._store.session(session_id)
        if info is None:
            raise NotFound(f"no session {session_id}")
        objects = {f"s:{session_id}"}
        policy, at = info.policy, info
        while True:
            if at.principal is not None:
                principal = await self._store.principal(name=at.principal)
                if principal is not None:
                    objects |= {f"p:{principal.uid}", f"policy:{principal.policy}"}
                    if at is info:
                        policy = principal.policy
            above = at.parent or at.origin
            if above is None or f"s:{above}" in objects:
                break
            objects.add(f"s:{above}")
            found = await self._store.session(above)
            if found is None:
                break
            at = found
        if info.live and info.principal is not None:
            rules = await self._store.policy(policy)
            if rules is not None and info.assurance < rules.assurance:
                info = msgspec.structs.replace(info, reason=Reason.ASSURANCE)
        return info, frozenset(objects)

    def _look_again(self, watcher: _Watcher, info: SessionInfo, warning: timedelta) -> None:
        left = ends(info) - self._clock.now()
        wait = min(left - warning if left > warning else min(left, _NEAR_THE_END), _AT_MOST)
        at = self._clock.elapsed() + max(0, wait // timedelta(microseconds=1)) * 1_000
        watcher.due = at
        heapq.heappush(self._due, (at, next(self._number), watcher))

    # -- being told ---------------------------------------------------------------------------------------------

    def _heard(self, objects: Iterable[str]) -> None:
        """The near cache was told that these were touched. On any thread."""
        if self._watchers and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed with somebody watching
                self._loop.call_soon_threadsafe(self._wake, tuple(objects))

    def _wake(self, objects: tuple[str, ...]) -> None:
        if "all" in objects:
            self.wake_all()
            return
        for name in objects:
            for watcher in tuple(self._by_object.get(name, ())):
                watcher.wake()

    @contextlib.contextmanager
    def _watcher(self, wake: Callable[[], None]) -> Iterator[_Watcher]:
        watcher = _Watcher(wake)
        self._watchers.add(watcher)
        self._loop = asyncio.get_running_loop()
        if self._handle is None:
            self._look()
        try:
            yield watcher
        finally:
            self._listen(watcher, frozenset())
            self._watchers.discard(watcher)
            if not self._watchers:
                self._due.clear()
                if self._handle is not None:
                    self._handle.cancel()
                    self._handle = None

    def _listen(self, watcher: _Watcher, objects: frozenset[str]) -> None:
        for name in watcher.objects - objects:
            there = self._by_object[name]
            there.discard(watcher)
            if not there:
                del self._by_object[name]
        for name in objects - watcher.objects:
            self._by_object.setdefault(name, set()).add(watcher)
        watcher.objects = objects

    def _look(self) -> None:
        """Bring the near cache up to the last commit, which is how a strict store hears; wake whose time has come."""
        now = self._clock.elapsed()
        current = self._store.current(now)
        if self._current and not current:
            self.wake_all()
        self._current = current
        while self._due and self._due[0][0] <= now:
            at, _, watcher = heapq.heappop(self._due)
            if watcher in self._watchers and watcher.due == at:
                watcher.wake()
        assert self._loop is not None  # noqa: S101 - somebody watches
        self._handle = self._loop.call_later(LOOK_SECONDS, self._look)


def ends(info: SessionInfo) -> datetime:
    """When the session is over if nobody does anything: its overall or its idle limit."""
    return info.expires if info.idle_expires is None else min(info.expires, info.idle_expires)
