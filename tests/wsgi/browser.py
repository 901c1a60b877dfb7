"""A browser and a server as far as the WSGI middleware can tell, with PEP 3333 held to on both sides."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from sessile import Authority, Policy
from sessile.sync import SyncAuthority
from sessile.testing import ManualClock
from sessile.wsgi import SessileMiddleware, SyncAccess

COOKIE = "__Host-sessile"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
MINUTE = timedelta(minutes=1)

Start = Callable[..., Any]


def application(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """A page for each thing that an application does."""
    here: SyncAccess = environ["sessile.access"]
    session, more = here.session if environ["PATH_INFO"] != "/plain" else None, []
    path, _, rest = environ["PATH_INFO"][1:].partition("/")
    said: Any = {"principal": session.principal if session else None}
    status = "200 OK"
    if path == "login":
        with here.authority.sign_in(rest) as attempt:
            said = {"id": here.sign_in(attempt, method="password").id}
    elif path == "totp":
        said = {"assurance": here.step_up(method="totp").assurance}
    elif path == "logout":
        here.sign_out()
        status = "204 No Content"
    elif path == "private":
        said = {"principal": here.require().session.principal}
    elif path == "sensitive":
        said = {"principal": here.require(assurance=2, fresh=5 * MINUTE).session.principal}
    elif path == "deploy":
        here.require(scopes={"deploy"})
    elif path == "data":
        if rest:
            key, _, value = rest.partition("=")
            here.access.data[key] = value if value != "much" else "x" * 70_000
        said = dict(here.access.data)
    elif path == "cached":
        more = [("Cache-Control", "public, max-age=600"), ("X-Own", "kept")]
    body, kind = json.dumps(said).encode(), [("Content-Type", "application/json")]
    if status.startswith("204"):
        body, kind = b"", []
    start(status, [*kind, *more])
    return [body]


class Answer:
    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = int(status[:3])
        self.headers = headers
        self.body = body

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        found = self.all(name)
        assert len(found) < 2
        return found[0] if found else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """One cookie, and the headers that say where a request comes from."""

    def __init__(self, app: Any, **headers: str) -> None:
        self.app = app
        self.token: str | None = None
        self.headers = {"User_Agent": AGENT, "Sec_Fetch_Site": "same-origin", "Host": "localhost", **headers}

    def environ(self, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO()}
        setup_testing_defaults(environ)
        environ |= {"SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1", "QUERY_STRING": "", "wsgi.url_scheme": "https"}
        del environ["HTTP_HOST"]
        if self.token is not None:
            environ["HTTP_COOKIE"] = f"a=b; {COOKIE}={self.token}"
        for name, value in (self.headers | headers).items():
            environ["HTTP_" + name.upper()] = value
        return environ

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        said: list[Any] = []
        body: list[bytes] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            said[:] = [status, headers]
            return body.append

        pieces = validator(self.app)(self.environ(method, path, headers), start)
        try:
            body.extend(pieces)
        finally:
            pieces.close()  # type: ignore[attr-defined]
        answer = Answer(said[0], said[1], b"".join(body))
        for cookie in answer.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            if name == COOKIE:
                self.token = value or None
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, **headers: str) -> Answer:
        return self.ask("POST", path, **headers)


class World:
    def __init__(self, authority: SyncAuthority, clock: ManualClock, app: Any) -> None:
        self.authority = authority
        self.clock = clock
        self.app = app

    def browser(self, **headers: str) -> Browser:
        return Browser(self.app, **headers)

    def signed_in(self, name: str = "alice", **headers: str) -> Browser:
        browser = self.browser(**headers)
        assert browser.post(f"/login/{name}").status == 200
        return browser


@contextmanager
def world(
    app: Any = application, url: str = "memory:", policy: Policy | None = None, **settings: Any
) -> Iterator[World]:
    clock = ManualClock()
    authority = Authority(url, policy=policy or Policy.aal2(), clock=clock)
    middleware = SessileMiddleware(validator(app), authority, **settings)
    with SyncAuthority(authority) as sync:
        yield World(sync, clock, middleware)
