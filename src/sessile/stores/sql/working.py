"""Work that waits: statements, and the methods of a store in SQL."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from sessile.errors import LimitExceeded
from sessile.kernel.event import Event
from sessile.kernel.work import Work, WorkKind, WorkState
from sessile.stores.protocol import End
from sessile.stores.sql.rows import instant, json_text
from sessile.stores.sql.transaction import Db, Transaction
from sessile.stores.working import destroyed_event

T = TypeVar("T")

_work = msgspec.json.Decoder(Work).decode


def find(db: Db, now: datetime, id_: str) -> Work | None:
    rows = db.execute("SELECT body FROM work WHERE id = ? AND until > ?", (id_, instant(now))).fetchall()
    return _work(rows[0][0]) if rows else None


def listed(db: Db, now: datetime, kind: WorkKind, uid: str | None, limit: int) -> Sequence[Work]:
    where, values = "kind = ? AND until > ?", [kind.value, instant(now)]
    if uid is not None:
        where, values = f"{where} AND uid = ?", [*values, uid]
    sql = f"SELECT body FROM work WHERE {where} ORDER BY begun, id LIMIT ?"  # noqa: S608
    return [_work(body) for (body,) in db.execute(sql, (*values, max(1, min(limit, 1_000)))).fetchall()]


def add(tx: Transaction, work: Work, most: int, event: Event) -> None:
    """See `Works.add_work`."""
    tx.lock_principals((work.uid,))
    waiting = tx.rows(
        "SELECT count(*) FROM work WHERE uid = ? AND kind = ? AND until > ?", work.uid, work.kind.value, instant(tx.now)
    )[0][0]
    if waiting >= most:
        raise LimitExceeded(f"{most} of these wait already: take one up, or let it go")
    tx.insert(
        "work",
        {
            "id": work.id, "kind": work.kind.value, "uid": work.uid, "session": work.session,
            "begun": instant(work.begun), "until": instant(work.until), "state": work.state.value,
            "body": json_text(work),
        },
    )  # fmt: skip
    tx.record(event)


def give(tx: Transaction, work: Work, event: Event) -> bool:
    """See `Works.give_work`."""
    changed = tx.change(
        "UPDATE work SET state = 'given', giver = ?, giver_session = ?, body = ?"
        " WHERE id = ? AND state = 'waiting' AND until > ?",
        work.giver, work.giver_session, json_text(work), work.id, instant(tx.now),
    )  # fmt: skip
    if changed:
        tx.record(event)
    return bool(changed)


def take(tx: Transaction, id_: str, state: WorkState, event: Event) -> Work | None:
    """See `Works.take_work`."""
    row = tx.row("SELECT body FROM work WHERE id = ? AND state = ? AND until > ?", id_, state.value, instant(tx.now))
    if row is None or not tx.change("DELETE FROM work WHERE id = ? AND state = ?", id_, state.value):
        return None
    tx.record(event)
    return _work(row[0])


def destroy(tx: Transaction, end: End) -> None:
    """What an ending destroys. In its transaction."""
    values: tuple[Any, ...] = ()
    where = "1 = 1"
    if end.session is not None:
        where, values = "session = ? OR giver_session = ?", (end.session, end.session)
    elif end.uid is not None:
        kept = end.keep or ""
        where = "(uid = ? AND session <> ?) OR (giver = ? AND giver_session <> ?)"
        values = (end.uid, kept, end.uid, kept)
    count = tx.change(f"DELETE FROM work WHERE {where}", *values)  # noqa: S608
    if count:
        tx.record(destroyed_event(end, count))


def sweep(tx: Transaction) -> None:
    """What nobody took up in its time."""
    tx.change("DELETE FROM work WHERE until <= ?", instant(tx.now))


class SQLWorks(abc.ABC):
    """`Works` on an engine that speaks SQL; see `SQLStore` for how statements run."""

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object) -> T: ...

    async def add_work(self, work: Work, most: int, event: Event) -> None:
        await self._write(add, work, most, event)

    async def work(self, id: str) -> Work | None:
        return await self._point(lambda db, now: find(db, now, id))

    async def works(self, kind: WorkKind, *, uid: str | None = None, limit: int = 100) -> Sequence[Work]:
        return await self._point(lambda db, now: listed(db, now, kind, uid, limit))

    async def give_work(self, work: Work, event: Event) -> bool:
        return await self._write(give, work, event)

    async def take_work(self, id: str, state: WorkState, event: Event) -> Work | None:
        return await self._write(take, id, state, event)
