"""`/keys`: long-lived API keys for services and agents."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from sessile.fastapi import CurrentAccess
from sessile.kernel.session import SessionKind
from sessile.server.access import After, Limit, Ours, Person, SessionPath
from sessile.server.ending import ENDED_BY_ONESELF, own_key
from sessile.server.models import HandedOut, NewKey, PageOut, ReceiptOut, seconds
from sessile.server.nonhuman import KeyOut, KeyRotation

router = APIRouter(tags=["Keys"])

DEFAULTS = KeyRotation()


@router.post("/keys", status_code=201, summary="Mint a key")
async def mint(body: NewKey, server: Ours, active: Person, here: CurrentAccess) -> HandedOut:
    """`owner` is a service or agent of one's own, or oneself. A key outlives this session, and always expires.

    Needs an authentication of the last five minutes.
    """
    issued = await server.authority.mint_key(
        active, owner=body.owner, scopes=body.scopes, lifetime=seconds(body.lifetime), label=body.label,
        client=here.client,
    )  # fmt: skip
    return HandedOut.handed(await server.authority.session(issued.active.session.id), issued.token)


@router.get("/keys", summary="List the keys that I handed out")
async def list_own(server: Ours, active: Person, after: After = None, limit: Limit = 100) -> PageOut[KeyOut]:
    """Living ones, newest first, with their last use to the minute. A page may hold fewer than `limit` and still have a
    next one.
    """
    page = await server.authority.store.sessions(giver=active.session.uid, after=after, limit=limit)
    keys = [one for one in page if one.kind is SessionKind.KEY]
    uses = await server.authority.last_uses([one.id for one in keys])
    return PageOut(items=[KeyOut.key(one, uses.get(one.id)) for one in keys], next=page.next)


@router.post("/keys/{id}/rotate", status_code=201, summary="Rotate a key")
async def rotate(
    id: SessionPath, server: Ours, active: Person, here: CurrentAccess, body: KeyRotation = DEFAULTS
) -> HandedOut:  # fmt: skip
    """Mint a key that takes the place of this one, with its owner and scopes: of a service or agent of mine. Both count
    for the overlap; a use of the old one after that is a sign of theft and ends what it handed out.

    Needs an authentication of the last five minutes.
    """
    issued = await server.authority.rotate_key(
        active, id, overlap=timedelta(seconds=body.overlap), lifetime=seconds(body.lifetime), label=body.label,
        client=here.client,
    )  # fmt: skip
    return HandedOut.handed(await server.authority.session(issued.active.session.id), issued.token)


@router.delete("/keys/{id}", summary="End a key")
async def end(id: SessionPath, server: Ours, active: Person) -> ReceiptOut:
    """One that I handed out, or of a service or agent of mine."""
    info = await own_key(server, active, id)
    return ReceiptOut.of(await server.authority.revoke(session=info.id, cause=ENDED_BY_ONESELF, by=active))
