"""Simulated engines: real data (`MemoryStore`) behind a turn-based server that commits, announces and acknowledges,
replicates, is restarted from a copy, deposed, or gives a partition away."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sessile.checks import run_now
from sessile.errors import NotFound, SessileError
from sessile.kernel.decide import Snapshot
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.session import SessionKind
from sessile.near import NearCache
from sessile.stores.memory import MemoryStore
from sessile.stores.protocol import Begun, End
from sessile.testing.simulator.loop import MS, Loop, between
from sessile.trust import Delta, Facts, Mark

if TYPE_CHECKING:
    from sessile.testing.simulator.connection import Connection

EVERYBODY = frozenset(SessionKind)
_START = datetime(2026, 1, 1, tzinfo=UTC)


class EngineClock:
    """True time. `skipped`: what passed before the run began."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.skipped = timedelta(0)

    def now(self) -> datetime:
        return _START + self.skipped + timedelta(microseconds=self._loop.now // 1000)

    def elapsed(self) -> int:
        return self._loop.now


class Announced(NearCache):
    """Gathers what a mutation of the data announces."""

    def __init__(self) -> None:
        super().__init__(1)
        self.objects: list[str] = []

    def apply(self, mark: int, objects: Iterable[str]) -> None:
        self.objects += objects

    def take(self) -> tuple[str, ...]:
        objects, self.objects = tuple(self.objects), []
        return objects


class Partition:
    """Data, the journal's heads, and Δ: what an engine holds of one partition, and what a copy of it copies."""

    def __init__(self, clock: EngineClock, delta: int) -> None:
        self.data = MemoryStore(clock=clock)
        self.announced = Announced()
        run_now(self.data.open(self.announced))
        self.heads: tuple[str, ...] = ()
        self.times: tuple[int, ...] = ()
        """For the oracle: when each row was put in force here."""
        self.delta = Delta(delta, delta)
        self.raised = ""
        """The life of the engine in which everybody was ended because it had gone back."""

    @property
    def mark(self) -> Mark:
        return Mark(len(self.heads), self.heads[-1]) if self.heads else Mark(0)

    def past(self, number: int) -> str | None:
        if number == 0:
            return ""
        return self.heads[number - 1] if number <= len(self.heads) else None

    def copy(self) -> Partition:
        other = object.__new__(Partition)
        other.heads, other.times, other.delta, other.raised = self.heads, self.times, self.delta, self.raised
        other.announced = Announced()
        other.data = object.__new__(MemoryStore)
        other.data.__dict__.update({name: _copied(value) for name, value in vars(self.data).items()})
        run_now(other.data.open(other.announced))
        return other


def _copied(value: object) -> object:
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _own(item: object) -> object:
    mutable = isinstance(item, msgspec.Struct) and not item.__struct_config__.frozen
    return copy.copy(item) if mutable else item


class Acknowledged(NamedTuple):
    """The answer to an ending."""

    mark: Mark
    identity: str
    delta: int
    at: int
    """For the oracle: when it was put in force."""


class Behind(NamedTuple):
    """The answer to an ending whose predecessors in the journal are missing."""

    mark: int


class Read(NamedTuple):
    """The answer to a read."""

    snapshot: Snapshot | None
    identity: str
    mark: Mark


class Engine:
    """One engine process. It answers in turns: what is committed in a turn is announced at its end."""

    def __init__(self, loop: Loop, name: str, partitions: dict[str, Partition]) -> None:
        self.loop = loop
        self.name = name
        self.partitions = partitions
        self.random = loop.random(f"engine {name}")
        self.life = 1
        self.alive = True
        self.primary = True
        self.replicas: list[Replica] | None = None
        """None: no majority is asked for."""
        self.connections: list[Connection] = []
        self.saves: list[dict[str, Partition]] = []
        """A copy after every change: what it may be restarted from."""
        self.histories: dict[tuple[str, str], tuple[str, ...]] = {}
        """What its journal was in each life, by identity and partition."""
        self._turn = 0
        self._version = 0
        self._acks: dict[str, int] = {}
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._changed = True
        self._image: dict[str, Partition] = {}

    @property
    def identity(self) -> str:
        return f"{self.name}.{self.life}"

    def holds(self, partition: str) -> bool:
        return self.alive and self.primary and partition in self.partitions

    # -- what it is asked ---------------------------------------------------------------------------------------

    def read(self, partition: str, digest: bytes, reply: Callable[[Read], None]) -> None:
        part = self.partitions[partition]
        reply(Read(run_now(part.data.read(digest)), self.identity, part.mark))

    def fence(self, partition: str, name: str, reply: Callable[[tuple[Fence, int]], None]) -> None:
        found = run_now(self.partitions[partition].data.fence(name))
        assert found is not None
        reply((found[1], self.loop.now))

    def begin(self, partition: str, draft: Draft, reply: Callable[[Begun | SessileError], None]) -> None:
        try:
            begun = run_now(self.partitions[partition].data.begin(draft))
        except SessileError as error:
            reply(error)
        else:
            self._mutated()
            self._backed(lambda: reply(begun))

    def touch(self, partition: str, session: str, at: datetime) -> None:
        run_now(self.partitions[partition].data.touch({session: at}))

    def end(self, partition: str, end: End, number: int | None, reply: Callable[[Acknowledged | Behind], None]) -> None:
        """Put an ending in force: row `number` of a journal beside, or, without one, the next row of its own."""
        part = self.partitions[partition]
        mark = len(part.heads)
        if number is not None and number > mark + 1:
            reply(Behind(mark))
            return
        objects: tuple[str, ...] = ()
        if number is None or number == mark + 1:
            objects = self._commit(part, end, "" if number is not None else f"{self.random.getrandbits(32):08x}")
            self.loop.say(self.name, f"commits {partition}{len(part.heads)}: {' '.join(objects) or 'nothing new'}")
        done = Acknowledged(part.mark, self.identity, part.delta.wait, part.times[(number or len(part.times)) - 1])
        self._announce(partition, objects, part.mark, lambda: self._backed(lambda: reply(done)))

    def _commit(self, part: Partition, end: End, head: str) -> tuple[str, ...]:
        with contextlib.suppress(NotFound):  # a session that this engine never had, or lost: it is over here
            run_now(part.data.end(end))
        part.heads = (*part.heads, head)
        part.times = (*part.times, self.loop.now)
        self._mutated()
        return part.announced.take()

    def _announce(self, partition: str, objects: tuple[str, ...], mark: Mark, then: Callable[[], None]) -> None:
        """At the end of the turn the announcement goes out, and after it the acknowledgement."""
        life = self.life

        def push() -> None:
            if self.life != life or not self.alive:
                return
            for connection in self.connections:
                if partition == connection.partition and connection.subscribed:
                    connection.to_node("invalidated", objects, mark)
            then()

        self._turn = max(self._turn, self.loop.now + between(self.random, 0, MS // 5))
        self.loop.at(self._turn, push)

    def raise_everyone(self, partition: str, reply: Callable[[Facts], None]) -> None:
        """End everybody in an engine that went back; once in its life."""
        part = self.partitions[partition]
        if part.raised == self.identity:
            reply(self.facts(partition, ""))
            return
        part.raised = self.identity
        end = End(everyone=EVERYBODY, cause="went back")
        objects = self._commit(part, end, f"{self.random.getrandbits(32):08x}")
        self.loop.say(self.name, "ends everybody: it went back")
        self._announce(partition, objects, part.mark, lambda: reply(self.facts(partition, "")))

    def facts(self, partition: str, connection: str) -> Facts:
        part = self.partitions[partition]
        return Facts(self.identity, part.mark.number, part.delta.trust, part.mark.head, connection)

    def pinged(self, connection: Connection, answer: Callable[[Facts], None]) -> None:
        """A ping, keyed by its partition; a write that needs the majority, if one is asked for."""
        facts = self.facts(connection.partition, connection.name)
        # The answer goes out before or after what the same turn announces.
        self.loop.after(between(self.random, 0, MS // 5), self._backed, lambda: answer(facts))

    # -- replication --------------------------------------------------------------------------------------------

    def _mutated(self) -> None:
        self._changed = True
        self.saves.append({name: part.copy() for name, part in self.partitions.items()})
        for name, part in self.partitions.items():
            self.histories[self.identity, name] = part.heads

    def _backed(self, then: Callable[[], None]) -> None:
        """`then`, once a majority has what this engine has now."""
        if self.replicas is None:
            then()
            return
        self._version += 1
        if self._changed:
            self._image = {name: part.copy() for name, part in self.partitions.items()}
            self._changed = False
        self._waiting.append((self._version, then))
        for replica in self.replicas:
            replica.receive(self, self._version, self._image)

    def acknowledge(self, replica: str, version: int) -> None:
        self._acks[replica] = max(version, self._acks.get(replica, 0))
        reached = max(self._acks.values())
        ready = [then for asked, then in self._waiting if asked <= reached]
        self._waiting = [(asked, then) for asked, then in self._waiting if asked > reached]
        for then in ready:
            if self.alive:
                then()

    # -- its lives ----------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self.alive = False
        self._waiting.clear()
        for connection in tuple(self.connections):
            if self.random.random() < 0.3:
                connection.swap()
            else:
                connection.cut()

    def restart(self, partitions: dict[str, Partition]) -> None:
        self.partitions = partitions
        self.life += 1
        self.alive = True
        self._mutated()


class Replica:
    """Follows one primary at a time, and has what that one sent last."""

    def __init__(self, loop: Loop, name: str, network_up: Callable[[str, str], bool]) -> None:
        self.loop = loop
        self.name = name
        self.primary: Engine | None = None
        self.image: dict[str, Partition] = {}
        self._up = network_up
        self._random = loop.random(f"replica {name}")
        self._last = 0

    def receive(self, primary: Engine, version: int, image: dict[str, Partition]) -> None:
        """Under way, in order."""
        self._last = max(self._last, self.loop.now + between(self._random, MS // 10, 2 * MS))
        self.loop.at(self._last, self._arrived, primary, version, image)

    def _arrived(self, primary: Engine, version: int, image: dict[str, Partition]) -> None:
        if self.primary is not primary or not self._up(primary.name, self.name):
            return
        self.image = image
        self.loop.after(between(self._random, MS // 10, 2 * MS), self._answer, primary, version)

    def _answer(self, primary: Engine, version: int) -> None:
        # What was acknowledged is in the primary's books even if the replica has turned to another one since.
        if self._up(primary.name, self.name):
            primary.acknowledge(self.name, version)

    def promote(self) -> dict[str, Partition]:
        """It follows nobody any more; what it has is the new primary's."""
        self.primary = None
        return {name: part.copy() for name, part in self.image.items()}

    def follow(self, primary: Engine) -> None:
        """From now on it has what `primary` has: a full copy."""
        self.primary = primary
        self.image = {name: part.copy() for name, part in primary.partitions.items()}
