"""Beginning a session: decided on what one script read, and written by one that checks that all of it still stands."""

from __future__ import annotations

import msgspec

from sessile.errors import Conflict, LimitExceeded, NotFound, SessileError, StoreUnavailable
from sessile.kernel.decide import Denied, Snapshot, TokenState, holds, horizon, is_live
from sessile.kernel.event import SYSTEM, Actor, actor_in, begun_event, ended_event
from sessile.kernel.ids import home, partition_of
from sessile.kernel.issue import Draft, issue
from sessile.kernel.lease import Lease
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import OPERATOR, Principal, PrincipalKind, Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, SessionKind
from sessile.kernel.token import partition_of_digest
from sessile.kernel.trace import shown
from sessile.stores.containing import aside
from sessile.stores.protocol import TOMBSTONE, Begun
from sessile.stores.redis import journal
from sessile.stores.redis.applying import keep
from sessile.stores.redis.engine import ATTEMPTS, BUSY, Change, Found, asking, pause
from sessile.stores.redis.journal import EndSession, Entry
from sessile.stores.redis.layout import Stored, Token, principal_row
from sessile.stores.redis.reach import Reach
from sessile.stores.sql import leases, walking
from sessile.stores.sql.noticing import add_trace
from sessile.stores.sql.transaction import Transaction

Over = list[tuple[Session, str, Actor]]
"""Sessions that end with it: which, why and by whom."""


async def begin(reach: Reach, draft: Draft) -> Begun:
    """See `Store.begin`.

    The engine decides first, and the record is written before anybody gets the token: a process that dies in
    between leaves a session that nobody can present.
    """
    partition = partition_of(draft.id)
    if partition_of_digest(draft.digest) != partition:
        raise ValueError("the token names another partition than the session's id")
    replaced, data = await _replaced(reach, draft)
    for attempt in range(ATTEMPTS):
        await pause(attempt)
        begun = await _attempt(reach, draft, replaced, data)
        if begun is not None:
            break
    else:
        raise StoreUnavailable(BUSY)
    session, giver, over = begun
    # The one that was replaced may lie in another partition: it ends by the journal alone.
    try:
        entries = await reach.directory.change(lambda tx: _record(tx, session, giver, over, draft.lease))
    except SessileError:
        await reach.remove(partition, session.id, draft.digest)
        raise
    outcomes = await reach.apply(entries)
    found = await reach.look(partition, [b"t" + draft.digest])
    snapshot = found.present(draft.digest)
    if snapshot is None:
        raise StoreUnavailable("the session is gone again: the engine lost it")
    return Begun(snapshot, tuple(one.id for one, _, _ in over), *(reach.settling(outcomes) if over else ()))


def _record(tx: Transaction, session: Session, giver: Session | None, over: Over, lease: Lease | None) -> list[Entry]:
    entries: list[Entry] = []
    if lease is not None:
        leases.add(tx, session, lease)
    for one, cause, by in over:
        op = EndSession(one.id, tx.now, cause, by.name)
        entries += journal.append(tx, f"s:{one.id}", {one.partition: op})
        tx.record(ended_event(one, cause, by))
        walking.put(tx, aside(one, cause, by, tx.now))
    tx.record(begun_event(session, giver, lease))
    if (seen := shown(session, giver)) is not None:
        add_trace(tx, seen)
    return entries


async def _replaced(reach: Reach, draft: Draft) -> tuple[Session | None, bytes | None]:
    if draft.replaces is None:
        return None, None
    partition = partition_of(draft.replaces)
    found = await reach.look(partition, ["s" + draft.replaces])
    stored = found.stored(draft.replaces)
    if stored is None or stored.session.ended is not None:
        return None, None
    data = None
    if stored.session.kind is SessionKind.ANONYMOUS:
        data = await reach.engine.call(partition, "GET", Change(found).key(f"data:{draft.replaces}"))
    return stored.session, data


async def _attempt(
    reach: Reach, draft: Draft, replaced: Session | None, data: bytes | None
) -> tuple[Session, Session | None, Over] | None:
    """None: what it was decided on has changed meanwhile."""
    partition = partition_of(draft.id)
    asked: list[bytes | str] = ["p" + (draft.uid or "-")]
    if draft.giver is not None:
        asked.append(b"t" + draft.giver)
    if replaced is not None and replaced.partition == partition:
        asked.append("s" + replaced.id)
    # A person's own sessions all lie in one partition: another one's is not gone on with.
    resumes = draft.resumes is not None and partition_of_digest(draft.resumes) == partition
    if draft.resumes is not None and resumes:
        asked.append(b"t" + draft.resumes)
    found = await reach.look(partition, asked)
    principal = found.principal(draft.uid)
    if draft.uid is not None and principal is None:
        await _bring(reach, found, draft.uid)
        return None
    policy = found.policy(principal)
    index: tuple[bytes, bytes] | None = None
    limited = draft.kind is SessionKind.BROWSER and policy is not None and policy.max_sessions is not None
    if limited:
        name = Change(found).key(f"of:{draft.uid}")
        ids = [each.decode() for each in await reach.engine.call(partition, "ZRANGE", name, "0", "-1")]
        index = (name, " ".join(ids).encode())
        found = await reach.look(partition, [*asked, *asking("s", ids)])
        principal = found.principal(draft.uid)
        policy = found.policy(principal)
    _may_begin(draft, principal, found)
    giver = _giver(found, draft.giver)
    if policy is None:
        raise Conflict("the principal's policy is missing from the store: set it again")
    everyone = found.everyone.epochs.get(draft.kind)
    if everyone is None:
        raise StoreUnavailable("the engine has lost the epoch of everybody")
    now = found.now
    session = issue(
        draft, principal=principal, policy=policy, everyone=everyone, giver=giver, now=now,
        resumed=found.present(draft.resumes) if draft.resumes is not None and resumes else None,
    )  # fmt: skip
    over: Over = []
    by = actor_in(session)
    if replaced is not None and ((here := found.stored(replaced.id)) is None or here.session.ended is None):
        over.append((replaced, "replaced", by))
    if limited:
        over += [(one, "limit", SYSTEM) for one in _surplus(found, session, policy, replaced)]

    change = Change(found)
    change.only_if_unchanged()
    if index is not None:
        change.indexes.append(index)
    if giver is not None:
        change.late = horizon(giver)
    change.rows |= {change.key(session.id): None, change.key(b"t" + draft.digest): None}
    if found.stored(session.id) is not None:
        raise Conflict("a session has that id already")
    _add(change, session, draft.digest)
    if data is not None:
        change.put(f"data:{session.id}", data, session.expires + TOMBSTONE)
    # Of the ones that end with it, those in this partition do so in the same script.
    for one, cause, whose in over:
        stored = found.stored(one.id)
        if stored is not None:
            closed = msgspec.structs.replace(stored.session, ended=now, cause=cause, ended_by=whose.name)
            keep(change, msgspec.structs.replace(stored, session=closed))
            change.objects.append(f"s:{one.id}")
    outcome = await reach.write(change)
    if not outcome.done:
        taken = await reach.look(partition, ["s" + session.id, b"t" + draft.digest])
        if taken.stored(session.id) is not None or any(
            value is not None for key, value in taken.rows.items() if key.endswith(draft.digest)
        ):
            raise Conflict("a session has that id or token already")
        return None
    return session, giver.session if giver is not None else None, over


async def _bring(reach: Reach, found: Found, uid: str) -> None:
    """A principal's state comes to a partition with its first session there: from the directory, unless an ending
    was applied meanwhile, which might have been its own."""
    principal = await reach.directory.principal(uid=uid)
    if principal is not None and principal.kind is PrincipalKind.HUMAN and found.partition != home(uid):
        # And then it is read again: what ends the person from now on is applied here, too.
        await reach.directory.set_fact(journal.spread(uid), b"1")
        principal = await reach.directory.principal(uid=uid)
    if principal is None:
        raise NotFound("no such principal")
    change = Change(found)
    change.before = found.stamp.mark
    change.rows[change.key(uid)] = None
    change.put(uid, principal_row(principal))
    await reach.write(change)


def _may_begin(draft: Draft, principal: Principal | None, found: Found) -> None:
    if principal is None:
        return
    if principal.status is not Status.ACTIVE:
        raise Conflict(f"{principal.name} is {principal.status}", Denied(reason=Reason.DISABLED))
    fence, everyone = draft.fence, found.everyone
    if fence is not None and (fence.uid, fence.epoch, fence.everyone) != (
        principal.uid, principal.epoch, everyone.epochs.get(SessionKind.BROWSER),
    ):  # fmt: skip
        raise Conflict("the password or the epoch changed while signing in: sign in again")
    until = everyone.locked_until
    if (
        draft.kind is SessionKind.BROWSER
        and until is not None
        and found.now < until
        and OPERATOR not in principal.scopes
    ):
        raise Conflict(f"sign-in is locked by an operator until {until:%H:%M} UTC")


def _giver(found: Found, digest: bytes | None) -> Snapshot | None:
    if digest is None:
        return None
    giver = found.present(digest)
    denied = holds(giver, found.now)
    if giver is None or denied is not None:
        reason = denied.reason if denied is not None else Reason.UNKNOWN
        raise Conflict(f"the session that hands out is over: {reason}", denied)
    return giver


def _surplus(found: Found, session: Session, policy: Policy, replaced: Session | None) -> list[Session]:
    gone = replaced.id if replaced is not None else None
    live = [
        stored.session
        for key in found.rows
        if (name := key.rpartition(b"}")[2]).startswith(b"ses_") and (stored := found.stored(name.decode())) is not None
        if stored.session.uid == session.uid and stored.session.kind is SessionKind.BROWSER
        if stored.session.id != gone and is_live(found.view(stored), found.now)
    ]
    over = len(live) + 1 - (policy.max_sessions or 0)
    if over <= 0:
        return []
    if policy.at_limit is AtLimit.REFUSE:
        raise LimitExceeded(f"{session.principal} has as many sessions as the policy allows: end one")
    return sorted(live, key=lambda other: (other.last_seen, other.id))[:over]


def _add(change: Change, session: Session, digest: bytes) -> None:
    keep_until = session.expires + TOMBSTONE
    stored = Stored(session, (Token(digest, TokenState.CURRENT, change.found.now),), None, keep_until)
    keep(change, stored)
    change.put(b"t" + digest, session.id.encode(), keep_until)
    created, left = round(session.created.timestamp() * 1_000_000), change.left(keep_until)
    name = session.id.encode()
    if session.uid is not None:
        change.adds.append((change.key(f"of:{session.uid}"), created, name, left))
        change.adds.append((change.key("all"), created, name, 0))
    if session.origin is not None:
        change.adds.append((change.key(f"by:{session.origin}"), created, name, left))
    keep_above(change, session)


def keep_above(change: Change, session: Session) -> None:
    """The tombstones above a session are kept as long as its own."""
    until = session.expires + TOMBSTONE
    for link in session.lineage:
        above = change.found.stored(link.session)
        if above is not None and above.keep_until < until:
            keep(change, msgspec.structs.replace(above, keep_until=until))
