"""The server's side of device-bound sessions: the offer, the registration and the refresh (DBSC 9.1 to 9.7).

A browser takes every 4xx but 403, 407 and 429 for the end of its bound session. So a store that is away is 503, and a
session that is over is said as such: 200 with `"continue": false`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import http_sf

from sessile.authority import Authority
from sessile.dbsc.cookie import BoundCookie, Signer
from sessile.dbsc.proof import ALGORITHM, LONGEST, NotProved, PublicKey, refreshing, registering
from sessile.dbsc.record import Kept, Record, find, new_challenge, prune, write
from sessile.errors import SessileError
from sessile.kernel.decide import Active, Denied, TokenState
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import check_session_id
from sessile.kernel.policy import Trait
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.session import Client, SessionInfo, SessionKind
from sessile.kernel.token import Token
from sessile.kernel.tries import telling
from sessile.receipt import Issued
from sessile.web import problem
from sessile.web.access import Access
from sessile.web.answer import Message, RawHeaders, Send
from sessile.web.client import TrustedPeers, read_scheme
from sessile.web.problem import Problem

Scope = dict[str, Any]

REGISTER: Final = "/dbsc/register"
REFRESH: Final = "/dbsc/refresh"
_REGISTERED_FOR: Final = timedelta(minutes=1)
"""A key that was registered longer ago and is not the session's has lost to another proof: the offer is made anew."""
_SKIPPED: Final = frozenset({"unreachable", "server_error", "quota_exceeded"})
_LONGEST: Final = 1_024
"""Bytes of a header that are looked at, but for the proof's."""
_TYPE: Final = problem.TYPE_PREFIX + "device"
_HEADERS: Final = (
    (b"content-type", b"application/json"), (b"cache-control", b"no-store"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)  # fmt: skip


class Answered(Exception):
    """A problem, in the place of what was asked for."""

    def __init__(self, said: Problem) -> None:
        self.problem = said


class Serving:
    """Made by `DeviceBinding.serve`."""

    paths = frozenset({REGISTER, REFRESH})
    """What is answered here, by POST."""

    def __init__(
        self, authority: Authority, cookie: BoundCookie, signer: Signer, trusted: TrustedPeers,
        origins: Iterable[str], settles: timedelta,
    ) -> None:  # fmt: skip
        self._authority = authority
        self._cookie = cookie
        self._signer = signer
        self._trusted = trusted
        self._public = [origin for origin in origins if origin.startswith("https:")]
        self._settles = settles.total_seconds()
        self._binding: set[asyncio.Task[None]] = set()

    def key(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The thumbprint of the key that a request speaks for; None: of none. Never raises."""
        return self._cookie.shown(headers, self._authority.clock.now())

    # -- the offer ------------------------------------------------------------------------------------------------

    def adding(self, access: Access, scope: Scope, send: Send) -> Send:
        """`send`, with what belongs to an answer that changes what the browser holds: after a proof the offer, at the
        end the bound cookie goes with the session's."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start" and access.changed:
                if access.signed_out:
                    added = [self._cookie.spec.clear_header()]
                else:
                    added = await self._offer(access.issued, read_scheme(scope, self._trusted))
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        return adding

    async def _offer(self, issued: Issued | None, scheme: str) -> RawHeaders:
        """The header that asks the browser for a key; none where nothing is to be bound. Never raises: somebody who
        has just signed in has."""
        # A successor comes of no proof: whoever has stolen the token may be the one who gets it.
        if issued is None or issued.active.token_state is not TokenState.CURRENT:
            return []
        session = issued.active.session
        if session.kind is not SessionKind.BROWSER or session.uid is None or session.client.device_key is not None:
            return []
        # Browsers bind only what came by https. Behind a proxy that ends TLS the public origin says so.
        if not self._signer or not (self._public or scheme == "https"):
            return []
        store, now = self._authority.store, self._authority.clock.now()
        with contextlib.suppress(SessileError):
            policy = await store.policy(session.policy)
            if policy is None or Trait.DEVICE not in policy.binding:
                return []
            kept = await find(store, session.uid, session.id)
            if kept is not None and kept.record.registered is not None:
                if now < kept.record.registered + _REGISTERED_FOR:
                    return []
            elif kept is None:
                await prune(store, session.uid)
            challenge = new_challenge()
            await write(store, session.uid, session.id, Record(challenge, now))
            said = {"path": REGISTER, "challenge": challenge, "authorization": session.id}
            return [(b"secure-session-registration", _field([([http_sf.Token(ALGORITHM)], said)]))]
        return []

    # -- the endpoints --------------------------------------------------------------------------------------------

    async def answer(self, scope: Scope, token: Token | None, client: Client) -> tuple[int, RawHeaders, bytes]:
        """Status, headers and body for a POST to one of the `paths` that our own pages' browser has sent."""
        try:
            if scope["path"] == REGISTER:
                return await self._register(scope, token, client)
            return await self._refresh(scope, client)
        except Answered as instead:
            said = instead.problem
        except SessileError:
            said = problem.denied(Reason.UNAVAILABLE, Cure.RETRY)
        return said.status, said.response_headers(), said.body()

    async def _register(self, scope: Scope, token: Token | None, client: Client) -> tuple[int, RawHeaders, bytes]:
        active = await self._authority.check(token, client=client, touch=False)
        if not isinstance(active, Active):
            raise Answered(problem.denied(active.reason, active.cure))
        session, store, now = active.session, self._authority.store, self._authority.clock.now()
        kept = None if session.uid is None else await find(store, session.uid, session.id)
        if kept is None or kept.record.key is not None:
            raise _wrong("This session is not waiting for a key.")
        try:
            key, challenge = registering(_proof(scope) or "", session.id)
        except NotProved as error:
            raise _wrong(f"Not registered: {error}.") from None
        if not kept.record.takes(challenge, now):
            raise _wrong("Not registered: the challenge is over, or was never given.")
        record = Record(new_challenge(), now, key, registered=now)
        if not await write(store, kept.uid, session.id, record, instead_of=kept):
            raise _wrong("Not registered: another key was quicker.")
        self._bind_soon(session.id, key.thumbprint, actor_of(active, client))
        return self._bound(scope, session.id, key, record)

    async def _refresh(self, scope: Scope, client: Client) -> tuple[int, RawHeaders, bytes]:
        session_id, proof = _session_id(scope), _proof(scope)
        store, now = self._authority.store, self._authority.clock.now()
        # What is asked is only the session and its key: the token may have got a successor since it was sent.
        session = await store.session(session_id)
        kept = await self._kept(session)
        if session is None or kept is None or kept.record.key is None:
            return self._over(session_id)
        key, record = kept.record.key, kept.record
        try:
            challenge = refreshing(proof, key) if proof is not None else ""
        except NotProved as error:
            raise _wrong(f"Not refreshed: {error}.") from None
        if not challenge or not record.takes(challenge, now):
            return await self._ask(kept)
        spent = record.spent(challenge, now)
        if not await write(store, kept.uid, session_id, spent, instead_of=kept):
            # Another proof was quicker: this one is over a challenge that is spent.
            return await self._ask(await find(store, kept.uid, session_id) or kept)
        by = Actor(name=session.principal or "", uid=kept.uid, session=session_id, client=client)
        if session.client.device_key != key.thumbprint and not await store.bind(session_id, key.thumbprint, by):
            return self._over(session_id)
        return self._bound(scope, session_id, key, spent)

    async def _kept(self, session: SessionInfo | None) -> Kept | None:
        """What is kept of a session that is alive."""
        if session is None or not session.live or session.principal is None:
            return None
        store = self._authority.store
        principal = await store.principal(name=session.principal)
        return None if principal is None else await find(store, principal.uid, session.id)

    async def _ask(self, kept: Kept) -> tuple[int, RawHeaders, bytes]:
        """403 with a challenge: the browser signs it and comes back at once (DBSC 9.2)."""
        record, now = kept.record, self._authority.clock.now()
        if not record.young(now):
            # Whoever asks without a proof makes no more than this one write in six minutes.
            record = record.replaced(now)
            if not await write(self._authority.store, kept.uid, kept.session, record, instead_of=kept):
                record = (await find(self._authority.store, kept.uid, kept.session) or kept).record
        said = Problem(403, "Not proved on this device", "A proof is needed.", _TYPE)
        return said.status, [*said.response_headers(), _challenge(record, kept.session)], said.body()

    def _bound(self, scope: Scope, session_id: str, key: PublicKey, record: Record) -> tuple[int, RawHeaders, bytes]:
        """The bound cookie, and what it means: the session instructions (DBSC 9.6)."""
        spec = self._cookie.spec
        said: dict[str, Any] = {
            "session_identifier": session_id,
            "refresh_url": REFRESH,
            "scope": {**self._origin(scope), "include_site": False, "scope_specification": []},
            "credentials": [{"type": "cookie", "name": spec.name, "attributes": spec.attributes}],
            "allowed_refresh_initiators": [],
        }
        cookie = self._cookie.set_header(session_id, key.thumbprint, self._authority.clock.now())
        return 200, [*_HEADERS, cookie, _challenge(record, session_id)], json.dumps(said).encode()

    def _origin(self, scope: Scope) -> dict[str, str]:
        """Where one is configured: behind a proxy neither the scheme nor the host need be what the browser sees. Else
        it is that of the request, as the browser knows it."""
        if not self._public:
            return {}
        sent = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"origin"), None)
        return {"origin": sent if sent in self._public else self._public[0]}

    def _over(self, session_id: str) -> tuple[int, RawHeaders, bytes]:
        """The session is over, or was never bound: the browser forgets it (DBSC 9.6). Its cookie stays: it opens
        nothing, and by now it may be that of the session which took this one's place."""
        body = json.dumps({"session_identifier": session_id, "continue": False}).encode()
        return 200, [*_HEADERS], body

    # -- what the browser could not do ----------------------------------------------------------------------------

    async def note_skipped(self, headers: RawHeaders, result: Active | Denied, client: Client) -> None:
        """Record that the browser sent a request without having refreshed, and why (DBSC 9.5): once an hour for the
        same. What the request is answered with, the policy has said. Never raises."""
        raw = b", ".join(value for key, value in headers if key == b"secure-session-skipped")
        if not raw:
            return
        session_id = result.session.id if isinstance(result, Active) else result.session
        why = _skipped(raw, session_id)
        if session_id is None or why is None:
            return
        store = self._authority.store
        with contextlib.suppress(SessileError):
            if await store.count_try([telling(f"skipped {session_id} {why}".encode())]) is not None:
                return
            session = await store.session(session_id)
            if session is not None and session.principal is not None:
                person = await store.principal(name=session.principal)
                await store.record(
                    Event(
                        name=EventName.SESSION_UNREFRESHED, principal=session.principal,
                        uid=None if person is None else person.uid, session=session_id, by=Actor(client=client),
                        details={"why": why},
                    )
                )  # fmt: skip

    # -- binding --------------------------------------------------------------------------------------------------

    def _bind_soon(self, session_id: str, key: str, by: Actor) -> None:
        """Once the requests that were under way without the cookie have come. If this process ends before, the first
        refresh does it."""
        asyncio.get_running_loop().call_later(self._settles, self._bind_now, session_id, key, by)

    def _bind_now(self, session_id: str, key: str, by: Actor) -> None:
        task = asyncio.ensure_future(self._bind(session_id, key, by))
        self._binding.add(task)
        task.add_done_callback(self._binding.discard)

    async def _bind(self, session_id: str, key: str, by: Actor) -> None:
        if self._authority.is_open:
            with contextlib.suppress(SessileError):
                await self._authority.store.bind(session_id, key, by)


def _challenge(record: Record, session_id: str) -> tuple[bytes, bytes]:
    return b"secure-session-challenge", _field((record.challenge, {"id": session_id}))


def _field(value: Any) -> bytes:
    """A structured field (RFC 9651)."""
    return http_sf.ser(value).encode()


def _skipped(raw: bytes, session_id: str | None) -> str | None:
    """Why a refresh of this session was skipped, in one of the draft's words; None: it was not."""
    with contextlib.suppress(http_sf.StructuredFieldError, ValueError):
        listed: Any = http_sf.parse(raw, tltype="list") if len(raw) <= _LONGEST else ()
        for why, parameters in listed:
            if str(why) in _SKIPPED and parameters.get("session_identifier") == session_id:
                return str(why)
    return None


def _proof(scope: Scope) -> str | None:
    """The string of Secure-Session-Response, without its parameters (DBSC 9.3); None: there is no such header."""
    return _string(scope, b"secure-session-response", LONGEST + 64)


def _session_id(scope: Scope) -> str:
    try:
        return check_session_id(_string(scope, b"sec-secure-session-id", _LONGEST))
    except ValueError:
        raise _wrong("A refresh names its session in the header Sec-Secure-Session-Id.") from None


def _string(scope: Scope, name: bytes, longest: int) -> str | None:
    """The string of a header, without its parameters. A bare word is taken too: Chromium 156 sends its proofs so."""
    raw = b", ".join(value for key, value in scope["headers"] if key == name)
    if not raw:
        return None
    with contextlib.suppress(http_sf.StructuredFieldError, ValueError):
        item: Any = http_sf.parse(raw, tltype="item") if len(raw) <= longest else (None, {})
        if isinstance(item[0], (str, http_sf.Token)):
            return str(item[0])
    raise _wrong(f"The header {name.decode().title()} is no string (RFC 9651, 3.3.3).")


def _wrong(detail: str) -> Answered:
    return Answered(Problem(400, "Not bound to this device", detail, _TYPE))
