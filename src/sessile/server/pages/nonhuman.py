"""`/console/inventory` and `/console/leases`: what is not a person, what it holds, what is wrong and still to end."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.server.access import After, Operator, Ours
from sessile.server.pages.console import CONSOLE
from sessile.server.pages.render import page
from sessile.server.wording import TEXTS
from sessile.stores.protocol import Page

router = APIRouter(prefix=CONSOLE)

_ITEMS = 20


@router.get("/inventory")
async def inventory(
    request: Request, server: Ours, _active: Operator, owner: Annotated[str, Query(max_length=128)] = "",
    after: After = None,
) -> Response:  # fmt: skip
    owner, error = owner.strip().casefold(), ""
    try:
        found = await server.authority.inventory(owner=owner or None, after=after, limit=_ITEMS)
    except (NotFound, ValueError):
        found, error = Page([], None), TEXTS.audit.no_principal.format(name=owner)
    more = urlencode({"after": found.next, **({"owner": owner} if owner else {})}) if found.next else None
    return page(
        request, "inventory.html", status=404 if error else 200, now=server.now(), owner=owner, error=error,
        items=found.items, next_href=more and f"{CONSOLE}/inventory?{more}",
    )  # fmt: skip


@router.get("/leases")
async def leases(
    request: Request, server: Ours, _active: Operator, pending: bool = False, after: After = None
) -> Response:
    found = await server.leases.all(pending=pending, after=after, limit=_ITEMS)
    more = urlencode({"after": found.next, **({"pending": "true"} if pending else {})}) if found.next else None
    return page(
        request, "leases.html", now=server.now(), pending=pending, leases=found.items,
        next_href=more and f"{CONSOLE}/leases?{more}",
    )  # fmt: skip
