"""Applying the journal to an engine: in order, each row once, by whichever node comes first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from sessile.errors import StoreUnavailable
from sessile.kernel.session import Session, SessionKind
from sessile.stores.redis import journal
from sessile.stores.redis.engine import ATTEMPTS, BUSY, Change, Elsewhere, Engine, Found, Outcome, delta_row, pause
from sessile.stores.redis.journal import (
    EndSession,
    Entry,
    Renew,
    SetDelta,
    SetEveryone,
    SetPolicy,
    SetPrincipal,
    SQLDirectory,
)  # fmt: skip
from sessile.stores.redis.layout import (
    Stored,
    everyone_row,
    policy_key,
    policy_row,
    principal_row,
    session_row,
    stored_of,
    tag,
)  # fmt: skip
from sessile.stores.sql.transaction import Db
from sessile.trust import Delta

T = TypeVar("T")

logger = logging.getLogger("sessile")


class Applying:
    """`directory_id` is a fact of the directory, known once it is open."""

    def __init__(self, engine: Engine, directory: SQLDirectory) -> None:
        self._engine = engine
        self._directory = directory
        self.directory_id = ""
        self.highest: Callable[[], int] = int
        """The number of the last row of all partitions that this node has heard of."""

    async def all(self, entries: Iterable[Entry]) -> list[Outcome]:
        """Apply what was journalled just now, to all partitions at once. Raises StoreUnavailable."""
        return list(await asyncio.gather(*[self.one(entry) for entry in entries]))

    async def one(self, entry: Entry) -> Outcome:
        """Apply a row, and before it whatever is missing. Raises StoreUnavailable."""
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            found = await self._engine.read(entry.partition, _asked(entry))
            mark = found.stamp.mark
            if mark is not None and mark >= entry.n:
                # Done by somebody else, if it was done by this history's rows.
                head = await self._ask(lambda db, mark=mark: journal.head(db, entry.partition, mark))  # type: ignore[misc]
                if head is None:
                    await self.catch_up(entry.partition, mark)
                    continue
                outcome = await self._confirm(found, mark, head)
            elif mark != entry.previous:
                await self.catch_up(entry.partition)
                continue
            else:
                outcome = await self._engine.write(_change(found, entry))
            if outcome.done:
                return outcome
            if outcome.why == "changed":
                await self.catch_up(entry.partition)
        raise StoreUnavailable(BUSY)

    async def _confirm(self, found: Found, mark: int, head: bytes | None) -> Outcome:
        """That this is the last row there. It is a write, so that the acknowledgement is a quorum's too."""
        change = Change(found)
        change.before = change.after = mark
        change.rows[change.key("head")] = head
        return await self._engine.write(change)

    async def _ask(self, read: Callable[[Db], T]) -> T:
        """Read the directory where it is written to: another file may lie at its path since a moment ago."""
        return await self._directory.change(lambda tx: read(tx.db))

    async def catch_up(self, partition: str, known: int = 0) -> None:
        """Apply all rows that the partition lacks. `known`: the last row that this node has heard of.

        Raises StoreUnavailable."""
        while True:
            found = await self._engine.read(partition)
            stamp = found.stamp
            if stamp.directory not in ("", self.directory_id):
                raise StoreUnavailable(
                    "the engine holds the sessions of another directory: name another database of it, or empty it"
                )
            if stamp.mark is None:
                await self._begin(partition)
                continue
            mark = stamp.mark
            rows, last, head = await self._ask(
                lambda db, mark=mark: (  # type: ignore[misc]
                    journal.after(db, partition, mark), journal.heads(db).get(partition, 0),
                    journal.head(db, partition, mark),
                )
            )  # fmt: skip
            if (lost := max(mark, known)) > last:
                logger.error("the directory went back in time (restored from a copy?): everybody's sessions end")
                await self._directory.change(lambda tx, n=lost: journal.overtake(tx, partition, n, self.highest()))  # type: ignore[misc]
            elif rows and rows[0].previous != mark:
                await self._empty(found, "it was restored from a copy older than the journal")
            elif rows:
                for row in rows:
                    if not await self._apply(row):
                        break
            elif await self._is(found, mark, head):
                return

    async def _is(self, found: Found, mark: int, head: bytes | None) -> bool:
        """Whether the partition is still at that row, and in this history. One that is in another one is emptied."""
        outcome = _not_moved(found, await self._confirm(found, mark, head))
        if outcome.why == "changed":
            await self._empty(found, "what it holds is not this directory's")
        return outcome.done

    async def _apply(self, entry: Entry) -> bool:
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            found = await self._engine.read(entry.partition, _asked(entry))
            if found.stamp.mark is None or found.stamp.mark != entry.previous:
                return False  # somebody else is at it: look again
            outcome = await self._engine.write(_change(found, entry))
            if outcome.done:
                return True
            if outcome.why == "changed" and not await self._is(found, entry.previous, entry.previous_head):
                return False
        raise StoreUnavailable(BUSY)

    async def _begin(self, partition: str) -> None:
        """What a partition needs before anything can be in it. What is there without a mark is left over: it may lack
        any ending."""
        await self._clear(partition)
        found = await self._engine.read(partition)
        if found.stamp.mark is not None:
            return
        seed = await self._ask(lambda db: journal.seed(db, partition))
        change = Change(found)
        change.rows[change.key("mark")] = None
        change.after = seed.number
        if seed.head is not None:
            change.put("head", seed.head)
        change.put("everyone", everyone_row(seed.everyone))
        change.put("delta", delta_row(seed.delta, self.directory_id))
        for policy in seed.policies:
            change.sets[policy_key(partition, policy.name)] = (policy_row(policy), 0)
        change.objects.append("all")
        await self._engine.write(change)

    async def _empty(self, found: Found, why: str) -> None:
        """Unless somebody has got ahead: by its mark it is known to be empty."""
        change = Change(found)
        change.before = found.stamp.mark
        change.deletions.append(change.key("mark"))
        if _not_moved(found, await self._engine.write(change)).done:
            where = found.partition
            logger.error("partition %s of the engine is emptied, whoever is in it has to sign in again: %s", where, why)

    async def _clear(self, partition: str) -> None:
        tagged = tag(partition)
        kept = (f"{tagged}everyone", f"{tagged}delta")  # they say whose it is
        cursor = b"0"
        while True:
            cursor, keys = await self._engine.call(
                partition, "SCAN", cursor, "MATCH", tagged.replace("{", "\\{") + "*", "COUNT", "1000"
            )
            gone = [key for key in keys if not key.startswith(tuple(each.encode() for each in kept))]
            if gone and await self._engine.run(partition, "empty", f"{tagged}mark", *gone) < 0:
                return
            if cursor == b"0":
                return


def _not_moved(found: Found, outcome: Outcome) -> Outcome:
    """What is under way to another server is looked at when it has arrived. Raises Elsewhere."""
    if outcome.why == "moved":
        raise Elsewhere(f"partition {found.partition} is being moved")
    return outcome


def _asked(entry: Entry) -> list[str]:
    match entry.op:
        case EndSession(id=session_id):
            return ["s" + session_id]
        case Renew(row=row) | SetPrincipal(kept=bytes() as row):
            return ["s" + stored_of(row).session.id]
        case _:
            return []


def _change(found: Found, entry: Entry) -> Change:
    """What the row means here. A session that is gone needs nothing to be done."""
    change = Change(found)
    change.before, change.after = entry.previous, entry.n
    change.rows[change.key("head")] = entry.previous_head
    change.put("head", entry.head)
    match entry.op:
        case EndSession() as op:
            stored = found.stored(op.id)
            if stored is not None:
                _replace(change, stored, ended(stored, op, entry.n))
                if op.cause == "replaced" and stored.session.kind is SessionKind.ANONYMOUS:
                    # Whoever signed in over it has taken its data along.
                    change.deletions.append(change.key(f"data:{op.id}"))
            change.objects.append(f"s:{op.id}")
        case Renew(row=row):
            renewed = stored_of(row)
            renew(change, renewed)
            change.objects.append(f"s:{renewed.session.id}")
        case SetPrincipal() as op:
            change.put(op.principal.uid, principal_row(op.principal))
            if op.kept is not None:
                renew(change, stored_of(op.kept))
            change.objects.append(f"p:{op.principal.uid}")
        case SetEveryone(everyone=everyone):
            change.put("everyone", everyone_row(everyone))
            change.objects.append("all")
        case SetDelta() as op:
            change.put("delta", delta_row(Delta(op.trust, op.wait), found.stamp.directory))
            change.objects.append("delta")
        case SetPolicy(policy=policy):
            change.sets[policy_key(found.partition, policy.name)] = (policy_row(policy), 0)
            change.objects.append(f"policy:{policy.name}")
    return change


def ended(stored: Stored, op: EndSession, row: int) -> Stored:
    """The first cause and instant are kept; containment still widens."""
    session, by_row = stored.session, stored.ended_by_row
    if op.contained_since is not None:
        since = min(op.contained_since, session.contained_since or op.contained_since)
        session = msgspec.structs.replace(session, contained_since=since)
    if session.ended is None:
        session = msgspec.structs.replace(session, ended=op.at, cause=op.cause, ended_by=op.by)
        by_row = row
    return msgspec.structs.replace(stored, session=session, ended_by_row=by_row)


def renew(change: Change, renewed: Stored) -> None:
    """Put a session's later state in the place of an earlier one, unless that has ended or is gone."""
    stored = change.found.stored(renewed.session.id)
    if stored is None or stored.session.ended is not None:
        return
    new: Session = renewed.session
    if stored.session.generation >= new.generation and stored.session.epoch == new.epoch:
        return
    last_seen = max(stored.session.last_seen, new.last_seen)
    session = msgspec.structs.replace(new, last_seen=last_seen, contained_since=stored.session.contained_since)
    keep_until = max(stored.keep_until, renewed.keep_until)
    _replace(change, stored, msgspec.structs.replace(renewed, session=session, keep_until=keep_until))


def _replace(change: Change, before: Stored, after: Stored) -> None:
    """Write a session's row anew, with the keys of its tokens."""
    name = after.session.id
    change.rows[change.key(name)] = change.found.rows[change.key(name)]
    keep(change, after)
    known = {token.digest for token in before.tokens}
    for token in after.tokens:
        if token.digest not in known:
            change.put(b"t" + token.digest, name.encode(), after.keep_until)
    kept = {token.digest for token in after.tokens}
    change.deletions += [change.key(b"t" + digest) for digest in known - kept]


def keep(change: Change, stored: Stored) -> None:
    """Write a session's row, and see that everything of it stays as long as its tombstone."""
    session = stored.session
    change.put(session.id, session_row(stored), stored.keep_until)
    left = change.left(stored.keep_until)
    names = [f"data:{session.id}".encode(), f"by:{session.id}".encode()]
    names += [b"t" + token.digest for token in stored.tokens]
    change.expiries += [(change.key(name), left) for name in names]
    until = round(stored.keep_until.timestamp() * 1000)
    change.adds.append((change.key(f"keep:{session.kind.value}"), until, session.id.encode(), 0))
