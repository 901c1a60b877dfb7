"""One run: engines, nodes, sessions, and the actions of a schedule, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec

from sessile.checks import run_now
from sessile.errors import SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.event import SYSTEM
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, Status, kind_of, new_epoch
from sessile.kernel.session import SessionKind, Tie
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.stores.protocol import End
from sessile.testing.simulator.engine import EVERYBODY, Engine, EngineClock, Partition, Replica
from sessile.testing.simulator.loop import MS, Loop, between
from sessile.testing.simulator.network import Network
from sessile.testing.simulator.node import Node, Process
from sessile.testing.simulator.oracle import Oracle
from sessile.testing.simulator.revoking import DRIFT, Revocation, change
from sessile.testing.simulator.standbys import Standby, SyncEngine

PEOPLE = ("alice", "bob")
IDLE = timedelta(seconds=60)
_LEFT = timedelta(seconds=4.2)
"""How long a session that nobody uses has left when the run begins."""


class Held(msgspec.Struct):
    """A session, as the one knows it who holds its token."""

    name: str
    id: str
    token: str
    digest: bytes
    partition: str
    uids: tuple[str, ...]
    parent: str | None = None
    fenced: int = -1
    """When status and epoch were read, before the credential was looked at."""


class Parts(msgspec.Struct, frozen=True):
    """What a run is made of. Tests plant faults by giving others."""

    node: type[Node] = Node
    engine: type[Engine] = Engine
    primary: type[SyncEngine] = SyncEngine
    standby: type[Standby] = Standby
    revocation: type[Revocation] = Revocation
    change: Callable[[World, Process, int], Coroutine[Any, Any, None]] = change
    fenced: bool = True
    gapless: bool = True
    """Where there are partitions. Elsewhere the proof does without."""
    kinds: tuple[str, ...] = ()
    """Only such schedules; empty: all."""


class World:
    """Built from a kind of schedule, driven by its actions."""

    def __init__(self, loop: Loop, parts: Parts, *, kind: str, delta: int, nodes: int, beside: bool) -> None:
        self.loop = loop
        self.parts = parts
        self.calm = kind == "calm"
        self.standbys = kind == "standbys"
        self.quorum = kind == "quorum" or self.standbys
        self.delta = delta
        self.network = Network(loop, calm=self.calm)
        self.random = loop.random("world")
        self.partitions = ("0", "1") if kind == "slots" else ("0",)
        self.journal: dict[str, list[End]] | None = {p: [] for p in self.partitions} if beside else None
        self.went_back = False
        self.reads = 0
        self.held: list[Held] = []
        self._number = 0
        self._places: dict[bytes, str] = {}
        self.oracle = Oracle(self)
        self.clock = EngineClock(loop)
        self.engines = self._engines()
        self.nodes: list[Node] = [parts.node(self, f"n{i + 1}", self._rate()) for i in range(nodes)]
        self.cli = Process(self, "cli", self._rate())
        self.clock.skipped = IDLE - _LEFT
        for node in self.nodes:
            node.connect()

    def _rate(self) -> float:
        return 1 + DRIFT * self.random.choice((-1, self.random.uniform(-1, 1), 1))

    def _engines(self) -> list[Engine]:
        parts = {name: self._partition(name) for name in self.partitions}
        made = self.parts.primary if self.standbys else self.parts.engine
        engines = [made(self.loop, f"e{i + 1}", {name: part}) for i, (name, part) in enumerate(parts.items())]
        for engine in engines:
            engine.restart(engine.partitions)
        if self.quorum:
            kind = self.parts.standby if self.standbys else Replica
            replicas = [kind(self.loop, name, self.network.up) for name in ("r1", "r2")]
            for replica in replicas:
                replica.follow(engines[0])
            engines[0].replicas = replicas
        return engines

    def _partition(self, name: str) -> Partition:
        part = Partition(self.clock, self.delta)
        data = part.data
        run_now(data.set_policy(Policy.aal2(idle=IDLE), SYSTEM))
        owner = f"prn_{PEOPLE[0][-5:]:0>26}"
        for who in (*PEOPLE, "agent:a"):
            uid = f"prn_{who[-5:]:0>26}"
            run_now(
                data.register(
                    Principal(
                        uid=uid,
                        name=who,
                        kind=kind_of(who),
                        created=self.clock.now(),
                        epoch=new_epoch(),
                        owner=owner if kind_of(who) is not PrincipalKind.HUMAN else None,
                    ),
                    SYSTEM,
                )
            )
        for who in ("alice", "alice", "bob"):
            draft, held = self._draft(name, who)
            run_now(data.begin(draft))
            self._hold(held)
        giver = self.held[-3]
        draft, held = self._draft(name, "agent:a", giver)
        run_now(data.begin(draft))
        self._hold(held)
        part.announced.take()
        return part

    def _draft(self, partition: str, who: str, giver: Held | None = None) -> tuple[Draft, Held]:
        self._number += 1
        number = self._number
        uid = f"prn_{who[-5:]:0>26}"
        token = new_token(TokenKind.DELEGATED if giver else TokenKind.BROWSER, partition)
        held = Held(
            f"{partition}{who}{number}", f"ses_{partition}{number:0>26}", token, digest(token), partition,
            (uid, *(giver.uids if giver else ())), giver.id if giver else None,
        )  # fmt: skip
        if giver is not None:
            return Draft(
                id=held.id, digest=held.digest, kind=SessionKind.DELEGATED, uid=uid, giver=giver.digest,
                tie=Tie.PARENT,
            ), held  # fmt: skip
        return Draft(
            id=held.id, digest=held.digest, kind=SessionKind.BROWSER, uid=uid, methods=(Method.PASSWORD,)
        ), held  # fmt: skip

    def _hold(self, held: Held) -> None:
        self.held.append(held)
        self._places[held.digest] = held.partition

    def partition_of(self, digest: bytes) -> str:
        return self._places[digest]

    def process(self, index: int) -> Process:
        return self.cli if index < 0 else self.nodes[index % len(self.nodes)]

    # -- actions ------------------------------------------------------------------------------------------------

    def check(self, node: int, session: int, touch: bool) -> None:
        self.nodes[node % len(self.nodes)].check(self.held[session % len(self.held)], touch=touch)

    def revoke(self, by: int, target: str, which: int) -> None:
        """One session, all of a principal's, or everybody's."""
        process = self.process(by)
        held = self.held[which % len(self.held)]
        end: End
        partitions: tuple[str, ...]
        if target == "session":
            end, name, partitions = End(session=held.id, cause="x"), held.name, (held.partition,)
        elif target == "everyone":
            end, name, partitions = End(everyone=EVERYBODY, cause="x"), "everyone", self.partitions
        else:
            status = Status.DISABLED if target == "disable" else None
            uid = held.uids[-1]
            end, name, partitions = End(uid=uid, status=status, cause="x"), f"all of {uid[-5:]}", self.partitions
        revocation = self.parts.revocation(self, process, end, name, partitions)
        self.oracle.revocations.append(revocation)
        process.run("requests", self.loop.start, revocation.run())

    def sign_in(self, node: int, partition: int, who: int, thinking: int) -> None:
        process = self.nodes[node % len(self.nodes)]
        place = self.partitions[partition % len(self.partitions)]
        process.run("requests", self.loop.start, self._sign_in(process, place, PEOPLE[who % len(PEOPLE)], thinking))

    async def _sign_in(self, node: Node, partition: str, who: str, thinking: int) -> None:
        fence: Fence
        try:
            fence, read = await node.ask(partition, lambda e, reply: e.fence(partition, who, reply))
            await node.sleep(thinking / 1e9)
            draft, held = self._draft(partition, who)
            held.fenced = read
            if self.parts.fenced:
                draft = msgspec.structs.replace(draft, fence=fence)
            await node.ask(partition, lambda e, reply: e.begin(partition, draft, reply))
        except SessileError:
            return
        self._hold(held)
        node.say(f"signed in: {held.name}")

    def probe(self, revocation: Revocation) -> None:
        """Just after it returned, and some time later, everybody asks for what it ended."""
        for held in self.held:
            if revocation.covers(held):
                for node in self.nodes:
                    self.loop.after(1, lambda n=node, h=held: n.check(h, touch=False))
                    if self.random.random() < 0.3:
                        later = between(self.random, 0, self.delta)
                        self.loop.after(later, lambda n=node, h=held: n.check(h, touch=False))

    def stop(self, process: int, duration: int) -> None:
        self.process(process).stop(duration)

    def cut(self, node: int) -> None:
        for link in self.nodes[node % len(self.nodes)].links.values():
            if link.connection is not None:
                self.loop.say("network", f"cuts {link.connection.name}")
                link.connection.cut()

    def swap(self, node: int) -> None:
        for link in self.nodes[node % len(self.nodes)].links.values():
            if link.connection is not None:
                self.loop.say("network", f"swaps {link.connection.name}")
                link.connection.swap()

    def part(self, one: int, other: int, duration: int) -> None:
        process, engine = self.process(one), self.engines[other % len(self.engines)]
        self.loop.say("network", f"parts {process.name} and {engine.name} for {duration // MS} ms")
        self.network.part(process.name, engine.name, duration)

    def part_standby(self, which: int, duration: int) -> None:
        """One that confirms nothing, and falls behind."""
        name = f"r{which + 1}"
        self.loop.say("network", f"parts {name} and {self.engines[0].name} for {duration // MS} ms")
        self.network.part(name, self.engines[0].name, duration)

    def part_nodes(self, engine: int, duration: int) -> None:
        """Every node from an engine, which the command line still reaches."""
        for node in range(len(self.nodes)):
            self.part(node, engine, duration)

    def fork(self, node: int) -> None:
        parent = self.nodes[node % len(self.nodes)]
        if not parent.stopped and len(self.nodes) < 5:
            parent.say("forks")
            self.nodes.append(parent.fork())

    def change_delta(self, to: int) -> None:
        self.cli.run("requests", self.loop.start, self.parts.change(self, self.cli, to))

    def restart(self, engine: int, down: int, back: float) -> None:
        """The engine dies, and starts again from what it has, or from a copy of some time ago (`back` from 0 to 1)."""
        one = self.engines[engine % len(self.engines)]
        if not one.alive or self.quorum:
            return
        saves = one.saves[: max(1, round(len(one.saves) * (1 - back)))]
        older = len(saves) < len(one.saves)
        self.went_back = self.went_back or older
        parts = {name: part.copy() for name, part in (saves[-1] if older else one.partitions).items()}
        self.loop.say(one.name, f"dies; starts again at {[part.mark.number for part in parts.values()]}")
        one.stop()
        self.loop.after(down, one.restart, parts)

    def failover(self, isolate: int, lag: int, demote: int) -> None:
        """A replica is made primary while the old one lives on, cut off from some; the other replica turns later."""
        old = self.engines[0]
        if len(self.engines) > 1 or old.replicas is None:
            return
        if self.standbys:
            self._promote(old, isolate, lag, demote)
            return
        self.went_back = True
        promoted, other = old.replicas
        new = self.parts.engine(self.loop, "e2", promoted.promote())
        former = Replica(self.loop, old.name, self.network.up)
        new.replicas = [other, former]
        new.restart(new.partitions)
        self.engines.append(new)
        self._cut_off(old, [*(n.name for n in self.nodes), "cli", "r2"], isolate, demote)
        self.loop.say(new.name, "is made primary")

        def turn() -> None:
            other.follow(new)
            self.loop.say(other.name, f"follows {new.name}")

        def demoted() -> None:
            old.primary = False
            former.follow(new)
            self.loop.say(old.name, f"follows {new.name}")

        self.loop.after(lag, turn)
        self.loop.after(max(demote, lag), demoted)

    def _cut_off(self, old: Engine, names: list[str], mask: int, duration: int) -> None:
        cut_off = [name for i, name in enumerate(names) if mask >> i & 1]
        self.loop.say(old.name, f"is cut off from {cut_off}")
        for name in cut_off:
            self.network.part(name, old.name, duration)

    def _promote(self, old: Engine, isolate: int, lag: int, demote: int) -> None:
        """As a failover manager does: no standby hears of the old primary any more, which lives on; the one that has
        most is made primary; later the other one follows it, and at last the old one."""
        standbys = [one for one in old.replicas or () if isinstance(one, Standby)]
        self._cut_off(old, ["r1", "r2", *(n.name for n in self.nodes), "cli"], 0b11 | isolate << 2, lag + demote)
        former = self.parts.standby(self.loop, old.name, self.network.up)

        def promoted() -> None:
            best, other = sorted(standbys, key=lambda one: one.version, reverse=True)
            new = self.parts.primary(self.loop, "e2", best.promote())
            new.replicas = [other, former]
            new.restart(new.partitions)
            self.engines.append(new)
            self.loop.say(new.name, f"is made primary with what {best.name} has")
            self.loop.after(demote // 2, other.follow, new)
            self.loop.after(demote, demoted, new)

        def demoted(new: Engine) -> None:
            old.primary = False
            former.follow(new)

        self.loop.after(lag // 4, promoted)

    def move(self, partition: int) -> None:
        """A partition moves to the other engine."""
        place = self.partitions[partition % len(self.partitions)]
        if len(self.partitions) < 2:
            return
        holder = next(e for e in self.engines if place in e.partitions)
        taker = next(e for e in self.engines if e is not holder)
        taker.partitions[place] = holder.partitions.pop(place)
        self.loop.say(holder.name, f"gives partition {place} to {taker.name}")
