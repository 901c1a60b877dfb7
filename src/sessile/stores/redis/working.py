"""Work waits beside the accounts: in the directory, whose transaction journals an ending."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.event import Event
from sessile.kernel.work import Work, WorkKind, WorkState
from sessile.stores.redis.journal import SQLDirectory


class RedisWorks:
    """`Works` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def add_work(self, work: Work, most: int, event: Event) -> None:
        await self.directory.add_work(work, most, event)

    async def work(self, id: str) -> Work | None:
        return await self.directory.work(id)

    async def works(self, kind: WorkKind, *, uid: str | None = None, limit: int = 100) -> Sequence[Work]:
        return await self.directory.works(kind, uid=uid, limit=limit)

    async def give_work(self, work: Work, event: Event) -> bool:
        return await self.directory.give_work(work, event)

    async def take_work(self, id: str, state: WorkState, event: Event) -> Work | None:
        return await self.directory.take_work(id, state, event)
