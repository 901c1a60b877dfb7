"""The leases of the memory store."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from sessile.clock import Clock
from sessile.errors import NotFound
from sessile.kernel.event import Event
from sessile.kernel.lease import Lease, hangs_on
from sessile.kernel.session import Session
from sessile.stores.leasing import Claimed
from sessile.stores.memory_directory import MemoryDirectory, page
from sessile.stores.protocol import PAGE, Page


class _Row(msgspec.Struct):
    lease: Lease
    ties: frozenset[str]
    woken: int = 0
    claim: str = ""
    held_until: datetime | None = None


class MemoryLeases(MemoryDirectory):
    """`Leased` in dictionaries."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._leases: dict[str, _Row] = {}

    def _add_lease(self, session: Session, lease: Lease, now: datetime) -> None:
        added = msgspec.structs.replace(lease, session=session.id, due=now)
        self._leases[session.id] = _Row(added, frozenset(hangs_on(session)))

    def _announce(self, *objects: str) -> None:
        super()._announce(*objects)
        now = self._clock.now()
        for row in self._leases.values():
            waits = row.lease.due is not None and row.lease.over is None
            if waits and any(name in row.ties or not name.startswith(("s:", "p:")) for name in objects):
                row.lease, row.woken = msgspec.structs.replace(row.lease, due=now), row.woken + 1

    async def lease(self, session_id: str) -> Lease | None:
        row = self._leases.get(session_id)
        return row.lease if row is not None else None

    async def leases(
        self, *, sessions: Sequence[str] | None = None, pending: bool = False, after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Lease]:  # fmt: skip
        now = self._clock.now()
        found = {id: row.lease for id, row in self._leases.items()}
        if sessions is not None:
            found = {id: lease for id, lease in found.items() if id in sessions}
        if sessions is None or pending:
            found = {id: lease for id, lease in found.items() if lease.due is not None}
        if pending:
            found = {id: one for id, one in found.items() if one.over is not None or (one.due and one.due <= now)}
        return page(found, after, limit)

    async def claim_leases(
        self, *, limit: int, hold: timedelta, without: Collection[str] = ()
    ) -> Sequence[Claimed]:  # fmt: skip
        now = self._clock.now()
        due = [
            (row.lease.due, id)
            for id, row in self._leases.items()
            if row.lease.due is not None and row.lease.due <= now and (row.held_until is None or row.held_until <= now)
            if row.lease.connector not in without
        ]
        claimed = []
        for _, id in sorted(due)[:limit]:
            row = self._leases[id]
            row.claim, row.held_until = secrets.token_hex(8), now + hold
            claimed.append(Claimed(row.lease, row.claim, row.woken, now))
        return claimed

    async def settle_lease(self, claimed: Claimed, lease: Lease, due: datetime | None, event: Event | None) -> bool:
        row = self._leases.get(claimed.lease.session)
        if row is None or row.claim != claimed.claim:
            return False
        row.claim, row.held_until = "", None
        if row.woken != claimed.woken or row.lease.due is None:
            return False
        row.lease = msgspec.structs.replace(lease, due=due)
        if event is not None:
            self._append(event, self._clock.now())
        return True

    async def found_lease(self, session_id: str, *, handle: bytes, shown: str, until: datetime | None) -> None:
        row = self._leases.get(session_id)
        if row is None:
            raise NotFound(f"no lease {session_id}")
        row.woken += 1
        row.lease = msgspec.structs.replace(
            row.lease, handle=handle, shown=shown, until=until, minting=None, over=None, tries=0, error="",
            confirmed=None, outcome=None, due=self._clock.now(),
        )  # fmt: skip

    async def close_lease(self, before: Lease, after: Lease, event: Event) -> bool:
        row = self._leases.get(before.session)
        if row is None or row.lease != before:
            return False
        row.woken += 1
        row.lease = msgspec.structs.replace(after, due=None)
        self._append(event, self._clock.now())
        return True

    def _count_leases(self) -> dict[str, int]:
        now = self._clock.now()
        living = [row.lease for row in self._leases.values() if row.lease.due is not None]
        return {
            "leases": len(living), "leases_pending": sum(lease.over is not None for lease in living),
            "leases_overdue": sum(lease.is_overdue(now) for lease in living),
        }  # fmt: skip
