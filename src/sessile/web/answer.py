"""The answer's way out: application data saved, the cookie set or removed, caches told, streams cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sessile.errors import SessileError
from sessile.kernel.decide import Active
from sessile.kernel.reason import Cure, Reason
from sessile.web.access import Access, AccessDenied, empty_data
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

    __slots__ = ("_access", "_headers", "_send", "replaced", "started", "watch")

    def __init__(self, access: Access, send: Send) -> None:
        self._access = access
        self._send = send
        self._headers: RawHeaders = []
        self.started = False
        self.replaced = False
        """Whether a problem took its place."""
        self.watch: Watch | None = None
        """Looks after an answer that comes in several parts."""

    def send(self, message: Message) -> Awaitable[None]:
        """The ordinary answer goes to the server at once, with no coroutine of our own in between: that of a session to
        which nothing has happened, without caching rules of the application's own, in one piece."""
        if message["type"] == "http.response.start":
            access = self._access
            if access.plain and not access.data.used and not self.replaced:
                headers = message.get("headers", ())
                for key, _ in headers:
                    if key == b"cache-control":
                        break
                else:
                    return self._start(message, [*headers, _NO_STORE])
            return self._settle(message)
        if message.get("more_body") or self.watch is not None or self.replaced:
            return self._go_on(message)
        return self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Send a problem in the place of what the application wanted to say; all that follows is dropped."""
        self._access.data.follow(empty_data())
        await send_problem(self.send, problem)
        self.replaced = True

    @property
    def cut(self) -> bool:
        """Whether the session has ended under this answer, or another answer took its place."""
        return self.replaced or (self.watch is not None and self.watch.over)

    async def close(self) -> None:
        """End a cut answer. An event stream ends as such; anything else stays visibly incomplete."""
        if not self.replaced and _is_event_stream(self._headers):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _settle(self, message: Message) -> None:
        """Start the answer, after what has to happen before; or a problem in its place."""
        access = self._access
        if self.replaced:
            return
        try:
            if access.data.changed:
                await save(access)
            if access.due and _may_rotate(message):
                await access.rotate()
        except SessileError as error:
            await self.refuse(access.problem(error))
        else:
            await self._start(message, _headers(access, message.get("headers", ())))

    def _start(self, message: Message, headers: RawHeaders) -> Awaitable[None]:
        self.started = True
        self._headers = headers
        # A new message: an application may send the same one again and again, to different people.
        return self._send({**message, "headers": headers})

    async def _go_on(self, message: Message) -> None:
        """Send a part of an answer that has several."""
        if self.replaced:
            if message.get("more_body"):
                raise Over("this answer was replaced by a problem")
            return
        active = self._access.live
        if active is not None and not self._access.ends_itself:
            if self.watch is None:
                self.watch = Watch(self._access, active)
                self.watch.start()
            elif not await self.watch.alive():
                raise Over("the session behind this answer has ended")
        await self._send(message)


async def save(access: Access) -> None:
    """Write the application's data; without a session an anonymous one begins.

    Raises:
        AccessDenied: the browser holds a newer session, or one that must step up: no other takes its place.
        LimitExceeded, TypeError, Conflict, StoreUnavailable: see `SessionData.save`.
    """
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


def _headers(access: Access, headers: RawHeaders) -> RawHeaders:
    """Those of the application, and ours."""
    if access.changed:
        # An answer that carries a session's cookie is stored nowhere (RFC 6265 3, ASVS V14.3.2).
        kept = [pair for pair in headers if pair[0].lower() != b"cache-control"]
        if access.issued is None:
            return [access._site.cookie.clear_header(), *kept, _NO_STORE, CLEAR_SITE_DATA]
        # Before any cookie of the application's: a client that looks at one only shall find the session's.
        return [access._site.cookie.set_header(access.issued.token), *kept, _NO_STORE]
    own = None
    for key, value in headers:
        if key == b"cache-control":
            own = value
    if own is None and access.live is not None:
        return [*headers, _NO_STORE]
    # The application's own caching, or nobody's session: a cache must know on what the answer depends.
    if (access.looked or access.data.used) and (own is None or b"no-store" not in own):
        return [*headers, _VARY]
    return headers


def _may_rotate(message: Message) -> bool:
    """Whether the browser surely takes a Set-Cookie from this answer, and nobody else does."""
    if message["status"] == 304 or _is_event_stream(message.get("headers", ())):
        return False
    for key, value in message.get("headers", ()):
        if key == b"cache-control" and (b"public" in value or b"immutable" in value or b"s-maxage" in value):
            return False
    return True


def _is_event_stream(headers: RawHeaders) -> bool:
    return any(key == b"content-type" and value.startswith(b"text/event-stream") for key, value in headers)


async def send_problem(send: Send, problem: Problem) -> None:
    """A problem, as a whole HTTP answer."""
    await send_whole(send, problem.status, problem.response_headers(), problem.body())


async def send_whole(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """A whole HTTP answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
