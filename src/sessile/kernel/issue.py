"""How sessions come to be and change. Pure: each store calls these inside its transaction, with what it read there."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from sessile.kernel.assurance import Authentication, Method
from sessile.kernel.decide import Snapshot, expires_at, is_live, resumable, without_key
from sessile.kernel.lease import Lease
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, covers
from sessile.kernel.session import Client, Link, Session, SessionKind, Tie

ANONYMOUS_OVERALL = timedelta(hours=24)


class Fence(msgspec.Struct, frozen=True):
    """What was in force before a credential was looked at. A sign-in is refused if any of it has changed since."""

    uid: str
    epoch: bytes
    everyone: bytes


class Idle(msgspec.Struct, frozen=True):
    """The proof that a token of a session was presented that is over by inactivity: made by `Authority.idle`."""

    session: str
    digest: bytes

    def __repr__(self) -> str:
        return f"Idle({self.session})"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A session to begin, as far as its beginner can say; the store's transaction adds the rest."""

    id: str
    digest: bytes
    """SHA-256 of the token."""
    kind: SessionKind
    uid: str | None = None
    methods: tuple[Method, ...] = ()
    """How the principal proved itself; a child takes its giver's events instead."""
    proved: datetime | None = None
    """When it did, if that was earlier (an import): the overall limit and freshness count from then. None: now."""
    scopes: frozenset[str] | None = None
    """None: all that the principal holds (browser), or nothing."""
    lifetime: timedelta | None = None
    """None: as long as the policy allows."""
    client: Client = Client()
    label: str = ""
    giver: bytes | None = None
    """Digest of the token that the giver presented."""
    tie: Tie | None = None
    replaces: str | None = None
    """The session that this one takes the place of, in the same browser."""
    resumes: bytes | None = None
    """Digest of a token of the session that it `replaces`, which may be over by inactivity alone: what else proved the
    principal there then counts here, until that session's overall limit. See `decide.resumable`."""
    fence: Fence | None = None
    lease: Lease | None = None
    """With kind `lease`: where it lives outside. Its session is told by the store."""

    def __post_init__(self) -> None:
        if (self.giver is None) != (self.tie is None):
            raise ValueError("a child has a giver and a tie to it, a root has neither")
        if (self.lease is None) != (self.kind is not SessionKind.LEASE):
            raise ValueError("a lease lives somewhere outside, and nothing else does")
        if self.resumes is not None and self.replaces is None:
            raise ValueError("what is resumed is replaced, so that it is resumed once")


class Wider(ValueError):
    """More scopes than the giver or the principal has."""


class TooDeep(ValueError):
    """The chain would get longer than the policy allows."""


def issue(
    draft: Draft,
    *,
    principal: Principal | None,
    policy: Policy,
    everyone: bytes,
    giver: Snapshot | None,
    now: datetime,
    resumed: Snapshot | None = None,
) -> Session:
    """The session that a draft becomes. The caller has decided that `giver` is alive and `principal` active;
    `resumed` is what it read by `draft.resumes`, whatever that is.

    Raises:
        Wider: more scopes than the giver (a child) or the principal (a browser session) has.
        TooDeep: the chain of delegations is at the giver's policy's limit.
    """
    parent = draft.tie is Tie.PARENT and giver is not None
    before = _resumed(draft, resumed, now)
    authentications, expires = _authentications(draft, giver, now), _expires(draft, policy, giver, now)
    if before is not None:
        still = tuple(event for event in before.session.authentications if event.method not in draft.methods)
        authentications = (*still, *authentications)
        expires = min(expires, expires_at(before.session, before.policy or policy))
    return Session(
        id=draft.id, kind=draft.kind, uid=draft.uid, principal=principal.name if principal else None,
        parent=giver.session.id if giver and parent else None,
        origin=giver.session.id if giver else None,
        lineage=_lineage(giver, draft.tie, now),
        policy=policy.name, authentications=authentications,
        created=now, last_seen=now, expires=expires,
        idle=policy.idle if draft.kind in (SessionKind.BROWSER, SessionKind.ANONYMOUS) else None,
        epoch=principal.epoch if principal else b"", everyone=everyone, rotated=now,
        # A key that the client proved for another session binds this one to nothing.
        scopes=_scopes(draft, principal, giver), client=without_key(draft.client),
        label=draft.label,
    )  # fmt: skip


def elevate(session: Session, method: Method | None, *, policy: Policy, now: datetime) -> Session:
    """The session after an event (or a privilege change, without a method): a new generation, and with an
    authentication the inactivity limit starts anew, and the overall one from when all that makes up the assurance was
    proved (63B-4 2.2.3 and 5.2); a life that was issued shorter than the policy's stays so.

    Raises:
        ValueError: not a browser session; nothing else is elevated.
    """
    if session.kind is not SessionKind.BROWSER:
        raise ValueError("only a browser session is elevated")
    changed = msgspec.structs.replace(session, generation=session.generation + 1, rotated=now, last_seen=now)
    if method is None:
        return changed
    # What was proved longer ago than a session may live proves nothing more.
    latest = tuple(e for e in session.authentications if e.method is not method and now - e.at < policy.overall)
    as_issued = session.expires - (session.proved or session.created)
    changed = msgspec.structs.replace(
        changed, authentications=(*latest, Authentication(method, now)), idle=policy.idle
    )  # fmt: skip
    return msgspec.structs.replace(changed, expires=(changed.proved or now) + min(as_issued, policy.overall))


def confirm(session: Session, now: datetime) -> Session:
    """The session after the first use of a successor: the successor's generation."""
    return msgspec.structs.replace(session, generation=session.generation + 1, rotated=now)


def _authentications(draft: Draft, giver: Snapshot | None, now: datetime) -> tuple[Authentication, ...]:
    # A child's assurance is its giver's of this moment, and can never be fresh (Session.authenticated).
    if giver is not None:
        return giver.session.authentications
    at = now if draft.proved is None else min(draft.proved, now)
    return tuple(Authentication(method, at) for method in draft.methods)


def _resumed(draft: Draft, found: Snapshot | None, now: datetime) -> Snapshot | None:
    """The session that is gone on with: the same principal's, and only a password was asked for."""
    if found is None or draft.uid is None or draft.methods != (Method.PASSWORD,) or draft.proved is not None:
        return None
    mine = found.session.uid == draft.uid and found.session.id == draft.replaces
    return found if mine and draft.kind is SessionKind.BROWSER and resumable(found, draft.client, now) else None


def _lineage(giver: Snapshot | None, tie: Tie | None, now: datetime) -> tuple[Link, ...]:
    if giver is None or tie is None:
        return ()
    limit = giver.policy.max_depth if giver.policy else 1
    above = giver.session.lineage
    if len(above) >= limit:
        raise TooDeep(f"a chain of delegations is at most {limit} long by policy")
    # Once a tie on the way up is only an origin, all above it are.
    further = above if tie is Tie.PARENT else tuple(msgspec.structs.replace(a, tie=Tie.ORIGIN) for a in above)
    return (Link(giver.session.id, giver.session.uid, tie, now), *further)


def _expires(draft: Draft, policy: Policy, giver: Snapshot | None, now: datetime) -> datetime:
    longest = {
        SessionKind.KEY: policy.key_lifetime,
        SessionKind.LEASE: policy.key_lifetime,
        SessionKind.ANONYMOUS: min(policy.overall, ANONYMOUS_OVERALL),
    }.get(draft.kind, policy.overall)
    expires = now + (longest if draft.lifetime is None else min(draft.lifetime, longest))
    if giver is not None and draft.tie is Tie.PARENT:
        return min(expires, giver.session.expires)
    return expires


def _scopes(draft: Draft, principal: Principal | None, giver: Snapshot | None) -> frozenset[str]:
    if giver is not None:
        wanted = draft.scopes or frozenset()
        if not covers(giver.session.scopes, wanted):
            raise Wider("a session hands out no scope that it does not have")
        return wanted
    held = principal.scopes if principal else frozenset()
    if draft.scopes is None:
        return held
    if not covers(held, draft.scopes):
        raise Wider("a session has no scope that its principal does not have")
    return draft.scopes


def retire(session: Session, until: datetime, now: datetime) -> Session:
    """A key once another has taken its place: it counts until `until`, and a use after that is a replay.

    Raises:
        ValueError: not a key; or one that was rotated out before.
    """
    if session.kind is not SessionKind.KEY or session.rotated_out:
        raise ValueError("only a key that was not rotated out before is")
    return msgspec.structs.replace(session, generation=1, rotated=now, expires=min(session.expires, max(until, now)))


def bound(snapshot: Snapshot, device_key: str, now: datetime) -> Session | None:
    """The session bound to a key that its browser proved; itself if it is so already. None: it is over, no browser's,
    or bound to another key. Its token and its assurance are no matter: a session that is yet to step up is bound too.
    """
    session = snapshot.session
    if session.kind is not SessionKind.BROWSER or not is_live(snapshot, now):
        return None
    if session.client.device_key is None:
        client = msgspec.structs.replace(session.client, device_key=device_key)
        return msgspec.structs.replace(session, client=client, generation=session.generation + 1)
    return session if session.client.device_key == device_key else None


def positive(lifetime: timedelta | None) -> timedelta | None:
    """The lifetime itself. Raises ValueError if it is none."""
    if lifetime is not None and lifetime <= timedelta(0):
        raise ValueError("a lifetime is positive")
    return lifetime
