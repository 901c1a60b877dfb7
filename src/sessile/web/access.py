"""What one request may do: the check's result, and what the answer shall do to the browser's session."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sessile.authority import Authority
from sessile.data import SessionData
from sessile.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    Refused,
    RevocationUncertain,
    SessileError,
    StoreUnavailable,
)
from sessile.kernel.decide import NOTHING_MORE, Active, Denied, Requirement
from sessile.kernel.issue import Idle
from sessile.kernel.principal import check_scopes
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.session import Client, Session, SessionKind
from sessile.kernel.token import Token
from sessile.kernel.work import Work
from sessile.receipt import Issued
from sessile.web import cookie as cookies
from sessile.web import problem
from sessile.web.client import Clients
from sessile.web.cookie import CookieSpec
from sessile.web.problem import Problem
from sessile.working import PARKED_FOR

_BELOW_POLICY = Requirement(below_policy=True)


class AccessDenied(SessileError):
    """A route demanded a session, or more of it, than this request has. The middleware answers it.

    `denied` says why; register a handler for this class where people should see a page of yours.
    """

    def __init__(self, denied: Denied, requirement: Requirement = NOTHING_MORE, *, bearer: bool = False) -> None:
        super().__init__(problem.sentence(denied.reason))
        self.denied = denied
        self.requirement = requirement
        self.bearer = bearer

    def problem(self) -> Problem:
        """The answer: 400, 401, 403 or 503, with the challenges of RFC 6750 and RFC 9470 for bearer clients."""
        needed, denied = self.requirement, self.denied
        return problem.denied(
            denied.reason,
            denied.cure,
            bearer=self.bearer,
            acr_values=[f"aal{needed.assurance}"] if denied.reason is Reason.ASSURANCE and needed.assurance else (),
            max_age=int(needed.fresh.total_seconds())
            if denied.reason is Reason.STALE_AUTHENTICATION and needed.fresh is not None
            else None,
            scopes=sorted(needed.scopes) if denied.reason is Reason.OUT_OF_SCOPE else (),
            wait=None if denied.wait is None else max(1, math.ceil(denied.wait.total_seconds())),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """What all requests to one middleware have in common."""

    authority: Authority
    cookie: CookieSpec
    clients: Clients


class Access:
    """`scope["sessile"]`: the result of this request's check, and the way to change what the browser holds.

    `client` is who asks; `bearer` whether the token came as `Authorization: Bearer`. An endpoint whose answer
    does not reach the browser with its headers (forward-auth) sets `rotates` to False, one that ends with its session
    by itself `ends_itself` to True.
    """

    # Defaults of the class, so that a request pays for what it sets only.
    looked = False
    """Whether the application has asked about the session: its answer depends on the cookie then."""
    rotates = True
    ends_itself = False
    """The answer ends with its session by itself, and has something to say then: nobody cuts it."""
    issued: Issued | None = None
    signed_out = False
    _client: Client | None = None

    def __init__(
        self, site: Site, scope: dict[str, Any], token: Token | bytes | None, result: Active | Denied,
        data: SessionData, bearer: bool,
    ) -> None:  # fmt: skip
        """`token` in bytes: the Cookie header that it stands in."""
        self._site = site
        self.bearer = bearer
        self.data = data
        self.plain = isinstance(result, Active) and not result.due
        """Whether it is a live session to which nothing has happened: neither the token nor the session changes."""
        self._result = result
        self._presented = token
        # Not the scope itself, which holds this object: a cycle would leave every request to the collector.
        self._asked = scope["headers"]
        self._peer = scope.get("client")

    def __repr__(self) -> str:
        return f"Access({self._result!r})"

    @property
    def authority(self) -> Authority:
        return self._site.authority

    @property
    def result(self) -> Active | Denied:
        """What the check said: `Active`, or `Denied` with its reason and cure."""
        self.looked = True
        return self._result

    @property
    def active(self) -> Active | None:
        """The proof that a live session's token was presented, for the authority's methods; else None."""
        self.looked = True
        return self._result if isinstance(self._result, Active) else None

    @property
    def session(self) -> Session | None:
        active = self.active
        return None if active is None else active.session

    @property
    def client(self) -> Client:
        """Who asks: address, user agent and a label. Built when first used."""
        if self._client is None:
            self._client = self._site.clients.of({"headers": self._asked, "client": self._peer})
        return self._client

    def peek(self, requirement: Requirement = NOTHING_MORE) -> Active | None:
        """The cached path of `check`, without await: Active, or None for «ask further»."""
        if self._token is None:
            return None
        return self.authority.peek(self._token, client=self.client, requirement=requirement, touch=False)

    def touch_resource(self, resource: str, action: str = "", *, decision: str = "allowed") -> None:
        """See `Active.touch_resource`. Nothing where there is no session. Raises ValueError."""
        active = self.active
        if active is not None:
            active.touch_resource(resource, action, decision=decision)

    async def park(
        self, name: str, work: object, *, type_name: str = "", lifetime: timedelta = PARKED_FOR
    ) -> Work:  # fmt: skip
        """Keep what this browser's person was at, also if its session has timed out; see `Authority.park`.

        Raises:
            AccessDenied: no browser's session was presented. And what `Authority.park` raises.
        """
        self.looked = True
        if self._token is None or self.bearer:
            denied = self._result if isinstance(self._result, Denied) else Denied(reason=Reason.OUT_OF_SCOPE)
            raise AccessDenied(denied, bearer=self.bearer)
        return await self.authority.park(
            self._token, name, work, type_name=type_name, lifetime=lifetime, client=self.client
        )

    async def check(self, requirement: Requirement = NOTHING_MORE) -> Active | Denied:
        """Check the presented token again, against `requirement`. Never raises."""
        self.looked = True
        if self._token is None:
            return self._result
        return await self.authority.check(self._token, client=self.client, requirement=requirement, touch=False)

    async def require(
        self, *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (),
        below_policy: bool = False,
    ) -> Active:  # fmt: skip
        """The session's proof, if the session meets all of this.

        Args:
            assurance: at least that (1 to 3); an anonymous session has 0. Without any argument: a signed-in one.
            fresh: the longest age of the latest authentication event.
            scopes: each of them.
            below_policy: also a session whose assurance is below its policy's: for the step-up itself.

        Raises:
            AccessDenied: it does not. The middleware answers it as a problem.
        """
        return await self.meet(requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy))

    async def meet(self, needed: Requirement) -> Active:
        """`require`, with a `Requirement` that was made before."""
        result = self.result
        below = needed.below_policy and isinstance(result, Denied) and result.cure is Cure.STEP_UP
        if needed != NOTHING_MORE and (result or below):
            result = await self.check(needed)
        if not isinstance(result, Active):
            raise AccessDenied(result, needed, bearer=self.bearer)
        if result.session.uid is None:
            raise AccessDenied(Denied(reason=Reason.MISSING, session=result.session.id), needed, bearer=self.bearer)
        return result

    async def replaceable(self) -> Active | None:
        """The browser's session that a sign-in takes the place of, so that it does not dangle (ASVS V7.2.4)."""
        if self.bearer:
            return None
        active = await self.check(_BELOW_POLICY)
        browsers = (SessionKind.BROWSER, SessionKind.ANONYMOUS)
        return active if isinstance(active, Active) and active.session.kind in browsers else None

    async def idled(self) -> Idle | None:
        """The browser's session, if it is over by inactivity: signing in may go on with what was proved there."""
        return None if self.bearer else await self.authority.idle(self._token, client=self.client)

    def sign_in(self, issued: Issued) -> None:
        """Let the answer hand `issued`'s token to the browser: after a sign-in, a step-up or any rotation.

        From here on the request is in that session. Application data that was changed before moves along from
        the same or an anonymous session, never from another person's.
        """
        before, after = self._result, issued.active
        self.issued, self.signed_out, self.plain = issued, False, False
        self._result, self._presented = after, issued.token
        if isinstance(before, Active) and before.session.id == after.session.id:
            return
        changed = dict(self.data) if self.data.changed and (not before or before.session.uid is None) else None
        if not self.authority.store.local:
            # Nothing is read here: nobody's and an anonymous session's data goes on as it is (what is saved of it is
            # merged into what the store has by then). After another person's, a new session has none.
            if before and before.session.uid is not None:
                self.data.follow(empty_data())
            return
        self.data.follow(self.authority.session_data(after))
        if changed is not None:
            self.data.clear()
            self.data.update(changed)

    async def sign_out(self, cause: str = "logout") -> None:
        """End the session that was presented; the answer removes the browser's cookie and what pages stored.

        Does not wait until other nodes know: this browser has nothing left to present.

        Raises:
            AccessDenied: the store is away, or the browser holds a newer token by now. Nothing is cleared.
            RevocationUncertain: the store did not acknowledge. Nothing is cleared.
        """
        result = await self.check(_BELOW_POLICY)
        if isinstance(result, Active):
            await self.authority.revoke(session=result.session.id, cause=cause, by=result, wait=False)
        elif result.cure is Cure.RETRY:
            raise AccessDenied(result, bearer=self.bearer)
        self.issued, self.signed_out, self.plain = None, not self.bearer, False
        self._result, self._presented = Denied(reason=Reason.MISSING), None
        self.data.follow(empty_data())

    # -- for the middleware ---------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token | None:
        if isinstance(self._presented, bytes):
            value = cookies.find(self._presented, self._site.cookie.raw_name)
            self._presented = Token(value, "latin-1") if isinstance(value, bytes) else None
        return self._presented

    @property
    def live(self) -> Active | None:
        """`active`, without counting as a look of the application."""
        return self._result if isinstance(self._result, Active) else None

    @property
    def changed(self) -> bool:
        """Whether the answer changes what the browser holds."""
        return self.issued is not None or self.signed_out

    @property
    def due(self) -> bool:
        """Whether the presented token is due for a successor, and the answer reaches who presented it."""
        result = self._result
        if not isinstance(result, Active) or not result.due:
            return False
        return self.rotates and not self.bearer and self.issued is None

    def lose(self) -> None:
        """The store went away after the check."""
        self._result, self.plain = Denied(reason=Reason.UNAVAILABLE), False
        self.data.follow(empty_data())

    async def rotate(self) -> None:
        """Offer the successor of the presented token, which goes on counting until that is first presented."""
        if isinstance(self._result, Active):
            # Another answer was quicker, or the store is away: the next one will do.
            with contextlib.suppress(Conflict, StoreUnavailable):
                self.issued = await self.authority.rotate(self._result)

    def problem(self, error: SessileError) -> Problem:
        """How this request's failing is said."""
        if not self.authority.is_open and not isinstance(error, AccessDenied):
            # Whatever keeps the store from opening is the operator's, and in the log: no session is lost.
            return problem_of(StoreUnavailable())
        return problem_of(error, bearer=self.bearer)


def requirement(
    *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (), below_policy: bool = False
) -> Requirement:
    """A `Requirement`, its values checked.

    Raises:
        ValueError: not an assurance, a duration or scopes that can be had.
    """
    if assurance not in (0, 1, 2, 3):
        raise ValueError("assurance is 1, 2 or 3")
    if fresh is not None and fresh <= timedelta(0):
        raise ValueError("fresh is a positive duration")
    return Requirement(assurance=assurance, fresh=fresh, scopes=check_scopes(scopes), below_policy=below_policy)


def empty_data() -> SessionData:
    """The data of no session."""
    return SessionData(_nothing, "")


def _nothing(_session_id: str) -> tuple[int, bytes]:
    return 0, b""


def problem_of(error: SessileError, *, bearer: bool = False) -> Problem:
    """How an error of this package is said over HTTP. Its message names the cure and shows no secret."""
    if isinstance(error, AccessDenied):
        return error.problem()
    if isinstance(error, StoreUnavailable):
        return problem.denied(Reason.UNAVAILABLE, Cure.RETRY)
    if isinstance(error, RevocationUncertain):
        return _other(503, "Revocation uncertain", error, ((b"retry-after", str(problem.RETRY_AFTER).encode()),))
    if isinstance(error, Refused):
        said = problem.denied(error.denied.reason, error.denied.cure, bearer=bearer)
        return replace(said, detail=str(error))
    if isinstance(error, Conflict) and error.denied is not None:
        return problem.denied(error.denied.reason, error.denied.cure, bearer=bearer)
    if isinstance(error, NotFound):
        return _other(404, "Not found", error)
    if isinstance(error, Conflict):
        return _other(409, "Conflict", error)
    if isinstance(error, LimitExceeded):
        # Not 429: waiting does not help, ending something does.
        return _other(409, "Limit reached", error)
    return _other(500, "Internal error", error)


def _other(status: int, title: str, error: SessileError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    return Problem(status=status, title=title, detail=str(error), headers=headers)
