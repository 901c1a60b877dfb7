"""The one place where access is decided. Pure: what the store read, what is asked, and the time."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, Protocol

import msgspec

from sessile.kernel.policy import Mismatch, Policy, Trait
from sessile.kernel.principal import Principal, Status, covers
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.session import Client, Link, Session, SessionInfo, SessionKind, Tie, act, in_order


class TokenState(StrEnum):
    """What a stored token is to its session."""

    CURRENT = "current"
    SUCCESSOR = "successor"
    """Offered by an age-based rotation, not presented yet."""
    PREDECESSOR = "predecessor"
    """Rotated out by age; counts for the grace after its successor's first use."""
    SUPERSEDED = "superseded"
    """Rotated out by an event: over at once."""


# Bound once: see `kernel.session`.
_ACTIVE = Status.ACTIVE
_CURRENT, _PREDECESSOR = TokenState.CURRENT, TokenState.PREDECESSOR


class Ancestor(msgspec.Struct, frozen=True):
    """One ancestor as the store found it; what is gone is None, and missing is dead."""

    link: Link
    session: Session | None
    principal: Principal | None
    policy: Policy | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision needs, read at one instant of the store."""

    session: Session
    principal: Principal | None
    policy: Policy | None
    ancestors: tuple[Ancestor, ...] = ()
    everyone: Mapping[SessionKind, bytes]
    token_state: TokenState = TokenState.CURRENT
    token_since: datetime | None = None
    """For a predecessor: when its successor was first presented. For the others: when it got its state."""
    now: datetime
    """The store's clock at the read."""
    mark: int
    """The number of the last journal row that the read has seen."""


class Requirement(msgspec.Struct, frozen=True):
    """What a route demands beyond a live session."""

    assurance: int = 0
    fresh: timedelta | None = None
    """The longest age of the latest authentication event."""
    scopes: frozenset[str] = frozenset()
    below_policy: bool = False
    """The step-up itself: a session whose assurance is below its policy's may come here."""


NOTHING_MORE = Requirement()


class Touches(Protocol):
    """Where is noted what a session touches."""

    def touched(self, session: Session, resource: str, action: str = "", decision: str = "allowed") -> None: ...


class Active:
    """A check that let in. Truthy. Made by `check`, `peek` and what begins or rotates, never by hand: it is the
    proof that a token was presented, which everything that mints demands.
    """

    __slots__ = ("_traces", "chain", "digest", "due", "rotate_at", "seed", "session", "token_state")

    def __init__(
        self,
        session: Session,
        *,
        digest: bytes,
        seed: bytes,
        token_state: TokenState,
        rotate_at: datetime | None,
        due: bool = False,
        traces: Touches | None = None,
        chain: tuple[str, ...] = (),
    ) -> None:
        self._traces = traces
        self.chain = chain or (session.principal or "anonymous",)
        """Who acts for whom, by name: first the one for whom all is done, last the one who does it."""
        self.session = session
        self.digest = digest
        self.seed = seed
        self.token_state = token_state
        self.rotate_at = rotate_at
        """When the presented token is due for a successor; None: never."""
        self.due = due
        """Whether it was at the check."""

    @property
    def subject(self) -> str:
        """For whom all is done: a person, or what holds a key."""
        return self.chain[0]

    @property
    def act(self) -> dict[str, Any] | None:
        """`act` of RFC 8693, section 4.1: who acts for the subject, and who before. None: it does so itself."""
        return act(self.chain)

    def touch_resource(self, resource: str, action: str = "", *, decision: str = "allowed") -> None:
        """Note that this session asked for a resource (`secret:prod/db`, `tool:search`), for the blast radius.

        Cheap: it is added up and written later. An agent's first of a sort is an event, too. At most 200 printable
        characters each; `decision` is `allowed`, or why it was denied.

        Raises:
            ValueError: not such texts.
        """
        if self._traces is not None:
            self._traces.touched(self.session, resource, action, decision)

    def __bool__(self) -> Literal[True]:
        return True

    def __repr__(self) -> str:
        return f"Active({self.session.principal!r}, {self.session.id})"


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A check that did not let in. Falsy. `reason` says why and `cure` what would help."""

    reason: Reason
    session: str | None = None
    """The session that the token named, where it is known."""
    at: datetime | None = None
    """Since when: the end, the expiry."""
    cause: str | None = None
    by: str | None = None
    wait: timedelta | None = None
    """After how long the same may be asked again, where a budget was used up; None: waiting does not help."""

    @property
    def cure(self) -> Cure:
        return self.reason.cure

    def __bool__(self) -> Literal[False]:
        return False


def decide(
    snapshot: Snapshot | None,
    now: datetime,
    *,
    client: Client | None = None,
    requirement: Requirement = NOTHING_MORE,
) -> Denied | None:
    """None if the token that `snapshot` was read for lets its holder do what is asked, else why not.

    The first reason found counts, in this order: the session itself, its principal, its ancestors, the token,
    the client, the requirement.
    """
    if snapshot is None:
        return Denied(reason=Reason.UNKNOWN)
    # `Denied` is falsy: it is compared with None, never chained with `or`.
    if (denied := _counts(snapshot, now)) is not None:
        return denied
    session, policy = snapshot.session, snapshot.policy
    if policy is not None and policy.binding and not shows(client, binding(session, policy)):
        if policy.mismatch is Mismatch.STEP_UP:
            if not requirement.below_policy:
                return _denied(Reason.STALE_AUTHENTICATION, session, None, UNBOUND)
        elif policy.mismatch is not Mismatch.NOTE:
            return _denied(Reason.UNBOUND, session)
    if not requirement.below_policy and (denied := _policy_met(snapshot)) is not None:
        return denied
    return demand(session, requirement, now)


def holds(snapshot: Snapshot | None, now: datetime, *, stepping_up: bool = False) -> Denied | None:
    """Whether the proof of an earlier check still counts, inside the transaction that acts on it.

    All of `decide` but the client and the requirement, which that check has seen. `stepping_up`: the session may
    be below its policy's assurance, and its token may have been superseded within the grace: of two racing
    rotations by an event the second wins.
    """
    if snapshot is None:
        return Denied(reason=Reason.UNKNOWN)
    denied = _counts(snapshot, now)
    if stepping_up and denied is not None and denied.reason is Reason.SUPERSEDED:
        since, policy = snapshot.token_since, snapshot.policy
        return None if since and policy and now < since + policy.grace else denied
    return denied if denied is not None or stepping_up else _policy_met(snapshot)


def resumable(snapshot: Snapshot | None, client: Client | None, now: datetime) -> bool:
    """Whether a session is over by inactivity alone, and its token is one that would still count.

    Before the overall limit, and at assurance 2, a password together with the session's token is then enough to go on
    as before (63B-4, 2.2.3); at assurance 3 it is not (2.3.3), and at 1 a password gives all that there was.
    """
    if snapshot is None or snapshot.policy is None or snapshot.session.kind is not SessionKind.BROWSER:
        return False
    session, policy = snapshot.session, snapshot.policy
    denied = _session_alive(snapshot, now)
    return (
        session.assurance == 2
        and denied is not None
        and denied.reason is Reason.IDLE
        and _token_counts(snapshot, now) is None
        and shows(client, binding(session, policy))
    )


def demand(session: Session, requirement: Requirement, now: datetime) -> Denied | None:
    """What a route demands of a session that is alive. None: it is met."""
    if requirement is NOTHING_MORE:
        return None
    if not covers(session.scopes, requirement.scopes):
        return _denied(Reason.OUT_OF_SCOPE, session)
    if session.assurance < requirement.assurance:
        return _denied(Reason.ASSURANCE, session)
    if requirement.fresh is not None:
        at = session.authenticated
        if at is None or now - at >= requirement.fresh:
            return _denied(Reason.STALE_AUTHENTICATION, session, at)
    return None


def horizon(snapshot: Snapshot) -> datetime:
    """The first instant at which `decide` would deny what it now allows, if nothing is written until then.

    What a cached answer may be given until.
    """
    policy = snapshot.policy
    assert policy is not None  # noqa: S101 - `decide` denied otherwise
    end = _limit(snapshot.session, policy)
    for ancestor in snapshot.ancestors:
        if ancestor.link.tie is Tie.PARENT and ancestor.session is not None and ancestor.policy is not None:
            end = min(end, _limit(ancestor.session, ancestor.policy))
    if snapshot.token_state is _PREDECESSOR and snapshot.token_since is not None:
        end = min(end, snapshot.token_since + policy.grace)
    return end


def expires_at(session: Session, policy: Policy) -> datetime:
    """The overall limit in force: as issued or by the policy of now, whichever is earlier (loosening never revives)."""
    if session.kind.outlives_its_giver:
        overall = session.created + policy.key_lifetime
    else:
        overall = (session.proved or session.created) + policy.overall
    return min(session.expires, overall)


def idle_expires_at(session: Session, policy: Policy) -> datetime | None:
    """The inactivity limit in force; None where there is none. Only sessions that a person sits before have one."""
    if not session.kind.is_a_persons:
        return None
    issued, now = session.idle, policy.idle
    idle = issued if now is None or (issued is not None and issued < now) else now
    return None if idle is None else session.last_seen + idle


def info(snapshot: Snapshot, now: datetime) -> SessionInfo:
    """The session to show in a list."""
    session, policy = snapshot.session, snapshot.policy or Policy()
    denied = _session_alive(snapshot, now)
    return SessionInfo(
        id=session.id, principal=session.principal, kind=session.kind, parent=session.parent, origin=session.origin,
        policy=session.policy, assurance=session.assurance, authentications=session.authentications,
        created=session.created, last_seen=session.last_seen, idle_expires=idle_expires_at(session, policy),
        expires=expires_at(session, policy), scopes=session.scopes, client=session.client, label=session.label,
        ended=session.ended, cause=session.cause, ended_by=session.ended_by, live=denied is None,
        reason=None if denied is None else denied.reason, chain=chain_of(snapshot), rotated_out=session.rotated_out,
        impersonation=session.impersonation,
    )  # fmt: skip


def chain_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Who acts for whom, by name (`Session.acts_for`)."""
    session = snapshot.session
    above = [
        one.principal.name if one.principal is not None else one.link.uid or "anonymous"
        for one in snapshot.ancestors
        if one.link.tie is Tie.PARENT
    ]
    return in_order(session, above, session.principal or "anonymous")


def is_live(snapshot: Snapshot, now: datetime) -> bool:
    """Whether the session itself is alive, whichever token names it and whatever a route demands."""
    return _session_alive(snapshot, now) is None


def _counts(snapshot: Snapshot, now: datetime) -> Denied | None:
    denied = _session_alive(snapshot, now)
    if denied is None:
        return _token_counts(snapshot, now)
    if denied.reason is Reason.EXPIRED and snapshot.session.rotated_out:
        # Whoever holds the key that took its place does not come with this one.
        return _denied(Reason.REPLAYED, snapshot.session, denied.at)
    return denied


def _policy_met(snapshot: Snapshot) -> Denied | None:
    session, policy = snapshot.session, snapshot.policy
    if session.uid is not None and policy is not None and session.assurance < policy.assurance:
        return _denied(Reason.ASSURANCE, session)
    return None


def _session_alive(snapshot: Snapshot, now: datetime) -> Denied | None:
    session, policy = snapshot.session, snapshot.policy
    if policy is None:
        return _denied(Reason.REVOKED, session, None, "policy missing")
    denied = _alive(session, snapshot.principal, policy, snapshot.everyone, now)
    if denied is not None or not (session.lineage or snapshot.ancestors):
        return denied
    return _ancestors_alive(snapshot, now)


def _limit(session: Session, policy: Policy) -> datetime:
    idle = idle_expires_at(session, policy)
    overall = expires_at(session, policy)
    return overall if idle is None or overall < idle else idle


def _alive(
    session: Session,
    principal: Principal | None,
    policy: Policy,
    everyone: Mapping[SessionKind, bytes],
    now: datetime,
) -> Denied | None:
    if principal is not None and principal.status is not _ACTIVE:
        return _denied(Reason.DISABLED, session, session.ended)
    if session.ended is not None:
        return _denied(Reason.REVOKED, session, session.ended, session.cause, session.ended_by)
    if session.uid is not None and (principal is None or principal.epoch != session.epoch):
        return _denied(Reason.REVOKED, session, None, "principal")
    if everyone.get(session.kind) != session.everyone:  # missing is denied, never a default
        return _denied(Reason.REVOKED, session, None, "everyone")
    if now >= (at := expires_at(session, policy)):
        return _denied(Reason.EXPIRED, session, at)
    if (at_idle := idle_expires_at(session, policy)) is not None and now >= at_idle:
        return _denied(Reason.IDLE, session, at_idle)
    return None


def _ancestors_alive(snapshot: Snapshot, now: datetime) -> Denied | None:
    session = snapshot.session
    if len(snapshot.ancestors) != len(session.lineage):
        return _denied(Reason.REVOKED, session, None, "ancestor missing")
    for ancestor in snapshot.ancestors:
        link, above, principal = ancestor.link, ancestor.session, ancestor.principal
        # Contained: by any tie. An ancestor that was swept cannot be contained any more; its tombstone is kept
        # until everything it handed out is over, so a missing one means that something was lost: dead.
        if above is None or (above.contained_since is not None and link.since >= above.contained_since):
            return _denied(Reason.REVOKED, session, above.ended if above else None, above.cause if above else None)
        if link.uid is not None and (principal is None or _contained(principal, link)):
            return _denied(Reason.REVOKED, session)
        if link.tie is Tie.PARENT:
            if ancestor.policy is None:
                return _denied(Reason.REVOKED, session, None, "policy missing")
            denied = _alive(above, principal, ancestor.policy, snapshot.everyone, now)
            if denied is not None:
                return _denied(denied.reason, session, denied.at, denied.cause, denied.by)
    return None


def _contained(principal: Principal, link: Link) -> bool:
    # What the principal hands out after it was enabled again is another matter.
    since, at = principal.contained_since, principal.contained_at
    return since is not None and at is not None and since <= link.since <= at


def _token_counts(snapshot: Snapshot, now: datetime) -> Denied | None:
    if snapshot.token_state is _CURRENT:
        return None
    if snapshot.token_state is TokenState.SUPERSEDED:
        return _denied(Reason.SUPERSEDED, snapshot.session, snapshot.token_since)
    if snapshot.token_state is TokenState.PREDECESSOR:
        since = snapshot.token_since
        if since is None or snapshot.policy is None or now >= since + snapshot.policy.grace:
            return _denied(Reason.REPLAYED, snapshot.session, since)
    return None


Binding = tuple[str | None, str | None, str | None, str | None]
"""The user agent, the address, the network and the device key that a session is bound to; None: not to that one."""
UNBOUND = "unbound"
"""The cause of a denial that a proof in this client would cure."""


def binding(session: Session, policy: Policy) -> Binding | None:
    """What whoever presents the token must show; None: nothing (yet). Only browsers are bound."""
    if not policy.binding or session.kind is not SessionKind.BROWSER:
        return None
    bound = (
        session.client.user_agent if Trait.USER_AGENT in policy.binding else None,
        session.client.ip if Trait.IP in policy.binding else None,
        network_of(session.client.ip) if Trait.NETWORK in policy.binding else None,
        session.client.device_key if Trait.DEVICE in policy.binding else None,
    )
    return bound if bound != _NOTHING else None


def shows(client: Client | None, bound: Binding | None) -> bool:
    """Whether the client is the one that a session is bound to."""
    if bound is None:
        return True
    user_agent, ip, network, device_key = bound
    shown = client or _NOBODY
    return (
        (user_agent is None or shown.user_agent == user_agent)
        and (ip is None or shown.ip == ip)
        and (network is None or network_of(shown.ip) == network)
        and (device_key is None or shown.device_key == device_key)
    )


def differs(client: Client | None, bound: Binding) -> tuple[Trait, ...]:
    """In which of the traits that a session is bound to the client is another one."""
    user_agent, ip, network, device_key = bound
    shown = client or _NOBODY
    return tuple(
        trait
        for trait, other in (
            (Trait.USER_AGENT, user_agent is not None and shown.user_agent != user_agent),
            (Trait.IP, ip is not None and shown.ip != ip),
            (Trait.NETWORK, network is not None and network_of(shown.ip) != network),
            (Trait.DEVICE, device_key is not None and shown.device_key != device_key),
        )
        if other
    )


def rebound(session: Session, policy: Policy, client: Client) -> Session:
    """The session after its person proved itself in `client`: bound to that one, if the policy asks for that proof.

    A key is bound by its registration alone: on another device the session has none yet.
    """
    if policy.mismatch is Mismatch.STEP_UP and client != _NOBODY:
        same = client.device_key == session.client.device_key
        return msgspec.structs.replace(session, client=client if same else without_key(client))
    return session


def without_key(client: Client) -> Client:
    """The same, as one that shows no device's key."""
    return client if client.device_key is None else msgspec.structs.replace(client, device_key=None)


@lru_cache(maxsize=4096)
def network_of(ip: str | None) -> str | None:
    """An address's surroundings: an IPv4 /24, an IPv6 /48. None: not an address."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))


_NOBODY = Client()
_NOTHING = (None, None, None, None)


def _denied(
    reason: Reason,
    session: Session,
    at: datetime | None = None,
    cause: str | None = None,
    by: str | None = None,
) -> Denied:
    return Denied(reason=reason, session=session.id, at=at, cause=cause, by=by)
