"""The ASGI middleware: `app.add_middleware(SessileMiddleware, authority=Authority("sqlite:///sessile.db"))`.

In this order, for every request: is the host ours (421), which token counts, does the request come from our own
pages (403), and the check. The application finds an `Access` in `scope["sessile"]` and the session's data, a dict,
in `scope["session"]` (`request.session`). The middleware itself answers no 401: a page may be for everybody;
`Access.require` demands.

* A token of `Authorization: Bearer` that has our form (`sld_…`, `slk_…`) is taken, and the cookie is not looked at:
  what was sent on purpose counts more than what is sent by itself. Any other Authorization is not ours. A browser's
  token counts only as the cookie; at the wrong place a token counts as missing.
* Cookies that cannot be read (twice, in another spelling, too large, not a token) are `malformed`: a page for everybody
  goes on without a session, one that demands a session answers 400.
* `Denied(unavailable)`: a page for everybody goes on, one that demands a session answers 503. Nobody is signed out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from sessile.authority import Authority
from sessile.data import SessionData
from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.decide import Active, Denied
from sessile.kernel.reason import Reason
from sessile.kernel.token import TOKEN_LENGTH, Token
from sessile.web import cookie as cookies
from sessile.web import problem
from sessile.web.access import Access, AccessDenied, Site, empty_data
from sessile.web.answer import Answer, Message, Receive, Send, send_problem, send_whole
from sessile.web.client import Clients, TrustedPeers
from sessile.web.cookie import CookieSpec
from sessile.web.csrf import OriginHeaders, OriginRule
from sessile.web.hosts import LOOPBACK, AllowedHosts
from sessile.web.live import Live
from sessile.web.socket import Socket, refuse_handshake

if TYPE_CHECKING:  # PyJWT and what else it needs are installed where it is used
    from sessile.dbsc import DeviceBinding
    from sessile.dbsc.serving import Serving

__all__ = ["Access", "AccessDenied", "CookieSpec", "Live", "SessileMiddleware"]

Scope = dict[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

logger = logging.getLogger("sessile")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNREAD = 100
"""Requests in a row whose session data nobody looked at, after which it is read no more before anybody does."""
_MISSING = Denied(reason=Reason.MISSING)
_MALFORMED = Denied(reason=Reason.MALFORMED)


class SessileMiddleware:
    """Sessions for any ASGI application.

    Opens the authority when the application starts or at the first request, and closes it at shutdown if it has
    opened it.

    Args:
        app: the application.
        authority: not opened yet, or open.
        cookie: how the session's cookie is written.
        origins: the public origins of this service, such as `https://console.example.com`. Needed behind a proxy
            and for every name beyond this machine's own.
        allowed_hosts: further names that requests may carry as Host; without origins and names only localhost.
        trusted_proxies: addresses or networks whose `X-Forwarded-For` is believed.
        no_activity: paths whose requests are no act of a person (polling). Event streams, prefetches and requests
            with `Sessile-Activity: none` never are.
        device: binds sessions to the devices that they were begun on, where their policy says so.

    Raises:
        ValueError: a setting that cannot be; says what to write.
    """

    def __init__(
        self, app: App, authority: Authority, *, cookie: CookieSpec | None = None, origins: Iterable[str] = (),
        allowed_hosts: Iterable[str] | None = None, trusted_proxies: Iterable[str] = (),
        no_activity: Iterable[str] = (), device: DeviceBinding | None = None,
    ) -> None:  # fmt: skip
        origins = tuple(origins)
        if allowed_hosts is None:
            allowed_hosts = () if origins else LOOPBACK
        self.app = app
        self.authority = authority
        self.cookie = cookie or CookieSpec()
        self._cookie_name = self.cookie.raw_name
        self._browsers = self._cookie_name + b"=slb_"
        self._alone = len(self._cookie_name) + 1 + TOKEN_LENGTH
        self._hosts = AllowedHosts(allowed_hosts, origins)
        self._rule = OriginRule(public=origins, trusted=origins)
        trusted = TrustedPeers(trusted_proxies)
        self._device = None if device is None else device.serve(authority, self.cookie, trusted, origins)
        clients = Clients(trusted, None if self._device is None else self._device.key)
        self._site = Site(authority, self.cookie, clients)
        self._no_activity = frozenset(no_activity)
        self._opened = False
        self._peek = authority.peek
        self._read_data = authority.read_data
        self._local = authority.store.local
        self._ahead = {False: True, True: False}
        """Whether session data of a remote store is read before the application runs, of browsers and of bearers: not
        where it has never looked at any."""
        self._unread = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._no_request(scope, receive, send)
            return
        raw = scope["headers"]
        headers = dict(raw)
        if len(headers) != len(raw):
            headers = _joined(raw)
        host = headers.get(b"host")
        if host not in self._hosts.seen and (host is None or not self._hosts.allows_name(host)):
            await send_problem(send, problem.misdirected())
            return
        # Nearly every request changes nothing, and carries the cookie of a session that the near cache knows.
        cookie = headers.get(b"cookie")
        token: Token | bytes | None = cookie
        result: Active | Denied | None = None
        bearer = False
        if cookie is not None and scope["method"] in _SAFE and b"authorization" not in headers:
            if len(cookie) == self._alone and cookie.startswith(self._browsers):
                # Alone in its header, it needs no parser: what the near cache knows is a token, and nothing beside it.
                result = self.authority.ready(cookie[-TOKEN_LENGTH:])
            else:
                value = cookies.find(cookie, self._cookie_name)
                if isinstance(value, bytes) and value.startswith(b"slb_"):
                    result = self.authority.ready(value)
        if result is None:
            token, denied, bearer = self._token(headers)
            if not bearer and scope["method"] not in _SAFE:
                verdict = self._rule.judge(scope["method"], _origin(headers))
                if not verdict:
                    await send_problem(send, problem.cross_site(verdict.reason))
                    return
                if self._device is not None and scope["path"] in self._device.paths and scope["method"] == "POST":
                    await self._prove(self._device, scope, token, send)
                    return
            result = denied
            if token is not None:
                # A budget counts an agent's every call, whatever it says of it.
                touch = bearer or self._is_act(scope["path"], headers)
                active = self._peek(token, touch=touch)
                result = active if active is not None else await self._check(token, scope, touch)
        access = self._admit(scope, token, result, bearer)
        if not self._local and self._ahead[bearer]:
            await self._load(access)
        if self._device is not None:
            send = self._device.adding(access, scope, send)
        answer = Answer(access, send)
        try:
            await self.app(scope, receive, answer.send)
        except asyncio.CancelledError:
            # Not by us, or by others too.
            if answer.watch is None or not answer.watch.stop():
                raise
        except SessileError as error:
            if answer.started:
                raise
            await answer.refuse(access.problem(error))
        except Exception:
            if not answer.cut:
                raise
        finally:
            if not self._local:
                self._learn(access)
            if answer.watch is not None:
                answer.watch.stop()
        if answer.watch is not None and answer.cut:
            await answer.close()

    # -- the request ----------------------------------------------------------------------------------------------

    def _admit(self, scope: Scope, token: Token | bytes | None, result: Active | Denied, bearer: bool) -> Access:
        """Show the application what it may do."""
        data = SessionData(self._read_data, result.session.id) if isinstance(result, Active) else empty_data()
        access = scope["sessile"] = Access(self._site, scope, token, result, data, bearer)
        scope["session"] = data
        return access

    async def _load(self, access: Access) -> None:
        """Read its data, which a remote store cannot do when the application first looks at it."""
        if access.live is not None:
            try:
                await access.data.load(self.authority.store)
            except SessileError:
                access.lose()

    def _learn(self, access: Access) -> None:
        """Whether this application looks at session data. Once is enough; so many requests without are, too."""
        if access.data.used:
            self._ahead[access.bearer] = True
            self._unread = self._unread if access.bearer else _UNREAD + 1
        elif not access.bearer and self._unread < _UNREAD and access.live is not None:
            self._unread += 1
            self._ahead[False] = self._unread < _UNREAD

    def _token(self, headers: dict[bytes, bytes]) -> tuple[Token | None, Denied, bool]:
        """The token that counts, what to say without one, and whether it came as a bearer token."""
        if b"authorization" in headers:
            scheme, _, rest = headers[b"authorization"].partition(b" ")
            rest = rest.strip(b" ")
            if scheme.lower() == b"bearer" and rest.startswith((b"sld_", b"slk_")):
                return Token(rest, "latin-1"), _MISSING, True
        sent = headers.get(b"cookie")
        if sent is None:
            return None, _MISSING, False
        value = cookies.find(sent, self._cookie_name)
        if not value:
            return None, _MISSING, False
        if not isinstance(value, bytes):
            return None, _MALFORMED, False
        if value[:4] == b"slb_":
            return Token(value, "latin-1"), _MISSING, False
        return None, _MISSING if value[:4] in (b"sld_", b"slk_") else _MALFORMED, False

    def _is_act(self, path: str, headers: dict[bytes, bytes]) -> bool:
        """Whether a person made this request (review 23). Only that keeps a session from idling out."""
        return not (
            path in self._no_activity
            or headers.get(b"accept", b"")[:17] == b"text/event-stream"
            or (b"sessile-activity" in headers and headers[b"sessile-activity"] == b"none")
            or (b"sec-purpose" in headers and b"prefetch" in headers[b"sec-purpose"])
        )

    async def _check(self, token: Token, scope: Scope, touch: bool) -> Active | Denied:
        if not self.authority.is_open:
            await self._open()
        client = self._site.clients.of(scope)
        result = await self.authority.check(token, client=client, touch=touch)
        if self._device is not None:
            await self._device.note_skipped(scope["headers"], result, client)
        return result

    async def _prove(self, device: Serving, scope: Scope, token: Token | None, send: Send) -> None:
        """Answer a browser that registers its device's key, or proves that it has it."""
        if not self.authority.is_open:
            await self._open()
        await send_whole(send, *await device.answer(scope, token, self._site.clients.of(scope)))

    async def _no_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope["headers"]
        headers = _joined(raw)
        host = headers.get(b"host")
        if host is None or not self._hosts.allows_name(host):
            await refuse_handshake(scope, receive, send, problem.misdirected())
            return
        token, denied, bearer = self._token(headers)
        # A handshake is a GET with effects, and SameSite does not keep siblings out (review 20).
        verdict = self._rule.judge("GET", _origin(headers), websocket=True)
        if not verdict and not bearer:
            await refuse_handshake(scope, receive, send, problem.cross_site(verdict.reason))
            return
        # No act of a person: scripts open sockets, and open them again.
        result = denied if token is None else await self._check(token, scope, bearer)
        access = self._admit(scope, token, result, bearer)
        if not self._local and self._ahead[bearer]:
            await self._load(access)
        try:
            await Socket(access, scope, receive, send).run(self.app)
        finally:
            if not self._local:
                self._learn(access)

    # -- life -----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Open the authority. A store that is away is asked again by whoever needs it."""
        try:
            await self.authority.open()
            self._opened = True
        except SessileError as error:
            logger.error("the sessions cannot be opened: %s", error)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_first() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup" and not self.authority.is_open:
                try:
                    await self.authority.open()
                    self._opened = True
                except StoreUnavailable as error:
                    # It may come back.
                    logger.error("starting without sessions: %s", error)
                except SessileError as error:
                    # The operator's to repair, before the first request.
                    await send({"type": "lifespan.startup.failed", "message": f"sessions: {error}"})
                    raise
            return message

        async def send_last(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown.") and self._opened:
                self._opened = False
                await self.authority.close()
            await send(message)

        await self.app(scope, receive_first, send_last)


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers that came more than once, joined (RFC 9110 5.3; cookies: RFC 9113 8.2.3)."""
    found: dict[bytes, list[bytes]] = {}
    for key, value in raw:
        found.setdefault(key, []).append(value)
    return {key: (b"; " if key == b"cookie" else b", ").join(values) for key, values in found.items()}


def _origin(headers: dict[bytes, bytes]) -> OriginHeaders:
    return OriginHeaders(
        *(
            None if (value := headers.get(name)) is None else value.decode("latin-1").strip(" \t")
            for name in (b"sec-fetch-site", b"origin", b"host")
        )
    )
