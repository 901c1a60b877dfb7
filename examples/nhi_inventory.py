"""An inventory of what is not a person: agents, services, their keys and leases, under the discipline of sessions.

Each has an owner, an origin and an end. Findings say what is wrong; a key is rotated with an overlap; a stolen session
is contained, and with it all that it handed out, in the vendor's system too.

Run it: `python examples/nhi_inventory.py`.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Annotated

from common import application, bullets, page, paragraph, redirect, start
from fastapi import FastAPI, Form, Path, Request
from fastapi.responses import Response
from markupsafe import Markup

from sessile import Authority, NotFound, Session
from sessile.factors.sealing import Seal
from sessile.fastapi import CurrentActive, CurrentSession, require
from sessile.kernel.containment import Fate
from sessile.nhi.connector import Description, Minted
from sessile.nhi.inventory import Held, Item
from sessile.nhi.leases import Leases

OVERLAP = timedelta(hours=1)
"""For so long a rotated key counts beside the new one, until the service has it."""
Name = Annotated[str, Form(pattern="^(service|agent):[a-z0-9]{1,40}$")]
Id = Annotated[str, Path(pattern="^ses_[0-9a-z]{27}$")]
ADD = Markup("""<h2>Hand out</h2><form method="post" action="/hand-out">
<label>To <input name="owner" value="service:ci" pattern="(service|agent):[a-z0-9]+" required></label>
<button name="what" value="key">A key to read, for 30 days</button>
<button name="what" value="lease">A lease at the vendor</button>
<button name="what" value="delegation">A delegation, which dies with this session</button></form>""")
ROTATE = Markup(
    '<form method="post" action="/keys/{0}/rotate"><button aria-label="Rotate {1}">Rotate, with an hour\'s overlap'
    "</button></form>"
)
CONTAIN = Markup('<form method="post" action="/sessions/{0}/contain"><button>Contain it: it was stolen</button></form>')
MORE = Markup('<p><a href="/">Inventory</a> · <a href="/sessions">Your sessions</a></p>')


class Vendor:
    """Another system that gives out credentials, and the connector to it. For real ones see docs/leases.md."""

    def __init__(self) -> None:
        self.valid: set[str] = set()

    async def probe(self) -> None:
        pass

    async def describe(self, handle: str) -> Description:
        if handle not in self.valid:
            raise ValueError("the vendor knows no such credential")
        return Description(shown=handle)

    async def revoke(self, handle: str) -> datetime | None:
        self.valid.discard(handle)  # not found is success
        return None

    def plan(self) -> str:
        return f"vendor-{secrets.token_hex(4)}"

    async def mint(self, handle: str, until: datetime) -> Minted:
        self.valid.add(handle)
        return Minted(handle=handle, secret={"password": secrets.token_urlsafe(24)})

    async def close(self) -> None:
        pass


def make_app(authority: Authority, password: str, vendor: Vendor) -> FastAPI:
    leases = Leases(authority, Seal([secrets.token_bytes(32)]), {"vendor": vendor})

    async def ready() -> None:
        # As one finds it: whoever answered for it has left, and nobody knows what it is for.
        await authority.register("gus")
        await authority.register("service:legacy", owner="gus")
        await authority.disable("gus", cause="left")
        leases.start()  # its worker ends what is due at the vendor

    app = application(
        "Inventory", authority, {"olga": {"read", "lease:vendor"}}, password, ready=ready, done=leases.close
    )

    @app.get("/")
    async def inventory(request: Request, session: CurrentSession) -> Response:
        items = [described(item) for item in await authority.inventory()]
        return page(request, "Agents and services", bullets(items, "None."), ADD, MORE)

    def described(item: Item) -> Markup:
        said = Markup("<h2>{}</h2>").format(item.principal)
        said += paragraph(f"Purpose: {item.purpose or 'none'}. Answers for it: {item.owner or 'nobody'}.")
        said += Markup("").join(held(one) for one in item.held)
        if item.delegations:
            said += paragraph(f"Delegations that act now: {item.delegations}.")
        for one in item.findings:
            said += Markup("<p><strong>{}</strong> {}. Cure: {}.</p>").format(one.risk, one.says, one.cure)
        return said

    def held(one: Held) -> Markup:
        used = f"last used {one.last_used:%Y-%m-%d %H:%M}" if one.last_used else "never used"
        state = "rotated out, counts until" if one.rotated_out else "ends"
        until = f"{state} {one.expires:%Y-%m-%d %H:%M}"
        said = f"{one.kind.value.title()} «{one.label}», by {one.handed_out_by}: {used}, {until}."
        can = one.kind.value == "key" and not one.rotated_out
        return paragraph(said) + (ROTATE.format(one.id, one.label) if can else Markup())

    @app.post("/hand-out")
    async def hand_out(
        request: Request,
        active: CurrentActive,
        owner: Name,
        what: Annotated[str, Form()],
    ) -> Response:
        if what == "key":
            key = await authority.mint_key(
                active, owner=owner, scopes={"read"}, lifetime=timedelta(days=30), label="reads status"
            )
            return shown(request, key.token)
        if what == "delegation":
            return shown(request, (await authority.delegate(active, to=owner, scopes={"read"})).token)
        leased = await leases.mint(
            active, connector="vendor", owner=owner, lifetime=timedelta(days=7), label="at the vendor"
        )
        return shown(request, (leased.secret or {})["password"])

    def shown(request: Request, secret: str) -> Response:
        """A secret is seen here, once; what is stored is its hash."""
        said = Markup("<p>Keep it, it is not shown again: <code>{}</code></p>").format(secret)
        return page(request, "Handed out", said, MORE)

    @app.post("/keys/{id}/rotate")
    async def rotate(request: Request, active: CurrentActive, id: Id) -> Response:
        return shown(request, (await authority.rotate_key(active, id, overlap=OVERLAP)).token)

    @app.get("/sessions")
    async def sessions(request: Request, session: CurrentSession) -> Response:
        listed = []
        for one in await authority.sessions(principal=session.principal):
            would = await authority.contain(session=one.id, cause="preview", dry_run=True)
            counts = sorted(would.radius.ends.items()) if would.radius is not None else []
            ends = ", ".join(f"{count} {kind}" for kind, count in counts)
            name = f"{one.client.label or one.id}{' (this one)' if one.id == session.id else ''}"
            listed.append(Markup("{}: containing it ends {} {}").format(name, ends, CONTAIN.format(one.id)))
        left = await authority.holdings(session.principal or "")
        said = f"If you left, {len(left.principals)} of the agents and services would need another owner, and "
        said += f"{len(left.handed_out)} keys and leases that you handed out would live on."
        return page(request, "Your sessions", bullets(listed, "None."), paragraph(said), MORE)

    @app.post("/sessions/{id}/contain")
    async def contain(
        request: Request,
        session: Annotated[Session, require(fresh=timedelta(minutes=5))],
        active: CurrentActive,
        id: Id,
    ) -> Response:
        if (await authority.session(id)).principal != session.principal:
            raise NotFound(f"no session {id} of yours")
        report = await authority.contain(session=id, cause="stolen", by=active)
        await leases.work()  # the worker does so by itself; here it is wanted in the report
        return redirect(f"/reports/{report.id}")

    @app.get("/reports/{id}")
    async def report(request: Request, session: CurrentSession, id: str) -> Response:
        found = await authority.containment(id)
        if found.principal != session.principal:
            raise NotFound(f"no containment {id}")
        reached = found.radius.sessions if found.radius is not None else ()
        ended = [
            Markup("{} of {} {}").format(one.kind.value, one.principal, one.label)
            for one in reached
            if one.fate is Fate.ENDS
        ]
        outside = [
            Markup("{} at {}: {}").format(one.shown, one.connector, one.outcome or "not confirmed")
            for one in found.leases
        ]
        said = paragraph(f"The containment is {found.state}.", "status")
        return page(
            request, "What ended", said, bullets(ended, "Nothing."), Markup("<h2>In other systems</h2>"),
            bullets(outside, "Nothing."), MORE,
        )  # fmt: skip

    @app.get("/api/status")
    async def status(session: Annotated[Session, require(scopes={"read"})]) -> dict[str, str | None]:
        """What keys and delegations are for: one check for them and for people."""
        return {"asked_by": session.principal, "status": "all is well"}

    return app


if __name__ == "__main__":
    password = secrets.token_urlsafe(12)
    start(
        make_app(Authority("memory:"), password, Vendor()),
        f"olga / {password}: hand out a key, a lease and a delegation, then contain your session from another browser",
    )
