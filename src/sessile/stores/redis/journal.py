"""The journal of endings in the directory: what is to be applied to each partition of an engine, in order.

An ending is first a row here, committed with its audit event, then applied to the engine. An engine that went back in
time accepts nobody until what it lacks is applied again (review 1, 12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol, TypeVar

import msgspec

from sessile.kernel.event import SYSTEM, ending_event
from sessile.kernel.ids import ALPHABET, home
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, new_epoch
from sessile.kernel.session import SessionKind
from sessile.stores import Backend
from sessile.stores.redis.layout import Everyone
from sessile.stores.sql.directory import all_policies, find_fact
from sessile.stores.sql.rows import epochs_of, instant, json_text, maybe_datetime, maybe_instant
from sessile.stores.sql.transaction import Db, Transaction
from sessile.trust import Delta

T = TypeVar("T")

KEPT = timedelta(days=30)
"""An engine that was restored from an older copy than this cannot catch up: it is emptied."""


class SQLDirectory(Backend, Protocol):
    """A store in SQL, as the directory beside an engine that holds the sessions."""

    async def change(self, work: Callable[[Transaction], T]) -> T:
        """Run a change in a transaction; return after the commit. Raises what it raises."""

    async def look(self, read: Callable[[Db], T]) -> T:
        """Read, in one transaction where `read` begins one."""


class EndSession(msgspec.Struct, tag="session", frozen=True):
    id: str
    at: datetime
    cause: str
    by: str
    contained_since: datetime | None = None


class SetPrincipal(msgspec.Struct, tag="principal", frozen=True):
    principal: Principal
    kept: bytes | None = None
    """The row of the session that goes on under the new epoch."""


class SetEveryone(msgspec.Struct, tag="everyone", frozen=True):
    everyone: Everyone


class SetPolicy(msgspec.Struct, tag="policy", frozen=True):
    policy: Policy


class SetDelta(msgspec.Struct, tag="delta", frozen=True):
    trust: int
    wait: int


class Renew(msgspec.Struct, tag="renew", frozen=True):
    """A session's token was rotated, which has happened already in an engine that went not back."""

    row: bytes


Op = EndSession | SetPrincipal | SetEveryone | SetPolicy | SetDelta | Renew
_op = msgspec.msgpack.Decoder(Op).decode
_encode = msgspec.msgpack.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """One row for one partition."""

    partition: str
    n: int
    previous: int
    """The number of the row before it for this partition; 0: it is the first."""
    op: Op
    head: bytes
    """Tells it from the row of that number in another history of the directory (one that was restored from a copy)."""
    previous_head: bytes | None
    """That of the row before it; None: it is the first."""


class Seed(msgspec.Struct, frozen=True):
    """What an empty partition begins with."""

    number: int
    head: bytes | None
    """Number and head of the last row; all that it did is in what follows."""
    everyone: Everyone
    policies: Sequence[Policy]
    delta: Delta


def spread(uid: str) -> str:
    """The fact that a person has sessions outside its own partition: in those of operators who act as that person."""
    return f"spread {uid}"


def partitions_of(principal: Principal, *, spread: bool) -> Sequence[str]:
    """Where a principal's state is read: people's own sessions are all in one; what others were handed is anywhere."""
    return home(principal.uid) if principal.kind is PrincipalKind.HUMAN and not spread else ALPHABET


def append(tx: Transaction, name: str, ops: Mapping[str, Op]) -> list[Entry]:
    """Journal an ending of the object `name`, as it is to be applied to each partition."""
    tx.announce(name)
    n = tx.mark()
    entries = []
    for partition, op in ops.items():
        last = _last(tx.db, partition)
        previous, previous_head = last or (0, None)
        at, encoded = instant(tx.now), _encode(op)
        tx.change(
            "INSERT INTO ending (partition, n, previous, at, op) VALUES (?, ?, ?, ?, ?)",
            partition, n, previous, at, encoded,
        )  # fmt: skip
        entries.append(Entry(partition, n, previous, op, _head(n, previous, at, encoded), previous_head))
    return entries


def _head(n: int, previous: int, at: int, op: bytes) -> bytes:
    # Instants to the microsecond, ids and new epochs are in it: another history has another one.
    return sha256(f"{n} {previous} {at} ".encode() + op).digest()[:16]


def _last(db: Db, partition: str) -> tuple[int, bytes] | None:
    sql = "SELECT n, previous, at, op FROM ending WHERE partition = ? ORDER BY n DESC LIMIT 1"
    found = db.execute(sql, (partition,)).fetchall()
    return (found[0][0], _head(*found[0])) if found else None


def overtake(tx: Transaction, partition: str, number: int, highest: int) -> None:
    """This directory has lost row `number` of the partition, which an engine, or a node, knows of: it was restored from
    a copy. End everybody's sessions, unless somebody has done it meanwhile, by a row above `highest`, the last one of
    all partitions that is known: so that no row to come is taken for one that is in force already."""
    tx.lock_everyone(change=True)
    tx.lock_record()
    if heads(tx.db).get(partition, 0) >= number:
        return
    if tx.rows("SELECT max(n) FROM journal")[0][0] < max(number, highest):
        tx.skip_to(max(number, highest))
    append(
        tx, "all", dict.fromkeys(ALPHABET, SetEveryone(set_everyone(tx, {kind: new_epoch() for kind in SessionKind})))
    )
    tx.record(
        ending_event(
            None, cause="the directory went back in time", by=SYSTEM, status=None, contained=False, password=False,
            revoked=None, sessions=[],
        )
    )  # fmt: skip


def heads(db: Db) -> dict[str, int]:
    """The number of the last row for each partition that has any."""
    return dict(db.execute("SELECT partition, max(n) FROM ending GROUP BY partition", ()).fetchall())


def head(db: Db, partition: str, number: int) -> bytes | None:
    """The head of a row; None: there is none, or no row any more."""
    sql = "SELECT n, previous, at, op FROM ending WHERE partition = ? AND n = ?"
    found = db.execute(sql, (partition, number)).fetchall()
    return _head(*found[0]) if found else None


def after(db: Db, partition: str, mark: int, limit: int = 500) -> list[Entry]:
    """Rows after row `mark`, in order."""
    rows = db.execute(
        "SELECT n, previous, at, op FROM ending WHERE partition = ? AND n > ? ORDER BY n LIMIT ?",
        (partition, mark, limit),
    ).fetchall()
    entries: list[Entry] = []
    before = head(db, partition, mark)
    for n, previous, at, op in rows:
        entries.append(Entry(partition, n, previous, _op(op), _head(n, previous, at, op), before))
        before = entries[-1].head
    return entries


def everyone(db: Db) -> Everyone:
    epochs, locked_until = db.execute("SELECT epochs, locked_until FROM everyone", ()).fetchall()[0]
    return Everyone(dict(epochs_of(epochs)), maybe_datetime(locked_until))


def set_everyone(
    tx: Transaction, changed: Mapping[SessionKind, bytes], locked_until: datetime | None = None
) -> Everyone:
    tx.lock_everyone(change=True)
    before = everyone(tx.db)
    found = Everyone(before.epochs | dict(changed), locked_until or before.locked_until)
    tx.change(
        "UPDATE everyone SET epochs = ?, locked_until = ?",
        json_text({kind.value: epoch.hex() for kind, epoch in found.epochs.items()}), maybe_instant(found.locked_until),
    )  # fmt: skip
    return found


def seed(db: Db, partition: str) -> Seed:
    # In this order: what has changed since the head was read is in the rows that come after it, and applied again.
    number, head = _last(db, partition) or (0, None)
    return Seed(number, head, everyone(db), all_policies(db), delta(db))


_DELTA = "delta"


def delta_fact(delta: Delta) -> tuple[str, bytes]:
    """Name and value of the fact."""
    return _DELTA, f"{delta.trust} {delta.wait}".encode()


def delta(db: Db) -> Delta:
    """Δ as the directory holds it, for partitions that are begun."""
    trust, _, wait = (find_fact(db, _DELTA) or b"0").partition(b" ")
    return Delta(int(trust), int(wait or trust))


def set_delta(tx: Transaction, delta: Delta) -> None:
    name, value = delta_fact(delta)
    tx.change("UPDATE fact SET value = ? WHERE name = ?", value, name)


def sweep(tx: Transaction) -> None:
    """Delete old rows. Each partition's last one stays: what comes after it refers to it."""
    tx.change(
        "DELETE FROM ending WHERE at < ? AND n < (SELECT max(last.n) FROM ending last"
        " WHERE last.partition = ending.partition)",
        instant(tx.now - KEPT),
    )  # fmt: skip
