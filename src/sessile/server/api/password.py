"""`/password`: change one's own."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sessile.fastapi import CurrentAccess
from sessile.server.access import Ours, Person
from sessile.server.models import NewPassword

router = APIRouter(tags=["Password"])


@router.put("/password", status_code=204, response_class=Response, summary="Change my password")
async def change(body: NewPassword, server: Ours, here: CurrentAccess, active: Person) -> None:
    """Every other session of this person ends; this one goes on with a new token.

    15 to 256 characters, any of them; not one's own name, and not a mere repetition or run of characters.
    """
    here.sign_in(await server.passwords.change(active, body.current, body.new, client=here.client))
