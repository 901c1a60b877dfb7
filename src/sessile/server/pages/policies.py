"""`/console/policies`: the rules in words, and the way to why a session is denied."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sessile.kernel.ids import check_session_id
from sessile.server.access import Operator, Ours
from sessile.server.pages.console import CONSOLE
from sessile.server.pages.render import go, page
from sessile.server.rules import sentences
from sessile.server.wording import TEXTS

router = APIRouter(prefix=CONSOLE)


@router.get("/policies")
async def show(
    request: Request, server: Ours, _active: Operator, session: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    error = ""
    if session.strip():
        try:
            return go(f"{CONSOLE}/sessions/{check_session_id(session.strip())}")
        except ValueError:
            error = TEXTS.policies.no_session
    return page(
        request, "policies.html", status=422 if error else 200, session=session,
        errors={"session": error} if error else {},
        policies=[(policy, sentences(policy)) for policy in await server.authority.store.policies()],
    )  # fmt: skip
