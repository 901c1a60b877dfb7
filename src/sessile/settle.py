"""The revoker's side: repeat an ending until the engine acknowledges it, then wait until no node can go by what it was.

No I/O and no clock of its own: the authority gives it asyncio's sleep and the system's clock, the simulator its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sessile.errors import RevocationUncertain, StoreUnavailable
from sessile.trust import settle

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]
"""Seconds, as `asyncio.sleep`."""

PATIENCE_NS = 10_000_000_000
ATTEMPTS = 15
_FIRST_PAUSE_NS = 50_000_000
_LONGEST_PAUSE_NS = 1_000_000_000


async def acknowledged(
    attempt: Callable[[], Awaitable[T]], *, elapsed: Callable[[], int], sleep: Sleep, patience: int = PATIENCE_NS
) -> tuple[T, int]:
    """Repeat `attempt`, which is idempotent, until it returns. A connection that dies during a commit leaves the
    outcome unknown, and only an acknowledgement of one's own begins the wait (review 8).

    Returns:
        What it returned, and the instant at which that was received (nanoseconds of `elapsed`).

    Raises:
        RevocationUncertain: no acknowledgement within `patience` (nanoseconds) or `ATTEMPTS`.
    """
    began = elapsed()
    pause = _FIRST_PAUSE_NS
    for attempts in itertools.count(1):
        try:
            result = await attempt()
        except StoreUnavailable as error:
            if elapsed() - began + pause > patience or attempts == ATTEMPTS:
                raise RevocationUncertain(
                    "the store did not acknowledge the revocation, which may or may not be in force: repeat it"
                ) from error
        else:
            return result, elapsed()
        await sleep(pause / 1e9)
        pause = min(2 * pause, _LONGEST_PAUSE_NS)
    raise AssertionError("unreachable")


async def settled(
    since: int, delta: int, *, drift: float, elapsed: Callable[[], int], sleep: Sleep, margin: int = 10_000_000
) -> None:
    """Return when `settle` has passed since the acknowledgement that was received at `since`."""
    left = since + settle(delta, drift, margin) - elapsed()
    if left > 0:
        await sleep(left / 1e9)
