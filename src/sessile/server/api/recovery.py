"""`/password/forgot`, `/password/reset`, `/password/strength`, `/addresses`."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Response
from pydantic import Field

from sessile.errors import Conflict, NotFound
from sessile.factors.password import MAXIMUM, MINIMUM, MINIMUM_WITH_SECOND, WeakPassword
from sessile.fastapi import RESPONSES, CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.principal import Principal
from sessile.server.access import Ours, SteppingUp
from sessile.server.models import Code, Email, Input, Output, PageOut, Secret
from sessile.server.models_addresses import ADDRESS_ID, AddressOut
from sessile.server.state import Server
from sessile.server.wording import TEXTS

router = APIRouter()

OVER: Final[dict[int | str, dict[str, Any]]] = {
    410: {**RESPONSES[403], "description": "The link was followed before, is too old, or never was"}
}

Link = Annotated[str, Field(min_length=1, max_length=200, description="The last part of a link that was sent.")]


class Forgotten(Input):
    username: Annotated[str, Field(min_length=1, max_length=256, description="A user name or an e-mail address.")]


class Reset(Input):
    link: Link
    new: Secret
    code: Annotated[Code | None, Field(description="Of a second factor, where the person has one.")] = None


class ResetOut(Output):
    recovery_code: str | None
    """The code that takes the place of the one that was used: in this answer only."""


class Tried(Input):
    password: Annotated[str, Field(max_length=1024, json_schema_extra={"format": "password"})]
    username: Annotated[str, Field(max_length=256)] = ""
    minimum: Annotated[int, Field(ge=MINIMUM_WITH_SECOND, le=MAXIMUM)] = MINIMUM


class StrengthOut(Output):
    accepted: bool
    """Whether the rules would take it; the person's policy may ask for more characters."""
    rule: str | None
    """Which rule it breaks: `short`, `long`, `known` or `common`."""
    score: int
    """0, guessed at once, to 4, very hard to guess."""
    said: str


class NewAddress(Input):
    address: Email


class Confirmation(Input):
    link: Link


@router.post("/password/forgot", status_code=202, response_class=Response, tags=["Password"], summary="Ask for a link")
async def forgot(body: Forgotten, server: Ours, here: CurrentAccess) -> None:
    """A link to set a new password is mailed to the confirmed addresses of the person, if there is one.

    The answer is the same for everybody, known or not.
    """
    if server.settings.mail is None:
        raise Conflict("this server sends no mail: ask an operator for a link to set a new password")
    await server.reset.ask(body.username, client=here.client)


@router.post("/password/reset", tags=["Password"], summary="Set a new password by a link", responses=OVER)
async def reset(body: Reset, server: Ours, here: CurrentAccess) -> ResetOut:
    """Every session of the person ends; nobody is signed in by this. A person with a second factor needs a code of it
    as well: of an app, or a recovery code, whose replacement is in the answer.
    """
    redeemed = await server.reset.redeem(
        body.link, body.new, code=body.code or "", active=here.active, client=here.client
    )
    return ResetOut(recovery_code=redeemed.proved.replacement or None)


@router.post("/password/strength", tags=["Password"], summary="Judge a password as one types it")
async def strength(body: Tried, server: Ours, here: CurrentAccess) -> StrengthOut:
    """Nothing of it is kept or logged."""
    server.strength.admit(here.client.ip, server.now())
    rule, said = None, ""
    try:
        server.passwords.check_rules(body.password, name=body.username, minimum=body.minimum)
    except WeakPassword as error:
        rule = error.rule
        sentence: str = getattr(TEXTS.password, rule)
        said = sentence.format(length=error.length, minimum=body.minimum, maximum=MAXIMUM)
    score = await server.strength.score(body.password, body.username)
    if rule is not None:
        score = 0 if rule in ("common", "known") else min(score, 1)
    return StrengthOut(accepted=rule is None, rule=rule, score=score, said=said or TEXTS.strength.scores[score])


@router.get("/addresses", tags=["Addresses"], summary="List my e-mail addresses")
async def list_own(server: Ours, active: SteppingUp) -> PageOut[AddressOut]:
    """The oldest first. Notices go to those that are confirmed."""
    found = await server.addresses.of(active.session.uid or "")
    return PageOut(items=[AddressOut.of(one) for one in found], next=None)


@router.post("/addresses", status_code=201, tags=["Addresses"], summary="Add an e-mail address")
async def add(body: NewAddress, server: Ours, here: CurrentAccess, active: SteppingUp) -> AddressOut:
    """A link is sent there; it counts once that was followed. Needs what adding a factor needs."""
    principal = await _changing(server, active)
    return AddressOut.of(await server.addresses.add(principal, body.address, by=active, client=here.client))


@router.post("/addresses/confirm", tags=["Addresses"], summary="Confirm an e-mail address by its link", responses=OVER)
async def confirm(body: Confirmation, server: Ours, here: CurrentAccess) -> AddressOut:
    """No session is needed: whoever has the link has the address."""
    return AddressOut.of(await server.addresses.confirm(body.link, client=here.client))


@router.delete("/addresses/{id}", tags=["Addresses"], summary="Remove an e-mail address")
async def remove(
    id: Annotated[str, Path(pattern=ADDRESS_ID)], server: Ours, here: CurrentAccess, active: SteppingUp
) -> AddressOut:
    """A last notice goes there. Needs what adding a factor needs."""
    principal = await _changing(server, active)
    return AddressOut.of(await server.addresses.remove(principal, id, by=active, client=here.client))


async def _changing(server: Server, active: Active) -> Principal:
    """Whose addresses this session may change. Raises Refused: it needs a fresh proof."""
    principal = await server.authority.store.principal(uid=await server.factors.may_change(active))
    if principal is None:
        raise NotFound("no such principal")
    return principal
