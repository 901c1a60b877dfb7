"""One request's way: token → `peek` → near cache, or `check` → store → `decide` → near cache."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Generator
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeVar

from sessile.clock import Clock
from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.containment import EVER
from sessile.kernel.decide import (
    NOTHING_MORE,
    UNBOUND,
    Active,
    Denied,
    Requirement,
    Snapshot,
    TokenState,
    binding,
    chain_of,
    decide,
    demand,
    differs,
    horizon,
    shows,
)  # fmt: skip
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.policy import Mismatch, Policy, Trait
from sessile.kernel.principal import covers
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, Session, SessionInfo, SessionKind
from sessile.kernel.token import TOKEN_LENGTH, digest, rotation_seed, well_formed
from sessile.kernel.tries import telling
from sessile.near import Entry, NearCache
from sessile.nhi import in_vain
from sessile.nhi.budgets import Budgets, Metered
from sessile.nhi.traces import Traces
from sessile.stores import Backend
from sessile.stores.protocol import End
from sessile.strangers import Strangers
from sessile.upkeep import Upkeep
from sessile.watching import WARNING, Watching

T = TypeVar("T")

CACHE_SECONDS = 60
"""The longest an answer is kept without another look at the store, so that a wall clock that was set is noticed."""
_CURRENT, _SUCCESSOR = TokenState.CURRENT, TokenState.SUCCESSOR
_CACHE_NS = CACHE_SECONDS * 1_000_000_000
_TOUCH_AGAIN_NS = 1_000_000_000
_LAST_MOMENT_NS = 2_000_000_000
"""So near to a limit nothing is cached and an act is written before it is answered: gathered with others it might be
written after the idle limit, and what comes late revives nothing (review 13)."""


class Checks(abc.ABC):
    """The checking half of `Authority`."""

    def __init__(self, store: Backend, near: NearCache, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._near = near
        self._strangers = Strangers()
        self._upkeep: Upkeep | None = None
        self.traces = Traces(clock)
        self.budgets = Budgets(clock)
        self.watching = Watching(store, near, clock)
        self._hot = near.get, clock.elapsed, store.current
        """What `ready` calls. Bound once, and read at once: it pays for no attribute that it does not need."""
        self._partitioned = store.partitioned

    @abc.abstractmethod
    async def open(self) -> Any:
        """Open the store. Does nothing if it is open."""

    def peek(
        self, token: str | None, *, client: Client | None = None, requirement: Requirement = NOTHING_MORE,
        touch: bool = True,
    ) -> Active | None:  # fmt: skip
        """The cached path of `check`, without await: Active, or None for «ask `check`». Never raises.

        `touch=False`: this request is no act of the person (polling, an event stream, a prefetch).
        """
        if token is None:
            return None
        try:
            if len(token) != TOKEN_LENGTH:
                return None
            raw = token.encode()
        except (UnicodeEncodeError, TypeError, AttributeError):  # no text at all, out of somebody's JSON
            return None
        return self.ready(raw, client, requirement, touch)

    def ready(
        self, raw: bytes, client: Client | None = None, requirement: Requirement = NOTHING_MORE,
        touch: bool | None = None,
    ) -> Active | None:  # fmt: skip
        """`peek` for a token as it came. `touch=None`: who asks does not know yet whether this is an act of the person;
        None then where it matters, because one would have to be noted."""
        # BLAKE2b is Python's own; SHA-256 goes to OpenSSL, whose preparations take longer than so few bytes do.
        cached, elapsed, current = self._hot
        entry = cached(blake2b(raw).digest())
        if entry is None:
            return None
        # The clock is read after the look-up, inside every check: never a flag, never a time from before.
        now = elapsed()
        # Where some partitions are away, the others are answered all the same. The fourth character names it.
        if not current(now) and not (self._partitioned and current(now, chr(raw[4]))):
            return None
        if now >= entry.good_until:  # what `current` has only now heard to be over is good until never: so after it
            return None
        active = entry.active
        if entry.binding is not None and not shows(client, entry.binding):
            return None
        if requirement is not NOTHING_MORE and demand(active.session, requirement, self.clock.now()) is not None:
            return None
        if touch is not False and now >= entry.touch_at and not (touch and self._touch(entry, now)):
            return None
        return active

    def check(
        self, token: str | None, *, client: Client | None = None, requirement: Requirement = NOTHING_MORE,
        touch: bool = True,
    ) -> Check:  # fmt: skip
        """Decide on one request. Await it: `Active` (truthy) or `Denied` (falsy). Never raises.

        `token` is what the client sent; None or empty: nothing (`missing`).

        A store that is away is `Denied` with reason `unavailable`: answer 503, it is no logout.
        """
        active = self.peek(token, client=client, requirement=requirement, touch=touch)
        return Check(active, self, token, client, requirement, touch)

    async def watch(self, session_id: str, *, warning: timedelta = WARNING) -> AsyncGenerator[SessionInfo, None]:
        """The session now, and again whenever something about it changes, as soon as this process knows. Watching is
        no act of the person.

        It is also yielded `warning` before its end. One that is live with the reason `assurance` is below its policy's
        by now: requests are denied until it steps up. The last one yielded is not live; `reason` says why.

        Close it when you stop early (`contextlib.aclosing`).

        Raises:
            NotFound: no such session. ValueError: not an id. StoreUnavailable: the store is away.
        """
        if self._upkeep is None:
            await self.open()
        async with contextlib.aclosing(self.watching.states(session_id, warning)) as states:
            async for info in states:
                yield info

    async def _check(
        self, token: str | None, client: Client | None, requirement: Requirement, touch: bool
    ) -> Active | Denied:
        if not token:
            return Denied(reason=Reason.MISSING)
        if not well_formed(token):
            return Denied(reason=Reason.MALFORMED)
        key = digest(token)
        ip = client.ip if client is not None else None
        if self._strangers.wait(ip, self.clock.elapsed()):
            return Denied(reason=Reason.UNAVAILABLE)
        try:
            if self._upkeep is None:
                await self.open()
            while True:
                with self._near.reading() as reading:
                    started = self.clock.elapsed()
                    snapshot = await self.store.read(key)
                    if snapshot is None:
                        self._strangers.unknown(ip, started)
                        return Denied(reason=Reason.UNKNOWN)
                    denied = decide(snapshot, snapshot.now, client=client)
                    if snapshot.policy is not None and snapshot.policy.binding:
                        await self._compare(snapshot, snapshot.policy, client, denied)
                    if denied is None and snapshot.token_state is not _SUCCESSOR:
                        active = make_active(snapshot, key, rotation_seed(token), self.traces)
                        entry = self._entry(active, snapshot, started)
                        self._near.put(blake2b(token.encode()).digest(), entry, reading)
                        if (denied := demand(snapshot.session, requirement, snapshot.now)) is not None:
                            self._lacks(snapshot.session, requirement, client)
                            return denied
                        if touch:
                            self.traces.used(snapshot.session, client)
                            if started >= entry.touch_at:
                                denied = await self._acted(entry, snapshot, client, started)
                        return active if denied is None else denied
                if denied is not None:
                    return await self._refused(denied, snapshot, token, key, client, requirement)
                await self.store.confirm(key)  # and what it is then is read anew
        except SessileError:
            # Fail closed, but as «ask again»: a store that is away is no logout.
            return Denied(reason=Reason.UNAVAILABLE)

    async def _refused(
        self, denied: Denied, snapshot: Snapshot, token: str, key: bytes, client: Client | None,
        requirement: Requirement,
    ) -> Active | Denied:  # fmt: skip
        """What follows from a denial; and the step-up, which may do what others are denied."""
        if requirement.below_policy and (denied.reason is Reason.ASSURANCE or denied.cause == UNBOUND):
            still = decide(snapshot, snapshot.now, client=client, requirement=requirement)
            return make_active(snapshot, key, rotation_seed(token), self.traces) if still is None else still
        if denied.reason in (Reason.REVOKED, Reason.DISABLED):
            # Known here before it was announced here: no later check of this process says yes again.
            self._near.apply(self._near.mark, (f"s:{snapshot.session.id}",))
        if denied.reason is Reason.REPLAYED:
            await self._replayed(snapshot, client)
        await in_vain.note(self.store, self.traces, snapshot, denied, client)
        return denied

    def _entry(self, active: Active, snapshot: Snapshot, started: int) -> Entry:
        session, policy, now = snapshot.session, snapshot.policy or Policy(), snapshot.now
        objects = [f"s:{session.id}", f"p:{session.uid}", f"policy:{policy.name}"]
        for above in snapshot.ancestors:
            objects += (f"s:{above.link.session}", f"p:{above.link.uid}")
            if above.policy is not None and above.policy.name != policy.name:
                objects.append(f"policy:{above.policy.name}")
        if self._partitioned:
            objects.append(f"t:{session.partition}")
        left = nanoseconds(horizon(snapshot) - now) - _LAST_MOMENT_NS
        if active.rotate_at is not None and not active.due:
            left = min(left, nanoseconds(active.rotate_at - now))
        touch_at = started + nanoseconds(session.last_seen + policy.touch_interval - now)
        metered = self.budgets.of(snapshot, touch_at)
        return Entry(
            active,
            # `started` was read before the store's clock: never late.
            good_until=started + min(left, _CACHE_NS),
            touch_at=touch_at if metered is None else 0,
            binding=binding(session, policy) if policy.binding else None,
            objects=tuple(objects),
            metered=metered,
        )

    def _touch(self, entry: Entry, now: int) -> bool:
        """Whether the call is in the session's budget, where it has one."""
        metered: Metered | None = entry.metered
        if metered is None:
            entry.touch_at = now + _TOUCH_AGAIN_NS
        elif not metered.take():
            return False
        elif now < metered.touch_at:
            return True
        else:
            metered.touch_at = now + _TOUCH_AGAIN_NS
        if self._upkeep is not None:
            self._upkeep.seen(entry.active.session.id, self.clock.now())
        return True

    async def _acted(self, entry: Entry, snapshot: Snapshot, client: Client | None, now: int) -> Denied | None:
        """An act that the near cache did not answer, and that is to be counted or written."""
        if now >= entry.good_until:
            await self.store.touch({snapshot.session.id: snapshot.now})
        elif self._touch(entry, now):
            return None
        if (metered := entry.metered) is None or (now >= entry.good_until and metered.take()):
            return None
        self.traces.touched(snapshot.session, "budget", "call", Reason.OVER_BUDGET, client)
        return Denied(reason=Reason.OVER_BUDGET, session=snapshot.session.id, wait=metered.wait())

    def _lacks(self, session: Session, requirement: Requirement, client: Client | None) -> None:
        """An agent asked for more than it was given: that is recorded."""
        if session.kind.is_a_persons:
            return
        for scope in sorted(requirement.scopes):
            if not covers(session.scopes, frozenset({scope})):
                self.traces.touched(session, f"scope:{scope}", "use", Reason.OUT_OF_SCOPE, client)

    async def _compare(
        self, snapshot: Snapshot, policy: Policy, client: Client | None, denied: Denied | None
    ) -> None:  # fmt: skip
        """Tell of a client that is not the one that the session is bound to; end the session if the policy says so.

        Only where nothing else is against the token: what is over is bound to nothing.
        """
        session = snapshot.session
        bound = binding(session, policy)
        others = differs(client, bound) if bound is not None else ()
        if not others or (denied is not None and denied.reason is not Reason.UNBOUND and denied.cause != UNBOUND):
            return
        by = Actor(client=client or Client())
        if not await self._known_mismatch(session, others, client):
            traits = [str(one) for one in others]
            details: dict[str, str | int | list[str]] = {"traits": traits, "then": policy.mismatch}
            await self.store.record(
                Event(
                    name=EventName.SESSION_MISMATCH, principal=session.principal, uid=session.uid, session=session.id,
                    by=by, details=details,
                )
            )  # fmt: skip
        if policy.mismatch is Mismatch.END:
            await self.store.end(End(session=session.id, cause=Reason.UNBOUND, by=by))

    async def _known_mismatch(
        self, session: Session, others: tuple[Trait, ...], client: Client | None
    ) -> bool:  # fmt: skip
        """Whether the record has this in the last hour: on any node, whoever asks how often."""
        said = "\n".join((session.id, *others, *(str(getattr(client, one, "")) for one in ("ip", "user_agent"))))
        told = telling(b"mismatch " + said.encode("utf-8", "surrogatepass"))
        return await self.store.count_try([told]) is not None

    async def _replayed(self, snapshot: Snapshot, client: Client | None) -> None:
        """A rotated-out token after its grace: a thief has it, or had it. See decision 0003."""
        session, policy = snapshot.session, snapshot.policy or Policy()
        by = Actor(client=client or Client())
        if session.kind is SessionKind.KEY:
            # Its holder has the key that took its place. What it handed out ends with it, by whichever tie; what was
            # handed out beside it stays.
            end = End(session=session.id, cause=Reason.REPLAYED, by=by, contain_since=EVER, containment=new_id("con"))
            await self.store.end(end)
            return
        same_client = client is not None and client.user_agent is not None and client == session.client
        if policy.strict_replay or not same_client:
            await self.store.end(End(session=session.id, cause=Reason.REPLAYED, by=by))
        else:
            await self.store.record(
                Event(
                    name=EventName.TOKEN_REPLAYED,
                    principal=session.principal,
                    uid=session.uid,
                    session=session.id,
                    by=by,
                )
            )


class Check:
    """An awaitable check. Its truth is an error: `if authority.check(token):` would let everybody in."""

    __slots__ = ("_active", "_ask", "_checks")

    def __init__(self, active: Active | None, checks: Checks, *ask: Any) -> None:
        self._active = active
        self._checks = checks
        self._ask = ask

    def __await__(self) -> Generator[Any, None, Active | Denied]:
        if self._active is not None:
            return self._active
        return (yield from self._checks._check(*self._ask).__await__())

    def __bool__(self) -> bool:
        raise TypeError("a check must be awaited: `if await authority.check(token):`")


def make_active(snapshot: Snapshot, key: bytes, seed: bytes, traces: Traces) -> Active:
    """The proof that the token with digest `key` was presented. Only for what has just decided that it counts."""
    session, state, rotate_at = snapshot.session, snapshot.token_state, None
    if session.kind.is_a_persons and state is _CURRENT and (policy := snapshot.policy) is not None:
        rotate_at = session.rotated + policy.rotate_after if policy.rotate_after is not None else None
    chain = chain_of(snapshot) if session.lineage else ()
    return Active(
        session, digest=key, seed=seed, token_state=state, rotate_at=rotate_at, traces=traces, chain=chain,
        due=rotate_at is not None and snapshot.now >= rotate_at,
    )  # fmt: skip


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends: how a local store is read without await."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    # A local store that is busy or being replaced has to wait after all: that is up to the next request.
    raise StoreUnavailable("the store cannot be read at once: try again")


def nanoseconds(delta: timedelta) -> int:
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000
