"""Planted faults: each a part of the simulator, made wrong in one way. Names say what is done wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import msgspec

from sessile.errors import StoreUnavailable
from sessile.follow import Asked, Follower
from sessile.kernel.decide import Active, Denied, Snapshot, decide
from sessile.near import Entry, NearCache, Reading
from sessile.stores.protocol import End
from sessile.testing.simulator import Parts
from sessile.testing.simulator.connection import Connection, Link
from sessile.testing.simulator.engine import Acknowledged, Behind, Engine, Partition
from sessile.testing.simulator.loop import MS
from sessile.testing.simulator.node import Node, Process, SimulatedChecks, SimulatedStore
from sessile.testing.simulator.revoking import MARGIN, Revocation
from sessile.testing.simulator.standbys import Standby, SyncEngine
from sessile.testing.simulator.world import Held, World
from sessile.trust import Delta, Facts, Mark, went_back


class Fault(msgspec.Struct, frozen=True):
    name: str
    parts: Parts
    broken: str
    """How what it breaks begins."""
    repair: str
    """The finding of the design review that it stands for."""


def node(
    *,
    link: type[Link] = Link,
    follower: type[Follower] = Follower,
    store: type[SimulatedStore] = SimulatedStore,
    near: type[NearCache] = NearCache,
    checks: type[SimulatedChecks] = SimulatedChecks,
) -> type[Node]:
    parts = {
        "link_type": link,
        "follower_type": follower,
        "store_type": store,
        "near_type": near,
        "checks_type": checks,
    }
    return type("FaultyNode", (Node,), parts)


class AcknowledgesBeforeItApplies(Engine):
    def end(self, partition: str, end: End, number: int | None, reply: Callable[[Acknowledged | Behind], None]) -> None:
        part = self.partitions[partition]
        if number is not None and number != len(part.heads) + 1:
            super().end(partition, end, number, reply)
            return
        reply(Acknowledged(part.mark, self.identity, part.delta.wait, self.loop.now))
        life = self.life

        def later() -> None:
            if self.life == life and self.holds(partition):
                Engine.end(self, partition, end, number, lambda _: None)

        self.loop.after(self.random.randrange(MS, 3 * part.delta.wait), later)


class CachesARacedRead(NearCache):
    def put(self, digest: bytes, entry: Entry, reading: Reading) -> bool:
        return super().put(digest, entry, Reading())


class TrustsFromThePongsReceipt(Link):
    def pong(self, number: int, facts: Facts) -> None:
        super().pong(number, facts)
        trust = self.follower.trust
        if trust.deadline:
            trust.deadline = self.node.clock.elapsed() + facts.delta


class DropsNothing(NearCache):
    def drop(self, mark: int) -> None:
        self.mark = mark

    def apply(self, mark: int, objects: Iterable[str]) -> None:
        super().apply(mark, [name for name in objects if not name.startswith("t:")])


class WaitsItsOwnDelta(Revocation):
    async def wait(self, since: int, delta: int) -> None:
        await super().wait(since, 50 * MS)


class PingsTheSocketOnly(Link):
    """A ping that says nothing of the connection it came over: a driver may have put another one in its place."""

    def pong(self, number: int, facts: Facts) -> None:
        if self.connection is not None:
            super().pong(number, msgspec.structs.replace(facts, connection=self.connection.first_name))


class TakesAnyConnection(Link):
    def same(self, connection: Connection, facts: Facts) -> bool:
        return True


class SecondRevokerReturnsAtOnce(Revocation):
    async def wait(self, since: int, delta: int) -> None:
        others = [r for r in self.world.oracle.revocations if r is not self and r.target == self.target]
        if not any(other.at for other in others):
            await super().wait(since, delta)


class SharesTheConnectionAfterFork(Node):
    def forked(self, parent: Node) -> None:
        for partition, link in self.links.items():
            connection = parent.links[partition].connection
            if connection is not None:
                link.connection = connection
                connection.readers.append(link)
                link.begin(connection)


class FollowsWhatWentBack(Follower):
    def set_up(self, known: Mark, facts: Facts, past: str | None = "", *, journal: int = 0) -> bool:
        self.adopt(facts)
        return True


class KnowsNoHeads(Follower):
    """Row numbers only: an engine that went back and has gone on since looks like one that never did."""

    def set_up(self, known: Mark, facts: Facts, past: str | None = "", *, journal: int = 0) -> bool:
        facts = msgspec.structs.replace(facts, head=known.head if facts.mark == known.number else facts.head)
        return super().set_up(known, facts, known.head, journal=journal)


class BelievesAnyPrimary(Engine):
    def pinged(self, connection: Connection, answer: Callable[[Facts], None]) -> None:
        answer(self.facts(connection.partition, connection.name))


class PingsWithoutAWrite(SyncEngine):
    """A question that is no commit waits for no standby."""

    def pinged(self, connection: Connection, answer: Callable[[Facts], None]) -> None:
        answer(self.facts(connection.partition, connection.name))


class CommitsAlone(SyncEngine):
    """As with `synchronous_commit = local`."""

    def _replicated(self, visible: Callable[[], None]) -> None:
        self._backed(lambda: None)
        visible()


class AcknowledgesBeforeItsDisk(Standby):
    """As with `synchronous_commit = remote_write`, and a standby's machine that loses its power."""

    def flush_time(self) -> int:
        return self._random.randrange(500 * MS)

    def _arrived(self, primary: Engine, version: int, image: dict[str, Partition]) -> None:
        super()._arrived(primary, version, image)
        if self.primary is primary:
            super().acknowledge(primary, version)

    def acknowledge(self, primary: Engine, version: int) -> None:
        """It has long done so."""


class ReadsAStandby(SimulatedStore):
    """Every other read goes to a replica, which passes for its primary."""

    async def read(self, digest: bytes) -> Snapshot | None:
        world = self._node.world
        standbys = [one for one in world.engines[-1].replicas or () if one.image]
        if self._node.random.random() < 0.5 and standbys:
            part = self._node.random.choice(standbys).image[world.partition_of(digest)]
            await self._node.sleep(0.001)
            return await part.data.read(digest)
        return await super().read(digest)


class LooksWithoutAMajority(Connection):
    def _at_engine(self, kind: str, args: tuple[Any, ...]) -> None:
        if kind == "ask" and self.engine.holds(self.partition):
            past = self.engine.partitions[self.partition].past(args[0].number)
            self.to_node("told", args[0], self.engine.facts(self.partition, self.name), past)
        else:
            super()._at_engine(kind, args)


class LooksTooEarly(Link):
    connection_type = LooksWithoutAMajority


class ReadsWithoutAMajority(Follower):
    def admits(self, asked: Asked, identity: str, mark: Mark) -> bool:
        return super().admits(asked._replace(started=-1), identity, mark)


class ReadsBeforeItLooked(Follower):
    def admits(self, asked: Asked, identity: str, mark: Mark) -> bool:
        return super().admits(asked._replace(vetted=identity), identity, mark)


class SlowToAnswer(Node):
    """Weather, not a fault: answers lie about for a while before they are looked at, so that it is found sooner."""

    follower_type = ReadsBeforeItLooked

    async def ask(
        self, partition: str, ask: Callable[[Engine, Callable[[Any], None]], None], engine: Engine | None = None
    ) -> Any:
        answer = await super().ask(partition, ask, engine)
        await self.sleep(self.random.random() / 5)
        return answer


class ReadsAnyEngine(Follower):
    def admits(self, asked: Asked, identity: str, mark: Mark) -> bool:
        return True


class AnswersForWhatMoved(Connection):
    """A ping that names no key: the engine answers it wherever the partition is by now."""

    told: Facts | None = None

    def _at_engine(self, kind: str, args: tuple[Any, ...]) -> None:
        if self.engine.holds(self.partition):
            self.told = self.engine.facts(self.partition, self.name)
        elif kind == "ping" and self.told is not None:
            self.to_node("pong", args[0], self.told)
            return
        super()._at_engine(kind, args)


class PingsWithoutAKey(Link):
    connection_type = AnswersForWhatMoved


class FlagLink(Link):
    flag = False

    def pong(self, number: int, facts: Facts) -> None:
        super().pong(number, facts)
        deadline = self.follower.trust.deadline
        if deadline:
            self.flag = True
            self.node.timer(max(0, deadline - self.node.clock.elapsed()), self._expire, deadline)

    def _expire(self, deadline: int) -> None:
        if deadline >= self.follower.trust.deadline:
            self.flag = False

    def lost(self) -> None:
        super().lost()
        self.flag = False


class FlagStore(SimulatedStore):
    def current(self, now: int, partition: str | None = None) -> bool:
        return all(isinstance(link, FlagLink) and link.flag for link in self._node.links.values())


class RemembersForDenials(SimulatedStore):
    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.seen: dict[bytes, tuple[Snapshot, int]] = {}

    async def read(self, digest: bytes) -> Snapshot | None:
        snapshot = await super().read(digest)
        if snapshot is not None:
            self.seen[digest] = (snapshot, self._node.clock.elapsed())
        return snapshot


class CachesDenials(Node):
    store_type = RemembersForDenials

    async def answer(self, held: Held, touch: bool) -> Active | Denied:
        store = self.checks.store
        assert isinstance(store, RemembersForDenials)
        now = self.clock.elapsed()
        if held.digest in store.seen and store.current(now):
            snapshot, at = store.seen[held.digest]
            denied = decide(snapshot, snapshot.now + timedelta(microseconds=(now - at) // 1000))
            if denied is not None:
                return denied
        return await super().answer(held, touch)


class AppliesInATaskOfItsOwn(Link):
    def invalidated(self, objects: tuple[str, ...], mark: Mark) -> None:
        self.node.timer(self.node.random.randrange(40 * MS), self.follower.invalidated, objects, mark)


class WaitsFromTheSending(Revocation):
    async def settle_one(self, partition: str) -> tuple[Acknowledged, int]:
        since = self.process.clock.elapsed()
        done, _ = await super().settle_one(partition)
        return done, since


class ForgetsDrift(Revocation):
    async def wait(self, since: int, delta: int) -> None:
        left = since + delta + MARGIN - self.process.clock.elapsed()
        await self.process.sleep(max(0, left) / 1e9)


class TakesSilenceForAnAcknowledgement(Revocation):
    async def apply(self, partition: str, number: int | None) -> Acknowledged:
        try:
            return await super().apply(partition, number)
        except StoreUnavailable:
            return Acknowledged(Mark(0), "", self.world.delta, self.world.loop.now)


async def changes_delta_at_once(world: World, process: Process, to: int) -> None:
    """In one write: what is told and what is waited for."""
    for partition in world.partitions:
        engine = process.target(partition)
        if engine is not None:
            engine.partitions[partition].delta = Delta(to, to)


class ComparesWithWhatIsKnownNow(Follower):
    """Takes an answer that was computed before an ending was announced for one of an engine that went back."""

    def pong(self, number: int, facts: Facts) -> bool:
        if went_back(self.known, Mark(facts.mark, facts.head)):
            self.lost()
            self._vetted = None
            return False
        return super().pong(number, facts)


class Forgetful:
    """The near cache, as checks would see it if a denial were not told to it."""

    def __init__(self, near: NearCache) -> None:
        self.get, self.reading, self.put, self.mark = near.get, near.reading, near.put, near.mark

    def apply(self, mark: int, objects: Iterable[str]) -> None:
        pass


class SaysYesAfterANo(SimulatedChecks):
    def __init__(self, node: Node, store: Any) -> None:
        super().__init__(node, store)
        self._near = Forgetful(node.near)  # type: ignore[assignment]


LATE, BACK, FALSE = "late accept", "came back", "false denial"
ENGINE, QUORUM, STANDBYS, SLOTS, CALM = ("engine",), ("quorum",), ("standbys",), ("slots",), ("calm",)


def _fault(name: str, repair: str, broken: str = LATE, **parts: Any) -> Fault:
    return Fault(name, Parts(**parts), broken, repair)


FAULTS = (
    _fault("ack before apply", "8", engine=AcknowledgesBeforeItApplies, kinds=ENGINE),
    _fault("cache a raced read", "9", node=node(near=CachesARacedRead), kinds=ENGINE),
    _fault("trust from the pong's receipt", "9c", node=node(link=TrustsFromThePongsReceipt), kinds=ENGINE),
    _fault("no drop on reconnect", "9", node=node(near=DropsNothing), kinds=ENGINE),
    _fault("Δ that differs", "4", revocation=WaitsItsOwnDelta, kinds=ENGINE),
    _fault("a reconnect below the ping", "3", node=node(link=PingsTheSocketOnly), kinds=ENGINE),
    _fault("a reconnect during the set-up", "3", node=node(link=TakesAnyConnection), kinds=ENGINE),
    _fault("a second revoker that returns at once", "8", revocation=SecondRevokerReturnsAtOnce, kinds=ENGINE),
    _fault("fork", "5", node=SharesTheConnectionAfterFork, kinds=ENGINE),
    _fault("an engine that went back", "1", node=node(follower=FollowsWhatWentBack), kinds=ENGINE),
    _fault("an engine that went back and on", "1", node=node(follower=KnowsNoHeads), kinds=ENGINE),
    _fault("any engine is read", "1", node=node(follower=ReadsAnyEngine), kinds=ENGINE),
    _fault("a read from before the engine was looked at", "1", node=SlowToAnswer, kinds=QUORUM),
    _fault("an isolated old primary", "2", engine=BelievesAnyPrimary, kinds=QUORUM),
    _fault("strict reads without a majority", "2", node=node(follower=ReadsWithoutAMajority), kinds=QUORUM),
    _fault("a new primary looked at without a majority", "2", node=node(link=LooksTooEarly), kinds=QUORUM),
    _fault("a ping that is not a write", "2", primary=PingsWithoutAWrite, kinds=STANDBYS),
    _fault("a commit that waits for no standby", "2", primary=CommitsAlone, kinds=STANDBYS),
    _fault(
        "a standby that acknowledges before its disk has it",
        "2",
        FALSE,
        standby=AcknowledgesBeforeItsDisk,
        kinds=STANDBYS,
    ),
    _fault("a standby that is read", "2", node=node(store=ReadsAStandby), kinds=STANDBYS),
    _fault(
        "standbys and strict reads without a majority", "2", node=node(follower=ReadsWithoutAMajority), kinds=STANDBYS
    ),
    _fault("a moved slot", "7", node=node(link=PingsWithoutAKey), kinds=SLOTS),
    _fault("a lost slot whose entries stay", "7", node=node(near=DropsNothing), kinds=SLOTS),
    _fault("a slot that moved away and back", "7", gapless=False, kinds=SLOTS),
    _fault("a flag flipped by a timer", "9a", node=node(link=FlagLink, store=FlagStore), kinds=ENGINE),
    _fault("a cached denial", "13", FALSE, node=CachesDenials, kinds=CALM),
    _fault("an epoch read at insert", "10", fenced=False, kinds=CALM),
    _fault("reordered callbacks", "9b", node=node(link=AppliesInATaskOfItsOwn), kinds=ENGINE),
    _fault("waiting from the sending", "8", revocation=WaitsFromTheSending, kinds=ENGINE),
    _fault("clock drift forgotten", "8", revocation=ForgetsDrift, kinds=ENGINE),
    _fault("Δ changed in one write", "4", change=changes_delta_at_once, kinds=ENGINE),
    _fault("silence taken for an acknowledgement", "8", revocation=TakesSilenceForAnAcknowledgement, kinds=ENGINE),
    _fault(
        "a pong compared with what came since", "9", FALSE, node=node(follower=ComparesWithWhatIsKnownNow), kinds=CALM
    ),
    _fault("a yes after a no", "13", BACK, node=node(checks=SaysYesAfterANo), kinds=ENGINE),
)
