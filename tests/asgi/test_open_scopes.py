"""What stays open ends with its session: WebSockets, event streams, downloads."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sessile import Authority, Policy
from sessile.asgi import CookieSpec
from sessile.starlette import access, current, requires
from tests.asgi.browser import COOKIE, MINUTE, World, application, token_of, world


async def echo(ws: WebSocket) -> None:
    session = current(ws)
    await ws.accept()
    await ws.send_text(session.principal or "anonymous" if session else "nobody")
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    except WebSocketDisconnect as gone:
        LEFT.append(gone.code)


@requires()
async def members_only(ws: WebSocket) -> None:
    await echo(ws)


async def remember(ws: WebSocket) -> None:
    ws.session["seen"] = "ws"
    await ws.accept()
    await ws.close()


LEFT: list[int] = []
ROUTES = [
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/members", members_only),
    WebSocketRoute("/remember", remember),
]


class Peer:
    """The browser's end of a WebSocket, as a server hands it to the application."""

    def __init__(self, app: Any, path: str, headers: dict[str, str], extensions: dict[str, Any]) -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "wss", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
            "client": ("192.0.2.1", 4711), "server": ("localhost", 443), "subprotocols": [], "extensions": extensions,
        }  # fmt: skip
        self.run = asyncio.create_task(app(scope, self._in.get, self._out.put))
        self._in.put_nowait({"type": "websocket.connect"})

    async def next(self) -> dict[str, Any]:
        getting = asyncio.ensure_future(self._out.get())
        await asyncio.wait({getting, self.run}, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done() and self.run.done() and self._out.empty():
            self.run.result()
            raise AssertionError("the application has ended and said nothing")
        return await getting

    async def say(self, text: str) -> None:
        await self._in.put({"type": "websocket.receive", "text": text})

    async def leave(self) -> None:
        await self._in.put({"type": "websocket.disconnect", "code": 1001})
        await self.run


@asynccontextmanager
async def peer(
    w: World, path: str, token: str | None = None, *, extensions: Any = None, **headers: str
) -> AsyncIterator[Peer]:
    sent = {"Host": "localhost", "Origin": "https://localhost", **headers}
    if token:
        sent["Cookie"] = f"{COOKIE}={token}"
    found = Peer(w.app, path, {key: value for key, value in sent.items() if value}, extensions or {})
    try:
        yield found
    finally:
        if not found.run.done():
            await found.leave()


@pytest.mark.requirement("ASVS V4.4.2")
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://a.localhost", "https://localhost:8443", "null", ""]
)
async def test_another_sites_page_cannot_open_a_websocket(origin: str) -> None:
    """Review 20: a handshake is an unsafe request; SameSite does not keep siblings out."""
    async with world(*ROUTES) as w:
        token = token_of(await w.signed_in())
        async with peer(w, "/echo", token, Origin=origin) as p:
            assert (await p.next())["type"] == "websocket.close"
            await p.run
        async with peer(w, "/echo", token, Origin=origin, extensions={"websocket.http.response": {}}) as p:
            answer = await p.next()
            assert (answer["type"], answer["status"]) == ("websocket.http.response.start", 403)
            assert b"cross_site" in (await p.next())["body"]
            await p.run


async def test_a_websocket_at_a_foreign_host_is_refused() -> None:
    """Review 22."""
    async with world(*ROUTES) as w:
        headers = {"Host": "evil.example", "Origin": "https://evil.example"}
        async with peer(w, "/echo", extensions={"websocket.http.response": {}}, **headers) as p:
            assert (await p.next())["status"] == 421
            await p.next()
            await p.run


async def test_a_websocket_that_demands_a_session_is_not_accepted_without() -> None:
    async with world(*ROUTES) as w:
        async with peer(w, "/members", extensions={"websocket.http.response": {}}) as p:
            assert (await p.next())["status"] == 401
            assert b'"missing"' in (await p.next())["body"]
            await p.run
        async with peer(w, "/members") as p:
            closed = await p.next()
            assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
            await p.run


async def talking(p: Peer, name: str) -> None:
    assert (await p.next())["type"] == "websocket.accept"
    assert (await p.next())["text"] == name
    await p.say("one")
    assert (await p.next())["text"] == "one"


@pytest.mark.requirement("ASVS V7.4.1", "ASVS V4.4.3")
async def test_a_message_after_the_revocation_is_not_heard() -> None:
    """Review 20: the WebSocket closes with 4401."""
    async with world(*ROUTES) as w, peer(w, "/members", token_of(await w.signed_in())) as p:
        await talking(p, "alice")
        await w.authority.revoke(principal="alice", cause="stolen")
        await p.say("two")
        closed = await p.next()
        assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 4401, "revoked")
        await p.run


async def test_each_message_asks_again() -> None:
    """Review 20: what only the passing of time has ended is announced by nobody."""
    LEFT.clear()
    async with world(*ROUTES) as w, peer(w, "/members", token_of(await w.signed_in())) as p:
        await talking(p, "alice")
        w.clock.advance(timedelta(hours=1))
        await p.say("two")
        closed = await p.next()
        assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", 4401, "idle")
        await p.run
        assert LEFT == [4401], "the application sees a disconnect"


async def test_a_silent_websocket_closes_too() -> None:
    """Review 20: every open tab, also one through which nothing passes."""
    async with world(*ROUTES) as w, peer(w, "/members", token_of(await w.signed_in())) as p:
        await talking(p, "alice")
        await w.authority.revoke(principal="alice", cause="stolen")
        closed = await p.next()
        assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
        await p.run


async def test_a_websocket_ends_by_its_sessions_own_deadline() -> None:
    """Review 23: even if nothing is pushed. Its messages are no activity."""
    async with world(*ROUTES) as w, peer(w, "/members", token_of(await w.signed_in())) as p:
        await talking(p, "alice")
        w.clock.advance(timedelta(hours=1))
        closed = await p.next()
        assert (closed["code"], closed["reason"]) == (4401, "idle")
        await p.run


async def test_a_websocket_outlives_the_rotation_of_its_token() -> None:
    """A token that was rotated out while the WebSocket was open is no theft, and a step-up elsewhere no end."""
    async with world(*ROUTES) as w:
        browser = await w.signed_in()
        async with peer(w, "/members", token_of(browser)) as p:
            await talking(p, "alice")
            w.clock.advance(15 * MINUTE)
            await browser.get("/private")
            await browser.get("/private")
            w.clock.advance(5 * MINUTE)
            await p.say("two")
            assert (await p.next())["text"] == "two"
            assert (await browser.post("/totp")).status_code == 200
            await p.say("three")
            assert (await p.next())["text"] == "three"
        assert (await browser.get("/private")).status_code == 200


async def test_a_websocket_saves_the_sessions_data() -> None:
    async with world(*ROUTES) as w:
        browser = await w.signed_in()
        async with peer(w, "/remember", token_of(browser)) as p:
            await p.run
        assert (await browser.get("/data")).json() == {"seen": "ws"}


async def test_a_client_with_a_bearer_token_needs_no_origin() -> None:
    async with world(*ROUTES) as w:
        active = await w.authority.check(token_of(await w.signed_in()) or "")
        assert active
        token = (await w.authority.delegate(active, to="agent:a", scopes=set())).token
        async with peer(w, "/members", Origin="", Authorization=f"Bearer {token}") as p:
            await talking(p, "agent:a")
            await w.authority.revoke(principal="alice", cause="logout")
            await p.say("two")
            assert (await p.next())["code"] == 4401
            await p.run


# -- over a real server ---------------------------------------------------------------------------------------------


async def ticks(request: Request) -> Response:
    async def run() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(run(), media_type=request.query_params.get("type", "text/event-stream"))


async def silence(request: Request) -> Response:
    async def run() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(run(), media_type="text/event-stream")


async def end_all(request: Request) -> Response:
    await access(request).authority.revoke(principal="alice", cause="stolen")
    return Response()


@contextmanager
def served(app: Any) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.mark.requirement("ASVS V4.4.3")
@pytest.mark.parametrize("path", ["/ticks", "/silence", "/ticks?type=text/plain"])
def test_a_stream_ends_with_its_session(path: str, tmp_path: Path) -> None:
    """Review 20: on a real server; an event stream ends as such, any other answer stays visibly incomplete."""
    routes = [Route("/ticks", ticks), Route("/silence", silence), Route("/end", end_all, methods=["POST"])]
    authority = Authority(f"sqlite:///{tmp_path / 'sessile.db'}", policy=Policy.aal2())
    app = application(authority, *routes, cookie=CookieSpec(name="sessile", secure=False))
    with served(app) as url, httpx.Client(base_url=url) as browser, httpx.Client(base_url=url) as other:
        browser.post("/login", params={"name": "alice"})
        with browser.stream("GET", path) as answer:
            chunks = answer.iter_raw()
            assert next(chunks).startswith(b"data:")
            assert other.post("/end").status_code == 200
            if "plain" in path:
                with pytest.raises(httpx.RemoteProtocolError):
                    list(chunks)
            else:
                list(chunks)
        assert browser.get("/private").json()["reason"] == "revoked"
    assert not authority.is_open
