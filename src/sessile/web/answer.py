"""The answer's way out: application data saved, the cookie set or removed, caches told, streams cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sessile.errors import SessileError
from sessile.kernel.decide import Active
from sessile.kernel.reason import Cure, Reason
from sessile.web.access import Access, AccessDenied, empty_data
from sessile.web.cookie import CookieSpec
from sessile.web.problem import Problem
from sessile.web.watch import Over, Watch

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
RawHeaders = list[tuple[bytes, bytes]]

CLEAR_SITE_DATA = (b"clear-site-data", b'"storage"')
"""After a logout: what pages of this origin stored. Not "cookies", which would wipe those of every host of the
registrable domain; not "cache", which can stall Chrome, and private answers are never stored anyway."""

_NO_STORE = (b"cache-control", b"no-store")
_VARY = (b"vary", b"Cookie")


class Answer:
    """What the application sends through, for one HTTP request."""

    __slots__ = ("_access", "_cookie", "_dropping", "_event_stream", "_send", "_watch", "started")

    def __init__(self, access: Access, cookie: CookieSpec, send: Send) -> None:
        self._access = access
        self._cookie = cookie
        self._send = send
        self._watch: Watch | None = None
        self._dropping = False
        self._event_stream = False
        self.started = False

    async def send(self, message: Message) -> None:
        if self._dropping:
            if message.get("more_body"):
                raise Over("this answer was replaced by a problem")
            return
        if message["type"] == "http.response.start":
            access = self._access
            if (access.data.used or access.due) and not await self._settle(access, message):
                return
            self.started = True
            # A new message: an application may send the same one again and again, to different people.
            message = {**message, "headers": self._headers(access, message.get("headers", ()))}
        elif self._watch is not None or message.get("more_body"):
            await self._go_on()
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Send a problem in the place of what the application wanted to say; all that follows is dropped."""
        self._access.data.follow(empty_data())
        await send_problem(self.send, problem)
        self._dropping = True

    def stop(self) -> bool:
        """The application has returned or raised. True if a watch, and nobody else, has cancelled the task."""
        return self._watch is not None and self._watch.stop()

    @property
    def plain(self) -> bool:
        """Whether there is nothing to look after when the application has returned."""
        return self._watch is None and not self._dropping

    @property
    def cut(self) -> bool:
        """Whether the session has ended under this answer, or another answer took its place."""
        return self._dropping or (self._watch is not None and self._watch.over)

    async def close(self) -> None:
        """End a cut answer. An event stream ends as such; anything else stays visibly incomplete."""
        if self._event_stream and not self._dropping:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _settle(self, access: Access, message: Message) -> bool:
        """What has to happen before the answer starts. False: a problem was sent in its place."""
        try:
            if access.data.used and access.data.changed:
                await self._save(access)
            if access.due and _may_rotate(message):
                await access.rotate()
        except SessileError as error:
            await self.refuse(access.problem(error))
            return False
        return True

    async def _save(self, access: Access) -> None:
        result = access.result
        if not isinstance(result, Active):
            # Where the browser holds a newer or another living session, a new one would take its place.
            if access.bearer or result.cure in (Cure.RETRY, Cure.STEP_UP) or result.reason is Reason.MALFORMED:
                raise AccessDenied(result, bearer=access.bearer)
            issued = await access.authority.begin(None, client=access.client)
            access.sign_in(issued)
            result = issued.active
        # False: the session ended while the application worked; the next request will hear why.
        await access.data.save(access.authority.store, result.session.id)

    def _headers(self, access: Access, headers: RawHeaders) -> RawHeaders:
        if access.changed:
            # An answer that carries a session's cookie is stored nowhere (RFC 6265 3, ASVS V14.3.2).
            kept = [pair for pair in headers if pair[0].lower() != b"cache-control"]
            if access.signed_out:
                return [self._cookie.clear_header(), *kept, _NO_STORE, CLEAR_SITE_DATA]
            assert access.issued is not None  # noqa: S101 - `changed` says so
            # Before any cookie of the application's: a client that looks at one only shall find the session's.
            return [self._cookie.set_header(access.issued.token), *kept, _NO_STORE]
        own = None
        for key, value in headers:
            if key == b"cache-control":
                own = value
            elif key == b"content-type" and value[:17] == b"text/event-stream":
                self._event_stream = True
        if own is None and access.live is not None:
            return [*headers, _NO_STORE]
        # The application's own caching, or nobody's session: a cache must know on what the answer depends.
        if (access.looked or access.data.used) and (own is None or b"no-store" not in own):
            return [*headers, _VARY]
        return headers

    async def _go_on(self) -> None:
        active = self._access.live
        if active is None or self._access.ends_itself:
            return
        if self._watch is None:
            self._watch = Watch(self._access, active)
            self._watch.start()
        elif not await self._watch.alive():
            raise Over("the session behind this answer has ended")


def _may_rotate(message: Message) -> bool:
    """Whether the browser surely takes a Set-Cookie from this answer, and nobody else does."""
    if message["status"] == 304:
        return False
    for key, value in message.get("headers", ()):
        if key == b"content-type" and value.startswith(b"text/event-stream"):
            return False
        if key == b"cache-control" and (b"public" in value or b"immutable" in value or b"s-maxage" in value):
            return False
    return True


async def send_problem(send: Send, problem: Problem) -> None:
    """A problem, as a whole HTTP answer."""
    await send_whole(send, problem.status, problem.response_headers(), problem.body())


async def send_whole(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """A whole HTTP answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
