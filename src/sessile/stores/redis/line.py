"""The ordered connection to one primary: over it comes what ended, and over the same one it is pinged."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.ids import ALPHABET
from sessile.stores.limits import SELF_TEST_SECONDS
from sessile.stores.redis.engine import SCRIPTS, elsewhere, parse_delta, run, script
from sessile.stores.redis.layout import announced, beats, tag
from sessile.stores.redis.servers import Address
from sessile.stores.redis.wire import Refused, Wire
from sessile.trust import Facts

if TYPE_CHECKING:
    from sessile.stores.redis.following import Following

logger = logging.getLogger("sessile")

_LOOK_SECONDS = 0.125
"""How often, at least, the clock is looked at: one that a test moves wakes nobody."""
_ATTEMPTS = 5


class Line:
    """Follows the `partitions` that were given to it. Its connection is opened anew when it is lost, until `stop`."""

    def __init__(self, whole: Following, address: Address) -> None:
        self.address = address
        self.partitions = ""
        self.wire: Wire | None = None
        self._whole = whole
        self._followers = whole.followers
        self._servers = whole.servers
        database = whole.servers.login.database
        self._announced = announced(database).encode()
        self._node = beats(database, secrets.token_hex(8)).encode()
        """The prefix of this node's own pings: no other node is told of them."""
        self._beats: dict[bytes, asyncio.Future[None]] = {}
        self._number = 0
        self._looking: asyncio.Task[None] | None = None
        self._ping_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    # -- which partitions ---------------------------------------------------------------------------------------

    def take(self, partitions: str) -> None:
        """They are this server's, as far as anybody knows; `_serve` looks at those that are new."""
        self.partitions = partitions

    def give_up(self, partitions: Iterable[str]) -> None:
        """They are another server's, or this one has not all of them any more."""
        gone = "".join(partitions)
        if gone:
            self.partitions = "".join(one for one in self.partitions if one not in gone)
            for partition in gone:
                self._followers[partition].moved()
            self._whole.lost(gone)

    def stop(self) -> Sequence[asyncio.Task[None]]:
        """Follow nothing any more. Returns the tasks that are under way, cancelled."""
        self.give_up(self.partitions)
        tasks = [self._task, *self._tasks]
        for task in tasks:
            task.cancel()
        if self.wire is not None:
            self.wire.close()
        return tasks

    def _followed(self) -> str:
        return "".join(one for one in self.partitions if self._followers[one].followed)

    # -- the connection -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        said = ""
        while True:
            try:
                self.wire = await self._servers.connect(self.address, self._pushed)
                await self._subscribe(self.wire)
                await self._look(self.wire, self.partitions)
                if said:
                    logger.info("the engine answers again")
                said = ""
                await self._serve(self.wire)
                error = "the connection that says what ended is lost"
            except (SessileError, Refused) as caught:
                error = str(caught)
            except Exception as unforeseen:  # it goes on trying: nobody else would
                logger.exception("following the engine failed")
                error = repr(unforeseen)
            finally:
                self._lost()
            self._whole.lost(self.partitions, error)
            self._servers.changed.set()
            if error != said:
                logger.warning("every check asks the engine until it is followed again: %s", error)
                said = error
            first = self._followers[(self.partitions or ALPHABET)[0]]
            await asyncio.sleep(first.backoff(random.random()))  # noqa: S311 - jitter

    async def _subscribe(self, wire: Wire) -> None:
        await wire.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._announced, "PREFIX", self._node)
        for name in SCRIPTS:
            await wire.call("SCRIPT", "LOAD", script(name).source)
        # The self-test: what another connection writes has to arrive here unasked (review 3).
        for partition in self.partitions:
            other = await self._servers.wire(partition)
            key, arrived = self._expect(partition)
            try:
                await other.call("SET", key, "", "PX", "1")
            except Refused:
                continue  # on its way to another server
            self._servers.only(self.address, wire.identity)
            await self._arrival(arrived)
            return
        if self.partitions:
            raise StoreUnavailable(f"{self.address[0]}:{self.address[1]} takes no write for any of its partitions")

    def _expect(self, partition: str) -> tuple[bytes, asyncio.Future[None]]:
        self._number += 1
        key = self._node + f"{tag(partition)}{self._number}".encode()
        self._beats[key] = asyncio.get_running_loop().create_future()
        return key, self._beats[key]

    async def _arrival(self, arrived: asyncio.Future[None]) -> None:
        try:
            async with asyncio.timeout(SELF_TEST_SECONDS):  # `wait_for` may swallow a cancellation
                await arrived
        except TimeoutError:
            raise StoreUnavailable(
                "what is written does not arrive on the connection that tracks it: is there a proxy in between?"
            ) from None

    async def _look(self, wire: Wire, partitions: str) -> None:
        """Follow those of them that this server has, and that have all that was acknowledged."""
        for _ in range(_ATTEMPTS):
            known = {partition: self._followers[partition].known for partition in partitions}
            facts = await self._ask(wire, partitions)
            heads = await self._whole.heads()
            behind = []
            for partition in facts:
                if partition not in self.partitions:
                    continue  # given to another line meanwhile
                head, follower = heads.get(partition, 0), self._followers[partition]
                good = follower.set_up(known[partition], facts[partition], journal=head)
                if not good or facts[partition].mark > head or known[partition].number > head:
                    follower.lost()
                    behind.append(partition)
            self._servers.only(self.address, wire.identity)
            self._whole.settle()
            if not behind:
                return
            await asyncio.gather(*[self._whole.catch_up(partition, known[partition].number) for partition in behind])
            partitions = "".join(behind)
        raise StoreUnavailable("the engine does not keep what is written to it")

    async def _ask(self, wire: Wire, partitions: str) -> dict[str, Facts]:
        """The ping: a write, its own invalidation, and what every partition says of itself. Those that are not this
        server's are given up, and left out. Raises StoreUnavailable, Refused: no answer, whatever else came."""
        if not partitions:
            return {}
        # In a slot of this server. Not always the same one: that one may have been moved.
        key, arrived = self._expect(partitions[self._number % len(partitions)])
        try:
            # All three are handed over in this turn.
            beat = run(wire, "beat", "1", key, partitions)
            client, replication = wire.call("CLIENT", "ID"), wire.call("INFO", "replication")
            answers = await beat
            await self._servers.quorum(wire)
            connection, identity = str(await client), wire.identity_in(await replication)
            await self._arrival(arrived)
        except Refused as error:
            if not (self._servers.clustered and elsewhere(error)):
                raise
            partition = key.rpartition(b"}")[0][-1:].decode()
            self._servers.elsewhere(partition, error)
            self._drop(partition)
            return {}
        finally:
            self._beats.pop(key, None)
        if connection != wire.client:
            raise StoreUnavailable("another connection answers than the one that tracks: is there a proxy in between?")
        facts = {}
        for place, partition in enumerate(partitions):
            mark, delta = answers[2 * place], answers[2 * place + 1]
            if mark is not None and mark.startswith(b"!"):
                self._servers.changed.set()
                self._drop(partition)
                continue
            trust = parse_delta(delta)[0].trust
            self._whole.learn_delta(trust)
            facts[partition] = Facts(identity, -1 if mark is None else int(mark), trust, connection=connection)
        return facts

    def _drop(self, partition: str) -> None:
        """It is not all here, and may come back: nothing of it counts until it was looked at anew."""
        if partition in self.partitions:
            self._followers[partition].moved()
            self._whole.lost(partition, f"partition {partition} is being moved")

    async def _serve(self, wire: Wire) -> None:
        clock = self._whole.clock
        while wire.is_open and self.partitions:
            now = clock.elapsed()
            followed = self._followed()
            if any(self._followers[partition].overdue(now) for partition in followed):
                return
            if len(followed) < len(self.partitions) and (self._looking is None or self._looking.done()):
                self._looking = self._start(self._look_again(wire))
            due = min((self._followers[partition].due(now) for partition in followed), default=now + 10**9)
            if now >= due:
                # Before the bytes are handed over.
                numbers = {partition: self._followers[partition].ping(now) for partition in followed}
                self._ping_task = self._start(self._ping(wire, numbers))
                due = min(self._followers[partition].due(now) for partition in followed)
            left = (due - clock.elapsed()) / 1e9
            await asyncio.wait((wire.closed,), timeout=max(0.001, min(left, _LOOK_SECONDS)))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look_again(self, wire: Wire) -> None:
        """At partitions that have come to this server, while the others are followed."""
        try:
            followed = self._followed()
            await self._look(wire, "".join(one for one in self.partitions if one not in followed))
        except Refused as error:
            self._whole.error = str(error)
            wire.close()
        except SessileError as error:
            self._whole.error = str(error)

    async def _ping(self, wire: Wire, numbers: Mapping[str, int]) -> None:
        try:
            facts = await self._ask(wire, "".join(numbers))
        except Refused as error:
            self._whole.error = str(error)
            wire.close()
            return
        except StoreUnavailable:
            # Without its quorum it is no answer; trust runs out by itself. A dead connection is found by its reader.
            return
        for partition, told in facts.items():
            follower = self._followers[partition]
            if partition not in self.partitions or not follower.followed:
                continue  # given up meanwhile
            identity = follower.trust.identity
            if follower.pong(numbers[partition], told):
                continue
            if told.identity != identity or not self._servers.clustered:
                wire.close()
                return
            self._whole.lost(partition, f"partition {partition} was elsewhere for a while")
        self._whole.settle()

    def _pushed(self, message: list[Any]) -> None:
        """What comes unasked, in the turn in which it was read."""
        if message[0] != b"invalidate":
            return
        if message[1] is None:  # FLUSHALL
            if self.wire is not None:
                self.wire.close()
            self._lost()
            return
        ended = []
        for key in message[1]:
            if key.startswith(self._node):
                beat = self._beats.get(key)
                if beat is not None and not beat.done():
                    beat.set_result(None)
            else:
                partition, _, rest = key[len(self._announced) + 3 :].decode().partition("}")
                numbers, _, name = rest.partition(":")
                previous, _, row = numbers.partition(".")
                ended.append((int(row or 0), int(previous or 0), partition, name))
        for row, previous, partition, name in sorted(ended):  # within a message the engine sorts by name
            if partition in self.partitions:
                self._whole.announced(partition, name, row, previous)

    def _lost(self) -> None:
        """The connection is gone: trust nothing that came over it, and keep nothing."""
        self._whole.lost(self.partitions)
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.close()
