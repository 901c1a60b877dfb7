"""The directory half of the memory store: principals, policies, credentials, the audit record, facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from sessile.clock import Clock
from sessile.errors import Conflict, NotFound
from sessile.kernel.event import Actor, Event, EventName, described_event, registered_event
from sessile.kernel.issue import Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, Status, new_epoch, ownerless
from sessile.kernel.session import Session, SessionKind
from sessile.kernel.team import Team, is_team
from sessile.kernel.tries import Exhausted, Limit, Tries, count, succeeded
from sessile.near import NearCache
from sessile.stores.owning import NO_OWNER, can_answer
from sessile.stores.protocol import PAGE, Contained, ContainmentState, Credential, Ended, Page, Tally, Verified

T = TypeVar("T")


class MemoryDirectory:
    """`Directory` in dictionaries, and the journal that both halves announce through."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._near = NearCache(1)
        self._mark = 0
        self._principals: dict[str, Principal] = {}
        self._names: dict[str, str] = {}
        self._teams: dict[str, Team] = {}
        self._members: dict[str, set[str]] = {}
        self._policies: dict[str, Policy] = {}
        self._everyone = {kind: new_epoch() for kind in SessionKind}
        self._credentials: dict[tuple[str, str, str], Credential] = {}
        self._events: list[Event] = []
        self._facts: dict[str, bytes] = {}
        self._containments: dict[str, Contained] = {}
        self._tries: dict[bytes, Tries] = {}
        self.hear: Callable[[Sequence[Event]], None] | None = None

    async def fence(self, name: str) -> tuple[Principal, Fence] | None:
        principal = self._principal(self._names.get(name))
        if principal is None:
            return None
        return principal, Fence(principal.uid, principal.epoch, self._everyone[SessionKind.BROWSER])

    async def principal(self, *, name: str | None = None, uid: str | None = None) -> Principal | None:
        return self._principal(self._names.get(name) if name is not None else uid)

    async def principals(
        self, *, kind: PrincipalKind | None = None, search: str = "", owner: str | None = None,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[Principal]:  # fmt: skip
        found = {
            name: principal
            for name, uid in self._names.items()
            for principal in (self._principals[uid],)
            if search in name and kind in (None, principal.kind) and owner in (None, principal.owner)
        }
        return page(found, after, limit)

    def _must_answer(self, principal: Principal, owner: str | None) -> None:
        """Raises NotFound, Conflict: `owner` cannot answer for that principal."""
        if wrong := ownerless(principal.kind, owner):
            raise Conflict(f"{principal.name}: {wrong}")
        if owner is None:
            return
        if is_team(owner):
            if owner not in self._teams:
                raise NotFound("no such team")
            if not any(can_answer(self._principals[uid]) for uid in self._members[owner]):
                raise Conflict(f"{self._teams[owner].name} has no member who is active: {NO_OWNER}")
        elif (found := self._principals.get(owner)) is None:
            raise NotFound("no such owner")
        elif not can_answer(found):
            raise Conflict(f"{found.name} cannot answer for it: {NO_OWNER}")

    async def register(self, principal: Principal, by: Actor, credential: Credential | None = None) -> None:
        if principal.name in self._names:
            raise Conflict(f"a principal is named {principal.name} already")
        self._must_answer(principal, principal.owner)
        now = self._clock.now()
        self._principals[principal.uid] = principal
        self._names[principal.name] = principal.uid
        if credential is not None:
            self._store_credential(credential, now)
        self._append(registered_event(principal, by), now)

    async def describe(self, uid: str, *, owner: str | None, purpose: str, by: Actor) -> Principal:
        principal = self._principals.get(uid)
        if principal is None or principal.status is Status.DELETED:
            raise NotFound("no such principal")
        if owner != principal.owner:
            self._must_answer(principal, owner)
        changed = self._principals[uid] = msgspec.structs.replace(principal, owner=owner, purpose=purpose)
        self._append(described_event(principal, changed, by), self._clock.now())
        return changed

    async def policy(self, name: str) -> Policy | None:
        return self._policies.get(name)

    async def policies(self) -> Sequence[Policy]:
        return [policy for _, policy in sorted(self._policies.items())]

    async def set_policy(self, policy: Policy, by: Actor) -> Ended:
        stored = self._policies.get(policy.name)
        if stored is not None and policy.version <= stored.version:
            raise Conflict(f"policy {policy.name!r} has version {stored.version}: give yours a higher one")
        now = self._clock.now()
        self._policies[policy.name] = policy
        self._append(
            Event(name=EventName.POLICY_CHANGED, by=by, details={"policy": policy.name, "version": policy.version}),
            now,
        )
        self._announce(f"policy:{policy.name}")
        return Ended(now, self._mark, None)

    async def credential(self, uid: str, kind: str, id: str = "") -> Credential | None:
        return self._credentials.get((uid, kind, id))

    async def credentials(self, uid: str) -> Sequence[Credential]:
        return [credential for (of, _, _), credential in sorted(self._credentials.items()) if of == uid]

    async def passkey(self, id: str) -> Credential | None:
        found = (one for (_, kind, of), one in self._credentials.items() if (kind, of) == ("passkey", id))
        return next(found, None)

    async def set_credential(
        self, credential: Credential, event: Event | None = None, *, instead_of: bytes | None = None
    ) -> bool:
        if credential.uid not in self._principals:
            raise NotFound("no such principal")
        stored = self._credentials.get((credential.uid, credential.kind, credential.id))
        if instead_of is not None and (stored is None or stored.value != instead_of):
            return False
        if credential.kind == "passkey":
            taken = await self.passkey(credential.id)
            if taken is not None and taken.uid != credential.uid:
                raise Conflict("this passkey is another principal's")
        now = self._clock.now()
        self._store_credential(credential, now)
        if event is not None:
            self._append(event, now)
        return True

    def _store_credential(self, credential: Credential, now: datetime) -> None:
        key = (credential.uid, credential.kind, credential.id)
        self._credentials[key] = msgspec.structs.replace(credential, changed=now)

    async def remove_credential(
        self, uid: str, kind: str, id: str = "", event: Event | None = None, *, value: bytes | None = None
    ) -> bool:
        stored = self._credentials.get((uid, kind, id))
        if stored is None or value not in (None, stored.value):
            return False
        del self._credentials[(uid, kind, id)]
        if event is not None:
            self._append(event, self._clock.now())
        return True

    async def count_try(self, limits: Sequence[Limit]) -> Exhausted | None:
        now = self._clock.now()
        counted: dict[bytes, Tries] = {}
        for limit in limits:
            tries = count(self._tries.get(limit.key), limit, now)
            if isinstance(tries, Exhausted):
                return tries
            counted[limit.key] = tries
        self._tries |= counted
        return None

    async def give_back(self, limits: Sequence[Limit]) -> None:
        for limit in limits:
            if limit.key in self._tries:
                self._tries[limit.key] = succeeded(self._tries[limit.key], limit)

    async def forget_tries(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self._tries.pop(key, None)

    async def record(self, event: Event) -> None:
        self._append(event, self._clock.now())

    async def events(
        self, *, after: int = 0, before: int | None = None, limit: int = PAGE, uid: str | None = None,
        session: str | None = None, names: Collection[EventName] = (), since: datetime | None = None,
        latest: bool = False,
    ) -> Sequence[Event]:  # fmt: skip
        found: Iterable[Event] = self._events[after : None if before is None else max(0, before - 1)]
        matching = (
            e for e in (reversed(list(found)) if latest else found)
            if uid in (None, e.uid) and session in (None, e.session) and (not names or e.name in names)
            and (since is None or (e.at is not None and e.at >= since))
        )  # fmt: skip
        return [event for event, _ in zip(matching, range(limit), strict=False)]

    async def tallies(self, since: datetime) -> Sequence[Tally]:
        hours = ((e.at.replace(minute=0, second=0, microsecond=0), e.name) for e in self._events if e.at is not None)
        first = since.replace(minute=0, second=0, microsecond=0)
        counted = Counter(one for one in hours if one[0] >= first)
        return [Tally(hour, name, count) for (hour, name), count in sorted(counted.items())]

    async def containment(self, id: str) -> Contained | None:
        return self._containments.get(id)

    async def open_containments(self, limit: int = PAGE) -> Sequence[str]:
        still = (id for id, one in self._containments.items() if one.state is not ContainmentState.CLOSED)
        return [id for id, _ in zip(still, range(limit), strict=False)]

    async def settle_containment(self, id: str, state: ContainmentState, report: bytes, event: Event) -> None:
        stored = self._containments.get(id)
        if stored is None:
            raise NotFound(f"no containment {id}")
        if stored.state is ContainmentState.CLOSED:
            return
        self._containments[id] = Contained(cut=stored.cut, state=state, report=report)
        if state is not stored.state:
            self._append(event, self._clock.now())

    async def verify_events(self, after: Verified) -> Verified:
        # Nobody but this process can change it, and it ends with the process.
        return Verified(len(self._events), broken=None if after.seq <= len(self._events) else len(self._events) + 1)

    async def fact(self, name: str) -> bytes | None:
        return self._facts.get(name)

    async def set_fact(self, name: str, value: bytes) -> bytes:
        return self._facts.setdefault(name, value)

    def _principal(self, uid: str | None) -> Principal | None:
        return self._principals.get(uid) if uid is not None else None

    def _append(self, event: Event, now: datetime) -> None:
        stamped = msgspec.structs.replace(event, seq=len(self._events) + 1, at=now)
        self._events.append(stamped)
        if self.hear is not None:
            self.hear((stamped,))

    def _announce(self, *objects: str) -> None:
        if objects:
            self._mark += 1
            self._near.apply(self._mark, objects)


def page(found: Mapping[str, T], after: str | None, limit: int, *, newest_first: bool = False) -> Page[T]:
    """By key and not by count: what comes or goes between two pages moves nothing else from one to the other."""
    keys = sorted(found, reverse=newest_first)
    if after is not None:
        keys = [key for key in keys if (key < after if newest_first else key > after)]
    more = len(keys) > limit
    return Page([found[key] for key in keys[:limit]], keys[limit - 1] if more else None)


def place(session: Session, tree: bool) -> str:
    """Where a session comes in a list: by when it began; in a tree, givers first."""
    depth = len(session.lineage) if tree else ""
    return f"{depth} {session.created:%Y%m%d%H%M%S%f} {session.id}"
