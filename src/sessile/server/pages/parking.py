"""Forms of the server's own pages that came after their session had timed out: parked for their person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from fastapi import Request

from sessile.errors import SessileError
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
    """A form came after its session had timed out: keep what was typed, until its person is back.

    Only of a form that was made for that session, and never what proves or names a secret.
    """
    denied = here.result
    if denied or path is None or denied.reason not in (Reason.IDLE, Reason.EXPIRED) or denied.session is None:
        return
    form = await request.form()
    found: Mapping[str, object] = dict(form)
    if not check_form_token(server_of(request).key, denied.session, str(found.get("form_token", ""))):
        return
    fields = bounded(found)
    if not fields or safe_path(path) is None:
        return
    name = TEXTS.waiting.form.format(path=path.partition("?")[0])[:100]
    try:
        await here.park(name, Form(path, fields), type_name=FORM)
    except (SessileError, ValueError):
        return  # as many wait as may, or it was ended meanwhile: it is a sign-in like any other
