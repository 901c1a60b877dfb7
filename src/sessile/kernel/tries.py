"""How often something may be tried: counted before it is done, in the store, so that it holds over all nodes.

A limit is a bucket of `burst` tries that fills up again by one each `every` (the generic cell rate algorithm, whose
whole state is one instant), and where it says so a number of tries without a success in between, after which what is
tried is off (NIST SP 800-63B-4, 3.2.2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256

import msgspec

REMEMBERED = timedelta(days=30)
"""How long tries in a row are counted for what is not `kept`."""
TOLD = timedelta(hours=1)
"""What goes on and on is told in the record once in so long."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, on what `key` names: an opaque digest, so that nothing typed by a stranger is stored.

    Raises:
        ValueError: no try would ever be let through.
    """

    key: bytes
    burst: int = 1
    every: timedelta = timedelta(0)
    """Zero: as often as one likes; only `in_a_row` counts."""
    in_a_row: int | None = None
    """Tries without a success in between before no further one is let through; None: no such end."""
    kept: bool = False
    """The tries in a row are counted until a success or `forget_tries`, however long that takes."""

    def __post_init__(self) -> None:
        if self.burst < 1 or self.every < timedelta(0) or (self.in_a_row is not None and self.in_a_row < 1):
            raise ValueError("a limit lets at least one try through")


def telling(of: bytes) -> Limit:
    """What lets an event be written of this once in `TOLD`, on whichever node, however often it happens."""
    return Limit(key=sha256(of).digest(), every=TOLD)


class Tries(msgspec.Struct, frozen=True):
    """What the store keeps of a limit."""

    full: datetime
    """When the bucket will be full again."""
    in_a_row: int = 0


class Exhausted(msgspec.Struct, frozen=True):
    """No try is left of `limit`."""

    limit: Limit
    wait: timedelta | None
    """Until there is one again; None: not before `forget_tries`."""


def count(tries: Tries | None, limit: Limit, now: datetime) -> Tries | Exhausted:
    """What one more try makes of a limit's state, or that there is none left."""
    known = tries or Tries(now)
    if limit.in_a_row is not None and known.in_a_row >= limit.in_a_row:
        return Exhausted(limit, None)
    full = max(known.full, now) + limit.every
    over = full - now - limit.burst * limit.every
    if over > timedelta(0):
        return Exhausted(limit, over)
    return Tries(full, known.in_a_row + 1)


def succeeded(tries: Tries, limit: Limit) -> Tries:
    """The try that was counted was a success: it is given back, and none are in a row any more."""
    return Tries(tries.full - limit.every, 0)


def kept_until(tries: Tries, limit: Limit) -> datetime | None:
    """From when on the state says nothing; None: it is kept until it is forgotten."""
    if limit.in_a_row is None or tries.in_a_row == 0:
        return tries.full
    return None if limit.kept else tries.full + REMEMBERED
