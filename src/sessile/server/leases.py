"""What the API takes and gives of leases, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, model_validator

from sessile.kernel.lease import EndsBy, Outcome
from sessile.nhi.leases import Leased, LeaseInfo
from sessile.server.models import Cause, Input, Label, Lifetime, Name, Output

ConnectorName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="The name that a connector is configured by.")
]


class NewLease(Input):
    connector: ConnectorName
    handle: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=16_384,
                description="What the connector knows a credential by that is there already; null: make a new one.",
                json_schema_extra={"format": "password"},
            ),
        ]
        | None
    ) = None
    owner: Name | None = None
    lifetime: Lifetime | None = None
    label: Label = ""
    ends_by: Annotated[EndsBy, Field(strict=False, description="`rotate`: others need the credential too.")] = (
        EndsBy.REVOKE
    )
    with_session: Annotated[
        bool, Field(description="It dies with this session; else only by its own end, or by containment.")
    ] = False

    @model_validator(mode="after")
    def rotates_what_is_there(self) -> Self:
        if self.handle is None and self.ends_by is EndsBy.ROTATE:
            raise ValueError("ends_by rotate goes with a handle: what is made for one holder is revoked")
        return self


class LeaseEnd(Input):
    cause: Cause


class LeaseOut(Output):
    """A lease: where it lives outside, and how far its end has got there."""

    id: str
    connector: str
    shown: str
    """What the outside system calls it."""
    state: Literal["living", "pending", "lingering", "confirmed"]
    """`pending`: it should be over and is not confirmed yet. `lingering`: all was done, and it lives until `until`."""
    principal: str | None
    origin: str | None
    parent: str | None
    label: str
    created: datetime | None
    expires: datetime | None
    ends_by: EndsBy
    until: datetime | None
    """When it ends outside by itself, at the latest; null: not known, or never."""
    by_hand: str
    """What a person has to do to end it earlier; empty: the connector does it."""
    over: datetime | None
    tries: int
    error: str
    next_try: datetime | None
    overdue: bool
    confirmed: datetime | None
    outcome: Outcome | None
    successor: bool
    """Rotation made a new secret, which nobody has taken yet."""

    @classmethod
    def of(cls, info: LeaseInfo) -> Self:
        return cls(**msgspec.structs.asdict(info))


class LeasedOut(LeaseOut):
    secret: dict[str, str] | None
    """What its holder needs. It is in this answer, once, and stored nowhere; null: the credential was there before."""

    @classmethod
    def handed(cls, leased: Leased) -> Self:
        secret = None if leased.secret is None else dict(leased.secret)
        return cls(**msgspec.structs.asdict(leased.info), secret=secret)


class SuccessorOut(Output):
    secret: dict[str, str]
    """It is in this answer, once, and kept no longer."""
