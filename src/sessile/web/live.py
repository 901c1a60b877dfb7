"""Open tabs that hear at once: an event stream of one session, and the script that listens to it.

`app.mount("/session", Live())` under `SessileMiddleware`, and `<script src="/session/live.js" defer></script>` in every
private page. See docs/live-tabs.md for what the script does and the words that it can be given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sessile.authority import Authority
from sessile.errors import NotFound, SessileError
from sessile.kernel.decide import Active, Requirement
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo
from sessile.watching import WARNING, ends
from sessile.web.access import Access
from sessile.web.answer import Receive, Send, send_problem
from sessile.web.problem import Problem

HEARTBEAT: Final = 15.0
"""Seconds between two signs of life: what is silent for longer than two of them is gone."""
STREAMS: Final = 6
"""Open streams of one session in one process. The script needs one for all tabs; one more ends the oldest."""
SCRIPT: Final = "\n".join(
    line
    for line in map(str.strip, Path(__file__).with_name("live.js").read_text("utf-8").splitlines())
    if line and not line.startswith("//")
).encode()
"""As served: without its comments and indentation."""

_WHOSE: Final = b"sessile-session"
"""Which session the browser is in by now: a page of another one is not its any more."""
_ANY_SESSION: Final = Requirement(below_policy=True)
_NOT_FOUND: Final = Problem(404, "Not found", "There are `events`, `extend` and `live.js` here.", "about:blank")


class Live:
    """`events`, `extend` and `live.js`, below wherever it is mounted. It is an ASGI application.

    Args:
        warning: how long before its end a session is `expiring`.
    """

    def __init__(self, *, warning: timedelta = WARNING) -> None:
        self._warning = warning
        self._streams: dict[str, OrderedDict[object, asyncio.Event]] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        route = (scope["path"].rpartition("/")[2], scope["method"])
        if route in (("live.js", "GET"), ("live.js", "HEAD")):
            await _send_script(scope, send)
            return
        here: Access | None = scope.get("sessile")
        if here is None:
            raise RuntimeError("no session here: put SessileMiddleware around the application that mounts Live()")
        if route == ("events", "GET"):
            await self._events(here, receive, send)
        elif route == ("events", "HEAD"):
            await _send_empty(send, 200, (_WHOSE, (await _session(here)).session.id.encode()))
        elif route == ("extend", "POST"):
            active = await _session(here)
            await here.authority.touch(active)
            await _send_empty(send, 204)
        else:
            await send_problem(send, _NOT_FOUND)

    async def _events(self, here: Access, receive: Receive, send: Send) -> None:
        active = await _session(here)
        here.ends_itself = True
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-store"),
                    (b"x-accel-buffering", b"no"),
                    (_WHOSE, active.session.id.encode()),
                ],
            }
        )
        with self._stream(active.session.id) as one_more:
            stops = [
                asyncio.create_task(one)
                for one in (_tell(here.authority, active, self._warning, send), _gone(receive), one_more.wait())
            ]
            try:
                await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in stops:
                    task.cancel()
                results = await asyncio.gather(*stops, return_exceptions=True)
        for result in results:
            # An OSError: the browser is gone.
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result
        await send({"type": "http.response.body", "body": b""})

    @contextlib.contextmanager
    def _stream(self, session_id: str) -> Iterator[asyncio.Event]:
        """One of the session's streams; the event is set when it has to make room."""
        mine, ending = object(), asyncio.Event()
        streams = self._streams.setdefault(session_id, OrderedDict())
        streams[mine] = ending
        if len(streams) > STREAMS:
            streams.popitem(last=False)[1].set()
        try:
            yield ending
        finally:
            streams.pop(mine, None)
            if not streams:
                self._streams.pop(session_id, None)


async def _session(here: Access) -> Active:
    """Also of one below its policy: it is told so.

    Raises:
        AccessDenied: 401 for none, 503 where nobody can tell.
    """
    return await here.meet(_ANY_SESSION)


async def _tell(authority: Authority, active: Active, warning: timedelta, send: Send) -> None:
    async with contextlib.aclosing(events(authority, active.session.id, warning)) as told:
        following = aiter(told)
        following_one = asyncio.ensure_future(anext(following, None))
        try:
            while True:
                done, _ = await asyncio.wait((following_one,), timeout=HEARTBEAT)
                if not done:
                    await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
                    continue
                found = following_one.result()
                if found is None:
                    return
                name, data = found
                body = f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
                following_one = asyncio.ensure_future(anext(following, None))
        finally:
            following_one.cancel()
            with contextlib.suppress(asyncio.CancelledError, SessileError):
                await following_one


async def events(
    authority: Authority, session_id: str, warning: timedelta = WARNING
) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """What a browser is told, in order: name and data. The first says how things stand; the last is `revoked`, unless
    nobody can tell any more: then the browser asks again.

    `live`: nothing to do. `step_up`: requests are denied until the person proves itself anew. `expiring`: over in
    `left` seconds, by the limit `idle`, which an act of the person moves, or `overall`. `revoked`: over; and `reason`.
    """
    said: object = None
    try:
        async with contextlib.aclosing(authority.watch(session_id, warning=warning)) as states:
            async for info in states:
                name, data = _event(info, authority, warning)
                if (what := (name, data.get("limit"), ends(info) if name == "expiring" else None)) != said:
                    said = what
                    yield name, {"session": session_id, **data}
    except NotFound:
        yield "revoked", {"session": session_id, "reason": Reason.UNKNOWN}
    except SessileError:
        return


def _event(info: SessionInfo, authority: Authority, warning: timedelta) -> tuple[str, dict[str, Any]]:
    if not info.live:
        return "revoked", {"reason": info.reason}
    if info.reason is Reason.ASSURANCE:
        return "step_up", {}
    left = ends(info) - authority.clock.now()
    if left <= warning:
        # Rounded down: nobody is promised time that there is not.
        return "expiring", {"left": max(0, int(left.total_seconds())), "limit": _limit(info)}
    return "live", {}


def _limit(info: SessionInfo) -> str:
    return "idle" if info.idle_expires is not None and info.idle_expires < info.expires else "overall"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_script(scope: MutableMapping[str, Any], send: Send) -> None:
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"content-length", str(len(SCRIPT)).encode()),
        (b"cache-control", b"public, max-age=600"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": SCRIPT if scope["method"] == "GET" else b""})


async def _send_empty(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    start = {"type": "http.response.start", "status": status, "headers": [(b"cache-control", b"no-store"), *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})
