"""Leases, in SQL: what is due, who has it, and what became of it; and the methods of a store in SQL."""

from __future__ import annotations

import abc
import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from sessile.errors import NotFound
from sessile.kernel.event import Event
from sessile.kernel.lease import OVERDUE, Lease, hangs_on
from sessile.kernel.session import Session
from sessile.stores.leasing import Claimed
from sessile.stores.protocol import PAGE, Page
from sessile.stores.sql.rows import instant, json_text, maybe_datetime, maybe_instant

if TYPE_CHECKING:
    from sessile.stores.sql.transaction import Db, Transaction

T = TypeVar("T")

KEPT = timedelta(days=7)
"""How long a lease is shown after its end was confirmed."""
_MOST = 1_000
_WAKE = "UPDATE lease SET due = ?, woken = woken + 1 WHERE due IS NOT NULL AND over IS NULL"
_HANGING = " AND id IN (SELECT lease FROM lease_tie WHERE object = ?)"
_DUE = (
    "SELECT id, body, due, woken FROM lease WHERE due <= ? AND held_until <= ?"
    " AND NOT (connector IN (SELECT value FROM json_each(?))) ORDER BY due, id LIMIT ?"
)
_lease = msgspec.json.Decoder(Lease).decode


def add(tx: Transaction, session: Session, lease: Lease) -> None:
    """A new lease, with its session. It is looked at once, at once."""
    body = json_text(msgspec.structs.replace(lease, session=session.id, due=None))
    tx.insert("lease", {"id": session.id, "connector": lease.connector, "due": instant(tx.now), "body": body})
    for name in hangs_on(session):
        tx.insert("lease_tie", {"object": name, "lease": session.id})


def wake(tx: Transaction, name: str) -> None:
    """Something ended: what hangs on it is due. Behind the journal's row, whose lock keeps endings in one order."""
    if name.startswith(("s:", "p:")):
        tx.change(_WAKE + _HANGING, instant(tx.now), name)
    else:
        tx.change(_WAKE, instant(tx.now))


def find(db: Db, session_id: str) -> Lease | None:
    """See `Leased.lease`."""
    rows = db.execute("SELECT body, due FROM lease WHERE id = ?", (session_id,)).fetchall()
    return _of(*rows[0]) if rows else None


def listed(
    db: Db, now: datetime, sessions: Sequence[str] | None, pending: bool, after: str | None, limit: int
) -> Page[Lease]:
    """See `Leased.leases`."""
    limit = max(1, min(limit, _MOST))
    where, values = ["id > ?"], [after or ""]
    if sessions is not None:
        where.append("id IN (SELECT value FROM json_each(?))")
        values.append(json_text(tuple(sessions)))
    else:
        where.append("due IS NOT NULL")
    conditions: list[Any] = list(values)
    if pending:
        where.append("due IS NOT NULL AND (over IS NOT NULL OR due <= ?)")
        conditions.append(instant(now))
    sql = f"SELECT body, due FROM lease WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"  # noqa: S608
    rows = db.execute(sql, (*conditions, limit + 1)).fetchall()
    found = [_of(*row) for row in rows[:limit]]
    return Page(found, found[-1].session if len(rows) > limit else None)


def any_due(db: Db, now: datetime) -> bool:
    """Whether there is anything to claim, without a transaction that writes."""
    sql = "SELECT 1 FROM lease WHERE due <= ? AND held_until <= ? LIMIT 1"
    return bool(db.execute(sql, (instant(now), instant(now))).fetchall())


def claim(tx: Transaction, limit: int, hold: timedelta, without: Collection[str]) -> Sequence[Claimed]:
    """See `Leased.claim_leases`."""
    now, mine = instant(tx.now), secrets.token_hex(8)
    rows = tx.rows(_DUE + tx.skip_locked, now, now, json_text(tuple(without)), limit)
    for id_, *_ in rows:
        tx.change("UPDATE lease SET claim = ?, held_until = ? WHERE id = ?", mine, instant(tx.now + hold), id_)
    return [Claimed(_of(body, due), mine, woken, tx.now) for _, body, due, woken in rows]


def settle(tx: Transaction, claimed: Claimed, lease: Lease, due: datetime | None, event: Event | None) -> bool:
    """See `Leased.settle_lease`."""
    if event is not None:
        tx.lock_record()  # before the row: as endings take them
    id_ = claimed.lease.session
    still = "id = ? AND claim = ? AND woken = ? AND due IS NOT NULL"
    if not _write(tx, lease, due, still, id_, claimed.claim, claimed.woken):
        tx.change("UPDATE lease SET claim = NULL, held_until = 0 WHERE id = ? AND claim = ?", id_, claimed.claim)
        return False
    if event is not None:
        tx.record(event)
    return True


def found(tx: Transaction, session_id: str, handle: bytes, shown: str, until: datetime | None) -> None:
    """See `Leased.found_lease`."""
    before = _held(tx, session_id)
    if before is None:
        raise NotFound(f"no lease {session_id}")
    lease = msgspec.structs.replace(
        before, handle=handle, shown=shown, until=until, minting=None, over=None, tries=0, error="", confirmed=None,
        outcome=None,
    )  # fmt: skip
    _write(tx, lease, tx.now, "id = ?", session_id)


def close(tx: Transaction, before: Lease, after: Lease, event: Event) -> bool:
    """See `Leased.close_lease`."""
    tx.lock_record()
    if _held(tx, before.session) != before:
        return False
    _write(tx, after, None, "id = ?", before.session)
    tx.record(event)
    return True


def _held(tx: Transaction, id_: str) -> Lease | None:
    """The lease, which nobody else changes before the commit; a worker that has it settles nothing."""
    tx.change("UPDATE lease SET woken = woken + 1 WHERE id = ?", id_)
    return find(tx.db, id_)


def _write(tx: Transaction, lease: Lease, due: datetime | None, where: str, *values: Any) -> bool:
    keep_until = None
    if due is None and lease.confirmed is not None and not lease.successor:
        keep_until = instant(lease.confirmed + KEPT)
    written = tx.change(
        "UPDATE lease SET body = ?, over = ?, lingers = ?, due = ?, keep_until = ?, claim = NULL, held_until = 0"  # noqa: S608
        f" WHERE {where}",
        json_text(msgspec.structs.replace(lease, due=None)), maybe_instant(lease.over), maybe_instant(lease.lingers),
        maybe_instant(due), keep_until, *values,
    )  # fmt: skip
    if written and due is None:
        tx.change("DELETE FROM lease_tie WHERE lease = ?", lease.session)
    return bool(written)


def sweep(tx: Transaction, limit: int) -> None:
    """Forget leases whose end was confirmed long ago. A successor that nobody took is kept."""
    over = "SELECT id FROM lease WHERE keep_until <= ? ORDER BY keep_until LIMIT ?"
    tx.change(f"DELETE FROM lease WHERE id IN ({over})", instant(tx.now), limit)  # noqa: S608 - words of our own


def counts(db: Db, now: datetime) -> dict[str, int]:
    """For `Directory.statistics`: unconfirmed leases, those of them that are known to be over, and the overdue."""
    sql = (
        "SELECT count(*), count(over), count(CASE WHEN lingers IS NULL AND coalesce(over, due) <= ? THEN 1 END)"
        " FROM lease WHERE due IS NOT NULL"
    )
    living, pending, overdue = db.execute(sql, (instant(now - OVERDUE),)).fetchall()[0]
    return {"leases": living, "leases_pending": pending, "leases_overdue": overdue}


def _of(body: str, due: int | None) -> Lease:
    return msgspec.structs.replace(_lease(body), due=maybe_datetime(due))


class SQLLeases(abc.ABC):
    """`Leased` on an engine that speaks SQL; see `SQLStore` for how statements run."""

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _list(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object) -> T: ...

    async def lease(self, session_id: str) -> Lease | None:
        return await self._point(lambda db, _: find(db, session_id))

    async def leases(
        self, *, sessions: Sequence[str] | None = None, pending: bool = False, after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Lease]:  # fmt: skip
        return await self._list(lambda db, now: listed(db, now, sessions, pending, after, limit))

    async def claim_leases(
        self, *, limit: int, hold: timedelta, without: Collection[str] = ()
    ) -> Sequence[Claimed]:  # fmt: skip
        if not await self._point(any_due):
            return ()
        return await self._write(claim, limit, hold, without)

    async def settle_lease(self, claimed: Claimed, lease: Lease, due: datetime | None, event: Event | None) -> bool:
        return await self._write(settle, claimed, lease, due, event)

    async def found_lease(self, session_id: str, *, handle: bytes, shown: str, until: datetime | None) -> None:
        await self._write(found, session_id, handle, shown, until)

    async def close_lease(self, before: Lease, after: Lease, event: Event) -> bool:
        return await self._write(close, before, after, event)
