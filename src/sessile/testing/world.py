"""What the conformance suite stands on: a store with its near cache, and people who sign in to it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from sessile.clock import Clock
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied, Snapshot, decide, horizon
from sessile.kernel.event import SYSTEM, Event
from sessile.kernel.ids import home, new_id, new_session_id, partition_of
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, kind_of, new_principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, SessionInfo, SessionKind, Tie
from sessile.kernel.token import placed
from sessile.near import Entry, NearCache
from sessile.stores import Backend
from sessile.stores.protocol import End, Ended, Page
from sessile.testing.clock import ManualClock

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


MakeStore = Callable[[str, Clock], Backend]


PARTITION = "0"
"""Where all sessions of the suite are: a digest alone has to say it."""


def new_digest() -> bytes:
    """What the digest of a fresh token looks like."""
    return placed(secrets.token_bytes(32), PARTITION)


def at_home(principal: Principal) -> Principal:
    """The principal with a uid whose sessions begin in the suite's partition."""
    while home(principal.uid) != PARTITION:
        principal = msgspec.structs.replace(principal, uid=new_id("prn"))
    return principal


class Holder:
    """Somebody who holds a token of one session."""

    def __init__(self, digest: bytes, session: Session) -> None:
        self.digest = digest
        self.session = session

    @property
    def id(self) -> str:
        return self.session.id


class Node:
    """One handle on a store, open, with its near cache."""

    def __init__(self, store: Backend, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.near = NearCache()

    async def open(self) -> None:
        await self.store.open(self.near)

    async def current(self) -> bool:
        """Whether the near cache may be trusted. A store that follows its engine asks it anew after the clock was
        moved, and that takes a moment."""
        for _ in range(500 if self.store.delta else 1):
            if self.store.current(self.clock.elapsed()):
                return True
            await asyncio.sleep(0.005)
        return False

    async def snapshot(self, held: Holder | bytes) -> Snapshot:
        found = await self.store.read(held.digest if isinstance(held, Holder) else held)
        assert found is not None, "the store does not know the token"
        return found

    async def denied(self, held: Holder | bytes) -> Denied | None:
        digest = held.digest if isinstance(held, Holder) else held
        return decide(await self.store.read(digest), self.clock.now())

    async def reason(self, held: Holder | bytes) -> Reason | None:
        denied = await self.denied(held)
        return None if denied is None else denied.reason

    async def alive(self, *held: Holder | bytes) -> list[bool]:
        return [await self.denied(each) is None for each in held]

    async def keep(self, held: Holder) -> bool:
        """Read the session and put it in the near cache, as a check does. What this node has ended is announced to it
        once more, perhaps during the read, which then is not kept: the next one is."""
        for _ in range(500 if self.store.delta else 1):
            with self.near.reading() as reading:
                found = await self.snapshot(held)
                if self.near.put(held.digest, entry(held.digest, found, self.clock), reading):
                    return True
            await asyncio.sleep(0.005)
        return False

    def kept(self, held: Holder) -> bool:
        return self.near.get(held.digest) is not None


def entry(digest: bytes, found: Snapshot, clock: Clock) -> Entry:
    """A cached answer, registered under every object of the lineage."""
    session = found.session
    left = horizon(found) - clock.now()
    active = Active(session, digest=digest, seed=b"", token_state=found.token_state, rotate_at=None)
    good_until = clock.elapsed() + int(left / TICK) * 1000
    return Entry(active, good_until=good_until, touch_at=good_until, binding=None, objects=objects(found))


def objects(found: Snapshot) -> tuple[str, ...]:
    """All whose invalidation ends the answer."""
    session = found.session
    names = [f"s:{session.id}"]
    names += [f"p:{session.uid}"] if session.uid else []
    names += [f"policy:{found.policy.name}"] if found.policy else []
    for above in found.ancestors:
        names.append(f"s:{above.link.session}")
        names += [f"p:{above.link.uid}"] if above.link.uid else []
        if above.link.tie is Tie.PARENT and above.policy is not None:
            names.append(f"policy:{above.policy.name}")
    return tuple(dict.fromkeys(names))


class World(Node):
    """The first node, and what a test does with it in one line."""

    async def person(self, name: str = "alice", **changes: Any) -> Principal:
        if kind_of(name) is not PrincipalKind.HUMAN and "owner" not in changes:
            changes["owner"] = await self._keeper()
        return await self.principal(new_principal(name, now=self.clock.now(), **changes))

    async def _keeper(self) -> str:
        """Who answers for an agent or a service where the test does not care who."""
        found = await self.store.principal(name="zoe")
        return (found or await self.person("zoe")).uid

    async def principal(self, principal: Principal) -> Principal:
        principal = at_home(principal)
        await self.store.register(principal, SYSTEM)
        return principal

    async def policy(self, **changes: Any) -> Ended:
        """Set `default` anew: AAL2's limits, with changes."""
        stored = await self.store.policy(changes.get("name", "default"))
        version = stored.version + 1 if stored else 1
        return await self.store.set_policy(Policy.aal2(**{"version": version, **changes}), SYSTEM)

    def draft(self, uid: str | None, giver: Holder | None = None, **changes: Any) -> Draft:
        kind = changes.get("kind", SessionKind.BROWSER if uid else SessionKind.ANONYMOUS)
        place = partition_of(giver.id) if giver else PARTITION
        values: dict[str, Any] = {
            "id": new_session_id(place), "digest": new_digest(), "kind": kind, "uid": uid,
            "methods": (Method.PASSWORD,) if kind is SessionKind.BROWSER else (),
            "giver": giver.digest if giver else None,
        }  # fmt: skip
        return Draft(**{**values, **changes})

    async def begin(self, draft: Draft) -> Holder:
        return Holder(draft.digest, (await self.store.begin(draft)).snapshot.session)

    async def sign_in(self, who: Principal, **changes: Any) -> Holder:
        return await self.begin(self.draft(who.uid, **changes))

    async def visit(self, **changes: Any) -> Holder:
        """An anonymous session."""
        return await self.begin(self.draft(None, **changes))

    def delegation(self, giver: Holder, to: Principal, **changes: Any) -> Draft:
        return self.draft(to.uid, giver, **{"kind": SessionKind.DELEGATED, "tie": Tie.PARENT, **changes})

    def key(self, giver: Holder, owner: Principal, **changes: Any) -> Draft:
        return self.draft(owner.uid, giver, **{"kind": SessionKind.KEY, "tie": Tie.ORIGIN, **changes})

    async def delegate(self, giver: Holder, to: Principal, **changes: Any) -> Holder:
        return await self.begin(self.delegation(giver, to, **changes))

    async def mint(self, giver: Holder, owner: Principal, **changes: Any) -> Holder:
        return await self.begin(self.key(giver, owner, **changes))

    async def fence(self, name: str = "alice") -> Fence:
        found = await self.store.fence(name)
        assert found is not None
        return found[1]

    async def rotate(self, held: Holder) -> Holder:
        """By age, to the end: offered and confirmed."""
        successor = new_digest()
        assert await self.store.offer(held.digest, new_digest(), successor) is not None
        await self.store.confirm(successor)
        return Holder(successor, held.session)

    async def replace(self, held: Holder, method: Method | None = Method.TOTP) -> Holder:
        digest = new_digest()
        found = await self.store.replace(held.digest, digest, method, SYSTEM)
        return Holder(digest, found.snapshot.session)

    async def end(self, held: Holder, cause: str = "logout", **changes: Any) -> Ended:
        return await self.store.end(End(session=held.id, cause=cause, **changes))

    async def info(self, held: Holder) -> SessionInfo:
        found = await self.store.session(held.id)
        assert found is not None
        return found

    async def listed(self, **query: Any) -> list[str]:
        """All pages."""
        return [info.id for info in await pages(lambda after: self.store.sessions(**query, after=after))]

    async def events(self, **query: Any) -> Sequence[Event]:
        return await self.store.events(**{"limit": 1000, **query})

    async def happened(self, **query: Any) -> list[str]:
        return [event.name.value for event in await self.events(**query)]

    async def everything(self, *held: Holder) -> object:
        """All that the protocol shows, to compare before and after what must change nothing."""
        return (
            await pages(lambda after: self.store.sessions(ended=True, after=after)),
            await pages(lambda after: self.store.principals(after=after)),
            list(await self.store.policies()),
            list(await self.events()),
            [await self.snapshot(each) for each in held],
            [await self.store.read_data(each.id) for each in held],
        )


async def pages(get: Callable[[str | None], Awaitable[Page[Any]]]) -> list[Any]:
    items: list[Any] = []
    after: str | None = None
    while True:
        page = await get(after)
        items += page.items
        if page.next is None:
            return items
        assert page.next != after, "a page that does not advance"
        after = page.next
