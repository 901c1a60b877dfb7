"""A simulated node: the shipped near cache, follower and checks on a clock that drifts, in a process that may be
stopped for a while or forked. What stands between them and the engine is `SimulatedStore`."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sessile.checks import Checks
from sessile.errors import SessileError, StoreUnavailable
from sessile.follow import Follower
from sessile.kernel.decide import Active, Denied, Snapshot
from sessile.kernel.event import Event
from sessile.near import Entry, NearCache
from sessile.testing.simulator.connection import Link
from sessile.testing.simulator.engine import Engine, Read
from sessile.testing.simulator.loop import MS, Loop, Wait
from sessile.trust import Mark
from sessile.upkeep import Upkeep

if TYPE_CHECKING:
    from sessile.testing.simulator.world import Held, World

STATEMENT_TIMEOUT = 600 * MS


class DriftingClock:
    """A node's clock: `rate` seconds to a true one, and a wall clock that is off."""

    def __init__(self, loop: Loop, rate: float, origin: int, skew: timedelta) -> None:
        self._loop = loop
        self.rate = rate
        self._origin = origin
        self._skew = skew

    def elapsed(self) -> int:
        return self._origin + int(self._loop.now * self.rate)

    def lose(self, true: int) -> None:
        """As if so many nanoseconds of true time had not been: what no real clock may do, and a frozen guest's does."""
        self._origin -= int(true * self.rate)

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + self._skew + timedelta(microseconds=self._loop.now // 1000)


class Process:
    """What runs by its own clock, talks over the network and may be stopped (SIGSTOP) and go on (SIGCONT)."""

    def __init__(self, world: World, name: str, rate: float) -> None:
        self.world = world
        self.name = name
        self.loop = world.loop
        self.network = world.network
        self.random = world.loop.random(f"process {name}")
        skew = timedelta(seconds=self.random.uniform(-5, 5))
        self.clock = DriftingClock(world.loop, rate, self.random.randrange(10**12), skew)
        self.stopped = False
        self._deferred: dict[str, list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}
        self._calls = 0

    def say(self, what: str) -> None:
        self.loop.say(self.name, what)

    def run(self, lane: str, act: Callable[..., None], *args: Any) -> None:
        """Now, or when the process goes on: in order within a lane (a connection), in any order between lanes."""
        if self.stopped:
            self._deferred.setdefault(lane, []).append((act, args))
        else:
            act(*args)

    def stop(self, duration: int) -> None:
        if not self.stopped:
            self.stopped = True
            self.say("stopped")
            self.loop.after(duration, self._go_on)

    def _go_on(self) -> None:
        self.stopped = False
        self.say("goes on")
        lanes, self._deferred = self._deferred, {}
        while lanes:
            lane = self.random.choice(list(lanes))
            act, args = lanes[lane].pop(0)
            if not lanes[lane]:
                del lanes[lane]
            act(*args)

    def timer(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """After `delay` nanoseconds of this process's clock, or a little later."""
        self._calls += 1
        true = int(delay / self.clock.rate) + 1
        self.loop.after(true, self.run, f"timer {self._calls}", act, *args)

    def sleep(self, seconds: float) -> Awaitable[None]:
        wait: Wait[None] = Wait()
        self.timer(int(seconds * 1e9) + 1, wait.set)
        return wait

    # -- asking over the network --------------------------------------------------------------------------------

    def target(self, partition: str) -> Engine | None:
        """An engine that can be reached and says that it is the one to ask."""
        engines = [e for e in self.world.engines if e.holds(partition) and self.network.up(self.name, e.name)]
        return self.random.choice(engines) if engines else None

    def call(
        self,
        engine: Engine,
        partition: str,
        ask: Callable[[Engine, Callable[[Any], None]], None],
        then: Callable[[Any], None],
        failed: Callable[[], None],
    ) -> None:
        """A request over any connection but the ordered one. Exactly one of `then` and `failed` is called."""
        self._calls += 1
        lane = f"call {self._calls}"
        answered: Wait[Any] = Wait()

        def finish(answer: Any) -> None:
            if not answered.done:
                answered.set()
                then(answer)

        def give_up() -> None:
            if not answered.done:
                answered.set()
                failed()

        def reply(answer: Any) -> None:
            self.network.send(engine.name, self.name, self.run, lane, finish, answer)

        def serve() -> None:
            if engine.holds(partition):
                ask(engine, reply)
            else:
                self.network.send(engine.name, self.name, self.run, lane, give_up)

        self.network.send(self.name, engine.name, serve)
        self.timer(STATEMENT_TIMEOUT, give_up)

    async def ask(
        self, partition: str, ask: Callable[[Engine, Callable[[Any], None]], None], engine: Engine | None = None
    ) -> Any:
        """`call`, awaited. Raises StoreUnavailable."""
        engine = engine or self.target(partition)
        if engine is None:
            await self.sleep(0.001)
            raise StoreUnavailable("no engine can be reached")
        wait: Wait[Any] = Wait()
        self.call(engine, partition, ask, wait.set, lambda: wait.fail(StoreUnavailable("no answer")))
        answer = await wait
        if isinstance(answer, SessileError):
            raise answer
        return answer

    def call_journal(self, ask: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """The journal beside: another engine, which is always there."""
        self._calls += 1
        lane = f"journal {self._calls}"
        delay = self.network.delay

        def serve() -> None:
            self.loop.after(delay(self.random), self.run, lane, then, ask())

        self.loop.after(delay(self.random), serve)


class Acts(Upkeep):
    """Writes a person's acts a little later, as the shipped upkeep does on asyncio."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def seen(self, session_id: str, now: datetime) -> None:
        self._node.timer(250 * MS, self._write, session_id, now)

    def _write(self, session_id: str, now: datetime) -> None:
        partition = session_id[4]
        engine = self._node.target(partition)
        if engine is not None:
            self._node.call(
                engine, partition, lambda e, reply: e.touch(partition, session_id, now), _nothing, lambda: None
            )


def _nothing(_: Any) -> None:
    pass


class SimulatedStore:
    """The part of `Store` that a check asks for."""

    local = False
    delta = timedelta(0)

    def __init__(self, node: Node) -> None:
        self._node = node
        self.partitioned = len(node.links) > 1
        self._trusts = {partition: link.follower.trust for partition, link in node.links.items()}

    def current(self, now: int, partition: str | None = None) -> bool:
        if partition is not None:
            return now < self._trusts[partition].deadline
        return all(now < trust.deadline for trust in self._trusts.values())

    async def read(self, digest: bytes) -> Snapshot | None:
        node = self._node
        node.world.reads += 1
        partition = node.world.partition_of(digest)
        link = node.links[partition]
        asked = link.follower.asking(node.clock.elapsed())
        engine = link.connection.engine if link.connection and node.random.random() < 0.9 else None
        answer: Read = await node.ask(partition, lambda e, reply: e.read(partition, digest, reply), engine)
        if not node.admits(link.follower, asked, answer):
            raise StoreUnavailable("the engine is not the one that was looked at, or nobody stands behind it")
        node.heard(partition, answer.identity, answer.mark)
        return answer.snapshot

    async def events(self, **_: object) -> Sequence[Event]:
        """There is no record here: why a token that is over was refused is told from the session itself."""
        return ()

    async def record(self, event: Event) -> None:
        """There is no record here."""

    async def confirm(self, digest: bytes) -> None:
        """No token is rotated by age here."""

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        """An act in the last moment before the idle limit."""
        for session, at in seen.items():
            partition = session[4]

            def write(engine: Engine, reply: Callable[[Any], None], p: str = partition, s: str = session) -> None:
                engine.touch(p, s, at)  # noqa: B023 - one session at a time
                reply(None)

            await self._node.ask(partition, write)


class SimulatedChecks(Checks):
    """Open from the start."""

    async def open(self) -> None:
        """It is open from the start."""

    def __init__(self, node: Node, store: Any) -> None:
        super().__init__(store, node.near, node.clock)
        self._upkeep = Acts(node)


class Node(Process):
    """One process that checks sessions."""

    link_type: type[Link] = Link
    follower_type: type[Follower] = Follower
    store_type: type[SimulatedStore] = SimulatedStore
    checks_type: type[SimulatedChecks] = SimulatedChecks
    near_type: type[NearCache] = NearCache

    def __init__(self, world: World, name: str, rate: float) -> None:
        super().__init__(world, name, rate)
        self.near = self.near_type(capacity=self.random.choice((2, 5, 20)))
        self.told: dict[tuple[str, str], int] = {}
        self.links = {
            partition: self.link_type(
                self,
                partition,
                self.follower_type(
                    self.near,
                    quorum=world.quorum,
                    whole=f"t:{partition}" if len(world.partitions) > 1 else None,
                    gapless=world.parts.gapless and (len(world.partitions) > 1 or world.standbys),
                ),
            )
            for partition in world.partitions
        }
        self.checks = self.checks_type(self, self.store_type(self))

    def connect(self) -> None:
        for link in self.links.values():
            link.connect()

    def heard(self, partition: str, identity: str, mark: Mark) -> None:
        """For the oracle: how far this node was told of an engine's journal."""
        key = (identity, partition)
        self.told[key] = max(mark.number, self.told.get(key, 0))

    def admits(self, follower: Follower, asked: Any, answer: Read) -> bool:
        return follower.admits(asked, answer.identity, answer.mark)

    def check(self, held: Held, *, touch: bool) -> None:
        """One request comes in."""
        self.run("requests", self._check, held, touch)

    def _check(self, held: Held, touch: bool) -> None:
        self.loop.start(self._checked(held, touch))

    async def _checked(self, held: Held, touch: bool) -> None:
        started = self.loop.now
        result: Active | Denied = await self.answer(held, touch)
        self.world.oracle.answered(self, held, started, result)

    async def answer(self, held: Held, touch: bool) -> Active | Denied:
        return await self.checks.check(held.token, touch=touch)

    # -- fork ---------------------------------------------------------------------------------------------------

    def fork(self) -> Node:
        """A child with this process's memory. In it, connections are gone and nothing is trusted."""
        child = type(self)(self.world, self.name + "'", self.clock.rate)
        child.clock = self.clock
        child.told = dict(self.told)
        for held in self.world.held:
            entry = self.near.get(held.digest)
            if entry is not None:
                with child.near.reading() as reading:
                    child.near.put(held.digest, copied(entry), reading)
        for partition, link in child.links.items():
            link.follower = copy.deepcopy(self.links[partition].follower, {id(self.near): child.near})
        child.checks = child.checks_type(child, child.store_type(child))
        child.forked(self)
        return child

    def forked(self, parent: Node) -> None:
        """In the child."""
        for link in self.links.values():
            link.follower.lost()
        self.near.drop(0)
        self.connect()


def copied(entry: Entry) -> Entry:
    return Entry(
        entry.active,
        good_until=entry.good_until,
        touch_at=entry.touch_at,
        binding=entry.binding,
        objects=entry.objects,
    )
