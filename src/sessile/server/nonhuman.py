"""What the API takes and gives of keys, acting as others, budgets and token exchange, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from msgspec.structs import asdict
from pydantic import Field, model_validator

from sessile.kernel.budget import Budget, Standing
from sessile.kernel.principal import PrincipalKind, Status
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.kernel.trace import Trace
from sessile.nhi.inventory import Item
from sessile.nhi.offboarding import Holdings, Offboarded
from sessile.server.models import (
    Cause,
    Input,
    Label,
    Lifetime,
    Name,
    Output,
    OwnerName,
    ReceiptOut,
    SessionOut,
    session_members,
)  # fmt: skip

LONGEST_OVERLAP = 90 * 24 * 3600


class KeyRotation(Input):
    overlap: Annotated[
        int, Field(ge=0, le=LONGEST_OVERLAP, description="Seconds for which the old key counts, too; 0: none.")
    ] = 24 * 3600
    lifetime: Lifetime | None = None
    label: Label | None = None


class KeyOut(SessionOut):
    rotated_out: bool
    """Another key has taken its place: it counts until it expires, and a use after that is a sign of theft."""
    last_used: datetime | None
    last_used_from: str | None
    """The address; null: never used, or not known."""
    last_used_by: str | None
    """What the client calls itself."""

    @classmethod
    def key(cls, info: SessionInfo, use: Trace | None) -> Self:
        return cls(
            **session_members(info), rotated_out=info.rotated_out, last_used=None if use is None else use.last,
            last_used_from=None if use is None else use.what or None,
            last_used_by=None if use is None else use.how or None,
        )  # fmt: skip


class Impersonation(Input):
    principal: Name
    cause: Cause
    lifetime: Annotated[int, Field(ge=1, le=900, description="Seconds.")] | None = None


class BudgetIn(Input):
    per_minute: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    overall: Annotated[int, Field(ge=1, lt=2**53, description="From now on, in all.")] | None = None

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if self.per_minute is None and self.overall is None:
            raise ValueError("say how many calls in a minute, or overall")
        return self

    def budget(self) -> Budget:
        return Budget(per_minute=self.per_minute, overall=self.overall)


class BudgetOut(Output):
    principal: str
    per_minute: int | None
    overall: int | None
    spent: int
    """Calls since it was set, as far as they are reported: each node does so once a second."""
    set: datetime | None

    @classmethod
    def of(cls, name: str, standing: Standing | None) -> Self:
        budget = standing.budget if standing is not None else None
        return cls(
            principal=name, per_minute=budget.per_minute if budget else None,
            overall=budget.overall if budget else None, spent=standing.overall if standing is not None else 0,
            set=standing.changed if standing is not None and budget is not None else None,
        )  # fmt: skip


class Exchanged(Output):
    """RFC 8693, section 2.2.1."""

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str


class Introspection(Output):
    """The members of RFC 7662, section 2.2, and `act` of RFC 8693; only `active` where the token counts for nothing."""

    active: bool
    scope: str | None = None
    client_id: str | None = None
    """Who acts, by its id: an agent or a service."""
    username: str | None = None
    sub: str | None = None
    """For whom: the one at the top of the chain of delegations, or who acts where there is none."""
    act: dict[str, Any] | None = None
    """Who acts for `sub`, and within it who acted before."""
    token_type: str | None = None
    iat: int | None = None
    exp: int | None = None
    jti: str | None = None
    sid: str | None = None
    kind: str | None = None
    acr: str | None = None


class FindingOut(Output):
    """What is wrong, by OWASP's Non-Human Identities Top 10, and what cures it."""

    risk: str
    session: str | None
    says: str
    cure: str


class HeldOut(Output):
    id: str
    kind: SessionKind
    label: str
    scopes: list[str]
    created: datetime
    expires: datetime
    rotation_due: datetime
    rotated_out: bool
    last_used: datetime | None
    last_used_from: str | None
    assurance: int
    origin: str | None
    handed_out_by: str | None
    seen_by: list[str]
    """Who was shown the secret."""


class ItemOut(Output):
    """An agent or a service, with what it holds."""

    principal: str
    uid: str
    kind: PrincipalKind
    status: Status
    owner: str | None
    purpose: str
    created: datetime
    last_used: datetime | None
    scopes: list[str]
    held: list[HeldOut]
    """Living keys and leases, newest first."""
    delegations: int
    findings: list[FindingOut]

    @classmethod
    def of(cls, item: Item) -> Self:
        found = asdict(item)
        found["scopes"] = list(item.scopes)
        found["held"] = [
            HeldOut(**{**asdict(one), "scopes": list(one.scopes), "seen_by": list(one.seen_by)}) for one in item.held
        ]
        found["findings"] = [FindingOut(**asdict(one)) for one in item.findings]
        return cls(**found)


class SeenOut(Output):
    session: SessionOut
    at: datetime
    how: str


class HoldingsOut(Output):
    """What a person would leave behind."""

    principals: list[str]
    """The agents and services that nobody but it answers for: also those of teams in which nobody else is active."""
    teams: list[str]
    """The teams that it is in."""
    handed_out: list[SessionOut]
    """Living keys and leases that it handed out."""
    held: list[SessionOut]
    """Other living keys and leases of those agents and services."""
    seen: list[SeenOut]
    """Living secrets that it was shown."""

    @classmethod
    def of(cls, found: Holdings) -> Self:
        return cls(
            principals=[one.name for one in found.principals],
            teams=list(found.teams),
            handed_out=[SessionOut.of(one) for one in found.handed_out],
            held=[SessionOut.of(one) for one in found.held],
            seen=[SeenOut(session=SessionOut.of(one.session), at=one.at, how=one.how) for one in found.seen],
        )


class HandingOver(Input):
    to: OwnerName
    only: Annotated[list[Name], Field(max_length=100)] | None = None


class HandedOver(Output):
    principals: list[str]


class Offboarding(Input):
    to: OwnerName | None = None
    end_keys: bool = False
    cause: Cause


class OffboardedOut(Output):
    receipt: ReceiptOut
    handed_over: list[str]
    disabled: list[str]
    ended: list[str]
    rotate: list[SessionOut]
    """Keys and leases that go on, and that the person handed out or saw."""

    @classmethod
    def of(cls, done: Offboarded) -> Self:
        return cls(
            receipt=ReceiptOut.of(done.receipt), handed_over=list(done.handed_over), disabled=list(done.disabled),
            ended=list(done.ended), rotate=[SessionOut.of(one) for one in done.rotate],
        )  # fmt: skip
