"""`/account/factors/recovery-codes`: made and shown, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.server.access import Ours, SteppingUp
from sessile.server.pages.render import HOME, CheckedForm, page
from sessile.server.state import server_of
from sessile.server.wording import TEXTS

router = APIRouter(prefix=f"{HOME}/factors/recovery-codes")
_SAVED_AS: Final = "data:text/plain;charset=utf-8,"


@router.get("")
async def ask(request: Request, server: Ours, active: SteppingUp) -> Response:
    await server.recovery_codes.may_make(active)
    exists = await server.recovery_codes.of(active.session.uid or "") is not None
    return page(
        request, "recovery_codes.html", active=active, codes=[], replacement=False, exists=exists, next_href=HOME
    )


@router.post("")
async def make(request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, _form: CheckedForm) -> Response:
    made = await server.recovery_codes.make(active, client=here.client)
    return show_codes(request, active, made.codes, HOME)


def show_codes(
    request: Request, active: Active, codes: Sequence[str], next_href: str, *, replacement: bool = False
) -> Response:
    """The one page that ever shows them; its answer is stored nowhere."""
    when = TEXTS.moment(now := server_of(request).now(), now)
    head = TEXTS.recovery_codes.file_head.format(name=active.session.principal, when=when)
    return page(
        request, "recovery_codes.html", active=active, codes=codes, replacement=replacement, exists=True,
        next_href=next_href, file=_SAVED_AS + quote("\n".join([head, "", *codes, ""])),
    )  # fmt: skip
