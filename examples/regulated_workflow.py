"""A regulated workflow: payments under short lifetimes, which lose nothing of what was typed, and need four eyes.

Run it: `python examples/regulated_workflow.py`.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

import msgspec
from common import application, bullets, page, redirect, start
from fastapi import FastAPI, Form, Request
from fastapi.responses import Response
from markupsafe import Markup

from sessile import Authority, Policy, Reason
from sessile.fastapi import AccessDenied, CurrentAccess, CurrentActive
from sessile.kernel.work import Work, WorkState

POLICY = Policy.aal3(idle=timedelta(minutes=5), overall=timedelta(hours=4))
FRESH = timedelta(minutes=2)
"""How recently whoever approves must have proved itself. With second factors in place ask for `assurance=2` too."""


class Payment(msgspec.Struct, frozen=True):
    to: str
    amount: int

    def __str__(self) -> str:
        return f"{self.amount} to {self.to}"


FORM = Markup("""<form method="post" action="/payments">
<label>To <input name="to" maxlength="80" value="{to}" autocomplete="off" required></label>
<label>Amount <input name="amount" type="number" min="1" max="1000000" value="{amount}" required></label>
<button>Ask for approval</button></form>""")


def button(path: str, label: str, what: object) -> Markup:
    # What a button is about is part of its name for those who hear the page.
    form = Markup('<form method="post" action="{}"><button aria-label="{}: {}">{}</button></form>')
    return form.format(path, label, what, label)


def make_app(authority: Authority, password: str) -> FastAPI:
    app = application("Payments", authority, {"alice": {"pay"}, "carol": {"approve"}}, password)
    paid: list[str] = []  # yours: a table

    @app.get("/")
    async def home(request: Request, active: CurrentActive) -> Response:
        waiting = [
            Markup("{} {}").format(work.name, button(f"/parked/{work.id}/resume", "Take it up", work.name))
            for work in await authority.parked(active)
        ]
        asked = [approval(work, active.session.uid) for work in await authority.approvals()]
        return page(
            request,
            "Payments",
            FORM.format(to="", amount=""),
            Markup("<h2>What you were at</h2>"),
            bullets(waiting, "Nothing waits for you."),
            Markup("<h2>Approvals</h2>"),
            bullets(asked, "None is asked for."),
            Markup("<h2>Paid</h2>"),
            bullets([Markup("{}").format(one) for one in paid], "Nothing yet."),
        )

    def approval(work: Work, uid: str | None) -> Markup:
        """What it is about, as it was asked, and what this person can do about it."""
        payment = msgspec.convert(work.decoded(), Payment)
        if work.uid != uid:
            can = button(f"/approvals/{work.id}/approve", "Approve", payment)
            can += button(f"/approvals/{work.id}/refuse", "Refuse", payment)
        else:
            can = button(f"/approvals/{work.id}/use", "Pay", payment) if work.state is WorkState.GIVEN else Markup()
        return Markup("{} ({}) {}").format(payment, work.state.value, can)

    @app.post("/payments")
    async def ask(
        request: Request,
        access: CurrentAccess,
        to: Annotated[str, Form(min_length=1, max_length=80)],
        amount: Annotated[int, Form(ge=1, le=1_000_000)],
    ) -> Response:
        payment = Payment(to, amount)
        try:
            active = await access.require(scopes={"pay"})
        except AccessDenied as error:
            if error.denied.reason in (Reason.IDLE, Reason.EXPIRED):
                await access.park(str(payment), payment)  # for its person alone, after a new proof
            raise
        await authority.ask_approval(active, str(payment), payment, scope="approve", assurance=1, fresh=FRESH)
        return redirect("/")

    @app.post("/parked/{id}/resume")
    async def resume(request: Request, active: CurrentActive, id: str) -> Response:
        payment = await authority.resume(active, id, Payment)
        return page(request, "Where you were", FORM.format(to=payment.to, amount=payment.amount))

    @app.post("/approvals/{id}/approve")
    async def approve(active: CurrentActive, id: str) -> Response:
        await authority.approve(active, id)
        return redirect("/")

    @app.post("/approvals/{id}/refuse")
    async def refuse(active: CurrentActive, id: str) -> Response:
        await authority.refuse(active, id)
        return redirect("/")

    @app.post("/approvals/{id}/use")
    async def use(active: CurrentActive, id: str) -> Response:
        # Paid is what was approved, not what this request says.
        paid.append(str(await authority.use_approval(active, id, Payment)))
        return redirect("/")

    return app


if __name__ == "__main__":
    password = secrets.token_urlsafe(12)
    start(
        make_app(Authority("memory:", policy=POLICY), password),
        f"alice and carol / {password}: alice asks, carol approves in another browser, alice pays",
    )
