"""What was noticed, and budgets: statements, and the methods of a store in SQL."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from sessile.errors import NotFound
from sessile.kernel.budget import Budget, Standing
from sessile.kernel.budget import spend as spent
from sessile.kernel.event import Actor
from sessile.kernel.trace import Trace, TraceKind
from sessile.stores.noticing import KEPT, MOST_TRACES, OTHERS, SHOWN_KEPT, Noticed, budget_event
from sessile.stores.sql.directory import MOST, find_principal
from sessile.stores.sql.rows import datetime_of, instant, json_text
from sessile.stores.sql.transaction import Db, Transaction

T = TypeVar("T")

_GROW = """
UPDATE trace SET times = times + ?, first = CASE WHEN first < ? THEN first ELSE ? END,
    last = CASE WHEN last > ? THEN last ELSE ? END
WHERE subject = ? AND kind = ? AND what = ? AND how = ? AND decision = ?
"""
_TRACE = "SELECT subject, kind, what, how, decision, first, last, times FROM trace WHERE kind = ?"
_STANDING = "SELECT uid, per_minute, overall, changed, minute, in_minute, spent FROM budget"


def notice(tx: Transaction, noticed: Sequence[Noticed]) -> None:
    """See `Notices.notice`."""
    # In one order everywhere, so that two transactions never wait for each other.
    for one in sorted(noticed, key=lambda each: _key(each.trace)):
        if add_trace(tx, one.trace) and one.event is not None:
            tx.record(one.event)


def add_trace(tx: Transaction, trace: Trace) -> bool:
    """Whether it is the first of its sort."""
    if _grown(tx, trace):
        return False
    kept = tx.rows("SELECT count(*) FROM trace WHERE subject = ? AND kind = ?", trace.subject, trace.kind.value)
    if kept[0][0] >= MOST_TRACES and trace.kind is not TraceKind.SHOWN:
        trace = msgspec.structs.replace(trace, what=OTHERS, how="")
    added = tx.change(
        "INSERT INTO trace (subject, kind, what, how, decision, first, last, times) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        *_key(trace), instant(trace.first), instant(trace.last), trace.times,
    )  # fmt: skip
    return added == 1 or not _grown(tx, trace)


def _grown(tx: Transaction, trace: Trace) -> bool:
    first, last = instant(trace.first), instant(trace.last)
    return tx.change(_GROW, trace.times, first, first, last, last, *_key(trace)) == 1


def _key(trace: Trace) -> tuple[str, str, str, str, str]:
    return trace.subject, trace.kind.value, trace.what, trace.how, trace.decision


def find_traces(
    db: Db, kind: TraceKind, subjects: Sequence[str] | None, what: Sequence[str] | None, since: datetime | None,
    limit: int,
) -> Sequence[Trace]:  # fmt: skip
    sql, values = _TRACE, [kind.value]
    conditions: list[Any] = [*values]
    for column, wanted in (("subject", subjects), ("what", what)):
        if wanted is not None:
            sql += f" AND {column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - names of our own
            conditions.append(json_text(tuple(wanted)))
    if since is not None:
        sql += " AND last >= ?"
        conditions.append(instant(since))
    sql += " ORDER BY last DESC, subject DESC, what DESC, how DESC, decision DESC LIMIT ?"
    rows = db.execute(sql, (*conditions, max(1, min(limit, MOST)))).fetchall()
    return [
        Trace(
            subject=subject, kind=TraceKind(kind_), what=what_, how=how, decision=decision,
            first=datetime_of(first), last=datetime_of(last), times=times,
        )
        for subject, kind_, what_, how, decision, first, last, times in rows
    ]  # fmt: skip


def set_budget(tx: Transaction, uid: str, budget: Budget | None, by: Actor) -> Standing:
    """See `Notices.set_budget`."""
    principal = find_principal(tx.db, uid)
    if principal is None:
        raise NotFound("no such principal")
    tx.change(
        "INSERT INTO budget (uid, changed) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid",
        uid, instant(tx.now),
    )  # fmt: skip
    standing = Standing(uid=uid, budget=budget, changed=tx.now)
    _put(tx, standing)
    tx.record(budget_event(principal, budget, by))
    return standing


def spend(tx: Transaction, calls: Mapping[str, int], since: datetime | None) -> tuple[datetime, Sequence[Standing]]:
    """See `Notices.spend`."""
    found: dict[str, Standing] = {}
    for uid in sorted(calls):
        # Nobody else counts in between: the row is held before it is read.
        if tx.change("UPDATE budget SET spent = spent WHERE uid = ?", uid):
            (row,) = tx.rows(f"{_STANDING} WHERE uid = ?", uid)
            found[uid] = spent(_standing(row), calls[uid], tx.now)
            _put(tx, found[uid])
    found |= {standing.uid: standing for standing in _changed(tx.db, since)}
    return tx.now, [standing for _, standing in sorted(found.items())]


def _changed(db: Db, since: datetime | None) -> Sequence[Standing]:
    if since is None:
        rows = db.execute(f"{_STANDING} WHERE per_minute IS NOT NULL OR overall IS NOT NULL ORDER BY uid").fetchall()
    else:
        rows = db.execute(f"{_STANDING} WHERE changed >= ? ORDER BY uid", (instant(since),)).fetchall()
    return [_standing(row) for row in rows]


def _put(tx: Transaction, standing: Standing) -> None:
    budget = standing.budget
    tx.change(
        "UPDATE budget SET per_minute = ?, overall = ?, changed = ?, minute = ?, in_minute = ?, spent = ?"
        " WHERE uid = ?",
        budget.per_minute if budget else None, budget.overall if budget else None, instant(standing.changed),
        standing.minute, standing.in_minute, standing.overall, standing.uid,
    )  # fmt: skip


def _standing(row: tuple[Any, ...]) -> Standing:
    uid, per_minute, overall, changed, minute, in_minute, calls = row
    limited = per_minute is not None or overall is not None
    return Standing(
        uid=uid, budget=Budget(per_minute=per_minute, overall=overall) if limited else None,
        changed=datetime_of(changed), minute=minute, in_minute=in_minute, overall=calls,
    )  # fmt: skip


def sweep(tx: Transaction) -> None:
    """Delete old traces."""
    tx.change("DELETE FROM trace WHERE last < ? AND kind <> 'shown'", instant(tx.now - KEPT))
    tx.change("DELETE FROM trace WHERE last < ?", instant(tx.now - SHOWN_KEPT))


class SQLNotices(abc.ABC):
    """`Notices` on an engine that speaks SQL; see `SQLStore` for how statements run."""

    @abc.abstractmethod
    async def _list(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object) -> T: ...

    async def traces(
        self, *, kind: TraceKind, subjects: Sequence[str] | None = None, what: Sequence[str] | None = None,
        since: datetime | None = None, limit: int = MOST_TRACES,
    ) -> Sequence[Trace]:  # fmt: skip
        return await self._list(lambda db, _: find_traces(db, kind, subjects, what, since, limit))

    async def set_budget(self, uid: str, budget: Budget | None, by: Actor) -> Standing:
        return await self._write(set_budget, uid, budget, by)

    async def spend(self, calls: Mapping[str, int], since: datetime | None) -> tuple[datetime, Sequence[Standing]]:
        if not calls:
            return await self._list(lambda db, now: (now, _changed(db, since)))
        return await self._write(spend, calls, since)
