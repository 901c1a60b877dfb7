"""`/secret-scanning` and `/leaks`: tokens that were found in the open."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

import msgspec
from fastapi import APIRouter, Header, HTTPException, Query, Request, Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.session import SessionKind
from sessile.kernel.token import well_formed
from sessile.nhi.leaks import Leak
from sessile.server.access import Operator, Ours
from sessile.server.models import Output, PageOut

router = APIRouter(tags=["Tokens"])


class _Find(msgspec.Struct):
    token: str
    url: str = ""
    source: str = ""


_finds = msgspec.json.Decoder(list[_Find]).decode


class LeakOut(Output):
    session: str
    kind: SessionKind | None
    principal: str | None
    where: str
    reporter: str
    at: datetime
    origin: str | None
    """The session that handed it out: `POST /containments` with it, if its holder may be whoever leaked it."""
    origin_live: bool

    @classmethod
    def of(cls, leak: Leak) -> Self:
        return cls(**msgspec.structs.asdict(leak))


_Text = Annotated[str, Header(max_length=512)]


@router.post("/secret-scanning", response_class=Response, summary="Report tokens that were found in the open")
async def report(
    request: Request, server: Ours, here: CurrentAccess, github_public_key_identifier: _Text = "",
    github_public_key_signature: _Text = "",
) -> Response:  # fmt: skip
    """The post of a secret scanner, in the form of GitHub's partner program: `[{"token", "type", "url", "source"}]`,
    signed with one of the scanner's keys. Each of ours is ended, wherever it was found.

    404 where the server knows no scanner; 403 where the signature is not one of its.
    """
    if server.scanner is None:
        raise HTTPException(404)
    body = await request.body()
    if not await server.scanner.signed(body, github_public_key_identifier, github_public_key_signature):
        raise HTTPException(403)
    try:
        finds = _finds(body)
    except msgspec.DecodeError:
        raise HTTPException(400) from None
    for find in finds:
        if well_formed(find.token):
            await server.authority.found_in_the_open(
                find.token, where=find.url or find.source or "unknown", reporter="secret scanning", client=here.client
            )
    return Response(status_code=200)


@router.get("/leaks", summary="List tokens that were found in the open")
async def list_all(
    server: Ours, _active: Operator, days: Annotated[int, Query(ge=1, le=100, description="Back from now.")] = 30
) -> PageOut[LeakOut]:
    """All have ended. `origin` is what handed each out, for a containment; latest first. For operators."""
    found = await server.authority.leaks(since=server.now() - timedelta(days=days))
    return PageOut(items=[LeakOut.of(one) for one in found], next=None)
