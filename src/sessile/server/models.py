"""What the API takes and gives, as JSON. Input is strict and bounded; what is not named here is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sessile.factors.addresses import LONGEST, MOST, check_address
from sessile.factors.enrolled import LONGEST_NAME, Factor, factor_name
from sessile.factors.totp import Enrolment
from sessile.kernel.assurance import Method
from sessile.kernel.event import Actor, Event
from sessile.kernel.ids import check_session_id
from sessile.kernel.principal import Principal, PrincipalKind, Status, canonical, check_scopes, kind_of
from sessile.kernel.session import Client, SessionInfo, SessionKind
from sessile.kernel.team import owner_name
from sessile.nhi.owning import LONGEST_PURPOSE
from sessile.receipt import Receipt
from sessile.stores.protocol import Erased

T = TypeVar("T")

MAX_LIFETIME = 10 * 365 * 24 * 3600
FACTOR_ID = r"^fct_[0-9abcdefghjkmnpqrstvwxyz]{26}$"
CONTAINMENT_ID = r"^con_[0-9abcdefghjkmnpqrstvwxyz]{26}$"
PRINCIPAL_UID = r"^prn_[0-9abcdefghjkmnpqrstvwxyz]{26}$"
SESSION_ID = r"^ses_[0-9abcdefghjkmnpqrstvwxyz]{27}$"

Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(canonical)]
"""A principal's id: a person's user name, `service:NAME` or `agent:NAME`."""
OwnerName = Annotated[
    str, Field(min_length=1, max_length=133, description="A person's user name, or `team:NAME`."),
    AfterValidator(owner_name),
]  # fmt: skip
SessionId = Annotated[str, Field(pattern=SESSION_ID), AfterValidator(check_session_id)]
Cause = Annotated[str, Field(min_length=1, max_length=200, description="Why, for the audit record and the person.")]
Secret = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"format": "password"})]
Code = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra={"format": "password"})]
FactorName = Annotated[
    str, Field(max_length=LONGEST_NAME, description="What its person calls it."), AfterValidator(factor_name)
]
PublicKeyCredential = Annotated[
    dict[str, Any], Field(max_length=20, description="What `PublicKeyCredential.toJSON()` gives in the browser.")
]
Email = Annotated[str, Field(min_length=3, max_length=LONGEST), AfterValidator(check_address)]
Scopes = Annotated[list[str], Field(max_length=100), AfterValidator(lambda found: sorted(check_scopes(found)))]
Lifetime = Annotated[int, Field(ge=1, le=MAX_LIFETIME, description="Seconds; the policy may allow fewer.")]
Label = Annotated[str, Field(max_length=200)]
Purpose = Annotated[str, Field(max_length=LONGEST_PURPOSE, description="What a service or an agent is for.")]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Output(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignIn(Input):
    username: Annotated[str, Field(min_length=1, max_length=256)]
    password: Secret


class PasswordStepUp(Input):
    method: Literal["password"]
    password: Secret


class CodeStepUp(Input):
    method: Literal["totp"]
    code: Code


class PasskeyStepUp(Input):
    method: Literal["passkey"]
    credential: PublicKeyCredential


class RecoveryStepUp(Input):
    method: Literal["recovery_code"]
    code: Code


StepUp = Annotated[PasswordStepUp | CodeStepUp | PasskeyStepUp | RecoveryStepUp, Field(discriminator="method")]


class PasskeySignIn(Input):
    credential: PublicKeyCredential


class NewPasskey(Input):
    credential: PublicKeyCredential
    name: FactorName = ""
    end_others: Annotated[bool, Field(description="Also end my other sessions (ASVS V7.4.3).")] = False


class NewTotp(Input):
    name: FactorName = ""


class FactorChange(Input):
    name: FactorName

    @model_validator(mode="after")
    def is_named(self) -> Self:
        if not self.name:
            raise ValueError("give the factor a name")
        return self


class TotpConfirmation(Input):
    code: Code
    end_others: Annotated[bool, Field(description="Also end my other sessions (ASVS V7.4.3).")] = False


class NewPassword(Input):
    current: Secret
    new: Secret


class NewPrincipal(Input):
    id: Name
    kind: Annotated[PrincipalKind, Field(strict=False)]
    owner: OwnerName | None = None
    purpose: Purpose = ""
    scopes: Scopes | None = None

    @model_validator(mode="after")
    def kind_follows_from_the_id(self) -> Self:
        if kind_of(self.id) is not self.kind:
            raise ValueError("the kind follows from the id: service:NAME, agent:NAME, or a person's user name")
        if self.kind is PrincipalKind.HUMAN and self.owner is not None:
            raise ValueError("people answer for themselves: an owner goes with a service or an agent")
        return self


class PrincipalChange(Input):
    status: Literal["active", "disabled"] | None = None
    cause: Cause | None = None
    owner: OwnerName | None = None
    purpose: Purpose | None = None
    emails: Annotated[list[Email] | None, Field(max_length=MOST)] = None

    @model_validator(mode="after")
    def changes_something(self) -> Self:
        if all(one is None for one in (self.status, self.owner, self.purpose, self.emails)):
            raise ValueError("name a status, an owner, a purpose or e-mail addresses")
        return self


class Erasure(Input):
    uid: Annotated[str, Field(pattern=PRINCIPAL_UID)]
    cause: Cause


class Revocation(Input):
    session: SessionId | None = None
    principal: Name | None = None
    everyone: Literal[True] | None = None
    cause: Cause
    keys: bool = False
    lock_sign_in: Annotated[int, Field(ge=1, le=7 * 24 * 3600, description="Seconds; with everyone.")] | None = None

    @model_validator(mode="after")
    def names_one(self) -> Self:
        if sum(x is not None for x in (self.session, self.principal, self.everyone)) != 1:
            raise ValueError("name exactly one of session, principal and everyone")
        if (self.keys or self.lock_sign_in is not None) and not self.everyone:
            raise ValueError("keys and lock_sign_in go with everyone")
        return self


class NewDelegation(Input):
    to: Name
    scopes: Scopes
    lifetime: Lifetime | None = None
    label: Label = ""


class NewKey(Input):
    owner: Name
    scopes: Scopes
    lifetime: Lifetime | None = None
    label: Label = ""


class AuthenticationOut(Output):
    method: str
    at: datetime


class ClientOut(Output):
    label: str
    ip: str | None
    user_agent: str | None

    @classmethod
    def of(cls, client: Client) -> Self:
        return cls(label=client.label, ip=client.ip, user_agent=client.user_agent)


class SessionOut(Output):
    """One session. Times are RFC 3339 in UTC."""

    id: str
    principal: str | None
    kind: SessionKind
    parent: str | None
    origin: str | None
    policy: str
    assurance: int
    authentications: list[AuthenticationOut]
    created: datetime
    last_seen: datetime
    idle_expires: datetime | None
    expires: datetime
    scopes: list[str]
    client: ClientOut
    device_bound: bool
    """Its token opens nothing without a key that its browser keeps."""
    label: str
    live: bool
    ended: datetime | None
    cause: str | None
    ended_by: str | None
    current: bool = False

    @classmethod
    def of(cls, info: SessionInfo, *, current: str | None = None) -> Self:
        return cls(**session_members(info), current=info.id == current)


class OwnSessionOut(SessionOut):
    step_up: list[str]
    """Methods that would raise the assurance of this session."""

    @classmethod
    def own(cls, info: SessionInfo, step_up: Sequence[Method]) -> Self:
        return cls(**session_members(info), current=True, step_up=[method.value for method in step_up])


class SteppedUpOut(OwnSessionOut):
    recovery_code: str | None = None
    """The code that takes the place of the one that was used: write it down. It is in this answer only."""

    @classmethod
    def stepped(cls, session: OwnSessionOut, replacement: str | None) -> Self:
        return cls(**session.model_dump(), recovery_code=replacement)


class RecoveryCodesOut(Output):
    """When the codes were made, and when one was last used; null: there are none."""

    made: datetime | None
    used: datetime | None


class NewRecoveryCodesOut(Output):
    codes: list[str]
    """Each counts once. They are in this answer only; those before count no more."""


class FactorOut(Output):
    """One way in which a person proves itself, beside the password."""

    id: str
    method: str
    name: str
    added: datetime
    used: datetime | None
    """When it last proved its person."""
    proves: str
    """What using it is recorded as: of a passkey that stays on its device, `hardware_key`, worth assurance 3."""
    backed_up: bool
    """A passkey of which there is a copy elsewhere."""

    @classmethod
    def of(cls, factor: Factor) -> Self:
        return cls(
            id=factor.id, method=factor.method, name=factor.name, added=factor.added, used=factor.used,
            proves=factor.proves, backed_up=factor.backed_up,
        )  # fmt: skip


class EnrolmentOut(Output):
    id: str
    secret: str
    """The key in base 32. It is in this answer only."""
    uri: str
    """The same as `otpauth://totp/…`, to be shown as a QR code."""

    @classmethod
    def of(cls, enrolment: Enrolment) -> Self:
        return cls(id=enrolment.factor.id, secret=enrolment.secret, uri=enrolment.uri)


class HandedOut(SessionOut):
    token: str
    """The token itself. It is in this answer, once, and stored nowhere."""

    @classmethod
    def handed(cls, info: SessionInfo, token: str) -> Self:
        return cls(**session_members(info), token=token)


class PrincipalOut(Output):
    id: str
    uid: str
    kind: PrincipalKind
    status: Status
    policy: str
    scopes: list[str]
    owner: str | None
    """Who answers for a service or an agent: a person's id, or `team:NAME`."""
    purpose: str
    created: datetime

    @classmethod
    def of(cls, principal: Principal, owner: str | None) -> Self:
        return cls(**_principal(principal, owner))


class ErasedOut(Output):
    uid: str
    """All that is left of who it was."""
    sessions: int
    events: int
    at: datetime

    @classmethod
    def of(cls, erased: Erased) -> Self:
        return cls(uid=erased.uid, sessions=erased.sessions, events=erased.events, at=erased.at)


class ReceiptOut(Output):
    revoked: int | None
    """How many live sessions it ended; null where an epoch ended an unknown number."""
    cause: str
    by: str
    at: datetime
    effective: datetime
    """No node accepts any of them in a check that starts after this instant."""
    reach: Literal["engine", "quorum"]
    """What acknowledged it: one engine, or a majority of its members."""
    durable: bool
    """Whether it is on disk wherever it was acknowledged. False (Redis and Valkey without `durable=yes`): in memory
    there, and on disk in the directory, from which it is applied again."""
    sessions: list[str]
    answers_for: list[str]
    """After a disabling or a deletion: the agents and services that nobody answers for now, to be handed over."""
    handed_out: list[SessionOut]
    erased: ErasedOut | None

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls(
            revoked=receipt.revoked, cause=receipt.cause, by=receipt.by, at=receipt.at, effective=receipt.effective,
            reach=receipt.reach, durable=receipt.durable, sessions=list(receipt.sessions),
            answers_for=list(receipt.answers_for),
            handed_out=[SessionOut.of(info) for info in receipt.handed_out],
            erased=None if receipt.erased is None else ErasedOut.of(receipt.erased),
        )  # fmt: skip


class FactorsReset(Output):
    removed: list[FactorOut]
    receipt: ReceiptOut


class PrincipalChanged(PrincipalOut):
    receipt: ReceiptOut | None

    @classmethod
    def changed(cls, principal: Principal, owner: str | None, receipt: Receipt | None) -> Self:
        return cls(**_principal(principal, owner), receipt=None if receipt is None else ReceiptOut.of(receipt))


class ActorOut(Output):
    name: str
    session: str | None
    client: ClientOut

    @classmethod
    def of(cls, actor: Actor) -> Self:
        return cls(name=actor.name, session=actor.session, client=ClientOut.of(actor.client))


class EventOut(Output):
    """One line of the audit record."""

    seq: int
    name: str
    at: datetime | None
    principal: str | None
    uid: str | None
    session: str | None
    by: ActorOut
    cause: str | None
    details: dict[str, str | int | list[str]]

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls(
            seq=event.seq, name=event.name, at=event.at, principal=event.principal, uid=event.uid,
            session=event.session, by=ActorOut.of(event.by), cause=event.cause, details=event.details,
        )  # fmt: skip


class PageOut(Output, Generic[T]):
    items: Sequence[T]
    next: str | None
    """Give it as `after` for the page that follows; null: this was the last."""


class ProblemOut(Output):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    reason: str | None = None
    cure: Literal["sign_in", "step_up", "retry", "none"] | None = None


def session_page(infos: Iterable[SessionInfo], next: str | None, *, current: str | None = None) -> PageOut[SessionOut]:
    return PageOut(items=[SessionOut.of(info, current=current) for info in infos], next=next)


def seconds(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def session_members(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": info.id, "principal": info.principal, "kind": info.kind, "parent": info.parent, "origin": info.origin,
        "policy": info.policy, "assurance": info.assurance,
        "authentications": [AuthenticationOut(method=event.method, at=event.at) for event in info.authentications],
        "created": info.created, "last_seen": info.last_seen, "idle_expires": info.idle_expires,
        "expires": info.expires, "scopes": sorted(info.scopes), "client": ClientOut.of(info.client),
        "device_bound": info.client.device_key is not None, "label": info.label, "live": info.live,
        "ended": info.ended, "cause": info.cause, "ended_by": info.ended_by,
    }  # fmt: skip


def _principal(principal: Principal, owner: str | None) -> dict[str, Any]:
    return {
        "id": principal.name, "uid": principal.uid, "kind": principal.kind, "status": principal.status,
        "policy": principal.policy, "scopes": sorted(principal.scopes), "owner": owner, "purpose": principal.purpose,
        "created": principal.created,
    }  # fmt: skip
