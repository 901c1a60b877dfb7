"""Time, as the authority and the local stores read it. Tests pass a clock of their own (`sessile.testing`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

# CLOCK_BOOTTIME goes on while the machine is suspended; Python's monotonic clock does not on Linux, and a
# laptop that wakes up must not believe that no time has passed.
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_JUMP_NS = 100_000_000
"""What two clocks of one machine may part by without one of them having been set, or the other having slept."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall clock, aware UTC."""

    def elapsed(self) -> int:
        """Nanoseconds that never go back, suspension included where the system can tell."""


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        if _BOOTTIME is None:
            self.elapsed: Callable[[], int] = Steady(time.monotonic_ns, time.time_ns).elapsed
        else:
            self.elapsed = partial(time.clock_gettime_ns, _BOOTTIME)

    def now(self) -> datetime:
        return datetime.now(UTC)


class Steady:
    """A monotonic clock that stands still while the machine sleeps, with a wall clock beside it that does not: where
    the wall clock has got ahead, that much time is taken to have passed. Setting it ahead does the same, and costs a
    look at the store; setting it back does nothing. Both in nanoseconds.
    """

    def __init__(self, monotonic: Callable[[], int], wall: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._ahead = wall() - monotonic()
        self._slept = 0

    def elapsed(self) -> int:
        steady = self._monotonic()
        ahead = self._wall() - steady
        if ahead > self._ahead + _JUMP_NS:
            self._slept += ahead - self._ahead
        if ahead > self._ahead + _JUMP_NS or ahead < self._ahead - _JUMP_NS:
            self._ahead = ahead
        return steady + self._slept
