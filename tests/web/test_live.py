"""The event stream of one session, as a client that is no browser reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Mount

from sessile import Authority
from sessile.asgi import Live
from sessile.web.live import STREAMS
from tests.asgi.browser import COOKIE, MINUTE, World, application, token_of, world


class Stream:
    """An answer of the application as it comes, until the test goes away."""

    def __init__(self, w: World, token: str | None) -> None:
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        headers = [(b"host", b"localhost"), (b"accept", b"text/event-stream")]
        if token:
            headers.append((b"cookie", f"{COOKIE}={token}".encode()))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "https",
            "path": "/session/events", "raw_path": b"/session/events", "query_string": b"", "root_path": "",
            "headers": headers, "client": ("192.0.2.1", 4711), "server": ("localhost", 443),
        }  # fmt: skip
        self.run = asyncio.create_task(w.app(scope, self._receive, self._out.put))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def start(self) -> tuple[int, dict[str, str]]:
        message = await self._out.get()
        return message["status"], {key.decode(): value.decode() for key, value in message["headers"]}

    async def event(self) -> tuple[str, dict[str, Any]] | None:
        """The next event; None at the stream's end."""
        message = await self._out.get()
        if not message.get("more_body"):
            return None
        name, data = message["body"].decode().removesuffix("\n\n").split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def leave(self) -> None:
        self._gone.set()
        await self.run


@asynccontextmanager
async def stream(w: World, token: str | None) -> AsyncIterator[Stream]:
    found = Stream(w, token)
    try:
        yield found
    finally:
        await found.leave()


def live(**settings: Any) -> Any:
    return world(Mount("/session", Live()), **settings)


async def test_the_stream_says_how_things_stand_and_ends_with_the_session() -> None:
    async with live() as w:
        browser = await w.signed_in()
        async with stream(w, token_of(browser)) as s:
            status, headers = await s.start()
            assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/event-stream", "no-store")
            assert "set-cookie" not in headers
            name, data = await s.event() or ("", {})
            assert (name, data["session"]) == ("live", headers["sessile-session"])
            await w.authority.revoke(principal="alice", cause="stolen")
            assert await s.event() == ("revoked", {"session": data["session"], "reason": "revoked"})
            assert await s.event() is None


async def test_expiring_names_the_limit_and_an_extension_takes_it_back() -> None:
    """Review 23: listening is no activity; only the person's consent is."""
    async with live() as w:
        browser = await w.signed_in()
        async with stream(w, token_of(browser)) as s:
            await s.start()
            await s.event()
            w.clock.advance(58.5 * MINUTE)
            name, data = await s.event() or ("", {})
            assert (name, data["left"], data["limit"]) == ("expiring", 90, "idle")
            assert (await browser.post("/session/extend")).status_code == 204
            w.clock.advance(MINUTE / 10)
            name, _ = await s.event() or ("", {})
            assert name == "live"


async def test_without_a_session_there_is_nothing_to_hear() -> None:
    """Review 23: 401 means leave."""
    async with live() as w:
        for browser in (w.browser(), await anonymous(w)):
            for method in ("GET", "HEAD"):
                answer = await browser.request(method, "/session/events", headers={"Accept": "text/event-stream"})
                assert answer.status_code == 401
            assert (await browser.post("/session/extend")).status_code == 401


async def anonymous(w: World) -> Any:
    browser = w.browser()
    await browser.get("/data", params={"cart": "1"})
    assert token_of(browser)
    return browser


async def test_where_nobody_can_tell_the_answer_is_503(tmp_path: Path) -> None:
    """Review 23: 503 means try again."""
    gone = Authority(f"sqlite:///{tmp_path}/none.db", create=False)
    async with live() as w:
        token = token_of(await w.signed_in())
        away = World(gone, w.clock, application(gone, Mount("/session", Live())))
        answer = await away.browser(Cookie=f"{COOKIE}={token}").head("/session/events")
        assert answer.status_code == 503


@pytest.mark.requirement("ASVS V3.5.1")
async def test_another_site_cannot_extend_a_session() -> None:
    async with live() as w:
        browser = await w.signed_in()
        answer = await browser.post("/session/extend", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403


async def test_one_stream_too_many_ends_the_oldest() -> None:
    async with live() as w:
        token = token_of(await w.signed_in())
        streams = []
        for _ in range(STREAMS + 1):
            streams.append(Stream(w, token))
            assert (await streams[-1].start())[0] == 200
            await streams[-1].event()
        assert await streams[0].event() is None
        for one in streams:
            await one.leave()
        assert len(w.authority.watching) == 0
