"""What is noticed is kept beside the accounts: in the directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sessile.kernel.budget import Budget, Standing
from sessile.kernel.event import Actor
from sessile.kernel.trace import Trace, TraceKind
from sessile.stores.noticing import MOST_TRACES, Noticed
from sessile.stores.redis.journal import SQLDirectory


class RedisNotices:
    """`Notices` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def notice(self, noticed: Sequence[Noticed]) -> None:
        await self.directory.notice(noticed)

    async def traces(
        self, *, kind: TraceKind, subjects: Sequence[str] | None = None, what: Sequence[str] | None = None,
        since: datetime | None = None, limit: int = MOST_TRACES,
    ) -> Sequence[Trace]:  # fmt: skip
        return await self.directory.traces(kind=kind, subjects=subjects, what=what, since=since, limit=limit)

    async def set_budget(self, uid: str, budget: Budget | None, by: Actor) -> Standing:
        return await self.directory.set_budget(uid, budget, by)

    async def spend(self, calls: Mapping[str, int], since: datetime | None) -> tuple[datetime, Sequence[Standing]]:
        return await self.directory.spend(calls, since)
