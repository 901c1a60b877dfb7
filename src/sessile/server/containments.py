"""What the API takes and gives of containments, as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from sessile.kernel.containment import Fate
from sessile.kernel.session import SessionKind
from sessile.nhi.blast import BlastRadius
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


class RadiusOut(Output):
    """The blast radius: a tree, givers first."""

    sessions: list[ReachedOut]
    """Those that end or stay, and those above them that were over before; at most 1,000."""
    more: int
    ends: dict[str, int]
    stays: dict[str, int]
    over: int
    principals: list[str]

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
            principals=list(radius.principals),
        )  # fmt: skip


class LivingOut(Output):
    id: str
    kind: str
    principal: str | None
    until: datetime


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

    @classmethod
    def of(cls, report: Containment) -> Self:
        return cls(
            id=report.id, state=report.state, session=report.session, principal=report.principal, since=report.since,
            cause=report.cause, receipt=None if report.receipt is None else ReceiptOut.of(report.receipt),
            settled=report.settled, radius=None if report.radius is None else RadiusOut.of(report.radius),
            living=[
                LivingOut(id=one.id, kind=one.kind, principal=one.principal, until=one.until) for one in report.living
            ],
        )  # fmt: skip
