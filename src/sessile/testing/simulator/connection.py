"""The invalidation connection of a node, and a node's side of it: connect, look at the engine, read, ping, give up.

This is the part that a store writes around `Follower`, step by step as `sessile.follow` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessile.follow import Follower
from sessile.testing.simulator.engine import Acknowledged, Behind, Engine
from sessile.testing.simulator.loop import MS
from sessile.testing.simulator.network import Channel
from sessile.trust import Facts, Mark

if TYPE_CHECKING:
    from sessile.testing.simulator.node import Node


class Connection:
    """Ordered in both directions."""

    def __init__(self, link: Link, engine: Engine, number: int) -> None:
        node = link.node
        self.engine = engine
        self.identity = engine.identity
        self.partition = link.partition
        self.name = f"{node.name}-{engine.identity}-{link.partition}#{number}"
        self.first_name = self.name
        """As the node was told when it opened it, before it subscribed."""
        self.subscribed = False
        self.readers = [link]
        self._out = Channel(node.network, node.name, engine.name, f"{self.name} out")
        self._back = Channel(node.network, engine.name, node.name, f"{self.name} back")
        engine.connections.append(self)

    def to_engine(self, kind: str, *args: Any) -> None:
        self._out.send(self._at_engine, kind, args)

    def _at_engine(self, kind: str, args: tuple[Any, ...]) -> None:
        engine = self.engine
        if not engine.holds(self.partition):
            # MOVED, CLUSTERDOWN, a replica's role: the end of this connection's trust.
            self.to_node("refused")
        elif kind == "subscribe":
            self.subscribed = True
        elif kind == "ask":
            (known,) = args
            past = engine.partitions[self.partition].past(known.number)
            engine.pinged(self, lambda facts: self.to_node("told", known, facts, past))
        else:
            (number,) = args
            engine.pinged(self, lambda facts: self.to_node("pong", number, facts))

    def to_node(self, kind: str, *args: Any) -> None:
        self._back.send(self._at_node, kind, args)

    def _at_node(self, kind: str, args: tuple[Any, ...]) -> None:
        # One reader; but a socket that a fork has shared delivers to whoever comes first.
        link = self.readers[0] if len(self.readers) == 1 else self.readers[0].node.random.choice(self.readers)
        link.node.run(f"connection {link.partition}", link.receive, self, kind, args)

    def cut(self) -> None:
        """A reset: the engine forgets it, the node learns of it after what had arrived."""
        if self not in self.engine.connections:
            return
        self.engine.connections.remove(self)
        self._out.closed = True
        self._back.send(self._at_node, "closed", ())

    def swap(self) -> None:
        """A driver or a pooler has put another connection in its place and told nobody: none is subscribed on it."""
        if self in self.engine.connections:
            self.subscribed = False
            self.name += "'"

    def close(self) -> None:
        """By the node."""
        self._back.closed = self._out.closed = True
        if self in self.engine.connections:
            self.engine.connections.remove(self)


class Link:
    """One node's following of one partition: the task that reads the connection, and the one that pings."""

    connection_type: type[Connection] = Connection

    def __init__(self, node: Node, partition: str, follower: Follower) -> None:
        self.node = node
        self.partition = partition
        self.follower = follower
        self.connection: Connection | None = None
        self._number = 0
        self._ready = False

    def connect(self) -> None:
        engine = self.node.target(self.partition)
        if engine is None:
            self._again()
            return
        self._number += 1
        connection = self.connection = self.connection_type(self, engine, self._number)
        self._ready = False
        connection.to_engine("subscribe")
        self._ask(connection)
        self.node.timer(2_500 * MS, self._patience, connection)

    def _ask(self, connection: Connection) -> None:
        connection.to_engine("ask", self.follower.known)

    def _patience(self, connection: Connection) -> None:
        if self.connection is connection and not self._ready:
            self.give_up()

    def receive(self, connection: Connection, kind: str, args: tuple[Any, ...]) -> None:
        """One message, in wire order, to its end."""
        if connection is not self.connection:
            return
        if kind == "invalidated":
            self.node.heard(self.partition, connection.identity, args[1])
            self.invalidated(*args)
        elif kind == "pong":
            self.node.heard(self.partition, connection.identity, Mark(args[1].mark))
            self.pong(*args)
        elif kind == "told":
            self.look(connection, *args)
        else:
            self.give_up()
            if kind == "refused":
                self.refused()

    def invalidated(self, objects: tuple[str, ...], mark: Mark) -> None:
        self.follower.invalidated(objects, mark)

    def pong(self, number: int, facts: Facts) -> None:
        if not self.follower.pong(number, facts):
            self.give_up()

    # -- set-up -------------------------------------------------------------------------------------------------

    def look(self, connection: Connection, known: Mark, facts: Facts, past: str | None) -> None:
        """The engine told about itself. The journal is read after that: what an earlier life or an earlier primary
        acknowledged was in it by then."""
        journal = self.node.world.journal
        if not self.same(connection, facts):
            self.give_up()
        elif journal is None:
            self._looked(connection, known, facts, past, 0)
        else:
            self.node.call_journal(
                lambda: len(journal[self.partition]),
                lambda head: self._looked(connection, known, facts, past, head),
            )

    def same(self, connection: Connection, facts: Facts) -> bool:
        """Whether it is still the connection on which the node subscribed."""
        return facts.connection == connection.first_name

    def _looked(self, connection: Connection, known: Mark, facts: Facts, past: str | None, head: int) -> None:
        if connection is not self.connection:
            return
        self.node.heard(self.partition, connection.identity, Mark(facts.mark))
        if self.follower.set_up(known, facts, past, journal=head):
            self.begin(connection)
        elif head:
            self.node.say(f"{self.partition}: {facts.identity} is behind ({facts.mark} < {head})")
            self._apply(connection, facts.mark + 1, head)
        elif self.node.world.journal is None:
            self.node.say(f"{self.partition}: {facts.identity} went back")
            self.node.call(
                connection.engine,
                self.partition,
                lambda engine, reply: engine.raise_everyone(self.partition, reply),
                lambda _: self._adopt(connection),
                lambda: self.give_up(),
            )
        else:
            self.give_up()

    def _apply(self, connection: Connection, number: int, head: int) -> None:
        """Apply the rows that are missing, in order, and look again."""
        journal = self.node.world.journal
        if connection is not self.connection or journal is None:
            return
        if number > head:
            self._ask(connection)
            return
        end = journal[self.partition][number - 1]

        def answered(answer: Acknowledged | Behind) -> None:
            self._apply(connection, number + 1 if isinstance(answer, Acknowledged) else answer.mark + 1, head)

        self.node.call(
            connection.engine,
            self.partition,
            lambda engine, reply: engine.end(self.partition, end, number, reply),
            answered,
            self.give_up,
        )

    def _adopt(self, connection: Connection) -> None:
        """Everybody was ended there: ask once more, and follow."""
        if connection is not self.connection:
            return
        engine = connection.engine
        self.node.call(
            engine,
            self.partition,
            lambda engine, reply: reply(engine.facts(self.partition, connection.name)),
            lambda facts: self._adopted(connection, facts),
            self.give_up,
        )

    def _adopted(self, connection: Connection, facts: Facts) -> None:
        if connection is self.connection:
            self.follower.adopt(facts)
            self.begin(connection)

    # -- pings --------------------------------------------------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        self._ready = True
        self.node.say(f"{self.partition}: follows {connection.engine.identity} at {self.follower.known.number}")
        self._ping(connection)

    def _ping(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        now = self.node.clock.elapsed()
        if self.follower.overdue(now):
            self.give_up()
            return
        if self.follower.due(now) <= now:
            connection.to_engine("ping", self.ping(now))
        self.node.timer(max(1, self.follower.due(now) - now), self._ping, connection)

    def ping(self, now: int) -> int:
        return self.follower.ping(now)

    def give_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        self.node.say(f"{self.partition}: lost {connection.engine.identity}")
        connection.close()
        self.lost()
        self._again()

    def lost(self) -> None:
        self.follower.lost()

    def refused(self) -> None:
        self.follower.moved()

    def _again(self) -> None:
        pause = self.follower.backoff(self.node.random.random())
        self.node.timer(int(pause * 1e9), self.connect)
