"""Beginning a session, in the writer's transaction: nothing is minted from what has ended."""

from __future__ import annotations

from datetime import timedelta

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.kernel.decide import Denied, Snapshot, holds, is_live
from sessile.kernel.event import SYSTEM, Actor, actor_in, begun_event, ended_event
from sessile.kernel.issue import Draft, issue
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import OPERATOR, Principal, Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, SessionKind
from sessile.kernel.trace import shown
from sessile.stores.containing import aside
from sessile.stores.protocol import Begun
from sessile.stores.sql import leases, sessions, walking
from sessile.stores.sql.directory import find_policy, find_principal
from sessile.stores.sql.noticing import add_trace
from sessile.stores.sql.rows import datetime_of, epochs_of, instant
from sessile.stores.sql.snapshots import Loaded, by_id, by_token, select
from sessile.stores.sql.transaction import Transaction


def begin(tx: Transaction, draft: Draft) -> Begun:
    """See `Store.begin`."""
    tokens = () if draft.giver is None else (draft.giver,)
    tx.lock_everyone()
    tx.lock_principals((draft.uid,), tokens=tokens)
    principal = find_principal(tx.db, draft.uid) if draft.uid is not None else None
    policy = find_policy(tx.db, principal.policy if principal else "default")
    limited = draft.kind is SessionKind.BROWSER and policy is not None and policy.max_sessions is not None
    tx.lock_sessions(
        () if draft.replaces is None else (draft.replaces,), tokens=tokens, browsers_of=draft.uid if limited else None
    )
    epochs, locked_until = tx.rows("SELECT epochs, locked_until FROM everyone")[0]
    everyone = epochs_of(epochs)
    _may_begin(tx, draft, principal, everyone[SessionKind.BROWSER], locked_until)
    giver = _giver(tx, draft.giver) if draft.giver is not None else None
    if policy is None:
        raise Conflict("the principal's policy is missing from the store: set it again")
    resumed = by_token(tx.db, draft.resumes, tx.now) if draft.resumes is not None else None
    session = issue(
        draft, principal=principal, policy=policy, everyone=everyone[draft.kind], giver=giver, now=tx.now,
        resumed=resumed.snapshot if resumed is not None else None,
    )  # fmt: skip
    sessions.add(tx, session, draft.digest)
    if draft.lease is not None:
        leases.add(tx, session, draft.lease)
    ended = (
        *(_take_over(tx, draft.replaces, session) if draft.replaces is not None else ()),
        *_make_room(tx, session, policy),
    )
    tx.record(begun_event(session, giver.session if giver else None, draft.lease))
    if (seen := shown(session, giver.session if giver else None)) is not None:
        add_trace(tx, seen)
    begun = by_token(tx.db, draft.digest, tx.now)
    assert begun is not None  # noqa: S101 - inserted above
    return Begun(begun.snapshot, ended, tx.now, tx.delta if ended else timedelta(0))


def _may_begin(
    tx: Transaction, draft: Draft, principal: Principal | None, everyone: bytes, locked_until: int | None
) -> None:
    if draft.uid is None:
        return
    if principal is None:
        raise NotFound("no such principal")
    if principal.status is not Status.ACTIVE:
        raise Conflict(f"{principal.name} is {principal.status}", Denied(reason=Reason.DISABLED))
    fence = draft.fence
    if fence is not None and (fence.uid, fence.epoch, fence.everyone) != (principal.uid, principal.epoch, everyone):
        raise Conflict("the password or the epoch changed while signing in: sign in again")
    if draft.kind is SessionKind.BROWSER and locked_until is not None and OPERATOR not in principal.scopes:
        until = datetime_of(locked_until)
        if tx.now < until:
            raise Conflict(f"sign-in is locked by an operator until {until:%H:%M} UTC")


def _giver(tx: Transaction, digest: bytes) -> Snapshot:
    found = by_token(tx.db, digest, tx.now)
    giver = found.snapshot if found else None
    denied = holds(giver, tx.now)
    if giver is None or denied is not None:
        reason = denied.reason if denied is not None else Reason.UNKNOWN
        raise Conflict(f"the session that hands out is over: {reason}", denied)
    return giver


def _take_over(tx: Transaction, replaced: str, session: Session) -> tuple[str, ...]:
    found = by_id(tx.db, replaced, tx.now)
    if found is None or found.session.ended is not None:
        return ()
    if found.session.kind is SessionKind.ANONYMOUS:
        tx.change(
            "UPDATE session_data SET session = (SELECT seq FROM session WHERE id = ?) WHERE session = ?",
            session.id, found.seq,
        )  # fmt: skip
    by = actor_in(session)
    _end(tx, found, "replaced", by)
    return (found.session.id,)


def _make_room(tx: Transaction, session: Session, policy: Policy) -> tuple[str, ...]:
    if session.kind is not SessionKind.BROWSER or policy.max_sessions is None:
        return ()
    surplus = _live_browsers(tx, session.uid)
    over = len(surplus) - policy.max_sessions
    if over <= 0:
        return ()
    if policy.at_limit is AtLimit.REFUSE:
        raise LimitExceeded(f"{session.principal} has as many sessions as the policy allows: end one")
    others = (other for other in surplus if other.session.id != session.id)
    oldest = sorted(others, key=lambda other: (other.session.last_seen, other.seq))[:over]
    for other in oldest:
        _end(tx, other, "limit", SYSTEM)
    return tuple(other.session.id for other in oldest)


def _end(tx: Transaction, found: Loaded, cause: str, by: Actor) -> None:
    tx.record(ended_event(sessions.end(tx, found, cause, by), cause, by))
    walking.add(tx, aside(found.session, cause, by, tx.now))


def _live_browsers(tx: Transaction, uid: str | None) -> list[Loaded]:
    # What SQL leaves out is over for certain; `is_live` decides on the rest.
    where = "WHERE s.uid = ? AND s.kind = 'browser' AND s.ended IS NULL AND s.expires > ?"
    return [found for found in select(tx.db, where, (uid, instant(tx.now)), tx.now) if is_live(found.snapshot, tx.now)]
