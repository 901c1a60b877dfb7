"""Until when a node may answer from its near cache: the protocol between a node and an engine that it follows.

Pure: no I/O and no clock; instants are nanoseconds of `Clock.elapsed`, given by the caller. What a store does
around it is in `sessile.follow`; the argument in full, and what was tried against it, in `docs/proof.md`.

The engine sends invalidations over one ordered connection. The node pings over that same connection. When the
answer to a ping that was sent at *t* arrives, every invalidation acknowledged before *t* has arrived too, so
the cache is right as of *t*, and the node may trust it until *t* + Δ. Whoever revokes waits Δ after the engine's
acknowledgement: a node that missed the message has by then stopped trusting its cache.

What would break the argument, and is looked for here: an answer from another connection or another engine
(`Facts.connection`, `Facts.identity`), from an engine that went back in time (mark and head), from one that lost
its primacy (the store gives such an answer to nobody), a subscription that is gone while the socket lives (the
store's ping proves the subscription), trust counted from the answer's arrival instead of the ping's sending.

A late answer suspends trust and drops nothing: on an unbroken connection all invalidations still arrive in
order. Only a disconnect, a gap or another identity drops the cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

import msgspec

from sessile.near import NearCache


class Mark(NamedTuple):
    """A row of the journal of endings, all of whose predecessors are in force where it is."""

    number: int
    head: str = ""
    """A random value of the row: tells it from the row of that number in another history (a restored engine that
    has gone on since). Empty where the numbers are given out elsewhere, by the directory's journal: a store has
    heads always or never."""


class Facts(msgspec.Struct, frozen=True):
    """What an engine says of itself with every answer to a ping."""

    identity: str
    """Which engine, in which life: it changes at a failover and at every restart."""
    mark: int
    """The number of the last ending in force, and of none before it is one missing."""
    delta: int
    """Δ of the store, in nanoseconds: a fact of the store, the same for all."""
    head: str = ""
    """See `Mark`."""
    connection: str = ""
    """Which connection answered, and that it is subscribed, as the engine names it (backend pid and channels,
    client id): a driver that reconnects below us is found out."""


class Trust:
    """One node's trust in one ordered connection to one engine (or one partition of it)."""

    __slots__ = (
        "_announced", "_connection", "_debt", "_gapless", "_near", "_own_delta", "_pings", "_sent", "_whole",
        "deadline", "identity", "known",
    )  # fmt: skip

    def __init__(
        self, near: NearCache, *, own_delta: int | None = None, whole: str | None = None, gapless: bool = False
    ) -> None:
        """`own_delta`: a smaller Δ for this process's own trust, in nanoseconds; a larger one has no effect.
        `whole`: the object under which all entries of this partition are registered; None: all that there are.
        `gapless`: every row of the journal is announced with its number, in order, also one that touched nothing; a
        row that is told of and was not announced is then a gap. It finds a partition that was elsewhere for a while
        and came back between two pings.
        """
        self._near = near
        self._own_delta = own_delta
        self._whole = whole
        self._gapless = gapless
        self._announced = 0
        self._debt: int | None = None
        """The last ping that was under way when a row was found to be missing: after its answer it is a gap."""
        self.deadline = 0
        """A check may be answered from the cache while the clock, read after the look-up, is below this."""
        self.identity: str | None = None
        self.known = Mark(0)
        """The last ending known to be in force, by whichever way. What says less of a later time went back."""
        self._connection = ""
        self._pings: dict[int, tuple[int, Mark]] = {}
        self._sent = 0

    def learn(self, mark: Mark) -> None:
        """An ending is known to be in force: it was read, announced, or acknowledged to this node."""
        if mark.number > self.known.number:
            self.known = mark

    def connected(self, facts: Facts) -> None:
        """The connection stands, its subscription was proved, nothing was read through it yet. Whether this engine
        may be followed at all is for the caller to know (`Follower.set_up`)."""
        # What was announced on it while it was being looked at came after what it told.
        announced = self._announced
        self.lost()
        self.identity, self._connection = facts.identity, facts.connection
        self._announced, self._debt = max(announced, facts.mark), None
        self.learn(Mark(facts.mark, facts.head))

    def ping(self, sent: int) -> int:
        """A ping is about to be handed to the connection; `sent` was read before. Returns its number."""
        self._sent += 1
        self._pings[self._sent] = (sent, self.known)
        return self._sent

    @property
    def unanswered(self) -> int | None:
        """When the oldest ping without an answer was sent."""
        return next(iter(self._pings.values()))[0] if self._pings else None

    def invalidated(self, objects: Iterable[str], mark: Mark | None = None, previous: int | None = None) -> None:
        """An invalidation arrived. Apply it in wire order, in the same turn in which it was read. Without `mark` it is
        only applied: also for an ending of this node's own, as soon as that is acknowledged. `previous`: the row before
        it, where a partition has not every number."""
        if mark is not None:
            self.learn(mark)
            before = mark.number - 1 if previous is None else previous
            if self._gapless and self.identity is not None and before > self._announced:
                self.lost()
                return
            if mark.number > self._announced:
                self._announced, self._debt = mark.number, None
        self._near.apply(self.known.number, objects)

    def pong(self, number: int, facts: Facts) -> bool:
        """The answer to a ping arrived on the connection. Returns False, and trusts nothing, if it tells of
        another engine or connection, or of one that went back: the caller disconnects."""
        ping = self._pings.pop(number, None)
        if self.identity is None or ping is None:
            return False
        sent, known = ping
        if (
            facts.identity != self.identity
            or facts.connection != self._connection
            # Compared with what was known when the ping was sent: an ending that is announced while the ping is
            # being answered may overtake an answer that was computed before it.
            or went_back(known, Mark(facts.mark, facts.head))
        ):
            self.lost()
            return False
        self.learn(Mark(facts.mark, facts.head))
        if self._gapless and facts.mark > self._announced:
            # The answer was quicker than the announcement, or that never came: the next but these will tell.
            if self._debt is not None and number > self._debt:
                self.lost()
                return False
            self._debt = self._sent if self._debt is None else self._debt
            return True
        delta = facts.delta if self._own_delta is None else min(self._own_delta, facts.delta)
        self.deadline = max(self.deadline, sent + delta)
        for earlier in [n for n in self._pings if n < number]:
            del self._pings[earlier]
        return True

    def lost(self) -> None:
        """The connection, its subscription or the engine's primacy is gone, or a message may be missing."""
        self.deadline = 0
        self.identity = None
        self._announced = 0
        self._pings.clear()
        if self._whole is None:
            self._near.drop(self.known.number)
        else:
            self._near.apply(self.known.number, (self._whole,))


def went_back(known: Mark, told: Mark) -> bool:
    """Whether an engine that tells `told`, asked after `known` was in force, has lost something since."""
    return told.number < known.number or (told.number == known.number and told.head != known.head)


class Delta(msgspec.Struct, frozen=True):
    """Δ as the store holds it, in nanoseconds: what nodes trust by (told with every pong) and what endings wait for
    (read in their own transaction). They differ only while Δ is being changed, and then `wait` is the larger one."""

    trust: int
    wait: int


def change_delta(now: Delta, to: int) -> tuple[Delta, Delta]:
    """Change Δ in two writes. The second is due when `settle(first.wait, …)` has passed since the acknowledgement of
    the first, and only if what is stored is still the first."""
    return Delta(min(now.trust, to), max(now.wait, to)), Delta(to, to)


def settle(delta: int, drift: float, margin: int = 10_000_000) -> int:
    """How long an ending operation waits after its own received acknowledgement, in nanoseconds.

    Δ by the slowest clock, measured by the fastest, where each keeps true time within `drift`; and a margin. Also
    for one that found nothing to end: another revoker's receipt is not its own.
    """
    return 0 if delta == 0 else ceil(delta * (1 + drift) / (1 - drift)) + margin
