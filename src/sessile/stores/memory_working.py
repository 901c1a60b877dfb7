"""Work that waits, in the memory store."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.clock import Clock
from sessile.errors import LimitExceeded
from sessile.kernel.event import Event
from sessile.kernel.work import Work, WorkKind, WorkState
from sessile.stores.memory_directory import MemoryDirectory
from sessile.stores.protocol import End
from sessile.stores.working import destroyed_event


class MemoryWorks(MemoryDirectory):
    """`Works` in a dictionary."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._works: dict[str, Work] = {}

    async def add_work(self, work: Work, most: int, event: Event) -> None:
        if len(await self.works(work.kind, uid=work.uid)) >= most:
            raise LimitExceeded(f"{most} of these wait already: take one up, or let it go")
        self._works[work.id] = work
        self._append(event, self._clock.now())

    async def work(self, id: str) -> Work | None:
        found = self._works.get(id)
        return found if found is not None and self._clock.now() < found.until else None

    async def works(self, kind: WorkKind, *, uid: str | None = None, limit: int = 100) -> Sequence[Work]:
        now = self._clock.now()
        found = [one for one in self._works.values() if one.kind is kind and uid in (None, one.uid) and now < one.until]
        return sorted(found, key=lambda one: (one.begun, one.id))[:limit]

    async def give_work(self, work: Work, event: Event) -> bool:
        found = await self.work(work.id)
        if found is None or found.state is not WorkState.WAITING:
            return False
        self._works[work.id] = work
        self._append(event, self._clock.now())
        return True

    async def take_work(self, id: str, state: WorkState, event: Event) -> Work | None:
        found = await self.work(id)
        if found is None or found.state is not state:
            return None
        del self._works[id]
        self._append(event, self._clock.now())
        return found

    def _destroy_work(self, end: End) -> None:
        kept = {id: one for id, one in self._works.items() if not _destroys(end, one)}
        count = len(self._works) - len(kept)
        self._works = kept
        if count:
            self._append(destroyed_event(end, count), self._clock.now())

    def _sweep_work(self) -> None:
        now = self._clock.now()
        self._works = {id: one for id, one in self._works.items() if now < one.until}


def _destroys(end: End, work: Work) -> bool:
    if end.session is not None:
        return end.session in (work.session, work.giver_session)
    if end.uid is not None:
        own = work.uid == end.uid and work.session != end.keep
        return own or (work.giver == end.uid and work.giver_session != end.keep)
    return True
