"""`/revocations`: end sessions at once, with a receipt. For operators."""

from __future__ import annotations

from fastapi import APIRouter

from sessile.fastapi import CurrentAccess
from sessile.server.access import FRESH_OPERATOR, Operator, Ours
from sessile.server.models import ReceiptOut, Revocation, seconds

router = APIRouter(tags=["Revocations"])


@router.post("/revocations", status_code=201, summary="Revoke")
async def revoke(body: Revocation, server: Ours, active: Operator, here: CurrentAccess) -> ReceiptOut:
    """End one session, all of a principal, or everybody's. When the answer is here, no node accepts any of them.

    `everyone` needs an authentication of the last five minutes; it spares API keys unless `keys` is true, and with
    `lock_sign_in` only operators can sign in for so long.
    """
    if body.everyone:
        active = await here.meet(FRESH_OPERATOR)
    receipt = await server.authority.revoke(
        session=body.session, principal=body.principal, everyone=body.everyone is True, cause=body.cause, by=active,
        keys=body.keys, lock_sign_in=seconds(body.lock_sign_in),
    )  # fmt: skip
    return ReceiptOut.of(receipt)
