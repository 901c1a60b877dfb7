"""What a containment reaches. Pure: the cut as it was written, and what hangs below it as the store finds it later.

A containment is first a cut: one commit that ends the root. Everything below is over from then on, by derivation.
What it reached is found out afterwards, by undoing the cut in thought: who would be alive without it? The same tells of
any other ending what was over with it (`nhi.walk`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from sessile.kernel.decide import Ancestor, Snapshot, is_live
from sessile.kernel.event import Actor
from sessile.kernel.principal import Principal, Status
from sessile.kernel.session import Link, Session, SessionKind, Tie

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""`since` of a containment that reaches back to the beginning."""
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""`since` of an ending that is no containment: what has a life of its own goes on."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What a cut changed of its target, as it was before."""

    ended: datetime | None = None
    contained_since: datetime | None = None
    contained_at: datetime | None = None
    epoch: bytes = b""
    status: Status = Status.ACTIVE


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The commit that ended something. Written in the same transaction as the ending itself."""

    id: str
    """Of the containment; empty: it is none."""
    session: str | None = None
    uid: str | None = None
    """The target: exactly one of the two."""
    principal: str | None
    """Whose session it is, or the principal itself, by name."""
    since: datetime
    at: datetime
    """The store's clock in the transaction."""
    cause: str
    by: str
    by_uid: str | None = None
    by_session: str | None = None
    before: Before | None = None
    """None: nothing was cut, this only asks what would be."""
    delta: timedelta = timedelta(0)

    @property
    def actor(self) -> Actor:
        """By whom it was made."""
        return Actor(name=self.by, uid=self.by_uid, session=self.by_session)

    @property
    def may_end_others(self) -> bool:
        """Whether anything can have been over with the target: with what was over before, nothing was."""
        was = self.before or Before()
        return self.since != NEVER or (was.ended is None and was.status is Status.ACTIVE)


class Fate(StrEnum):
    """What a containment does to a session."""

    ENDS = "ends"
    OVER = "over"
    """It was over before."""
    STAYS = "stays"
    """Handed out before `since`, with a life of its own: it goes on."""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a blast radius: what was handed out, by what, to whom, and what becomes of it."""

    id: str
    kind: SessionKind
    principal: str | None
    label: str
    """Its own, or what its client is called."""
    scopes: tuple[str, ...]
    parent: str | None
    origin: str | None
    """The session that handed it out."""
    depth: int
    """How many hand-overs below a root."""
    created: datetime
    last_seen: datetime
    expires: datetime
    fate: Fate


def reached(snapshot: Snapshot, cut: Cut) -> Reached:
    """A session below the target (or the target itself) and what the containment does to it."""
    session = snapshot.session
    return Reached(
        id=session.id, kind=session.kind, principal=session.principal,
        label=session.label or session.client.label,
        scopes=tuple(sorted(session.scopes)), parent=session.parent, origin=session.origin, depth=len(session.lineage),
        created=session.created, last_seen=session.last_seen, expires=session.expires, fate=fate(snapshot, cut),
    )  # fmt: skip


def fate(snapshot: Snapshot, cut: Cut, later: Sequence[Cut] = ()) -> Fate:
    """What the cut does to a session that is the target, the target's, or below either.

    `later`: cuts that came after it, oldest first, which have not ended anything yet from where this one stands.
    """
    for other in reversed(later):
        snapshot = undone(snapshot, other)
    if not is_live(undone(snapshot, cut), cut.at):
        return Fate.OVER
    session = snapshot.session
    if session.id == cut.session or (cut.uid is not None and session.uid == cut.uid):
        return Fate.ENDS
    return Fate.ENDS if any(_cuts(link, cut) for link in session.lineage) else Fate.STAYS


def undone(snapshot: Snapshot, cut: Cut) -> Snapshot:
    """The snapshot as it would be if the cut, and what came after it, had not happened."""
    if cut.before is None:
        return snapshot
    return msgspec.structs.replace(
        snapshot,
        session=_session(snapshot.session, cut, cut.before),
        principal=_principal(snapshot.principal, cut, cut.before),
        ancestors=tuple(
            Ancestor(
                above.link,
                None if above.session is None else _session(above.session, cut, cut.before),
                _principal(above.principal, cut, cut.before),
                above.policy,
            )
            for above in snapshot.ancestors
        ),
    )


def _cuts(link: Link, cut: Cut) -> bool:
    if link.session != cut.session and (cut.uid is None or link.uid != cut.uid):
        return False
    if link.tie is Tie.PARENT:
        return True
    # What a principal hands out after it was contained is another matter.
    return link.since >= cut.since and (cut.uid is None or link.since <= cut.at)


def _session(session: Session, cut: Cut, before: Before) -> Session:
    if session.id == cut.session:
        return msgspec.structs.replace(session, ended=before.ended, contained_since=before.contained_since)
    if session.ended is not None and session.ended > cut.at:
        return msgspec.structs.replace(session, ended=None)
    return session


def _principal(principal: Principal | None, cut: Cut, before: Before) -> Principal | None:
    if principal is None or principal.uid != cut.uid:
        return principal
    return msgspec.structs.replace(
        principal, epoch=before.epoch, status=before.status, contained_since=before.contained_since,
        contained_at=before.contained_at,
    )  # fmt: skip
