"""A service desk, and a page on another origin that attacks it with what the browser sends along.

Run it: `python examples/service_desk.py`, sign in at the one address, open the other.
"""

from __future__ import annotations

import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from common import application, bullets, page, redirect, start
from fastapi import FastAPI, Request
from fastapi.responses import Response
from markupsafe import Markup

from sessile import Authority
from sessile.fastapi import CurrentSession

OPEN = Markup(
    '{} (open) <form method="post" action="/tickets/{}/close"><button aria-label="Close: {}">Close</button></form>'
)
TICKETS = {7: "The lamp does not light", 8: "The door sticks"}

ATTACK = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>A prize for you</title>
<h1>You have won a lamp</h1>
<form method="post" action="DESK/tickets/7/close"><button>Take it</button></form>
<p id="came">…</p>
<script>
  // Nobody has to click: this asks with the cookie of whoever looks at this page.
  const ask = fetch("DESK/tickets/8/close", {method: "POST", mode: "no-cors", credentials: "include"});
  const read = fetch("DESK/", {credentials: "include"}).then((answer) => answer.text());
  Promise.allSettled([ask, read]).then(([asked, got]) => {
    came.textContent = `asked: ${asked.status}; read of the desk: ${got.status}`;
  });
</script>
"""


def make_app(authority: Authority, password: str) -> FastAPI:
    """There is nothing about cookies or other sites in here: the middleware refuses before a route is reached."""
    app = application("Service desk", authority, {"sam": None}, password)
    closed: set[int] = set()  # yours: a table

    @app.get("/")
    async def tickets(request: Request, session: CurrentSession) -> Response:
        shown = [
            Markup("{} (closed)").format(title) if id in closed else OPEN.format(title, id, title)
            for id, title in TICKETS.items()
        ]
        return page(request, "Tickets", bullets(shown, "None."))

    @app.post("/tickets/{id}/close")
    async def close(session: CurrentSession, id: int) -> Response:
        closed.add(id)
        return redirect("/")

    return app


def attacker(desk: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of the attacking page, on an origin of its own. It is on this machine, and another origin all the same:
    by its port, and as `127.0.0.1` another site, too, to which SameSite sends nothing."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = ATTACK.replace("DESK", desk).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    attack = attacker(f"http://localhost:{port}").server_port
    password = secrets.token_urlsafe(12)
    start(
        make_app(Authority("memory:"), password),
        f"sam / {password}: then open http://localhost:{attack} and http://127.0.0.1:{attack}, and look at the tickets",
        port,
    )
