"""`/account/addresses`: where notices go. Changing them needs what changing a factor needs (ASVS V7.5.1)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.principal import Principal
from sessile.server.access import Ours, Person, SteppingUp
from sessile.server.models_addresses import ADDRESS_ID
from sessile.server.pages.render import HOME, CheckedForm, go, page, text
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access

ADDRESSES = f"{HOME}/addresses"
router = APIRouter(prefix=ADDRESSES)


@router.get("")
async def show(request: Request, server: Ours, active: Person, here: CurrentAccess) -> Response:
    return await _page(request, server, active, here)


@router.post("")
async def add(request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, form: CheckedForm) -> Response:
    principal, typed = await _changing(server, active), text(form, "address")
    words = TEXTS.addresses
    try:
        made = await server.addresses.add(principal, typed, by=active, client=here.client)
    except (ValueError, Conflict, LimitExceeded) as error:
        said = {Conflict: words.there, LimitExceeded: words.most}.get(type(error), words.wrong)
        return await _page(request, server, active, here, status=422, errors={"address": said}, entered=typed[:254])
    here.data["notice"] = words.was_added.format(address=made.address)
    return go(ADDRESSES)


@router.post("/{id}")
async def remove(
    id: Annotated[str, Path(pattern=ADDRESS_ID)], server: Ours, active: SteppingUp, here: CurrentAccess,
    _form: CheckedForm,
) -> Response:  # fmt: skip
    removed = await server.addresses.remove(await _changing(server, active), id, by=active, client=here.client)
    here.data["notice"] = TEXTS.addresses.was_removed.format(address=removed.address)
    return go(ADDRESSES)


async def _changing(server: Server, active: Active) -> Principal:
    """Whose addresses this session may change. Raises Refused: it needs a fresh proof."""
    principal = await server.authority.store.principal(uid=await server.factors.may_change(active))
    if principal is None:
        raise NotFound("no such principal")
    return principal


async def _page(
    request: Request, server: Server, active: Active, here: Access, *, status: int = 200, **context: Any
) -> Response:
    return page(
        request, "addresses.html", status=status, active=active, now=server.now(),
        addresses=await server.addresses.of(active.session.uid or ""), mail=server.settings.mail is not None,
        notice=here.data.pop("notice", None), **context,
    )  # fmt: skip
