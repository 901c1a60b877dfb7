"""The WSGI middleware: `app = SessileMiddleware(app, Authority("sqlite:///sessile.db"))`.

It goes by the rules of `sessile.asgi`, in the same order, and by the same code: is the host ours (421), which token
counts, does the request come from our own pages (403), and the check. The application finds a `SyncAccess` in
`environ["sessile.access"]`. Application data is saved, and a successor offered, before the answer starts.

A check that the near cache answers stays in the thread of the request; all else is waited for (`sessile.sync`).
WSGI has no way to cut an answer that is being written while the application says nothing: an answer in several pieces
asks before each piece whether its session is still alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol, TypedDict, Unpack

from sessile import asgi
from sessile.authority import Authority
from sessile.checks import run_now
from sessile.errors import SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.decide import NOTHING_MORE, Active, Denied, Requirement
from sessile.kernel.session import Client, Session
from sessile.kernel.token import Token
from sessile.receipt import Issued
from sessile.signing_in import SignIn
from sessile.sync import SyncAuthority, SyncSignIn, wait, waits
from sessile.web import problem, signing
from sessile.web.access import Access, AccessDenied, empty_data, requirement
from sessile.web.answer import Answer, Message, RawHeaders, save
from sessile.web.cookie import CookieSpec
from sessile.web.csrf import SAFE_METHODS, OriginHeaders
from sessile.web.problem import Problem
from sessile.web.watch import Over, Watch

__all__ = ["AccessDenied", "CookieSpec", "SessileMiddleware", "SyncAccess"]

_HEADERS = {
    "HTTP_" + name.upper().replace("-", "_"): name.encode()
    for name in (
        "accept", "authorization", "cookie", "host", "origin", "sec-fetch-site", "sec-purpose", "sessile-activity",
        "user-agent", "x-forwarded-for",
    )
}  # fmt: skip
"""What is read of a request, by its name in a WSGI environment (PEP 3333)."""


class Settings(TypedDict, total=False):
    """The settings of the middleware, for every framework; see `sessile.asgi.SessileMiddleware`."""

    cookie: CookieSpec | None
    origins: Iterable[str]
    allowed_hosts: Iterable[str] | None
    trusted_proxies: Iterable[str]
    no_activity: Iterable[str]


class SyncAccess:
    """What one request may do: the check's result, and the way to change what the browser holds."""

    def __init__(self, access: Access, authority: SyncAuthority) -> None:
        self.access = access
        self.authority = authority

    def __repr__(self) -> str:
        return repr(self.access)

    @property
    def result(self) -> Active | Denied:
        """What the check said: `Active`, or `Denied` with its reason and cure."""
        return self.access.result

    @property
    def active(self) -> Active | None:
        """The proof that a live session's token was presented, for the authority's methods; else None."""
        return self.access.active

    @property
    def session(self) -> Session | None:
        return self.access.session

    @property
    def client(self) -> Client:
        """Who asks: address, user agent and a label."""
        return self.access.client

    @property
    def bearer(self) -> bool:
        """Whether the token came as `Authorization: Bearer`."""
        return self.access.bearer

    def check(self, requirement: Requirement = NOTHING_MORE) -> Active | Denied:
        """Check the presented token again, against `requirement`. Never raises."""
        active = self.access.peek(requirement)
        return active if active is not None else wait(self.access.check(requirement))

    def require(
        self, *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (),
        below_policy: bool = False,
    ) -> Active:  # fmt: skip
        """The session's proof, if the session meets all of this. See `sessile.asgi.Access.require`.

        Raises:
            AccessDenied: it does not. The middleware answers it as a problem.
        """
        return self.meet(requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy))

    def meet(self, needed: Requirement) -> Active:
        """`require`, with a `Requirement` that was made before."""
        access = self.access
        result = access.result
        # What the near cache knows is answered in this thread.
        active = access.peek(needed) if needed != NOTHING_MORE and result else access.live
        if active is not None and active.session.uid is not None:
            return active
        return wait(access.meet(needed))

    def sign_in(self, who: str | SyncSignIn, *, method: Method | str) -> Session:
        """Begin a session for a person who has just proved itself by `method`, and hand its token to the browser.

        The session that this browser held so far ends. Where your code looks at a password itself, do it inside a
        fence, so that a password changed or an account disabled meanwhile wins:

            with authority.sign_in(name) as attempt:
                ...  # look at the credential
                access.sign_in(attempt, method="password")

        Raises:
            Conflict: the principal is disabled, or its password changed meanwhile. LimitExceeded: too many sessions.
            ValueError: not a name or a method.
        """
        attempt: str | SignIn = who.attempt if isinstance(who, SyncSignIn) else who
        session = wait(signing.sign_in(self.access, attempt, method=method))
        self._follow()
        return session

    def step_up(self, *, method: Method | str) -> Session:
        """The person of this session has proved itself anew by `method`: assurance follows, and the token is new.

        Raises:
            AccessDenied: no person's session. Conflict: it is over. ValueError: not a method.
        """
        return wait(signing.step_up(self.access, method=method))

    def hand(self, issued: Issued) -> None:
        """Let the answer hand `issued`'s token to the browser; from here on the request is in that session."""
        self.access.sign_in(issued)
        self._follow()

    sign_out = waits(Access.sign_out, "access")

    def _follow(self) -> None:
        active = self.access.live
        if active is not None and not self.access.data.used:
            self.access.data.follow(self.authority.session_data(active))

    @property
    def token(self) -> Token | None:
        """What the request is in its session by: the presented token, or the one that was handed out since. A secret:
        for an engine that must pass it on, never to be shown or logged."""
        return self.access._token

    @property
    def alive(self) -> bool:
        """Whether the session that the answer was begun for has not ended meanwhile. True where there is none."""
        active = self.access.live
        if active is None or self.access.ends_itself or self.access.peek() is not None:
            return True
        return wait(Watch(self.access, active).alive())


class Front(asgi.SessileMiddleware):
    """The rules of the ASGI middleware, for a server that waits: what a request may do, and how its answer leaves."""

    def __init__(self, authority: Authority, settings: Settings) -> None:
        super().__init__(_nobody, authority, **settings)
        self.sync = SyncAuthority(authority)

    def arrive(
        self, method: str, path: str, headers: dict[bytes, bytes], peer: tuple[str, int] | None
    ) -> SyncAccess | Problem:
        """`headers`: names in lower case, what came twice joined; `peer`: who is at the other end of the connection."""
        host = headers.get(b"host")
        if host is None or not self._hosts.allows_name(host):
            return problem.misdirected()
        token, denied, bearer = self._token(headers)
        if not bearer and method not in SAFE_METHODS:
            verdict = self._rule.judge(method, OriginHeaders.of(headers.items()))
            if not verdict:
                return problem.cross_site(verdict.reason)
        scope: dict[str, Any] = {"headers": list(headers.items()), "client": peer}
        result: Active | Denied = denied
        if token is not None:
            # A budget counts an agent's every call, whatever it says of it.
            touch = bearer or self._is_act(path, headers)
            active = self._peek(token, touch=touch)
            result = active if active is not None else wait(self._check(token, scope, touch))
        return self.admitted(scope, token, result, bearer)

    def admitted(self, scope: dict[str, Any], token: Token | None, result: Active | Denied, bearer: bool) -> SyncAccess:
        data = self.sync.session_data(result) if isinstance(result, Active) else empty_data()
        return SyncAccess(Access(self._site, scope, token, result, data, bearer), self.sync)

    def presented(self, token: str | None) -> SyncAccess:
        """What may be done with a token that came by no request."""
        scope: dict[str, Any] = {"headers": [], "client": None}
        held = Token(token) if token else None
        return self.admitted(scope, held, self.sync.check(held, touch=False), False)

    def client(self, environ: Mapping[str, Any]) -> Client:
        """Who asks, by a WSGI environment."""
        return self._site.clients.of({"headers": list(headers_of(environ).items()), "client": peer_of(environ)})

    def save(self, here: SyncAccess) -> None:
        """Write the request's application data now; without a session an anonymous one begins.

        Raises:
            AccessDenied: the browser holds a newer session, or one that must step up: no other takes its place.
            LimitExceeded, TypeError, Conflict, StoreUnavailable: see `SessionData.save`.
        """
        wait(save(here.access))

    def leave(self, here: SyncAccess, status: int, headers: RawHeaders) -> tuple[int, RawHeaders, bytes | None]:
        """What is sent in the place of `status` and `headers` (names in lower case): both, and a body if a problem
        takes the place of the answer."""
        access = here.access
        said: list[Message] = []

        async def send(message: Message) -> None:
            said.append(message)

        async def start() -> None:
            await answer.send({"type": "http.response.start", "status": status, "headers": headers})

        answer = Answer(access, send)
        if access.due or _changed(access):
            wait(start())
        else:  # nothing to be waited for
            run_now(start())
        body = said[1]["body"] if len(said) > 1 else None
        return said[0]["status"], said[0]["headers"], body


def _changed(access: Access) -> bool:
    """Whether there is data to save, or to complain of."""
    try:
        return access.data.used and access.data.changed
    except (SessileError, TypeError):
        return True


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("this is no ASGI application: use sessile.asgi.SessileMiddleware")


def headers_of(environ: Mapping[str, Any]) -> dict[bytes, bytes]:
    """What is read of a WSGI environment: the raw headers, never a framework's parsing of them (review 19)."""
    return {name: environ[key].encode("latin-1", "replace") for key, name in _HEADERS.items() if key in environ}


def peer_of(environ: Mapping[str, Any]) -> tuple[str, int] | None:
    address = environ.get("REMOTE_ADDR")
    return (address, 0) if address else None


def path_of(environ: Mapping[str, Any]) -> str:
    raw: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


joined = asgi._joined
"""What is read of an ASGI scope's headers."""


# -- WSGI ---------------------------------------------------------------------------------------------------------


class StartResponse(Protocol):
    """PEP 3333."""

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = ..., /
    ) -> Callable[[bytes], object]: ...


Environ = dict[str, Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class SessileMiddleware:
    """Sessions for any WSGI application. The settings are those of `sessile.asgi.SessileMiddleware`.

    Raises:
        ValueError: a setting that cannot be; says what to write.
    """

    def __init__(self, app: App, authority: Authority, **settings: Unpack[Settings]) -> None:
        self.app = app
        self.front = Front(authority, settings)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        here = self.front.arrive(method, path_of(environ), headers_of(environ), peer_of(environ))
        if isinstance(here, Problem):
            return _problem(here, method, start_response)
        environ["sessile.access"] = here
        exchange = _Exchange(self.front, here, method, start_response)
        try:
            body = self.app(environ, exchange.start)
        except SessileError as error:
            if exchange.started:
                raise
            return exchange.refuse(error)
        if exchange.started and exchange.instead() is None and here.access.live is None:
            return body  # as it is: a server may know how to send a file
        return _Body(body, exchange)


class _Exchange:
    """One request's answer, as far as it has come."""

    def __init__(self, front: Front, here: SyncAccess, method: str, start_response: StartResponse) -> None:
        self._front = front
        self._method = method
        self._start_response = start_response
        self.here = here
        self.started = False
        self.event_stream = False
        self._instead: bytes | None = None

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        names = {name.lower(): name for name, _ in headers}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        code, left, instead = self._front.leave(self.here, int(status[:3]), raw)
        self.started = True
        if instead is not None:
            status = _status(code)
            self._instead = b"" if self._method == "HEAD" else instead
        self.event_stream = any(name == b"content-type" and value[:17] == b"text/event-stream" for name, value in left)
        said = [(names.get(name.decode(), name.decode().title()), value.decode("latin-1")) for name, value in left]
        write = self._start_response(status, said, *(() if exc_info is None else (exc_info,)))
        return write if instead is None else _drop

    def instead(self) -> bytes | None:
        """The body of the problem that took the answer's place."""
        return self._instead

    def refuse(self, error: SessileError) -> list[bytes]:
        access = self.here.access
        access.data.follow(empty_data())
        said = access.problem(error)
        self.start(_status(said.status), _said(said))
        return [b"" if self._method == "HEAD" else said.body()]


class _Body:
    """The answer's pieces. Before each but the first it is asked whether the session has ended."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._pieces: Iterator[bytes] | None = None
        self._exchange = exchange
        self._first = True
        self._over = False

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        if self._over:
            raise StopIteration
        if (instead := exchange.instead()) is not None:
            return self._last(instead)
        try:
            if self._pieces is None:
                self._pieces = iter(self._body)
            piece = next(self._pieces)
        except SessileError as error:
            if exchange.started:
                raise
            return self._last(b"".join(exchange.refuse(error)))
        if (instead := exchange.instead()) is not None:  # it started with its first piece
            return self._last(instead)
        if not self._first and not exchange.here.alive:
            self._over = True
            if exchange.event_stream:
                raise StopIteration
            raise Over("the session behind this answer has ended")
        self._first = False
        return piece

    def _last(self, body: bytes) -> bytes:
        self._over = True
        return body

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _drop(data: bytes) -> None:
    """For an application that goes on writing although a problem took its answer's place."""


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"


def _said(problem: Problem) -> list[tuple[str, str]]:
    headers = [*problem.response_headers(), (b"content-length", str(len(problem.body())).encode())]
    return [(name.decode().title(), value.decode("latin-1")) for name, value in headers]


def _problem(problem: Problem, method: str, start_response: StartResponse) -> list[bytes]:
    start_response(_status(problem.status), _said(problem))
    return [b"" if method == "HEAD" else problem.body()]
