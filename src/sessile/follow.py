"""What a store does between an engine and the near cache, without the bytes: one node's following of one engine.

Pure: no I/O, no clock, no randomness; instants are nanoseconds of `Clock.elapsed`, given by the caller. The stores
for PostgreSQL and Redis drive it, and so does the simulator (`sessile.testing.simulator`): what is proved is what runs.

How to drive it, with `clock.elapsed()` read where `now` stands:

1. Open a connection that is yours alone, ask who it is, subscribe, prove the subscription. Then, in this order:
   `known = follower.known`; ask the engine, over this connection (with `quorum`: by a write that the majority
   acknowledges) for its `Facts` and for the head of its row `known.number`; if `Facts.connection` is not who it was,
   close it; read the head of the journal, where that lies beside the engine; `set_up(known, …)`. False: the engine
   lacks endings that were acknowledged. Apply the missing rows of the journal again, in order, and ask anew; where
   the journal is in the engine itself, end everybody's sessions in it, once, and `adopt` it.
2. One task reads the connection. It gives every message to `invalidated` or `pong` in wire order, in the turn in
   which it was read, and never awaits in between.
3. At `due(now)` send a ping: `number = follower.ping(now)` first, then the bytes. An answer without its quorum is
   no answer: do not give it to `pong`.
4. If `pong` returns False, if the connection ends, if `overdue(now)`: close it, `lost()`, wait `backoff(random())`
   seconds, go to 1. If the engine says that it is primary no more: the same. If it does not hold the partition:
   `moved()`, and to 1 with the one that does.
5. `Store.current(now)` is `now < follower.trust.deadline` and nothing else.
6. A read, over any other connection: `asked = follower.asking(now)`; read, with the identity of the engine that
   answered and its mark; `admits(asked, …)` or StoreUnavailable.
7. An ending: `acknowledged(mark)` when its own acknowledgement arrives.
8. In the child of a fork: `lost()`, and sockets are closed without a goodbye.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sessile.near import NearCache
from sessile.trust import Facts, Mark, Trust, went_back

PINGS_PER_DELTA = 4
"""How often a node pings within Δ: so many answers in a row must be late before trust is suspended."""
OVERDUE_DELTAS = 4
"""A connection that owes an answer for so many Δ is given up."""
OVERDUE_AT_LEAST = 2_000_000_000
_BACKOFF = (0.05, 1.0)


class Asked(NamedTuple):
    """A read that is under way: what was known when it began."""

    started: int
    known: Mark
    vetted: str | None
    """The engine, in its life, that was looked at by then. What was read before it had caught up counts for nothing."""


class Follower:
    """One node's following of one engine, or of one partition of it."""

    __slots__ = ("_delta", "_failures", "_next", "_vetted", "quorum", "trust")

    def __init__(
        self, near: NearCache, *, quorum: bool = False, own_delta: int | None = None, whole: str | None = None,
        gapless: bool = False,
    ) -> None:  # fmt: skip
        """`quorum`: every ping is a write that a majority has to acknowledge, and a read counts only under the trust
        that such a ping gave (reach `quorum`). The rest: see `Trust`.
        """
        self.trust = Trust(near, own_delta=own_delta, whole=whole, gapless=gapless)
        self.quorum = quorum
        self._vetted: str | None = None
        self._delta = 0
        self._next = 0
        self._failures = 0

    # -- the connection -----------------------------------------------------------------------------------------

    @property
    def known(self) -> Mark:
        """The last ending known to be in force. Read it before an engine is asked for its facts."""
        return self.trust.known

    def set_up(self, known: Mark, facts: Facts, past: str | None = "", *, journal: int = 0) -> bool:
        """A connection was opened, its subscription proved, its engine asked.

        Args:
            known: `Follower.known` from before the engine was asked.
            past: the head of the engine's row `known.number`; None: it has none. If it was swept since (the
                engine's oldest row has a higher number), or there are no heads, give `known.head`.
            journal: the number of the last row of a journal that lies beside the engine.

        Returns:
            Whether it may be followed and read. False: it lacks what this node, or the journal, knows was in force.
        """
        told = Mark(facts.mark, facts.head)
        if went_back(known, told) or past != known.head or facts.mark < journal:
            self.lost()
            self._vetted = None
            return False
        self._follow(facts)
        return True

    def adopt(self, facts: Facts) -> None:
        """Follow an engine that went back, after all that could come back was ended in it for good: what it lost is
        not asked for any more. `facts` are from after that."""
        self.lost()
        self.trust.known = Mark(facts.mark, facts.head)
        self._follow(facts)

    def _follow(self, facts: Facts) -> None:
        self.trust.connected(facts)
        self._vetted = facts.identity
        self._delta = facts.delta
        self._next = 0

    def invalidated(self, objects: Iterable[str], mark: Mark | None = None, previous: int | None = None) -> None:
        """An invalidation arrived: of these objects (`all`: of everything), by this row of the journal, after
        `previous`."""
        self.trust.invalidated(objects, mark, previous)

    def due(self, now: int) -> int:
        """When the next ping is to be sent, at the latest; not after `now` if at once."""
        return self._next

    def ping(self, now: int) -> int:
        """A ping is about to be handed to the connection. Returns its number, which the answer has to name."""
        self._next = now + max(1, self._delta // PINGS_PER_DELTA)
        return self.trust.ping(now)

    def pong(self, number: int, facts: Facts) -> bool:
        """The answer to a ping, whole. False: close the connection."""
        if not self.trust.pong(number, facts):
            self.lost()
            # Its reads count for nothing either, until it was looked at again.
            self._vetted = None
            return False
        self._delta = facts.delta
        self._failures = 0
        return True

    def overdue(self, now: int) -> bool:
        """Whether the connection is to be given up for dead. Ask after what it has delivered was read."""
        oldest = self.trust.unanswered
        return oldest is not None and now - oldest > max(OVERDUE_AT_LEAST, OVERDUE_DELTAS * self._delta)

    def lost(self) -> None:
        """The connection is gone, or what makes it count."""
        self.trust.lost()

    def moved(self) -> None:
        """The engine says that it does not hold the partition any more: neither its memory nor its reads count until
        the one that does was looked at."""
        self.lost()
        self._vetted = None

    @property
    def followed(self) -> bool:
        """Whether an engine was looked at, and its connection lives."""
        return self.trust.identity is not None

    def backoff(self, random: float) -> float:
        """Seconds to wait before the next attempt to connect; `random` is from 0 to 1."""
        low, high = _BACKOFF
        self._failures += 1
        return min(high, low * 2.0 ** min(self._failures - 1, 10)) * (0.5 + random / 2)

    # -- reading and ending -------------------------------------------------------------------------------------

    def asking(self, now: int) -> Asked:
        """A read of the store begins."""
        return Asked(now, self.trust.known, self._vetted)

    def admits(self, asked: Asked, identity: str, mark: Mark) -> bool:
        """Whether what was read counts: it came from an engine, in a life of it, that had been looked at before, which
        still has what was known, and (with `quorum`) behind which a majority stood.

        False means StoreUnavailable. With `quorum`, and nothing else against it, the next pong may make it True.
        """
        if identity != self._vetted or identity != asked.vetted or went_back(asked.known, mark):
            return False
        if self.quorum and asked.started >= self.trust.deadline:
            return False
        self.trust.learn(mark)
        return True

    def acknowledged(self, mark: Mark) -> None:
        """An ending of this node's own is in force."""
        self.trust.learn(mark)
