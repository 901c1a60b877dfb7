"""The Redis store from above."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sessile.clock import Clock
from sessile.errors import EngineAway, SessileError, StoreUnavailable
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.ids import ALPHABET
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import Session, SessionInfo, SessionKind
from sessile.kernel.tries import Exhausted, Limit
from sessile.near import NearCache
from sessile.stores import fork, limits
from sessile.stores.health import Finding
from sessile.stores.protocol import (
    PAGE,
    TOMBSTONE,
    Begun,
    Contained,
    ContainmentState,
    Credential,
    End,
    Ended,
    Erased,
    Page,
    Replaced,
    Tally,
    Verified,
)
from sessile.stores.redis import beginning, ending, erasing, journal, listing, rotation, tuning
from sessile.stores.redis.applying import Applying
from sessile.stores.redis.engine import Change, Engine
from sessile.stores.redis.following import Following
from sessile.stores.redis.health import examine
from sessile.stores.redis.journal import SQLDirectory
from sessile.stores.redis.layout import tag
from sessile.stores.redis.leases import RedisLeases
from sessile.stores.redis.mail import RedisMails
from sessile.stores.redis.noticing import RedisNotices
from sessile.stores.redis.owning import RedisOwning
from sessile.stores.redis.presenting import Presenting
from sessile.stores.redis.reach import Reach
from sessile.stores.redis.servers import Servers
from sessile.stores.redis.walking import RedisWalks
from sessile.stores.redis.wire import Refused
from sessile.stores.redis.working import RedisWorks
from sessile.trust import Delta

logger = logging.getLogger("sessile")
T = TypeVar("T")

DELTA = timedelta(milliseconds=500)
"""Δ of a new store."""
_ID_FACT = "directory id"


class RedisStore(RedisMails, RedisLeases, RedisNotices, RedisWorks, RedisOwning, RedisWalks):
    """`Store` on Redis or Valkey, and `Directory` on the SQL store beside it.

    Args:
        url: see `Servers`.
        directory: a store in SQL, not open yet; it is opened and closed with this one.
        clock: `elapsed` counts trust; the time of day is the engine's, unless this is a clock that a test moves.
        delta: Δ of a store that is new; one that is not keeps its own.
        patience: for how long `open` waits for an engine that is away; None: for ever.
    """

    local = False
    partitioned = True

    def __init__(
        self, url: str, *, directory: SQLDirectory, clock: Clock, delta: timedelta = DELTA,
        patience: timedelta | None = timedelta(seconds=limits.START_SECONDS),
    ) -> None:  # fmt: skip
        self.delta = delta
        self.directory = directory
        self.servers = Servers(url)
        self._clock = clock
        self._patience = patience
        self._engine = Engine(self.servers, clock)
        self._applying = Applying(self._engine, directory)
        self._near = NearCache(1)
        self._following: Following | None = None
        self._reach: Reach | None = None
        self._presenting: Presenting | None = None
        self._again: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._forked = False

    async def open(self, near: NearCache) -> None:
        """Open the directory, and follow the engine; waits for one that is away.

        Raises:
            EngineAway: for longer than `patience`. StoreUnavailable: it is another directory's.
        """
        await self.directory.open(NearCache(1))
        self._near = near
        try:
            await self._facts()
            self._start()
            await self._wait()
            for finding in await self.health():
                if finding.level != "ok":
                    logger.warning("%s: %s; %s", finding.check, finding.found, finding.cure)
        except BaseException:
            await self.close()
            raise

    async def health(self) -> list[Finding]:
        """How the engine is set up, what is wrong of each of its primaries first. Raises StoreUnavailable."""
        found: dict[Finding, None] = {}
        for partitions in (await self.servers.places()).values():
            wire = await self.servers.wire(partitions[0])
            try:
                examined = await examine(wire, members=self.servers.members)
            except Refused as error:
                raise StoreUnavailable(f"the engine refuses: {error}") from None
            found |= dict.fromkeys(examined)
        return sorted(found, key=lambda finding: ("fail", "warn", "ok").index(finding.level))

    async def _facts(self) -> None:
        applying = self._applying
        applying.directory_id = (await self.directory.set_fact(_ID_FACT, secrets.token_hex(8).encode())).decode()
        nanoseconds = self.delta // timedelta(microseconds=1) * 1000
        await self.directory.set_fact(*journal.delta_fact(Delta(nanoseconds, nanoseconds)))
        self._learn_delta((await self.directory.look(journal.delta)).wait)

    def _learn_delta(self, nanoseconds: int) -> None:
        self.delta = timedelta(microseconds=nanoseconds // 1000)

    async def change_delta(self, to: timedelta) -> None:
        """Change Δ for all nodes. Returns when it holds everywhere, after the old and the new Δ.

        Raises:
            ValueError: not between 20 ms and 1 minute. StoreUnavailable: repeat it.
        """
        await self._do(tuning.change(self._open_reach(), to, self._clock.elapsed))

    def _start(self) -> None:
        self._following = Following(
            self._near, self._clock, self.servers, self._heads, self._applying.catch_up, self._learn_delta
        )  # fmt: skip
        followers = self._following.followers
        self._applying.highest = lambda: max(follower.known.number for follower in followers.values())
        self._reach = Reach(self._engine, self.directory, self._applying, self._following)
        self._again = asyncio.get_running_loop().create_task(self._apply_again())
        self._forked = False
        fork.watch(self)

    async def _wait(self) -> None:
        following = self._following
        assert following is not None  # noqa: S101 - started above
        waited = timedelta(0)
        step = timedelta(seconds=limits.COMPLAIN_SECONDS)
        while not following.ready.is_set():
            left = step if self._patience is None else min(step, self._patience - waited)
            if left <= timedelta(0):
                raise EngineAway(following.error or "the engine does not answer")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(following.ready.wait(), left.total_seconds())
                return
            waited += left
            logger.warning("waiting for the engine: %s", following.error or "it does not answer")

    async def _heads(self) -> Mapping[str, int]:
        # Another file may lie at its path: that is looked at once a second.
        self.directory.current(self._clock.elapsed())
        return await self.directory.look(journal.heads)

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        fork.unwatch(self)
        again, self._again = self._again, None
        while again is not None and not again.done():
            again.cancel()
            await asyncio.wait((again,), timeout=0.5)
        following, self._following = self._following, None
        self._reach = self._presenting = None
        if following is not None:
            await following.close()
        self.servers.close()
        await self.directory.close()

    def current(self, now: int, partition: str | None = None) -> bool:
        following = self._following
        if following is None:
            return False
        return now < (following.deadline if partition is None else following.followers[partition].trust.deadline)

    async def _apply_again(self) -> None:
        """What was journalled by a process that died before it was applied, by any that lives (review 12)."""
        while True:
            await asyncio.sleep(limits.AGAIN_SECONDS)
            following = self._following
            if following is None or not following.ready.is_set():
                continue
            try:
                known = {partition: one.known.number for partition, one in following.followers.items()}
                heads = await self._heads()
                for partition in ALPHABET:
                    # More is known than the directory has: it was restored from a copy.
                    if known[partition] != heads.get(partition, 0):
                        await self._applying.catch_up(partition, known[partition])
            except SessileError as error:
                logger.warning("endings are not applied yet, trying again: %s", error)

    async def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Carry through what was begun, whether its caller is cancelled or not."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def _open_reach(self) -> Reach:
        if self._forked:
            self._start()
        if self._reach is None:
            raise StoreUnavailable("the store is not open")
        return self._reach

    def before_fork(self) -> None:
        pass

    def after_fork_in_parent(self) -> None:
        pass

    def after_fork_in_child(self) -> None:
        """The sockets and the task are the parent's: trust nothing, keep nothing, begin anew at the first need."""
        self._near.drop(0)
        if self._following is not None:
            self._following.deadline = 0
        self._following = self._reach = self._presenting = self._again = None
        self._under_way = set()
        self.servers.abandon()
        self._forked = True

    # -- Store --------------------------------------------------------------------------------------------------

    async def read(self, digest: bytes) -> Snapshot | None:
        if self._presenting is None:
            self._presenting = Presenting(self._open_reach(), self._clock.elapsed)
        return await self._presenting.read(digest)

    async def begin(self, draft: Draft) -> Begun:
        return await self._do(beginning.begin(self._open_reach(), draft))

    async def offer(self, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
        return await rotation.offer(self._open_reach(), presented, salt, successor)

    async def confirm(self, successor: bytes) -> None:
        await self._do(rotation.confirm(self._open_reach(), successor))

    async def replace(self, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
        return await self._do(rotation.replace(self._open_reach(), presented, digest, method, by))

    async def bind(self, session_id: str, device_key: str, by: Actor) -> bool:
        return await self._do(rotation.bind(self._open_reach(), session_id, device_key, by))

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        await rotation.touch(self._open_reach(), seen)

    async def retire(self, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
        return await self._do(rotation.retire(self._open_reach(), session_id, until, successor, by))

    async def end(self, end: End) -> Ended:
        return await self._do(ending.end(self._open_reach(), end))

    async def erase(self, uid: str, cause: str, by: Actor) -> Erased:
        return await self._do(erasing.erase(self._open_reach(), uid, cause, by))

    async def sessions(
        self, *, uid: str | None = None, giver: str | None = None, root: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[SessionInfo]:  # fmt: skip
        return await listing.list_sessions(
            self._open_reach(), uid=uid, giver=giver, root=root, ended=ended, after=after, limit=limit
        )

    async def handed_out(
        self, *, root: str | None = None, uid: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[Snapshot]:
        return await listing.handed_out(self._open_reach(), root=root, uid=uid, after=after, limit=limit)

    async def session(self, session_id: str) -> SessionInfo | None:
        return await listing.show_session(self._open_reach(), session_id)

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        return await rotation.read_data(self._open_reach(), session_id)

    async def write_data(self, session_id: str, version: int, data: bytes) -> bool:
        return await rotation.write_data(self._open_reach(), session_id, version, data)

    async def sweep(self, limit: int = 500) -> int:
        """The engine itself drops what is over; this takes it out of the indexes too."""
        reach = self._open_reach()
        await self.directory.change(journal.sweep)
        swept = 0
        for partition in ALPHABET:
            found = await reach.look(partition)
            now = round(found.now.timestamp() * 1000)
            for kind in SessionKind:
                index = f"{tag(partition)}keep:{kind.value}"
                ids = await self._engine.call(
                    partition, "ZRANGE", index, "-inf", str(now), "BYSCORE", "LIMIT", "0", str(limit - swept)
                )
                if ids:
                    await self._forget(reach, partition, index, [each.decode() for each in ids])
                    swept += len(ids)
                if swept >= limit:
                    return swept
        await self.directory.sweep(limit)
        return swept

    async def _forget(self, reach: Reach, partition: str, index: str, ids: list[str]) -> None:
        found = await reach.look(partition, [f"s{one}" for one in ids])
        change = Change(found)
        for one in ids:
            name = one.encode()
            change.removals += [(index.encode(), name), (change.key("all"), name)]
            stored = found.stored(one)
            if stored is not None:
                session = stored.session
                change.removals += [(change.key(f"of:{session.uid}"), name), (change.key(f"by:{session.origin}"), name)]
                change.deletions += [change.key(one), change.key(f"data:{one}"), change.key(f"by:{one}")]
                change.deletions += [change.key(b"t" + token.digest) for token in stored.tokens]
        await reach.write(change)

    # -- Directory ----------------------------------------------------------------------------------------------

    @property
    def hear(self) -> Callable[[Sequence[Event]], None] | None:
        return self.directory.hear

    @hear.setter
    def hear(self, heard: Callable[[Sequence[Event]], None] | None) -> None:
        self.directory.hear = heard

    async def fence(self, name: str) -> tuple[Principal, Fence] | None:
        return await self.directory.fence(name)

    async def principal(self, *, name: str | None = None, uid: str | None = None) -> Principal | None:
        return await self.directory.principal(name=name, uid=uid)

    async def principals(
        self, *, kind: PrincipalKind | None = None, search: str = "", owner: str | None = None,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[Principal]:  # fmt: skip
        return await self.directory.principals(kind=kind, search=search, owner=owner, after=after, limit=limit)

    async def policy(self, name: str) -> Policy | None:
        return await self.directory.policy(name)

    async def policies(self) -> Sequence[Policy]:
        return await self.directory.policies()

    async def set_policy(self, policy: Policy, by: Actor) -> Ended:
        return await self._do(ending.set_policy(self._open_reach(), policy, by))

    async def credential(self, uid: str, kind: str, id: str = "") -> Credential | None:
        return await self.directory.credential(uid, kind, id)

    async def credentials(self, uid: str) -> Sequence[Credential]:
        return await self.directory.credentials(uid)

    async def passkey(self, id: str) -> Credential | None:
        return await self.directory.passkey(id)

    async def remove_credential(
        self, uid: str, kind: str, id: str = "", event: Event | None = None, *, value: bytes | None = None
    ) -> bool:
        return await self.directory.remove_credential(uid, kind, id, event, value=value)

    async def count_try(self, limits: Sequence[Limit]) -> Exhausted | None:
        return await self.directory.count_try(limits)

    async def give_back(self, limits: Sequence[Limit]) -> None:
        await self.directory.give_back(limits)

    async def forget_tries(self, keys: Sequence[bytes]) -> None:
        await self.directory.forget_tries(keys)

    async def containment(self, id: str) -> Contained | None:
        return await self.directory.containment(id)

    async def open_containments(self, limit: int = PAGE) -> Sequence[str]:
        return await self.directory.open_containments(limit)

    async def settle_containment(self, id: str, state: ContainmentState, report: bytes, event: Event) -> None:
        await self.directory.settle_containment(id, state, report, event)

    async def verify_events(self, after: Verified) -> Verified:
        return await self.directory.verify_events(after)

    async def set_credential(
        self, credential: Credential, event: Event | None = None, *, instead_of: bytes | None = None
    ) -> bool:
        return await self.directory.set_credential(credential, event, instead_of=instead_of)

    async def record(self, event: Event) -> None:
        await self.directory.record(event)

    async def events(
        self, *, after: int = 0, before: int | None = None, limit: int = PAGE, uid: str | None = None,
        session: str | None = None, names: Collection[EventName] = (), since: datetime | None = None,
        latest: bool = False,
    ) -> Sequence[Event]:  # fmt: skip
        return await self.directory.events(
            after=after, before=before, limit=limit, uid=uid, session=session, names=names, since=since, latest=latest
        )

    async def tallies(self, since: datetime) -> Sequence[Tally]:
        return await self.directory.tallies(since)

    async def fact(self, name: str) -> bytes | None:
        return await self.directory.fact(name)

    async def set_fact(self, name: str, value: bytes) -> bytes:
        return await self.directory.set_fact(name, value)

    async def statistics(self) -> Mapping[str, int]:
        """Sessions as far as their limits tell: those that were ended before are among them until then."""
        counts = dict(await self.directory.statistics())
        since = round(((await self._open_reach().look("0")).now + TOMBSTONE).timestamp() * 1000)
        for kind in SessionKind:
            calls = [
                self._engine.call(partition, "ZCOUNT", f"{tag(partition)}keep:{kind.value}", f"({since}", "+inf")
                for partition in ALPHABET
            ]
            counts[f"sessions_{kind}"] = sum(await asyncio.gather(*calls))
        return counts
