"""One line of the audit record: something that happened, written with the change that caused it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied
from sessile.kernel.lease import Lease
from sessile.kernel.principal import Principal, Status
from sessile.kernel.session import Client, Session, SessionKind
from sessile.kernel.team import Team
from sessile.kernel.trace import ALLOWED


class EventName(StrEnum):
    SESSION_BEGUN = "session.begun"
    SESSION_DELEGATED = "session.delegated"
    SESSION_IMPERSONATED = "session.impersonated"
    KEY_MINTED = "key.minted"
    KEY_ROTATED = "key.rotated"
    TOKEN_LEAKED = "token.leaked"
    RESOURCE_TOUCHED = "resource.touched"
    ACCESS_DENIED = "access.denied"
    BUDGET_SET = "budget.set"
    SESSION_ELEVATED = "session.elevated"
    SESSION_ROTATED = "session.rotated"
    SESSION_BOUND = "session.bound"
    SESSION_UNREFRESHED = "session.unrefreshed"
    SESSION_REVOKED = "session.revoked"
    SESSION_OVER = "session.over"
    SESSION_CONTAINED = "session.contained"
    TOKEN_REPLAYED = "session.replayed"
    SESSION_MISMATCH = "session.mismatch"
    SIGN_IN_FAILED = "sign_in.failed"
    SIGN_IN_PENDING = "sign_in.pending"
    PRINCIPAL_REGISTERED = "principal.registered"
    PRINCIPAL_CHANGED = "principal.changed"
    TEAM_CREATED = "team.created"
    TEAM_JOINED = "team.joined"
    TEAM_LEFT = "team.left"
    TEAM_DELETED = "team.deleted"
    PRINCIPAL_REVOKED = "principal.revoked"
    PRINCIPAL_CONTAINED = "principal.contained"
    PRINCIPAL_DISABLED = "principal.disabled"
    PRINCIPAL_ENABLED = "principal.enabled"
    PRINCIPAL_DELETED = "principal.deleted"
    PRINCIPAL_ERASED = "principal.erased"
    PASSWORD_SET = "principal.password_set"
    FACTOR_ADDED = "factor.added"
    FACTOR_CHANGED = "factor.changed"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_CLONED = "factor.cloned"
    FACTOR_OFF = "factor.off"
    FACTOR_REFUSED = "factor.refused"
    FACTOR_RESET = "factor.reset"
    RECOVERY_CODES_MADE = "recovery.codes_made"
    RECOVERY_CODE_USED = "recovery.code_used"
    GUESSING = "sign_in.guessing"
    DEVICE_ADDED = "device.added"
    DEVICE_FORGOTTEN = "device.forgotten"
    RECOVERY_REQUESTED = "recovery.requested"
    RECOVERY_LINK = "recovery.link_made"
    LINK_REFUSED = "link.refused"
    ADDRESS_ADDED = "address.added"
    ADDRESS_CONFIRMED = "address.confirmed"
    ADDRESS_REMOVED = "address.removed"
    MAIL_UNDELIVERED = "mail.undelivered"
    LEASE_BEGUN = "lease.begun"
    LEASE_ENDED = "lease.ended"
    LEASE_OVERDUE = "lease.overdue"
    LEASE_SUCCESSOR_TAKEN = "lease.successor_taken"
    CONTAINMENT_SETTLED = "containment.settled"
    EVERYONE_REVOKED = "everyone.revoked"
    POLICY_CHANGED = "policy.changed"
    WORK_PARKED = "work.parked"
    WORK_RESUMED = "work.resumed"
    WORK_DROPPED = "work.dropped"
    WORK_DESTROYED = "work.destroyed"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_USED = "approval.used"
    REQUESTS_DENIED = "requests.denied"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """By whom a change was made."""

    name: str = "system"
    """A principal's name, `cli` or `system`."""
    uid: str | None = None
    """Whose name it is, where that is known."""
    session: str | None = None
    client: Client = Client()


SYSTEM = Actor()

Details = dict[str, str | int | list[str]]
"""What an event says beside its own members."""


def actor_in(session: Session, client: Client | None = None) -> Actor:
    """The holder of a session."""
    return Actor(
        name=session.principal or "anonymous", uid=session.uid, session=session.id, client=client or session.client
    )  # fmt: skip


def actor_of(by: Active | Actor | None, client: Client | None = None) -> Actor:
    """Who acts: the holder of a session, somebody named, or Sessile itself."""
    if by is None:
        return SYSTEM
    if isinstance(by, Actor):
        return by
    return actor_in(by.session, client)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, to whom, by whom, from where. Never a token, a hash or a password.

    The store stamps `seq` (its order) and `at` (its clock, aware UTC).
    """

    name: EventName
    seq: int = 0
    at: datetime | None = None
    principal: str | None = None
    """The name of the principal that it happened to."""
    uid: str | None = None
    session: str | None = None
    by: Actor = SYSTEM
    cause: str | None = None
    details: Details = {}


_BEGUN = {
    SessionKind.DELEGATED: EventName.SESSION_DELEGATED,
    SessionKind.KEY: EventName.KEY_MINTED,
    SessionKind.LEASE: EventName.LEASE_BEGUN,
}
_STATUS = {
    Status.ACTIVE: EventName.PRINCIPAL_ENABLED,
    Status.DISABLED: EventName.PRINCIPAL_DISABLED,
    Status.DELETED: EventName.PRINCIPAL_DELETED,
}
_LISTED = 100


def about(session: Session, action: str, decision: str = ALLOWED, resource: str | None = None) -> Details:
    """What an event about an agent or a service says besides which one it was: for whom (`for`: the uids of whom it is
    done for, down to who does it), which action on what, how it was decided, in which tree of sessions, and with what
    assurance. Nothing for a person's own session.
    """
    if session.kind.is_a_persons:
        return {}
    details: Details = {
        "for": [uid or "" for uid in session.acts_for], "action": action, "decision": decision,
        "correlation": session.root, "assurance": session.assurance,
    }  # fmt: skip
    return details if resource is None else details | {"resource": resource}


def registered_event(principal: Principal, by: Actor) -> Event:
    """A principal is new."""
    details: Details = {} if principal.owner is None else {"owner": principal.owner}
    return Event(
        name=EventName.PRINCIPAL_REGISTERED, principal=principal.name, uid=principal.uid, by=by, details=details
    )


def described_event(before: Principal, after: Principal, by: Actor) -> Event:
    """Who answers for a principal, or what it is for, was changed. `owner` and `owner_before` are uids."""
    details: Details = {}
    if after.owner is not None and after.owner != before.owner:
        details["owner"] = after.owner
        if before.owner is not None:
            details["owner_before"] = before.owner
    return Event(name=EventName.PRINCIPAL_CHANGED, principal=after.name, uid=after.uid, by=by, details=details)


def team_event(name: EventName, team: Team, by: Actor, member: Principal | None = None) -> Event:
    """A team is new or gone, or somebody joined or left it."""
    return Event(
        name=name, principal=None if member is None else member.name, uid=None if member is None else member.uid,
        by=by, details={"team": team.name, "team_uid": team.uid},
    )  # fmt: skip


def begun_event(session: Session, giver: Session | None, lease: Lease | None = None) -> Event:
    """A session began; for what was handed out, by whom, and of a lease, on what."""
    details: Details = {"kind": session.kind.value}
    if session.authentications and giver is None:
        details["method"] = session.authentications[-1].method.value
    if session.kind in _BEGUN:
        details |= {"scopes": sorted(session.scopes), "expires": session.expires.isoformat()}
    name = _BEGUN.get(session.kind, EventName.SESSION_BEGUN)
    if session.impersonation:
        name = EventName.SESSION_IMPERSONATED
    by = session if giver is None else giver
    resource = None if lease is None else lease.resource
    return Event(
        name=name, principal=session.principal, uid=session.uid, session=session.id,
        by=actor_in(by, session.client), details=details | about(session, name.value, resource=resource),
        cause=session.label if session.impersonation else None,
    )  # fmt: skip


def retired_event(session: Session, successor: str, by: Actor) -> Event:
    """Another key has taken the place of this one, which counts until it expires."""
    return Event(
        name=EventName.KEY_ROTATED, principal=session.principal, uid=session.uid, session=session.id, by=by,
        details={"successor": successor, "until": session.expires.isoformat()}
        | about(session, EventName.KEY_ROTATED.value),
    )  # fmt: skip


def touched_event(session: Session, resource: str, action: str, decision: str, client: Client) -> Event:
    """A session asked for a resource, for the first time in that way."""
    name = EventName.RESOURCE_TOUCHED if decision == ALLOWED else EventName.ACCESS_DENIED
    return Event(
        name=name, principal=session.principal, uid=session.uid, session=session.id,
        by=actor_in(session, client),
        cause=None if decision == ALLOWED else decision, details=about(session, action, decision, resource),
    )  # fmt: skip


def changed_event(name: EventName, session: Session, by: Actor | None = None, method: Method | None = None) -> Event:
    """A session's token was rotated, or it was elevated by a method."""
    return Event(
        name=name, principal=session.principal, uid=session.uid, session=session.id,
        by=by or actor_in(session),
        details={} if method is None else {"method": method.value},
    )  # fmt: skip


def bound_event(session: Session, by: Actor) -> Event:
    """A session is bound to a key of its browser from now on: `device_key` is the key's RFC 7638 thumbprint."""
    return Event(
        name=EventName.SESSION_BOUND, principal=session.principal, uid=session.uid, session=session.id, by=by,
        details={"device_key": session.client.device_key or ""},
    )  # fmt: skip


def ended_event(session: Session, cause: str, by: Actor) -> Event:
    """One session ended as a consequence of something else: the concurrency limit, its replacement."""
    return Event(
        name=EventName.SESSION_REVOKED, principal=session.principal, uid=session.uid, session=session.id, by=by,
        cause=cause, details=about(session, EventName.SESSION_REVOKED.value),
    )  # fmt: skip


def over_event(session: Session, above: str, cause: str, by: Actor, ending: int, containment: str) -> Event:
    """What an agent or a service held is over with what it hung on: `above` is a session's id or a principal's uid, and
    `ending` the number of the event that says so."""
    name = EventName.SESSION_OVER
    details: Details = {"kind": session.kind.value, "with": above, "ending": ending}
    if containment:
        details["containment"] = containment
    return Event(
        name=name, principal=session.principal, uid=session.uid, session=session.id, by=by, cause=cause,
        details=details | about(session, name.value),
    )  # fmt: skip


def denied_event(session: Session, denied: Denied, client: Client) -> Event:
    """An agent's or a service's token was used that counts for nothing, for the first time since. Why it does not is
    the cause; who ended it, and when, where that is known."""
    details: Details = {"ended_by": denied.by} if denied.by else {}
    if denied.at is not None:
        details["ended"] = denied.at.isoformat()
    return Event(
        name=EventName.ACCESS_DENIED, principal=session.principal, uid=session.uid, session=session.id,
        by=actor_in(session, client), cause=denied.cause or denied.reason,
        details=details | about(session, "use", denied.reason, "token"),
    )  # fmt: skip


def ending_event(
    target: Session | Principal | None, *, cause: str, by: Actor, status: Status | None, contained: bool,
    password: bool, revoked: int | None, sessions: list[str], containment: str | None = None,
) -> Event:  # fmt: skip
    """One call that ended a session, all of a principal or (target None) everybody."""
    details: Details = {"sessions": sessions[:_LISTED]}
    if revoked is not None:
        details["revoked"] = revoked
    if containment is not None:
        details["containment"] = containment
    if isinstance(target, Session):
        name = EventName.SESSION_CONTAINED if contained else EventName.SESSION_REVOKED
        return Event(
            name=name, principal=target.principal, uid=target.uid, session=target.id, by=by, cause=cause,
            details=details | about(target, name.value),
        )  # fmt: skip
    if target is None:
        return Event(name=EventName.EVERYONE_REVOKED, by=by, cause=cause, details=details)
    if target.owner is not None:
        details["owner"] = target.owner
    if status is not None:
        name = _STATUS[status]
    elif password:
        name = EventName.PASSWORD_SET
    else:
        name = EventName.PRINCIPAL_CONTAINED if contained else EventName.PRINCIPAL_REVOKED
    return Event(name=name, principal=target.name, uid=target.uid, by=by, cause=cause, details=details)
