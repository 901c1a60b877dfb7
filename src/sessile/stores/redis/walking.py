"""Walks to do are kept beside the accounts: in the directory, with the journal of endings."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.event import Event
from sessile.stores.redis.journal import SQLDirectory
from sessile.stores.walking import Walk


class RedisWalks:
    """`Walks` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def walks(self, limit: int = 1_000) -> Sequence[Walk]:
        return await self.directory.walks(limit)

    async def walk_on(self, walk: Walk, to: Walk | None, events: Sequence[Event]) -> bool:
        return await self.directory.walk_on(walk, to, events)
