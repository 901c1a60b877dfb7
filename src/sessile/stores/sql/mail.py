"""Mails that wait, and whose an address is: statements, and the methods of a store in SQL."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from sessile.kernel.event import Event
from sessile.stores.mail import Mail, retry_after
from sessile.stores.sql.rows import datetime_of, instant
from sessile.stores.sql.transaction import Db, Transaction

T = TypeVar("T")

_HOLDERS = 10


def at_address(db: Db, id_: str) -> Sequence[str]:
    rows = db.execute(
        "SELECT uid FROM credential WHERE kind = 'address' AND id = ? ORDER BY uid LIMIT ?", (id_, _HOLDERS)
    ).fetchall()
    return [uid for (uid,) in rows]


def find_cursor(db: Db, name: str) -> int | None:
    rows = db.execute("SELECT seq FROM cursor WHERE name = ?", (name,)).fetchall()
    return rows[0][0] if rows else None


def count_waiting(db: Db) -> int:
    found: int = db.execute("SELECT count(*) FROM mail").fetchall()[0][0]
    return found


def queue(tx: Transaction, name: str, after: int | None, to: int, mails: Sequence[Mail]) -> bool:
    """See `Mails.queue_mails`."""
    if after is None:
        moved = tx.change("INSERT INTO cursor (name, seq) VALUES (?, ?) ON CONFLICT DO NOTHING", name, to)
    else:
        moved = tx.change("UPDATE cursor SET seq = ? WHERE name = ? AND seq = ?", to, name, after)
    if not moved:
        return False
    for mail in mails:
        tx.insert(
            "mail",
            {
                "id": mail.id, "seq": mail.seq, "uid": mail.uid, "address": mail.address,
                "due": instant(mail.due or tx.now), "until": instant(mail.until), "attempts": mail.attempts,
            },
        )  # fmt: skip
    return True


def take(tx: Transaction, limit: int) -> Sequence[Mail]:
    """See `Mails.take_mails`."""
    rows = tx.rows(
        "SELECT id, seq, uid, address, until, attempts FROM mail WHERE due <= ? ORDER BY due, id LIMIT ?"  # noqa: S608
        f"{tx.skip_locked}",
        instant(tx.now), limit,
    )  # fmt: skip
    taken = [
        Mail(id=id_, seq=seq, uid=uid, address=address, until=datetime_of(until), attempts=attempts + 1)
        for id_, seq, uid, address, until, attempts in rows
    ]
    for mail in taken:
        due = instant(tx.now + retry_after(mail.attempts))
        tx.change("UPDATE mail SET due = ?, attempts = ? WHERE id = ?", due, mail.attempts, mail.id)
    return taken


def settle(tx: Transaction, id_: str, event: Event | None) -> bool:
    """See `Mails.settle_mail`."""
    if not tx.change("DELETE FROM mail WHERE id = ?", id_):
        return False
    if event is not None:
        tx.record(event)
    return True


class SQLMails(abc.ABC):
    """`Mails` on an engine that speaks SQL; see `SQLStore` for how statements run."""

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object) -> T: ...

    async def at_address(self, id: str) -> Sequence[str]:
        return await self._point(lambda db, _: at_address(db, id))

    async def cursor(self, name: str) -> int | None:
        return await self._point(lambda db, _: find_cursor(db, name))

    async def queue_mails(self, name: str, after: int | None, to: int, mails: Sequence[Mail]) -> bool:
        return await self._write(queue, name, after, to, mails)

    async def take_mails(self, limit: int) -> Sequence[Mail]:
        return await self._write(take, limit)

    async def settle_mail(self, id: str, event: Event | None = None) -> bool:
        return await self._write(settle, id, event)

    async def waiting_mails(self) -> int:
        return await self._point(lambda db, _: count_waiting(db))
