"""An internal admin console on several nodes: who is deprovisioned at one of them is out at all of them.

Sessions are in Redis or Valkey, accounts and the record in SQLite. Run two of it, in one folder:
`python examples/admin_console.py redis://localhost:6379/0 --port 8001`, and the same with `--port 8002`.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from common import application, bullets, page, paragraph, start
from fastapi import FastAPI, Form, Request
from fastapi.responses import Response
from markupsafe import Markup

from sessile import Authority, Policy, Session
from sessile.fastapi import CurrentActive, CurrentSession, require
from sessile.kernel.principal import PrincipalKind, Status

POLICY = Policy.aal2(idle=timedelta(minutes=15), overall=timedelta(hours=8), reason="it reaches everything")
ADMIN = require(scopes={"admin"}, fresh=timedelta(minutes=5))
DISABLE = Markup("""<form method="post" action="/people/{name}/disable">
<label>Why is {name} to be out? <input name="cause" maxlength="200" value="left the company" required></label>
<button>Disable {name}</button></form>""")
ENABLE = Markup('<form method="post" action="/people/{name}/enable"><button>Enable {name}</button></form>')
BACK = Markup('<p><a href="/">Everybody</a></p>')


def make_app(authority: Authority, password: str, key: bytes, node: str) -> FastAPI:
    people: dict[str, set[str] | None] = {"olga": {"admin"}, "carol": {"read"}, "dan": {"read"}}
    app = application(f"Console, {node}", authority, people, password, key=key)

    @app.get("/")
    async def home(request: Request, session: CurrentSession) -> Response:
        if "admin" not in session.scopes:
            return page(request, "Your consoles", paragraph("Fleet, secrets, pipelines."))
        shown = []
        for one in await authority.store.principals(kind=PrincipalKind.HUMAN):
            live = len(await authority.sessions(principal=one.name))
            said = Markup("{}: {}, {} live").format(one.name, one.status.value, live)
            if one.uid != session.uid:
                said += (DISABLE if one.status is Status.ACTIVE else ENABLE).format(name=one.name)
            shown.append(said)
        return page(request, "Everybody", bullets(shown, "Nobody."))

    @app.post("/people/{name}/disable")
    async def disable(
        request: Request,
        admin: Annotated[Session, ADMIN],
        active: CurrentActive,
        name: str,
        cause: Annotated[str, Form(min_length=1, max_length=200)],
    ) -> Response:
        receipt = await authority.disable(name, cause=cause, by=active)
        said = f"{name} is out. No node accepts any of their sessions since {receipt.effective:%H:%M:%S.%f} UTC."
        left = [Markup("{} of {}").format(one.label or one.id, one.principal) for one in receipt.handed_out]
        listed = bullets(left, "They handed out no key that lives.")
        return page(request, "Disabled", paragraph(said, "status"), listed, BACK)

    @app.post("/people/{name}/enable")
    async def enable(request: Request, admin: Annotated[Session, ADMIN], active: CurrentActive, name: str) -> Response:
        await authority.enable(name, by=active)
        said = f"{name} can sign in again. What had ended stays ended."
        return page(request, "Enabled", paragraph(said, "status"), BACK)

    return app


def shared_key(folder: Path) -> bytes:
    """What all nodes have to know alike, made by the first of them."""
    file = folder / "admin_console.key"
    with contextlib.suppress(FileExistsError):
        os.write(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), secrets.token_bytes(32))
    return file.read_bytes()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", help="redis://localhost:6379/0")
    parser.add_argument("--folder", type=Path, default=Path(), help="of the directory; the same for all nodes")
    parser.add_argument("--port", type=int, default=8001)
    options = parser.parse_args()
    key = shared_key(options.folder)
    password = hmac.digest(key, b"the password of this demonstration", "sha256").hex()[:16]
    authority = Authority(
        options.engine, directory=f"sqlite:///{(options.folder / 'admin_console.db').resolve()}", policy=POLICY
    )
    start(
        make_app(authority, password, key, f"port {options.port}"),
        f"olga, carol and dan / {password}: disable carol at one node while she looks at another",
        options.port,
    )
