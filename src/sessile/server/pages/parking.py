"""Forms of the server's own pages that came after their session had timed out: parked for their person."""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import Request
from starlette.exceptions import HTTPException

from sessile.errors import SessileError
from sessile.kernel.decide import Active
from sessile.kernel.reason import Reason
from sessile.server.pages.typed import bounded
from sessile.server.state import server_of
from sessile.server.wording import TEXTS
from sessile.web.access import Access
from sessile.web.csrf import check_form_token
from sessile.web.return_to import safe_path

FORM: Final = "form"
"""The type of a form of the server's own pages."""


class Form(msgspec.Struct, frozen=True):
    """What was typed into a form of a page of this server."""

    path: str
    fields: dict[str, str]


async def park_form(request: Request, here: Access, path: str | None) -> None:
    """A form came after its session had timed out, or just before: keep what was typed, until its person is back.

    Only of a form that was made for that session, and never what proves or names a secret.
    """
    result = here.result
    if isinstance(result, Active):
        session: str | None = result.session.id
    else:
        session = result.session if result.reason in (Reason.IDLE, Reason.EXPIRED) else None
    if session is None or safe_path(path) is None:
        return
    try:
        found = dict(await request.form())
        fields = bounded(found)
        if check_form_token(server_of(request).key, session, str(found.get("form_token", ""))) and fields and path:
            name = TEXTS.waiting.form.format(path=path.partition("?")[0])[:100]
            await here.park(name, Form(path, fields), type_name=FORM)
    except (SessileError, HTTPException, ValueError):
        return  # no form, as many wait as may, or it was ended meanwhile: then it is a sign-in like any other
