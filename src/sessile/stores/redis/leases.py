"""Leases are kept beside the accounts: in the directory, with the journal of endings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sessile.kernel.event import Event
from sessile.kernel.lease import Lease
from sessile.stores.leasing import Claimed
from sessile.stores.protocol import PAGE, Page
from sessile.stores.redis.journal import SQLDirectory


class RedisLeases:
    """`Leased` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def lease(self, session_id: str) -> Lease | None:
        return await self.directory.lease(session_id)

    async def leases(
        self, *, sessions: Sequence[str] | None = None, pending: bool = False, after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Lease]:  # fmt: skip
        return await self.directory.leases(sessions=sessions, pending=pending, after=after, limit=limit)

    async def claim_leases(
        self, *, limit: int, hold: timedelta, without: Collection[str] = ()
    ) -> Sequence[Claimed]:  # fmt: skip
        return await self.directory.claim_leases(limit=limit, hold=hold, without=without)

    async def settle_lease(self, claimed: Claimed, lease: Lease, due: datetime | None, event: Event | None) -> bool:
        return await self.directory.settle_lease(claimed, lease, due, event)

    async def found_lease(self, session_id: str, *, handle: bytes, shown: str, until: datetime | None) -> None:
        await self.directory.found_lease(session_id, handle=handle, shown=shown, until=until)

    async def close_lease(self, before: Lease, after: Lease, event: Event) -> bool:
        return await self.directory.close_lease(before, after, event)
