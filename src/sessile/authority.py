"""The authority: the one object a user of Sessile holds."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from sessile.checks import make_active, run_now
from sessile.clock import Clock, SystemClock
from sessile.data import SessionData, encode, read_at_once
from sessile.ending import Ending
from sessile.errors import Conflict, LimitExceeded, NotFound, Refused, refused
from sessile.hooks import Telling
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied, TokenState
from sessile.kernel.event import SYSTEM, Actor, actor_of
from sessile.kernel.ids import check_session_id, home, new_session_id
from sessile.kernel.issue import Draft, Fence, Idle, TooDeep, Wider
from sessile.kernel.policy import Policy, same_rules
from sessile.kernel.principal import (
    Principal,
    canonical,
    check_scopes,
    new_principal,
)  # fmt: skip
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionInfo, SessionKind, Tie
from sessile.kernel.token import Token, TokenKind, derive, digest, new_token, rotation_seed
from sessile.near import NearCache
from sessile.nhi import contain
from sessile.nhi.owning import LONGEST_PURPOSE
from sessile.receipt import Issued
from sessile.signing_in import SignIn
from sessile.stores import open_url
from sessile.stores.protocol import Credential, Page
from sessile.upkeep import Upkeep
from sessile.working import Working

T = TypeVar("T")


class Authority(Ending, Working, Telling):
    """Begins, checks and ends sessions.

    `Authority("sqlite:///sessile.db")` does no I/O: `async with authority:` opens it, and so does the middleware
    at the first request. `memory:` keeps everything in this process. `policy` seeds the store's default policy.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…`, `redis://host:port/0` or `memory:`.
        directory: with `redis://`: the SQL store that holds accounts, the record and the journal of endings.
        policy: what the code says the default policy is; None: what the store has, or `Policy.aal2()`.
        create: whether a missing SQLite file may be made.
        capacity: how many sessions the near cache holds (about 1 KiB each).
        clock: for tests.
    """

    def __init__(
        self, url: str = "sqlite:///sessile.db", *, directory: str | None = None, policy: Policy | None = None,
        create: bool = True, capacity: int = 100_000, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        clock = clock or SystemClock()
        super().__init__(open_url(url, clock=clock, create=create, directory=directory), NearCache(capacity), clock)
        Telling.__init__(self)
        self._seed = policy
        self._another = lambda: open_url(url, clock=clock, create=False, directory=directory)
        self._opening = asyncio.Lock()

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Open the store, seed the policy, start the upkeep. Does nothing if it is open.

        Raises:
            StoreUnavailable: the store is away.
            NotFound: `create=False` and there is no such file.
            Conflict: the store's default policy differs from `policy`, whose version is not higher.
        """
        async with self._opening:
            if self._upkeep is None:
                await self.store.open(self._near)
                try:
                    await self._seed_policy()
                    await self.budgets.sync(self.store)
                except BaseException:
                    await self.store.close()
                    raise
                self._upkeep = Upkeep(
                    self.store, self.traces, spend=self.add_up_budgets, resume=lambda: contain.resume(self)
                )
                self._start_telling(self.store)
        return self

    async def close(self) -> None:
        """Write what is pending and let go of the store. Does nothing if it is closed."""
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            await upkeep.close()
            await self._stop_telling()
            await self.store.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        return self._upkeep is not None

    async def _seed_policy(self) -> None:
        stored = await self.store.policy("default")
        seed = self._seed or (Policy.aal2() if stored is None else stored)
        seed = msgspec.structs.replace(seed, name="default")
        if stored is None or (seed.version > stored.version and not same_rules(seed, stored)):
            try:
                await self.store.set_policy(seed, SYSTEM)
                return
            except Conflict:  # several processes start on a new store at once: the first must have said the same
                stored = await self.store.policy("default")
        if stored is not None and not same_rules(seed, stored):
            raise Conflict(
                f"the store's default policy (version {stored.version}, {stored.preset}) differs from the code's"
                f" ({seed.preset}): give the code's a version above {stored.version} to put it in force everywhere"
            )

    async def touch(self, active: Active) -> None:
        """Record an act of the person now, written before this returns. `check` does it by itself, coalesced."""
        await self.store.touch({active.session.id: self.clock.now()})

    # -- beginning ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def sign_in(self, name: str) -> AsyncIterator[SignIn]:
        """Fence a sign-in: status and epoch are read before the credential is looked at, and `attempt.begin`
        succeeds only if both still hold. A name that is new is registered by `begin`, not before.

        Raises:
            ValueError: not a name. StoreUnavailable: the store is away.
        """
        await self.open()
        found = await self.store.fence(canonical(name))
        yield SignIn(self, self._begin, canonical(name), *(found or (None, None)))

    async def begin(
        self, name: str | None, *, method: Method | str | None = None, client: Client | None = None,
        scopes: Iterable[str] | None = None, replaces: Active | None = None, lifetime: timedelta | None = None,
        wait: bool = False,
    ) -> Issued:  # fmt: skip
        """Begin a browser session without a fence: for tests and imports. Applications use `sign_in`.

        With `name=None` an anonymous session, which opens nothing that asks for a person. `wait`: see `SignIn.begin`.

        Raises:
            ValueError: not a name, a method or a scope. Conflict: the principal is disabled, or sign-in is locked.
            Refused: more scopes than the principal has. LimitExceeded: too many sessions by policy.
        """
        if name is None:
            return await self._begin(
                SessionKind.ANONYMOUS, TokenKind.BROWSER, client=client or Client(), lifetime=lifetime
            )
        async with self.sign_in(name) as attempt:
            return await attempt.begin(
                method=method or Method.PASSWORD, client=client, scopes=scopes, replaces=replaces, lifetime=lifetime,
                wait=wait,
            )  # fmt: skip

    async def idle(self, token: str | None, *, client: Client | None = None) -> Idle | None:
        """Whether what was presented is a session that is over by inactivity: for `attempt.begin(resumes=…)`, when its
        person signs in again. None: it is none. Never raises.
        """
        denied = await self.check(token, client=client, touch=False)
        if denied or token is None or denied.reason is not Reason.IDLE or denied.session is None:
            return None
        return Idle(denied.session, digest(Token(token)))

    async def _begin(
        self, kind: SessionKind, token_kind: TokenKind, *, active: Active | None = None, uid: str | None = None,
        tie: Tie | None = None, methods: tuple[Method, ...] = (), scopes: frozenset[str] | None = None,
        lifetime: timedelta | None = None, label: str = "", client: Client | None = None, replaces: str | None = None,
        fence: Fence | None = None, proved: datetime | None = None, resumes: bytes | None = None, wait: bool = False,
    ) -> Issued:  # fmt: skip
        await self.open()
        session_id = new_session_id(active.session.partition if active else home(uid) if uid else None)
        token = new_token(token_kind, session_id[4])
        draft = Draft(
            id=session_id, digest=digest(token), kind=kind, uid=uid, methods=methods, scopes=scopes,
            lifetime=lifetime, client=client or Client(), label=label[:200],
            giver=active.digest if active else None, tie=tie, replaces=replaces, fence=fence, proved=proved,
            resumes=resumes,
        )  # fmt: skip
        try:
            begun = await self._carried(lambda: self.store.begin(draft), wait=wait, once=True)
        except Wider as error:
            raise Refused(str(error), Denied(reason=Reason.OUT_OF_SCOPE)) from None
        except TooDeep as error:
            raise LimitExceeded(str(error)) from None
        proof = make_active(begun.snapshot, draft.digest, rotation_seed(token), self.traces)
        return Issued(token, proof, ended=begun.ended, effective=self._effective(begun) if begun.ended else None)

    # -- rotation -----------------------------------------------------------------------------------------------

    async def rotate(self, active: Active) -> Issued:
        """Offer the successor of the presented token, as age-based rotation does.

        The old token counts until the successor is first presented, and the policy's grace after that. Asking
        again yields the same successor, so that a lost answer can be sent again and parallel tabs agree.

        Raises:
            Conflict: the session is over, or the presented token is not its current one.
            Refused: not a browser's token; no other has successors.
        """
        session = active.session
        if session.kind not in (SessionKind.BROWSER, SessionKind.ANONYMOUS):
            raise refused(session, "only a browser's token is rotated")
        salt = secrets.token_bytes(32)
        successor = _derive(active, salt)
        in_force = await self.store.offer(active.digest, salt, digest(successor))
        if in_force is None:
            raise Conflict("this token has a successor already, or its session is over: take the newer one")
        if in_force != salt:
            successor = _derive(active, in_force)
        pending = Active(
            session, digest=digest(successor), seed=rotation_seed(successor), token_state=TokenState.SUCCESSOR,
            rotate_at=None, traces=self.traces,
        )  # fmt: skip
        return Issued(successor, pending)

    async def elevate(
        self, active: Active, *, method: Method | str | None, client: Client | None = None, wait: bool = False
    ) -> Issued:
        """A new authentication event in this session: step-up or re-authentication. The token is new, the old
        one over at once (ASVS V7.2.4), and both limits start anew (63B-4 5.2).

        `method=None` is a change of privilege without one: only the token changes. `wait=True` returns when no node
        accepts the old token any more; otherwise `effective` names the instant.

        Raises:
            Conflict: the session is over; `denied` says why. ValueError: not a method.
        """
        token = new_token(TokenKind.BROWSER, active.session.partition)
        if active.session.kind is not SessionKind.BROWSER:
            raise refused(active.session, "only a person's browser session can step up")
        new, by = None if method is None else Method(method), actor_of(active, client)
        replaced = await self._carried(
            lambda: self.store.replace(active.digest, digest(token), new, by), wait=wait, once=True
        )
        proof = make_active(replaced.snapshot, digest(token), rotation_seed(token), self.traces)
        return Issued(token, proof, effective=self._effective(replaced))

    # -- looking ------------------------------------------------------------------------------------------------

    async def sessions(
        self, *, principal: str | None = None, tree: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = 100,
    ) -> Page[SessionInfo]:  # fmt: skip
        """A page of sessions to show, newest first: a principal's, a tree's (givers first), or all.

        Raises:
            NotFound: no such principal or session.
        """
        await self.open()
        if tree is not None:
            root = (await self.session(tree)).id
            return await self.store.sessions(root=root, ended=ended, after=after, limit=limit)
        uid = (await self.principal(principal)).uid if principal is not None else None
        return await self.store.sessions(uid=uid, ended=ended, after=after, limit=limit)

    async def session(self, session_id: str) -> SessionInfo:
        """One session to show, alive or a tombstone. Raises NotFound, ValueError."""
        await self.open()
        found = await self.store.session(check_session_id(session_id))
        if found is None:
            raise NotFound(f"no session {session_id}")
        return found

    async def principal(self, name: str) -> Principal:
        """The principal of that name. Raises NotFound, ValueError."""
        await self.open()
        found = await self.store.principal(name=canonical(name))
        if found is None:
            raise NotFound(f"no principal is named {canonical(name)!r}")
        return found

    async def register(
        self, name: str, *, scopes: Iterable[str] | None = None, owner: str | None = None, purpose: str = "",
        policy: str = "default", by: Active | Actor | None = None, credential: Credential | None = None,
    ) -> Principal:  # fmt: skip
        """A new principal.

        Args:
            owner: who answers for a service or an agent: a person, or `team:NAME`. None: whoever makes it, where `by`
                is an `Active` (of an agent: whoever answers for that). Every one has an owner; people have none.
            purpose: what a service or an agent is for, at most 500 characters. Without one it is a finding (NHI1).

        Raises:
            Conflict: the name is taken, or `owner` is no person who is active, and no team with a member who is.
            NotFound: owner, policy. ValueError: not a name or a scope; no owner.
        """
        await self.open()
        owner_uid = await self.new_owner(name, owner, by)
        if await self.store.policy(policy) is None:
            raise NotFound(f"no policy is named {policy!r}")
        principal = msgspec.structs.replace(
            new_principal(
                name, now=self.clock.now(), scopes=None if scopes is None else check_scopes(scopes), owner=owner_uid,
                purpose=purpose[:LONGEST_PURPOSE],
            ),
            policy=policy,
        )  # fmt: skip
        actor = actor_of(by)
        await self.store.register(principal, actor, credential)
        return principal

    # -- application data ---------------------------------------------------------------------------------------

    def session_data(self, active: Active) -> SessionData:
        """The session's data as a dict of JSON values, read when first used: from a remote store with the loop standing
        still, so `await data.load(store)` before."""
        return SessionData(self.read_data, active.session.id)

    def read_data(self, session_id: str) -> tuple[int, bytes]:
        """Version and encoded data of a session, without await: see `session_data`. Raises StoreUnavailable."""
        if self.store.local:
            return run_now(self.store.read_data(session_id))
        return read_at_once(self._another, session_id)

    @contextlib.asynccontextmanager
    async def data(self, active: Active, type: type[T]) -> AsyncIterator[T]:
        """The session's data as a value of yours (a msgspec Struct, a dataclass): change it, and it is saved.

        `async with authority.data(active, Cart) as cart: cart.items.append(item)`. `Cart()` must make an empty
        one. Not to be mixed with `request.session` on the same session.

        Raises:
            Conflict: another request saved meanwhile, or the session has ended; nothing was written.
            LimitExceeded: over 64 KiB. ValueError: what is stored is not such a value.
        """
        version, stored = await self.store.read_data(active.session.id)
        value = msgspec.json.decode(stored, type=type) if stored else type()
        before = encode(value)
        yield value
        after = encode(value)
        if after != before and not await self.store.write_data(active.session.id, version, after):
            raise Conflict("the session's data changed meanwhile, or the session has ended: read it and try again")


def _derive(active: Active, salt: bytes) -> Token:
    return derive(active.seed, salt, TokenKind.BROWSER, active.session.partition)
