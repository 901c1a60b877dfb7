"""`/factors`: how I prove who I am, beside the password."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from sessile.fastapi import CurrentAccess
from sessile.server.access import FRESH_OPERATOR, FactorPath, Operator, Ours, PrincipalPath, SteppingUp
from sessile.server.ending import end_others
from sessile.server.models import (
    FACTOR_ID,
    EnrolmentOut,
    FactorChange,
    FactorOut,
    FactorsReset,
    NewPasskey,
    NewRecoveryCodesOut,
    NewTotp,
    OwnSessionOut,
    PageOut,
    ReceiptOut,
    RecoveryCodesOut,
    TotpConfirmation,
)  # fmt: skip
from sessile.server.proving import own_session_out

router = APIRouter(tags=["Factors"])


@router.get("/factors", summary="List my factors")
async def list_own(server: Ours, active: SteppingUp) -> PageOut[FactorOut]:
    """Those that count, the oldest first; the password is not among them."""
    found = await server.factors.of(active.session.uid or "")
    return PageOut(items=[FactorOut.of(factor) for factor in found], next=None)


@router.post("/factors/totp", status_code=201, summary="Begin to add an authenticator app")
async def begin_totp(body: NewTotp, server: Ours, active: SteppingUp) -> EnrolmentOut:
    """The app counts once `confirm` has seen one of its codes, which has ten minutes.

    Needs an authentication of the last five minutes, and assurance 2 of whoever has a second factor already.
    """
    return EnrolmentOut.of(await server.totp.enrol(active, name=body.name))


@router.post("/factors/totp/{id}/confirm", summary="Confirm an authenticator app by a code")
async def confirm_totp(
    id: FactorPath, body: TotpConfirmation, server: Ours, here: CurrentAccess, active: SteppingUp
) -> OwnSessionOut:
    """From now on the app counts. The code is an authentication: this session goes on with a new token."""
    issued = await server.totp.confirm(active, id, body.code, client=here.client)
    here.sign_in(issued)
    if body.end_others:
        await end_others(server, issued.active)
    return await own_session_out(server, issued.active)


@router.post("/factors/passkeys/options", summary="Begin to add a passkey")
async def passkey_options(server: Ours, active: SteppingUp) -> dict[str, Any]:
    """What `PublicKeyCredential.parseCreationOptionsFromJSON` takes. Good for one passkey, for five minutes.

    Needs what adding an authenticator app needs.
    """
    return await server.passkeys.registration_options(active)


@router.post("/factors/passkeys", status_code=201, summary="Add a passkey")
async def add_passkey(body: NewPasskey, server: Ours, here: CurrentAccess, active: SteppingUp) -> FactorOut:
    """It counts from now on. It is no authentication by itself: step up with it where one is needed."""
    made = await server.passkeys.register(active, body.credential, name=body.name, client=here.client)
    if body.end_others:
        await end_others(server, active)
    return FactorOut.of(made)


@router.get("/factors/recovery-codes", summary="Show whether I have recovery codes")
async def show_recovery_codes(server: Ours, active: SteppingUp) -> RecoveryCodesOut:
    """The codes themselves are shown once, when they are made."""
    kept = await server.recovery_codes.of(active.session.uid or "")
    return RecoveryCodesOut(made=None if kept is None else kept.made, used=None if kept is None else kept.used)


@router.post("/factors/recovery-codes", status_code=201, summary="Make recovery codes")
async def make_recovery_codes(server: Ours, here: CurrentAccess, active: SteppingUp) -> NewRecoveryCodesOut:
    """New ones; those before count no more. Needs an authentication of the last five minutes, and assurance 2."""
    made = await server.recovery_codes.make(active, client=here.client)
    return NewRecoveryCodesOut(codes=list(made.codes))


@router.patch("/factors/{id}", summary="Rename a factor")
async def rename(
    id: FactorPath, body: FactorChange, server: Ours, here: CurrentAccess, active: SteppingUp
) -> FactorOut:
    """Needs what adding one needs."""
    return FactorOut.of(await server.factors.rename(active, id, body.name, client=here.client))


@router.delete("/factors/{id}", summary="Remove a factor")
async def remove(
    id: FactorPath, server: Ours, here: CurrentAccess, active: SteppingUp,
    end_others_too: Annotated[bool, Query(alias="end_others", description="Also end my other sessions.")] = False,
) -> FactorOut:  # fmt: skip
    """It proves nothing from now on. Needs what adding one needs."""
    removed = await server.factors.remove(active, id, client=here.client)
    if end_others_too:
        await end_others(server, active)
    return FactorOut.of(removed)


@router.get("/principals/{id}/factors", summary="List a person's factors")
async def list_of(id: PrincipalPath, server: Ours, _active: Operator) -> PageOut[FactorOut]:
    """For operators: what a person proves itself with, beside the password."""
    found = await server.authority.principal(id)
    return PageOut(items=[FactorOut.of(factor) for factor in await server.factors.of(found.uid)], next=None)


@router.delete("/principals/{id}/factors", summary="Take a person's factors away")
async def reset(
    id: PrincipalPath, server: Ours, _active: Operator, here: CurrentAccess,
    factor: Annotated[str | None, Query(pattern=FACTOR_ID, description="Only this one.")] = None,
    cause: Annotated[str, Query(min_length=1, max_length=200, description="Why, for the audit record.")] = "lost",
) -> FactorsReset:  # fmt: skip
    """For operators, when a person lost them or tried them too often: all of them, and the recovery codes, or one.

    What was counted against them is forgotten, and every session of the person ends. Make sure that it is the person
    who asks: what is left is the password. Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    removed, receipt = await server.factors.reset(id, by=active, cause=cause, id=factor)
    return FactorsReset(removed=[FactorOut.of(one) for one in removed], receipt=ReceiptOut.of(receipt))
