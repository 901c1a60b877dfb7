"""A customer portal: the e-mail address is changed after a fresh proof only, and signing out empties every open tab.

Run it: `python examples/customer_portal.py`.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from common import application, page, paragraph, redirect, start
from fastapi import FastAPI, Form, Request
from fastapi.responses import Response
from markupsafe import Markup

from sessile import Authority, Cure
from sessile.fastapi import AccessDenied, CurrentAccess, CurrentSession

FRESH = timedelta(minutes=5)
"""Whoever changes where mail goes can take over the account: the session alone is not enough for that."""
FORM = Markup(
    '<form method="post" action="/email"><label>E-mail <input name="email" type="email" maxlength="200" value="{}"'
    ' autocomplete="email" required></label><button>Change</button></form>'
)
LINKS = Markup('<p><a href="/email">Change it</a> · <a href="/orders">Your orders</a></p>')


def make_app(authority: Authority, password: str) -> FastAPI:
    app = application("Customer portal", authority, {"alice": None}, password)
    addresses: dict[str | None, str] = {"alice": "alice@example.com"}  # yours: a table

    @app.get("/")
    async def home(request: Request, session: CurrentSession) -> Response:
        said = f"Mail goes to {addresses[session.principal]}."
        return page(request, "Your account", paragraph(said, "status"), LINKS)

    @app.get("/orders")
    async def orders(request: Request, session: CurrentSession) -> Response:
        return page(request, "Your orders", paragraph("One lamp, on its way."))

    @app.get("/email")
    async def email_form(request: Request, session: CurrentSession) -> Response:
        return page(request, "Your e-mail", FORM.format(request.session.get("typed", addresses[session.principal])))

    @app.post("/email")
    async def change(
        request: Request, access: CurrentAccess, email: Annotated[str, Form(max_length=200, pattern=r"^\S+@\S+$")]
    ) -> Response:
        try:
            active = await access.require(fresh=FRESH)
        except AccessDenied as error:
            if error.denied.cure is Cure.STEP_UP:
                # It stays with the session, on the server; the way back leads to the form with it.
                request.session["typed"], request.session["then"] = email, "/email"
            raise
        request.session.pop("typed", None)
        addresses[active.session.principal] = email
        return redirect("/")

    return app


if __name__ == "__main__":
    password = secrets.token_urlsafe(12)
    start(
        make_app(Authority("memory:"), password),
        f"alice / {password}: open two tabs, sign out in one of them, and look at the other",
    )
