"""What the middleware costs a request, without a clock; and that its shortest way is no way around anything."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sessile import Authority, Policy
from sessile.asgi import SessileMiddleware
from sessile.testing import ManualClock
from tests.asgi.browser import COOKIE

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"localhost")
SITE = (b"sec-fetch-site", b"same-origin")


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        here = scope.get("sessile")
        who = here.session if scope["path"] == "/who" and await here.check() else None
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": who.principal.encode() if who else b"hello"})


async def ask(app: Any, headers: Headers, path: str = "/who", method: str = "GET") -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": headers, "client": None}, None, send)
    return sent


async def answered(app: Any, headers: Headers, method: str = "GET") -> tuple[int, bytes]:
    start, body = await ask(app, headers, method=method)
    return start["status"], body["body"]


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/sessile.db"


@pytest.fixture
async def authority(url: str) -> AsyncIterator[Authority]:
    async with Authority(url, policy=Policy.aal1(), clock=ManualClock()) as opened:
        yield opened


async def test_an_ordinary_request_calls_few_functions(url: str, authority: Authority) -> None:
    """A live session, alone in its cookie, and nothing due. Whoever makes it dearer has to say so here."""
    app = SessileMiddleware(hello, authority)
    cookie = (b"cookie", f"{COOKIE}={(await authority.begin('alice')).token}".encode())
    counted: dict[Any, int] = {}
    for each in (hello, app):
        for _ in range(3):
            await ask(each, [HOST, cookie], "/")
        calls = 0

        def count(_frame: FrameType, event: str, _arg: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            await ask(each, [HOST, cookie], "/")
        finally:
            sys.setprofile(None)
        counted[each] = calls
    assert counted[app] - counted[hello] <= {"memory:": 24}.get(url, 25)


async def test_a_request_leaves_nothing_to_the_collector(authority: Authority) -> None:
    app = SessileMiddleware(hello, authority)
    cookie = (b"cookie", f"{COOKIE}={(await authority.begin('alice')).token}".encode())
    for headers in ([HOST, cookie], [HOST]):
        await answered(app, headers)
        gc.collect()
        gc.disable()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            for _ in range(3):
                await answered(app, headers)
            gc.collect()
            left = [one for one in gc.garbage if type(one).__module__.startswith("sessile.")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left == []


async def test_the_shortest_way_is_no_way_around() -> None:
    """Each of these has, to the letter, the cookie that the near cache knows."""
    async with Authority("memory:", policy=Policy.aal1()) as authority:
        app = SessileMiddleware(hello, authority)
        issued = await authority.begin("alice")
        cookie = (b"cookie", f"{COOKIE}={issued.token}".encode())
        assert await answered(app, [HOST, SITE, cookie]) == (200, b"alice")
        assert authority.peek(issued.token)
        for around in (b"%b", b"theme=dark; %b", b"%b; theme=dark", b"a=b;%b ;c=d"):
            assert await answered(app, [HOST, (b"cookie", around % cookie[1])]) == (200, b"alice")
        other = (b"cookie", f"{COOKIE}={(await authority.begin('mallory', method='passkey')).token}".encode())
        assert await answered(app, [HOST, cookie, other]) == (200, b"hello")
        assert await answered(app, [HOST, other, cookie]) == (200, b"hello")
        assert await answered(app, [HOST, cookie, (b"cookie", cookie[1].lower())]) == (200, b"hello")
        assert await answered(app, [HOST, cookie, (b"authorization", b"Bearer slk_x")]) == (200, b"hello")
        assert (await answered(app, [(b"host", b"evil.example"), cookie]))[0] == 421
        assert (await answered(app, [HOST, HOST, cookie]))[0] == 421
        assert (await answered(app, [cookie]))[0] == 421
        assert (await answered(app, [HOST, (b"sec-fetch-site", b"cross-site"), cookie], "POST"))[0] == 403
        await authority.revoke(session=issued.active.session.id, cause="logout", wait=False)
        assert await answered(app, [HOST, cookie]) == (200, b"hello")
