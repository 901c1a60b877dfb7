"""Until when a node may answer from its near cache: the protocol between a node and an engine that it follows.

Pure: no I/O and no clock; instants are nanoseconds of `Clock.elapsed`, given by the caller.

The engine sends invalidations over one ordered connection. The node pings over that same connection. When the
answer to a ping that was sent at *t* arrives, every invalidation acknowledged before *t* has arrived too, so
the cache is right as of *t*, and the node may trust it until *t* + Δ. Whoever revokes waits Δ after the engine's
acknowledgement: a node that missed the message has by then stopped trusting its cache.

What would break the argument, and is looked for here: an answer from another connection or another engine
(identity), from an engine that went back in time (mark), from one that lost its primacy (the store answers the
ping with `lost`), a subscription that is gone while the socket lives (the store's ping proves the subscription),
trust counted from the answer's arrival instead of the ping's sending.

A late answer suspends trust and drops nothing: on an unbroken connection all invalidations still arrive in
order. Only a disconnect, a gap or another identity drops the cache.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sessile.near import NearCache


class Facts(msgspec.Struct, frozen=True):
    """What an engine says of itself with every answer to a ping."""

    identity: str
    """Which engine, in which life: it changes at a failover and where a restart may have lost something."""
    mark: int
    """The number of the last ending in force."""
    delta: int
    """Δ of the store, in nanoseconds: a fact of the store, the same for all."""


class Trust:
    """One node's trust in one ordered connection to one engine (or one partition of it)."""

    __slots__ = ("_expected", "_mark", "_near", "_own_delta", "_pings", "deadline", "identity")

    def __init__(self, near: NearCache, *, own_delta: int | None = None) -> None:
        self._near = near
        self._own_delta = own_delta
        self.deadline = 0
        """A check may be answered from the cache while the clock, read after the look-up, is below this."""
        self.identity: str | None = None
        self._mark = 0
        self._pings: dict[int, int] = {}
        self._expected = 0

    @property
    def mark(self) -> int:
        """The highest mark that any engine has told: one that answers with less went back in time."""
        return self._mark

    def connected(self, facts: Facts) -> bool:
        """The connection stands, its subscription was proved, nothing was read through it yet.

        Returns whether this engine may be followed. False: it went back in time; what it lost must be applied
        again (from the journal) before anybody is accepted.
        """
        self.lost()
        if facts.mark < self._mark:
            return False
        self.identity, self._mark = facts.identity, facts.mark
        return True

    def ping(self, sent: int) -> int:
        """A ping is about to be handed to the connection; `sent` was read before. Returns its number."""
        self._expected += 1
        self._pings[self._expected] = sent
        return self._expected

    def invalidated(self, objects: Iterable[str], mark: int | None = None) -> None:
        """An invalidation arrived. Apply it in wire order, in the same turn in which it was read."""
        if mark is not None and mark > self._mark:
            self._mark = mark
        self._near.apply(self._mark, objects)

    def pong(self, number: int, facts: Facts) -> bool:
        """The answer to a ping arrived on the connection. Returns False, and trusts nothing, if it tells of
        another engine or of one that went back: the caller disconnects."""
        sent = self._pings.pop(number, None)
        if self.identity is None or sent is None:
            return False
        if facts.identity != self.identity or facts.mark < self._mark:
            self.lost()
            return False
        self._mark = facts.mark
        delta = facts.delta if self._own_delta is None else min(self._own_delta, facts.delta)
        self.deadline = max(self.deadline, sent + delta)
        for earlier in [n for n in self._pings if n < number]:
            del self._pings[earlier]
        return True

    def lost(self) -> None:
        """The connection, its subscription or the engine's primacy is gone, or a message may be missing."""
        self.deadline = 0
        self.identity = None
        self._pings.clear()
        self._near.drop(self._mark)


def settle(delta: int, drift: float, margin: int = 10_000_000) -> int:
    """How long an ending operation waits after its own received acknowledgement, in nanoseconds.

    Δ by the slowest clock that is within `drift` of the revoker's, and a margin. Also for one that found
    nothing to end: another revoker's receipt is not its own.
    """
    return 0 if delta == 0 else int(delta * (1 + 2 * drift)) + margin
