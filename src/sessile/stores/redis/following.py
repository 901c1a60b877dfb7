"""Following the engine's partitions: which server has each, and whether what is cached of it may be trusted.

A `sessile.follow.Follower` for each partition, driven over one ordered `Line` to each primary. A single server has one;
a cluster has as many as primaries, and partitions change from line to line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from sessile.clock import Clock
from sessile.errors import SessileError, StoreUnavailable
from sessile.follow import Asked, Follower
from sessile.kernel.ids import ALPHABET
from sessile.near import NearCache
from sessile.stores import limits
from sessile.stores.redis.engine import Elsewhere, Found
from sessile.stores.redis.line import Line
from sessile.stores.redis.servers import Address, Servers, slot
from sessile.trust import Mark

logger = logging.getLogger("sessile")


Heads = Callable[[], Awaitable[Mapping[str, int]]]
CatchUp = Callable[[str, int], Awaitable[None]]


class Following:
    """`heads`: the last row of the journal for each partition. `catch_up`: apply what a partition lacks of it,
    where so many rows are known.
    `learned`: told of Δ in nanoseconds whenever it is another one."""

    def __init__(
        self, near: NearCache, clock: Clock, servers: Servers, heads: Heads, catch_up: CatchUp,
        learned: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.clock = clock
        self.servers = servers
        self.heads = heads
        self.catch_up = catch_up
        self.followers = {
            partition: Follower(near, quorum=servers.members > 0, whole=f"t:{partition}", gapless=True)
            for partition in ALPHABET
        }
        self.deadline = 0
        """Until when all partitions are trusted: the least of theirs, set in the turn in which one of them changes."""
        self._learned = learned
        self._delta = 0
        self.ready = asyncio.Event()
        """Set while all partitions are followed."""
        self.started = asyncio.Event()
        """Set when all partitions have been followed once."""
        self.error = ""
        self.lines: dict[Address, Line] = {}
        self._last_told: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._told: dict[str, asyncio.Event] = {partition: asyncio.Event() for partition in ALPHABET}
        self._task = asyncio.get_running_loop().create_task(self._run())

    # -- what the store asks ------------------------------------------------------------------------------------

    def asking(self, partition: str) -> Asked:
        return self.followers[partition].asking(self.clock.elapsed())

    async def start(self) -> None:
        """Return when the engine is followed for the first time: in a forked child nobody has waited for that yet.
        Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(limits.CONNECT_SECONDS):
                await self.started.wait()
        except TimeoutError:
            raise StoreUnavailable(self.error or "the engine does not answer") from None

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
                    while follower.followed:
                        await self._change()
                        if follower.admits(asked, found.identity, Mark(mark)):
                            return
        error = self.error or "the engine is not the one that is followed, or has not caught up yet"
        raise Elsewhere(error) if self.servers.clustered else StoreUnavailable(error)

    async def found(self, partition: str, since: float) -> bool:
        """Whether it is worth while to ask for the partition once more, after a moment: it is being moved."""
        left = since + limits.MOVE_SECONDS - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        if not self.followers[partition].followed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    while not self.followers[partition].followed:
                        await self._change()
        else:
            await asyncio.sleep(min(left, 0.02))
        return True

    def applied(self, partition: str, objects: tuple[str, ...], mark: int | None) -> None:
        """An ending of this node's own was acknowledged."""
        follower = self.followers[partition]
        if mark is not None:
            follower.acknowledged(Mark(mark))
        follower.invalidated(objects)

    async def told(self, partition: str, mark: int) -> None:
        """Return when this node's own ending has come back to it, so that it does not come later as news; or soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.TOLD_SECONDS):
                while self.followers[partition].followed and self._last_told.get(partition, 0) < mark:
                    self._told[partition].clear()
                    await self._told[partition].wait()

    async def _change(self) -> None:
        """Return when a line has something new to say."""
        self._changed.clear()
        await self._changed.wait()

    # -- what the lines say -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Something has changed about trust."""
        self.deadline = min(follower.trust.deadline for follower in self.followers.values())
        if all(follower.followed for follower in self.followers.values()):
            self.error = ""
            self.ready.set()
            self.started.set()
        else:
            self.ready.clear()
        self._changed.set()

    def learn_delta(self, delta: int) -> None:
        if delta not in (0, self._delta):
            self._delta = delta
            self._learned(delta)

    def announced(self, partition: str, name: str, row: int, previous: int) -> None:
        """In the turn in which it was read, in wire order."""
        self.followers[partition].invalidated((name,), Mark(row) if row else None, previous)
        if row:
            self._last_told[partition] = max(self._last_told.get(partition, 0), row)
            self._told[partition].set()

    def lost(self, partitions: str, error: str = "") -> None:
        """Trust nothing of them, and keep nothing."""
        for partition in partitions:
            self.followers[partition].lost()
            self._last_told.pop(partition, None)
            self._told[partition].set()
        self.error = error or self.error
        self.settle()

    # -- where the partitions are -------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self.servers.changed.clear()
            try:
                self._assign(await self.servers.places())
            except SessileError as error:
                # Those that are followed go on: what a server says of itself is what counts.
                if not self.ready.is_set():
                    self.error = str(error)
            except Exception:  # it goes on asking: nobody else would
                logger.exception("asking where the engine is failed")
            await asyncio.sleep(limits.PLACES_AT_MOST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.PLACES_SECONDS if self.servers.moves else None):
                    await self.servers.changed.wait()

    def _assign(self, places: Mapping[Address, str]) -> None:
        for address in [one for one in self.lines if one not in places]:
            self.lines.pop(address).stop()
        # Given up before they are taken, so that a partition is never on two lines.
        for address, line in self.lines.items():
            line.give_up(set(line.partitions) - set(places[address]))
        for address, partitions in places.items():
            if address not in self.lines:
                self.lines[address] = Line(self, address)
            self.lines[address].take(partitions)
        missing = "".join(one for one in ALPHABET if not any(one in partitions for partitions in places.values()))
        if missing:
            self.lost(missing, f"no server of the cluster has slot {slot(missing[0])}")
        self.servers.keep(list(places))

    async def close(self) -> None:
        tasks = {self._task, *[task for line in self.lines.values() for task in line.stop()]}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.5)
        self.lost(ALPHABET)
