"""Tokens that follow one another, the device's key, the last act, and the application's data.

Revocation wins over all of it.

The engine decides first; what it decided is then journalled, with its event, before the caller hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import msgspec

from sessile.errors import Conflict, NotFound, StoreUnavailable
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Snapshot, TokenState, holds, horizon, is_live, rebound
from sessile.kernel.event import Actor, Event, EventName, bound_event, changed_event, retired_event
from sessile.kernel.ids import partition_of
from sessile.kernel.issue import bound, elevate
from sessile.kernel.issue import confirm as confirmed
from sessile.kernel.policy import Policy
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.kernel.token import partition_of_digest
from sessile.stores.protocol import PREDECESSORS, TOMBSTONE, Replaced
from sessile.stores.redis import journal
from sessile.stores.redis.applying import keep
from sessile.stores.redis.beginning import keep_above
from sessile.stores.redis.engine import ATTEMPTS, BUSY, Change, Found, Outcome, asking, pause
from sessile.stores.redis.journal import Entry, Renew
from sessile.stores.redis.layout import Stored, Token, session_row
from sessile.stores.redis.reach import Reach
from sessile.stores.retiring import retired
from sessile.stores.sql.transaction import Transaction

_OLD = (TokenState.PREDECESSOR, TokenState.SUPERSEDED)


async def offer(reach: Reach, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
    """See `Store.offer`. Announces nothing: no yes turns into a no."""
    partition = partition_of_digest(presented)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, [b"t" + presented])
        snapshot, stored = found.present(presented), found.named(presented)
        if snapshot is None or stored is None or snapshot.token_state is not TokenState.CURRENT:
            return None
        if holds(snapshot, found.now) is not None:
            return None
        if stored.salt is not None:
            return stored.salt
        change = _unless_over(found, snapshot)
        tokens = (*stored.tokens, Token(successor, TokenState.SUCCESSOR, found.now))
        keep(change, msgspec.structs.replace(stored, salt=salt, tokens=tokens))
        change.put(b"t" + successor, stored.session.id.encode(), stored.keep_until)
        if (await reach.write(change)).done:
            return salt
    raise StoreUnavailable(BUSY)


async def confirm(reach: Reach, successor: bytes) -> None:
    """See `Store.confirm`."""
    partition = partition_of_digest(successor)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, [b"t" + successor])
        snapshot, stored = found.present(successor), found.named(successor)
        if snapshot is None or stored is None or snapshot.token_state is not TokenState.SUCCESSOR:
            return
        if not is_live(snapshot, found.now):
            return
        now = found.now
        states = {TokenState.CURRENT: TokenState.PREDECESSOR, TokenState.SUCCESSOR: TokenState.CURRENT}
        tokens = tuple(
            Token(token.digest, states[token.state], now) if token.state in states else token for token in stored.tokens
        )
        session = confirmed(stored.session, now)
        renewed = msgspec.structs.replace(stored, session=session, tokens=remembered(tokens), salt=None)
        if await _renew(reach, found, snapshot, stored, renewed):
            event = changed_event(EventName.SESSION_ROTATED, session)
            await _journalled(reach, renewed, event)
            return
    raise StoreUnavailable(BUSY)


async def replace(reach: Reach, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
    """See `Store.replace`."""
    partition = partition_of_digest(presented)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, [b"t" + presented])
        snapshot, stored = found.present(presented), found.named(presented)
        denied = holds(snapshot, found.now, stepping_up=True)
        if snapshot is None or stored is None or snapshot.policy is None or denied is not None:
            reason = denied.reason if denied is not None else Reason.UNKNOWN
            raise Conflict(f"this session cannot go on: {reason}", denied)
        session = elevate(stored.session, method, policy=snapshot.policy, now=found.now)
        if method is not None:
            session = rebound(session, snapshot.policy, by.client)
        renewed = superseded(stored, session, digest, snapshot.policy, found.now)
        if await _renew(reach, found, snapshot, stored, renewed):
            break
    else:
        raise StoreUnavailable(BUSY)
    name = EventName.SESSION_ROTATED if method is None else EventName.SESSION_ELEVATED
    event = changed_event(name, session, by, method)
    outcomes = await _journalled(reach, renewed, event)
    replaced = (await reach.look(partition, [b"t" + digest])).present(digest)
    if replaced is None:
        raise StoreUnavailable("the session is gone again: the engine lost it")
    return Replaced(replaced, *reach.settling(outcomes))


async def retire(reach: Reach, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
    """See `Store.retire`."""
    partition = partition_of(session_id)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, ["s" + session_id])
        stored = found.stored(session_id)
        if stored is None:
            raise NotFound(f"no session {session_id}")
        snapshot = found.view(stored)
        session = retired(snapshot, until, found.now)
        renewed = msgspec.structs.replace(stored, session=session)
        if await _renew(reach, found, snapshot, stored, renewed):
            event = retired_event(session, successor, by)
            await _journalled(reach, renewed, event)
            return session
    raise StoreUnavailable(BUSY)


async def bind(reach: Reach, session_id: str, device_key: str, by: Actor) -> bool:
    """See `Store.bind`."""
    partition = partition_of(session_id)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, ["s" + session_id])
        stored = found.stored(session_id)
        snapshot = found.view(stored) if stored is not None else None
        session = bound(snapshot, device_key, found.now) if snapshot is not None else None
        if stored is None or snapshot is None or session is None:
            return False
        if session == stored.session:
            return True
        renewed = msgspec.structs.replace(stored, session=session)
        if await _renew(reach, found, snapshot, stored, renewed):
            event = bound_event(session, by)
            await _journalled(reach, renewed, event)
            return True
    raise StoreUnavailable(BUSY)


def superseded(stored: Stored, session: Session, digest: bytes, policy: Policy, now: datetime) -> Stored:
    """Make `digest` the current token. Grace never crosses an event: all others that counted are over at once.

    A predecessor past its grace stays one: it is still a sign of theft.
    """
    tokens = [
        token
        if token.state is TokenState.SUPERSEDED
        or (token.state is TokenState.PREDECESSOR and now >= token.since + policy.grace)
        else Token(token.digest, TokenState.SUPERSEDED, now)
        for token in stored.tokens
    ]
    tokens.append(Token(digest, TokenState.CURRENT, now))
    keep_until = max(stored.keep_until, session.expires + TOMBSTONE)
    return Stored(session, remembered(tuple(tokens)), None, keep_until, stored.ended_by_row)


def remembered(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Of the tokens that were rotated out, only the last few."""
    old = sorted((t for t in tokens if t.state in _OLD), key=lambda t: (t.since, t.digest), reverse=True)
    forgotten = {token.digest for token in old[PREDECESSORS:]}
    return tuple(token for token in tokens if token.digest not in forgotten)


def _unless_over(found: Found, snapshot: Snapshot) -> Change:
    change = Change(found)
    change.only_if_unchanged()
    change.late = horizon(snapshot) if snapshot.token_state is not TokenState.SUPERSEDED else None
    return change


async def _renew(reach: Reach, found: Found, snapshot: Snapshot, before: Stored, after: Stored) -> bool:
    change = _unless_over(found, snapshot)
    keep(change, after)
    keep_above(change, after.session)
    known = {token.digest for token in before.tokens}
    kept = {token.digest for token in after.tokens}
    for digest in kept - known:
        change.put(b"t" + digest, after.session.id.encode(), after.keep_until)
    change.deletions += [change.key(b"t" + digest) for digest in known - kept]
    change.objects.append(f"s:{after.session.id}")
    return (await reach.write(change)).done


async def _journalled(reach: Reach, renewed: Stored, event: Event) -> list[Outcome]:
    """Record what the engine has done, and apply it wherever it has to be."""
    return await reach.apply(await reach.directory.change(lambda tx: _journal(tx, renewed, event)))


def _journal(tx: Transaction, renewed: Stored, event: Event) -> list[Entry]:
    session = renewed.session
    entries = journal.append(tx, f"s:{session.id}", {session.partition: Renew(session_row(renewed))})
    tx.record(event)
    return entries


async def touch(reach: Reach, seen: Mapping[str, datetime]) -> None:
    """See `Store.touch`. Announces nothing."""
    by_partition: dict[str, list[str]] = {}
    for session_id in seen:
        by_partition.setdefault(partition_of(session_id), []).append(session_id)
    for partition, ids in by_partition.items():
        for start in range(0, len(ids), 100):
            await _touch(reach, partition, ids[start : start + 100], seen)


async def _touch(reach: Reach, partition: str, ids: list[str], seen: Mapping[str, datetime]) -> None:
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, asking("s", ids))
        changes = {}
        for session_id in ids:
            stored = found.stored(session_id)
            # A node whose clock is ahead makes no session last longer.
            at = min(seen[session_id], found.now)
            # As it is now, not as it was at the act: a late flush revives nothing that was denied meanwhile.
            if stored is None or at <= stored.session.last_seen or not is_live(found.view(stored), found.now):
                continue
            change = Change(found)
            change.rows[change.key(session_id)] = found.rows[change.key(session_id)]
            change.rows[change.key("everyone")] = found.everyone_row
            if stored.session.uid is not None:
                change.rows[change.key(stored.session.uid)] = found.rows[change.key(stored.session.uid)]
            session = msgspec.structs.replace(stored.session, last_seen=at)
            row = session_row(msgspec.structs.replace(stored, session=session))
            change.put(session_id, row, same_end=True)
            changes[session_id] = change
        outcomes = await asyncio.gather(*[reach.write(change) for change in changes.values()])
        ids = [session_id for session_id, outcome in zip(changes, outcomes, strict=True) if not outcome.done]
        if not ids:
            return


async def write_data(reach: Reach, session_id: str, version: int, data: bytes) -> bool:
    """See `Store.write_data`. Announces nothing."""
    partition = partition_of(session_id)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        found = await reach.look(partition, ["s" + session_id])
        stored = found.stored(session_id)
        if stored is None or not is_live(found.view(stored), found.now):
            return False
        change = Change(found)
        key = change.key(f"data:{session_id}")
        row = await reach.engine.call(partition, "GET", key)
        if _data(row)[0] != version:
            return False
        change.only_if_unchanged()
        change.rows[key] = row
        change.put(f"data:{session_id}", b"%d\n" % (version + 1) + data, stored.keep_until)
        if (await reach.write(change)).done:
            return True
    raise StoreUnavailable(BUSY)


async def read_data(reach: Reach, session_id: str) -> tuple[int, bytes]:
    """See `Store.read_data`."""
    partition = partition_of(session_id)
    return _data(await reach.engine.call(partition, "GET", f"{{s:{partition}}}data:{session_id}"))


def _data(row: bytes | None) -> tuple[int, bytes]:
    if row is None:
        return 0, b""
    version, _, data = row.partition(b"\n")
    return int(version), data
