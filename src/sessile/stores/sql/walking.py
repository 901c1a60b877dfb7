"""Walks to do after endings, in SQL, and the methods of a store in SQL."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from sessile.kernel.containment import Cut
from sessile.kernel.event import Event
from sessile.stores.sql.rows import json_text
from sessile.stores.walking import Walk

if TYPE_CHECKING:
    from sessile.stores.sql.transaction import Db, Transaction

T = TypeVar("T")

_MOST = 1_000
_HANDED_OUT = "SELECT 1 FROM session WHERE origin = ? LIMIT 1"
_HAS_ANY = "SELECT 1 FROM session WHERE uid = ? LIMIT 1"
_cut = msgspec.json.Decoder(Cut).decode


def add(tx: Transaction, cut: Cut | None) -> None:
    """Write that there is a walk to do. Behind the ending's event; nothing can be handed out any more."""
    if cut is not None and tx.rows(*((_HANDED_OUT, cut.session) if cut.session is not None else (_HAS_ANY, cut.uid))):
        put(tx, cut)


def put(tx: Transaction, cut: Cut | None) -> None:
    """The same where the sessions are elsewhere, and may be anything."""
    if cut is not None:
        tx.insert("walk", {"n": tx.recorded[-1].seq, "cut": json_text(cut), "after": "", "done": ""})


def find(db: Db, limit: int) -> Sequence[Walk]:
    """See `Walks.walks`."""
    rows = db.execute(
        "SELECT n, cut, after, done FROM walk ORDER BY n LIMIT ?", (max(1, min(limit, _MOST)),)
    ).fetchall()
    return [Walk(n=n, cut=_cut(cut), after=after, done=done) for n, cut, after, done in rows]


def walk_on(tx: Transaction, walk: Walk, to: Walk | None, events: Sequence[Event]) -> bool:
    """See `Walks.walk_on`."""
    if events:
        tx.lock_record()  # before the row: as endings take them
    if to is None:
        written = tx.change("DELETE FROM walk WHERE n = ? AND after = ? AND done = ?", walk.n, walk.after, walk.done)
    else:
        change = "UPDATE walk SET after = ?, done = ? WHERE n = ? AND after = ? AND done = ?"
        written = tx.change(change, to.after, to.done, walk.n, walk.after, walk.done)
    if not written:
        return False
    for event in events:
        tx.record(event)
    return True


class SQLWalks(abc.ABC):
    """`Walks` on an engine that speaks SQL; see `SQLStore` for how statements run."""

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _later(self, work: Callable[..., T], *args: object) -> T: ...

    async def walks(self, limit: int = _MOST) -> Sequence[Walk]:
        return await self._point(lambda db, _: find(db, limit))

    async def walk_on(self, walk: Walk, to: Walk | None, events: Sequence[Event]) -> bool:
        return await self._later(walk_on, walk, to, events)
