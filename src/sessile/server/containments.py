"""What the API takes and gives of containments, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import msgspec
from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from sessile.kernel.containment import Fate
from sessile.kernel.lease import EndsBy, Outcome
from sessile.kernel.session import SessionKind
from sessile.nhi.blast import BlastRadius, Living, Outside, Touched
from sessile.nhi.contain import Containment
from sessile.server.models import Cause, Input, Name, Output, ReceiptOut, SessionId


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


class NewContainment(Input):
    session: SessionId | None = None
    principal: Name | None = None
    since: (
        Annotated[
            AwareDatetime,
            Field(strict=False, description="RFC 3339; null: all that ever was."),
            AfterValidator(_in_utc),
        ]
        | None
    ) = None
    cause: Cause
    disable: Annotated[bool, Field(description="With principal: it cannot sign in any more either.")] = False
    dry_run: bool = False

    @model_validator(mode="after")
    def names_one(self) -> Self:
        if (self.session is None) == (self.principal is None):
            raise ValueError("name exactly one of session and principal")
        if self.disable and self.principal is None:
            raise ValueError("disable goes with principal")
        return self


class ReachedOut(Output):
    id: str
    kind: SessionKind
    principal: str | None
    label: str
    scopes: list[str]
    parent: str | None
    origin: str | None
    """The session that handed it out."""
    depth: int
    created: datetime
    last_seen: datetime
    expires: datetime
    fate: Fate


class TouchedOut(Output):
    """A resource that was asked for."""

    resource: str
    action: str
    decision: str
    session: str
    principal: str | None
    first: datetime
    last: datetime
    times: int

    @classmethod
    def of(cls, one: Touched) -> Self:
        return cls(
            resource=one.resource, action=one.action, decision=one.decision, session=one.session,
            principal=one.principal, first=one.first, last=one.last, times=one.times,
        )  # fmt: skip


class RadiusOut(Output):
    """The blast radius: a tree, givers first."""

    sessions: list[ReachedOut]
    """Those that end or stay, and those above them that were over before; at most 1,000."""
    more: int
    ends: dict[str, int]
    stays: dict[str, int]
    over: int
    principals: list[str]
    touched: list[TouchedOut]
    """What these sessions asked for since then, the latest first; at most 1,000."""

    @classmethod
    def of(cls, radius: BlastRadius) -> Self:
        return cls(
            sessions=[
                ReachedOut(
                    id=one.id, kind=one.kind, principal=one.principal, label=one.label, scopes=list(one.scopes),
                    parent=one.parent, origin=one.origin, depth=one.depth, created=one.created,
                    last_seen=one.last_seen, expires=one.expires, fate=one.fate,
                )
                for one in radius.sessions
            ],
            more=radius.more, ends=radius.ends, stays=radius.stays, over=radius.over,
            principals=list(radius.principals), touched=[TouchedOut.of(one) for one in radius.touched],
        )  # fmt: skip


class LivingOut(Output):
    id: str
    kind: str
    principal: str | None
    until: datetime | None
    """Null: nobody knows."""
    connector: str | None
    shown: str
    error: str
    next_try: datetime | None
    by_hand: str
    """What a person has to do to end it earlier."""

    @classmethod
    def of(cls, living: Living) -> Self:
        return cls(**msgspec.structs.asdict(living))


class OutsideOut(Output):
    """A lease that was reached: what its end means in the other system, and how far that has got."""

    id: str
    connector: str
    shown: str
    principal: str | None
    ends_by: EndsBy
    by_hand: str
    confirmed: datetime | None
    outcome: Outcome | None
    successor: bool
    """It was rotated, and nobody has taken the new secret yet."""

    @classmethod
    def of(cls, outside: Outside) -> Self:
        return cls(**msgspec.structs.asdict(outside))


class ContainmentOut(Output):
    """The report of a containment, or (`id` is null) of what one would do."""

    id: str | None
    state: Literal["closed", "partial", "unknown"] | None
    session: str | None
    principal: str | None
    since: datetime | None
    cause: str
    receipt: ReceiptOut | None
    settled: datetime | None
    radius: RadiusOut | None
    """Null while it is not known."""
    living: list[LivingOut]
    """What should be over and is not yet."""
    leases: list[OutsideOut]

    @classmethod
    def of(cls, report: Containment) -> Self:
        return cls(
            id=report.id, state=report.state, session=report.session, principal=report.principal, since=report.since,
            cause=report.cause, receipt=None if report.receipt is None else ReceiptOut.of(report.receipt),
            settled=report.settled, radius=None if report.radius is None else RadiusOut.of(report.radius),
            living=[LivingOut.of(one) for one in report.living], leases=[OutsideOut.of(one) for one in report.leases],
        )  # fmt: skip
