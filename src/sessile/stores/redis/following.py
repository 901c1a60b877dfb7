"""Following an engine: the connection over which it says what ended, and whether the near cache may be trusted.

Drives `sessile.follow.Follower`, one for each partition, over one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sessile.clock import Clock
from sessile.errors import SessileError, StoreUnavailable
from sessile.follow import Asked, Follower
from sessile.kernel.ids import ALPHABET
from sessile.near import NearCache
from sessile.stores.redis.engine import SCRIPTS, Found, parse_delta, run, script
from sessile.stores.redis.layout import PREFIX, tag
from sessile.stores.redis.servers import Servers
from sessile.stores.redis.wire import Refused, Wire
from sessile.trust import Facts, Mark

logger = logging.getLogger("sessile")

_LOOK_SECONDS = 0.125
"""How often, at least, the clock is looked at: one that a test moves wakes nobody."""
_TOLD_SECONDS = 0.25
_ATTEMPTS = 5

Heads = Callable[[], Awaitable[Mapping[str, int]]]
CatchUp = Callable[[str], Awaitable[None]]


class Following:
    """`heads`: the last row of the journal for each partition. `catch_up`: apply what a partition lacks of it."""

    def __init__(self, near: NearCache, clock: Clock, servers: Servers, heads: Heads, catch_up: CatchUp) -> None:
        self._clock = clock
        self._servers = servers
        self._heads = heads
        self._catch_up = catch_up
        self.followers = {
            partition: Follower(near, quorum=servers.members > 0, whole=f"t:{partition}") for partition in ALPHABET
        }
        self.deadline = 0
        """Until when all partitions are trusted: the least of theirs, set in the turn in which one of them changes."""
        self.ready = asyncio.Event()
        """Set while the engine is followed."""
        self.error = ""
        self._wire: Wire | None = None
        self._beats: dict[bytes, asyncio.Future[None]] = {}
        self._pings: set[asyncio.Task[None]] = set()
        self._ponged = asyncio.Event()
        self._told: dict[str, asyncio.Event] = {partition: asyncio.Event() for partition in ALPHABET}
        self._task = asyncio.get_running_loop().create_task(self._run())

    # -- what the store asks ------------------------------------------------------------------------------------

    def asking(self, partition: str) -> Asked:
        return self.followers[partition].asking(self._clock.elapsed())

    async def admit(self, partition: str, asked: Asked, found: Found) -> None:
        """Raises StoreUnavailable unless what was read counts."""
        mark, follower = found.stamp.mark, self.followers[partition]
        if mark is None:
            raise StoreUnavailable("the engine has lost its contents, which are being restored")
        if follower.admits(asked, found.identity, Mark(mark)):
            return
        if follower.quorum:
            # A majority stands behind the read if one answers a ping that is sent after it began.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(1, found.stamp.delta.trust) / 1e9):
                    while self.ready.is_set():
                        self._ponged.clear()
                        await self._ponged.wait()
                        if follower.admits(asked, found.identity, Mark(mark)):
                            return
        raise StoreUnavailable(self.error or "the engine is not the one that is followed, or has not caught up yet")

    def applied(self, partition: str, objects: tuple[str, ...], mark: int | None) -> None:
        """An ending of this node's own was acknowledged."""
        follower = self.followers[partition]
        if mark is not None:
            follower.acknowledged(Mark(mark))
        follower.invalidated(objects)

    async def told(self, partition: str, mark: int) -> None:
        """Return when this node's own ending has come back to it, so that it does not come later as news; or soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_SECONDS):
                while self.ready.is_set() and self._last_told.get(partition, 0) < mark:
                    self._told[partition].clear()
                    await self._told[partition].wait()

    _last_told: dict[str, int]

    # -- the connection -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        said = ""
        while True:
            try:
                self._wire = await self._servers.connect(self._pushed)
                await self._set_up(self._wire)
                if said:
                    logger.info("the engine answers again")
                said = self.error = ""
                self.ready.set()
                await self._serve(self._wire)
                error = "the connection that says what ended is lost"
            except (SessileError, Refused) as caught:
                error = str(caught)
            finally:
                self.lost()
            self.error = error
            if error != said:
                logger.warning("every check asks the engine until it is followed again: %s", error)
                said = error
            await asyncio.sleep(self.followers["0"].backoff(random.random()))  # noqa: S311 - jitter

    async def _set_up(self, wire: Wire) -> None:
        self._last_told = {}
        await wire.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX)
        for name in SCRIPTS:
            await wire.call("SCRIPT", "LOAD", script(name).source)
        # The self-test: what another connection writes has to arrive here unasked (review 3).
        other = await self._servers.wire("0")
        key, arrived = self._expect()
        with contextlib.suppress(Refused):
            await other.call("SET", key, "", "PX", "1")
        await self._arrival(arrived)
        for _ in range(_ATTEMPTS):
            known = {partition: follower.known for partition, follower in self.followers.items()}
            facts = await self._ask(wire)
            heads = await self._heads()
            behind = [
                partition
                for partition, follower in self.followers.items()
                if not follower.set_up(known[partition], facts[partition], journal=heads.get(partition, 0))
                or facts[partition].mark > heads.get(partition, 0)
            ]
            self._servers.only(wire.identity)
            if not behind:
                return
            for partition in behind:
                self.followers[partition].lost()
            await asyncio.gather(*[self._catch_up(partition) for partition in behind])
        raise StoreUnavailable("the engine does not keep what is written to it")

    def _expect(self) -> tuple[bytes, asyncio.Future[None]]:
        key = f"{PREFIX.decode()}{tag('0')}beat:{secrets.token_hex(8)}".encode()
        self._beats[key] = asyncio.get_running_loop().create_future()
        return key, self._beats[key]

    async def _arrival(self, arrived: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(2.0):  # `wait_for` may swallow a cancellation
                await arrived
        except TimeoutError:
            raise StoreUnavailable(
                "what is written does not arrive on the connection that tracks it: is there a proxy in between?"
            ) from None

    async def _ask(self, wire: Wire) -> dict[str, Facts]:
        """The ping: a write, its own invalidation, and what every partition says of itself. Raises StoreUnavailable,
        Refused: no answer, whatever else came."""
        key, arrived = self._expect()
        try:
            # All three are handed over in this turn.
            beat = run(wire, "beat", "1", key, ALPHABET)
            client, replication = wire.call("CLIENT", "ID"), wire.call("INFO", "replication")
            marks = await beat
            await self._servers.quorum(wire)
            connection, identity = str(await client), wire.identity_in(await replication)
            await self._arrival(arrived)
        finally:
            self._beats.pop(key, None)
        facts = {}
        for place, partition in enumerate(ALPHABET):
            mark, (delta, _) = marks[2 * place], parse_delta(marks[2 * place + 1])
            facts[partition] = Facts(identity, -1 if mark is None else int(mark), delta.trust, connection=connection)
        return facts

    async def _serve(self, wire: Wire) -> None:
        first = self.followers["0"]
        while wire.is_open:
            now = self._clock.elapsed()
            if any(follower.overdue(now) for follower in self.followers.values()):
                return
            if now >= first.due(now):
                # Before the bytes are handed over.
                numbers = {partition: follower.ping(now) for partition, follower in self.followers.items()}
                task = asyncio.get_running_loop().create_task(self._ping(wire, numbers))
                self._pings.add(task)
                task.add_done_callback(self._pings.discard)
            left = (first.due(now) - self._clock.elapsed()) / 1e9
            await asyncio.wait((wire.closed,), timeout=max(0.001, min(left, _LOOK_SECONDS)))

    async def _ping(self, wire: Wire, numbers: Mapping[str, int]) -> None:
        try:
            facts = await self._ask(wire)
            good = [follower.pong(numbers[p], facts[p]) for p, follower in self.followers.items()]
        except Refused as error:
            self.error = str(error)
            wire.close()
            return
        except StoreUnavailable:
            # Without its quorum it is no answer; trust runs out by itself. A dead connection is found by its reader.
            return
        self._settle()
        if all(good):
            self._ponged.set()
        else:
            wire.close()

    def _settle(self) -> None:
        self.deadline = min(follower.trust.deadline for follower in self.followers.values())

    def _pushed(self, message: list[Any]) -> None:
        """What comes unasked, in the turn in which it was read."""
        if message[0] != b"invalidate":
            return
        if message[1] is None:  # FLUSHALL
            if self._wire is not None:
                self._wire.close()
            self.lost()
            return
        ended = []
        for key in message[1]:
            beat = self._beats.get(key)
            if beat is not None:
                if not beat.done():
                    beat.set_result(None)
            elif b"}beat:" not in key:
                partition, _, rest = key[len(PREFIX) + 3 :].decode().partition("}")
                number, _, name = rest.partition(":")
                ended.append((int(number or 0), partition, name))
        for number, partition, name in sorted(ended):  # within a message the engine sorts by name
            follower = self.followers.get(partition)
            if follower is not None:
                follower.invalidated((name,), Mark(number) if number else None)
                self._last_told[partition] = max(self._last_told.get(partition, 0), number)
                self._told[partition].set()

    def lost(self) -> None:
        """Trust nothing, and keep nothing."""
        self.deadline = 0
        self.ready.clear()
        for follower in self.followers.values():
            follower.lost()
        for event in (self._ponged, *self._told.values()):
            event.set()
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def close(self) -> None:
        tasks = {self._task, *self._pings}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.5)
        self.lost()
