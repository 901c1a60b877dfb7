"""What the five applications beside this share: the frame of a page, signing in, proving oneself again, starting.

An application of yours has all of it already; here it keeps the five short. `application` makes one with
`SessileMiddleware` around it and live tabs in it, `page` a page of it, `start` serves it on this machine.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from sessile import Authority, Conflict, Cure, LimitExceeded, NotFound, Reason, Refused, SessileError, Session
from sessile.asgi import Live
from sessile.factors.password import Passwords, SignInFailed
from sessile.factors.throttle import Throttle
from sessile.fastapi import AccessDenied, CurrentAccess, SessileMiddleware, require, sign_out
from sessile.web.problem import sentence

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
FRAME = Markup("""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading} · {name}</title><link rel="stylesheet" href="/style.css">{live}</head>
<body><header><a href="/">{name}</a>{who}</header>
<main><h1>{heading}</h1>{body}</main></body></html>""")
LIVE = Markup(
    '<script src="/session/live.js" defer data-session="{}" data-login="/login" data-step-up="/step-up"></script>'
)
WHO = Markup('<form method="post" action="/logout"><span>{}</span> <button>Sign out</button></form>')
PASSWORD = Markup(
    '<label>Password <input name="password" type="password" autocomplete="current-password" required></label>'
)
LOGIN = Markup(
    '<form method="post" action="/login"><label>User name <input name="username" autocomplete="username" required>'
    "</label>{}<button>Sign in</button></form>"
).format(PASSWORD)
STEP_UP = Markup('<form method="post" action="/step-up">{}<button>Confirm</button></form>').format(PASSWORD)
STYLE = """
:root { color-scheme: light dark; --ink: #1c2426; --ground: #f7f5f0; --line: #82837b; --act: #0d655e; --on: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9e6; --ground: #12181a; --line: #75858a; --act: #63c7b7; --on: #06231f; }
}
* { box-sizing: border-box; }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; justify-content: space-between;
  padding: .75rem 1rem; border-bottom: 1px solid var(--line); }
main { max-width: 44rem; margin: 0 auto; padding: 1rem; }
section, li { margin: 1rem 0; }
ul { padding: 0; list-style: none; }
li { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; }
label { display: block; margin: .75rem 0; }
input { display: block; width: 100%; }
input, button { font: inherit; padding: .5rem .75rem; border-radius: .375rem; border: 1px solid var(--line); }
button { color: var(--on); background: var(--act); border-color: var(--act); min-height: 2.5rem; margin: .25rem 0; }
a { color: var(--act); }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
[role=status], [role=alert] { padding: .75rem 1rem; border-left: 4px solid var(--act); }
"""


def page(request: Request, heading: str, *body: Markup, status: int = 200) -> HTMLResponse:
    """A page under a strict Content-Security-Policy. One of a session listens to what becomes of it."""
    session = request.scope["sessile"].session
    person = session is not None and session.principal is not None
    html = FRAME.format(
        name=request.app.title,
        heading=heading,
        live=LIVE.format(session.id) if person else "",
        who=WHO.format(session.principal) if person else "",
        body=Markup("").join(body),
    )
    return HTMLResponse(html, status, headers={"Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff"})


def paragraph(text: object, role: str | None = None) -> Markup:
    return Markup("<p{}>{}</p>").format(Markup(' role="{}"').format(role) if role else "", text)


def bullets(items: Iterable[Markup], none: str) -> Markup:
    found = Markup("").join(Markup("<li>{}</li>").format(item) for item in items)
    return Markup("<ul>{}</ul>").format(found) if found else paragraph(none)


def redirect(path: str) -> Response:
    """After a POST: the browser asks for that page."""
    return RedirectResponse(path, 303)


def application(
    name: str,
    authority: Authority,
    people: Mapping[str, set[str] | None],
    password: str,
    *,
    key: bytes | None = None,
    ready: Callable[[], Awaitable[None]] | None = None,
    done: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """An application whose people (with their scopes; None: all) sign in with the one password of this demonstration.

    `key`: what the count of tries is kept under, the same on all nodes. `ready`: run when everybody is registered,
    and `done` at the end.
    """
    passwords = Passwords(authority, throttle=Throttle(authority, key or secrets.token_bytes(32)))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for person, scopes in people.items():
            try:
                await authority.principal(person)
            except NotFound:
                with suppress(Conflict):  # another node was first
                    await authority.register(person, scopes=scopes)
                    await passwords.set(person, password)
        if ready is not None:
            await ready()
        yield
        if done is not None:
            await done()

    app = FastAPI(title=name, lifespan=lifespan, openapi_url=None)
    app.add_middleware(SessileMiddleware, authority=authority)
    app.mount("/session", Live())

    @app.exception_handler(SessileError)
    async def lead(request: Request, error: SessileError) -> Response:
        """To where it can be cured, or in words. Who is no person is answered by the middleware, in JSON."""
        access = request.scope["sessile"]
        if access.bearer:
            raise error
        cure = error.denied.cure if isinstance(error, (AccessDenied, Refused)) else Cure.NONE
        if isinstance(error, AccessDenied) and cure is Cure.SIGN_IN:
            return redirect(f"/login?why={error.denied.reason}")
        if cure is Cure.STEP_UP:
            return redirect("/step-up")
        said = access.problem(error)
        return page(request, said.title, paragraph(said.detail, "alert"), status=said.status)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        return page(request, "Not understood", paragraph("Go back, and look at what you typed.", "alert"), status=422)

    def login_page(request: Request, said: str = "", status: int = 200) -> Response:
        return page(request, "Sign in", *([paragraph(said, "alert")] if said else []), LOGIN, status=status)

    @app.get("/login")
    async def login_form(request: Request, why: Reason | None = None) -> Response:
        return login_page(request, sentence(why) if why and why is not Reason.MISSING else "")

    @app.post("/login")
    async def login(
        request: Request, access: CurrentAccess, username: Annotated[str, Form()], password: Annotated[str, Form()]
    ) -> Response:
        replaces = await access.replaceable()
        try:
            access.sign_in(await passwords.sign_in(username, password, client=access.client, replaces=replaces))
        except (SignInFailed, LimitExceeded) as error:
            return login_page(request, str(error), 401 if isinstance(error, SignInFailed) else 429)
        return redirect("/")

    @app.get("/step-up")
    async def step_up_form(request: Request, session: Annotated[Session, require(below_policy=True)]) -> Response:
        return step_up_page(request)

    def step_up_page(request: Request, said: str = "", status: int = 200) -> Response:
        said_so = [paragraph(said, "alert")] if said else []
        return page(request, "Confirm that it is you", *said_so, STEP_UP, status=status)

    @app.post("/step-up")
    async def step_up(request: Request, access: CurrentAccess, password: Annotated[str, Form()]) -> Response:
        active = await access.require(below_policy=True)
        try:
            access.sign_in(await passwords.verify_again(active, password, client=access.client))
        except (SignInFailed, LimitExceeded) as error:
            return step_up_page(request, str(error), 401 if isinstance(error, SignInFailed) else 429)
        return redirect(request.session.pop("then", "/"))  # only this application writes it

    @app.post("/logout")
    async def logout(request: Request) -> Response:
        await sign_out(request)
        return redirect("/login")

    @app.get("/style.css")
    async def style() -> Response:
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=600"})

    return app


def start(app: FastAPI, hint: str, port: int | None = None) -> None:
    """Serve on this machine until Ctrl-C, after one line on how to try it. The port: as given, or as first argument."""
    if port is None:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with socket.create_server(("127.0.0.1", port)) as listening:
        print(f"http://localhost:{listening.getsockname()[1]} {hint}", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listening])
