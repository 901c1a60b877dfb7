"""Ending: first a row of the journal in the directory, with its audit event, then applied to the engine."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from sessile.errors import Conflict, NotFound, StoreUnavailable
from sessile.kernel.containment import Before
from sessile.kernel.decide import Denied, holds, is_live
from sessile.kernel.event import Actor, ending_event
from sessile.kernel.ids import ALPHABET, partition_of
from sessile.kernel.issue import elevate
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, Status, new_epoch
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.stores.containing import before, cut_of, ending_of
from sessile.stores.protocol import End, Ended
from sessile.stores.redis import journal
from sessile.stores.redis.engine import Found, Outcome, asking
from sessile.stores.redis.journal import EndSession, Entry, Op, SetEveryone, SetPolicy, SetPrincipal
from sessile.stores.redis.layout import Stored, session_row
from sessile.stores.redis.listing import below, of
from sessile.stores.redis.reach import Reach, Unapplied
from sessile.stores.redis.rotation import superseded
from sessile.stores.sql import containing, owning, walking, working
from sessile.stores.sql.directory import find_fact, find_policy, find_principal, put_credential, save_principal
from sessile.stores.sql.directory import set_policy as set_policy_row
from sessile.stores.sql.transaction import Transaction

SHOWN = 100
"""How many ids an acknowledgement names."""
LOOKED_AT = 256
"""Up to so many sessions are looked at one by one to count them."""
EXAMPLES = 10
"""Where there are more than that, so many are looked at, to be named: an ending costs the same whatever it ends."""


async def end(reach: Reach, end: End) -> Ended:
    """See `Store.end`."""
    if (end.session is not None) + (end.uid is not None) + bool(end.everyone) != 1:
        raise ValueError("an ending names exactly one of session, uid and everyone")
    # Repeated because it was journalled and not applied: it is not journalled again.
    again = next((one for one in reach.unapplied if one.end is end), None)
    if again is not None:
        outcomes = await reach.apply(again.entries)
        reach.unapplied.remove(again)
        return _ended(reach, again.entries, outcomes, again.revoked, again.ids)
    if end.session is not None:
        return await _session(reach, end, end.session)
    if end.uid is not None:
        return await _principal(reach, end, end.uid)
    return await _apply(reach, end, await reach.directory.change(lambda tx: _everyone(tx, end)), None, [])


async def _apply(reach: Reach, end: End, entries: list[Entry], revoked: int | None, ids: list[str]) -> Ended:
    try:
        return _ended(reach, entries, await reach.apply(entries), revoked, ids)
    except StoreUnavailable as error:
        reach.unapplied.append(Unapplied(end, entries, revoked, ids))
        raise StoreUnavailable(f"journalled, and in force as soon as the engine can be reached: {error}") from error


def _ended(reach: Reach, entries: list[Entry], outcomes: list[Outcome], revoked: int | None, ids: list[str]) -> Ended:
    at, wait, reached = reach.settling(outcomes)
    return Ended(at, entries[-1].n, revoked, tuple(ids[:SHOWN]), wait, reached, reach.engine.servers.durable)


def _up(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=-(-nanoseconds // 1000))


async def _session(reach: Reach, end: End, session_id: str) -> Ended:
    partition = partition_of(session_id)
    found = await reach.look(partition, ["s" + session_id])
    stored = found.stored(session_id)
    if stored is None:
        raise NotFound(f"no session {session_id}")
    # What is over has nothing alive below it.
    ids: list[str] = []
    counted: int | None = None if end.containment is not None else 0
    if counted is not None and is_live(found.view(stored), found.now):
        candidates = [session_id, *await below(reach, partition, session_id, LOOKED_AT)]
        ids = await _live(reach, partition, candidates)
        counted = len(ids) if len(candidates) <= LOOKED_AT else None
    session = stored.session
    entries = await reach.directory.change(lambda tx: _journal_session(tx, end, session, counted, ids))
    done = await _apply(reach, end, entries, counted, ids)
    after = (await reach.engine.read(partition, ["s" + session_id])).stored(session_id)
    if counted is not None and after is not None and after.ended_by_row != entries[-1].n:
        return msgspec.structs.replace(done, revoked=0, sessions=())  # somebody else was first
    return done


def _journal_session(tx: Transaction, end: End, session: Session, revoked: int | None, ids: list[str]) -> list[Entry]:
    op = EndSession(session.id, tx.now, end.cause, end.by.name, end.contain_since)
    entries = journal.append(tx, f"s:{session.id}", {session.partition: op})
    _record(tx, end, session, revoked, ids, before(session))
    _contain(tx, end, session, before(session), entries)
    return entries


def _contain(tx: Transaction, end: End, target: Session | Principal, was: Before, entries: list[Entry]) -> None:
    if end.containment is not None:
        containing.add(
            tx, cut_of(end, target, was, Ended(tx.now, entries[-1].n, None, (), _up(journal.delta(tx.db).wait)))
        )


def _record(
    tx: Transaction, end: End, target: Session | Principal | None, revoked: int | None, ids: list[str],
    was: Before | None,
) -> None:  # fmt: skip
    event = ending_event(
        target, cause=end.cause, by=end.by, status=end.status, contained=end.contain_since is not None,
        password=end.credential is not None, revoked=revoked, sessions=ids, containment=end.containment,
    )  # fmt: skip
    tx.record(event)
    if target is not None and was is not None:
        walking.put(tx, ending_of(end, target, was, tx.now))
    working.destroy(tx, end)


async def _principal(reach: Reach, end: End, uid: str) -> Ended:
    known = await reach.directory.principal(uid=uid)
    if known is None or (known.status is Status.DELETED and end.status not in (None, Status.DELETED)):
        # What a deleted principal handed out can still be contained; itself it does not come back.
        raise NotFound("no such principal")
    if end.policy is not None and await reach.directory.policy(end.policy) is None:
        raise NotFound(f"no policy is named {end.policy!r}")
    kept, found = await _kept(reach, end.keep, uid) if end.keep is not None else (None, None)
    counted: int | None = None if end.containment is not None else 0
    ids: list[str] = []
    spread = await reach.directory.fact(journal.spread(uid)) is not None
    try:
        for partition in journal.partitions_of(known, spread=spread) if counted is not None else ():
            candidates = await of(reach, partition, uid, LOOKED_AT)
            ids += [one for one in await _live(reach, partition, candidates) if one != end.keep]
            counted = None if counted is None or len(candidates) > LOOKED_AT else len(ids)
    except StoreUnavailable:
        counted, ids = None, []  # it is journalled all the same, and applied as soon as the engine is back
    entries = await reach.directory.change(lambda tx: _journal_principal(tx, end, uid, kept, found, counted, ids))
    return await _apply(reach, end, entries, counted, ids)


async def _kept(reach: Reach, session_id: str, uid: str) -> tuple[Stored, Found]:
    found = await reach.look(partition_of(session_id), ["s" + session_id])
    stored = found.stored(session_id)
    denied = holds(found.view(stored) if stored is not None else None, found.now, stepping_up=True)
    if stored is None or stored.session.uid != uid or denied is not None:
        raise Conflict("the session that was to go on is over", denied)
    return stored, found


def _journal_principal(
    tx: Transaction, end: End, uid: str, kept: Stored | None, found: Found | None, revoked: int | None, ids: list[str],
) -> list[Entry]:  # fmt: skip
    owning.lock_to_end(tx, uid, end.status)
    known = find_principal(tx.db, uid)
    if known is None:
        raise NotFound("no such principal")
    if kept is not None and kept.session.epoch != known.epoch:
        # Of two changes at once, from two sessions, the first one wins.
        raise Conflict("the session that was to go on is over", Denied(reason=Reason.REVOKED, session=kept.session.id))
    after = msgspec.structs.replace(
        known, epoch=new_epoch(), status=end.status or known.status, policy=end.policy or known.policy,
        scopes=known.scopes if end.scopes is None else end.scopes,
    )  # fmt: skip
    if end.contain_since is not None:
        since = min(end.contain_since, known.contained_since or end.contain_since)
        after = msgspec.structs.replace(after, contained_since=since, contained_at=tx.now)
    save_principal(tx, after)
    if after.status is Status.DELETED:
        tx.change("DELETE FROM credential WHERE uid = ?", uid)
    elif end.credential is not None:
        put_credential(tx, end.credential)
    row = None
    if kept is not None and found is not None:
        policy = find_policy(tx.db, after.policy)
        if policy is None:
            raise Conflict("the principal's policy is missing from the store: set it again")
        row = session_row(_carry_on(kept, after, end, policy, found.now))
    ops: dict[str, Op] = {}
    spread = find_fact(tx.db, journal.spread(uid)) is not None
    for partition in journal.partitions_of(after, spread=spread):
        here = row if kept is not None and kept.session.partition == partition else None
        ops[partition] = SetPrincipal(after, here)
    entries = journal.append(tx, f"p:{uid}", ops)
    _record(tx, end, after, revoked, ids, before(known))
    _contain(tx, end, after, before(known), entries)
    return entries


def _carry_on(kept: Stored, principal: Principal, end: End, policy: Policy, now: datetime) -> Stored:
    session = elevate(kept.session, end.keep_method, policy=policy, now=now)
    session = msgspec.structs.replace(session, epoch=principal.epoch)
    if end.keep_digest is None:
        return msgspec.structs.replace(kept, session=session)
    return superseded(kept, session, end.keep_digest, policy, now)


def _everyone(tx: Transaction, end: End) -> list[Entry]:
    locked_until = tx.now + end.lock_sign_in if end.lock_sign_in is not None else None
    everyone = journal.set_everyone(tx, {kind: new_epoch() for kind in end.everyone}, locked_until)
    entries = journal.append(tx, "all", dict.fromkeys(ALPHABET, SetEveryone(everyone)))
    _record(tx, end, None, None, [], None)
    return entries


async def set_policy(reach: Reach, policy: Policy, by: Actor) -> Ended:
    """See `Directory.set_policy`."""
    entries = await reach.directory.change(lambda tx: _policy(tx, policy, by))
    return _ended(reach, entries, await reach.apply(entries), None, [])


def _policy(tx: Transaction, policy: Policy, by: Actor) -> list[Entry]:
    set_policy_row(tx, policy, by)
    return journal.append(tx, f"policy:{policy.name}", dict.fromkeys(ALPHABET, SetPolicy(policy)))


async def _live(reach: Reach, partition: str, ids: list[str]) -> list[str]:
    """Those of the candidates that are alive; of very many, of the first ones."""
    alive: list[str] = []
    looked_at = ids if len(ids) <= LOOKED_AT else ids[:EXAMPLES]
    for start in range(0, len(looked_at), 100):
        some = looked_at[start : start + 100]
        found = await reach.look(partition, asking("s", some))
        for one in some:
            stored = found.stored(one)
            if stored is not None and is_live(found.view(stored), found.now):
                alive.append(one)
    return alive
