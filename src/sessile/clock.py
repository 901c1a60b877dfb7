"""Time, as the authority and the local stores read it. Tests pass a clock of their own (`sessile.testing`)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

# CLOCK_BOOTTIME goes on while the machine is suspended; Python's monotonic clock does not on Linux, and a
# laptop that wakes up must not believe that no time has passed.
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall clock, aware UTC."""

    def elapsed(self) -> int:
        """Nanoseconds that never go back, suspension included where the system can tell."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> int:
        return time.monotonic_ns() if _BOOTTIME is None else time.clock_gettime_ns(_BOOTTIME)
