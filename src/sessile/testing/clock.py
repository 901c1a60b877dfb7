"""Time that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_MICROSECOND = timedelta(microseconds=1)


class ManualClock:
    """A `sessile.clock.Clock`. Both of its clocks stand still; `advance` moves them together."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Start at `start`, an aware datetime."""
        self._now = start.astimezone(UTC)
        self._elapsed = 1_000_000_000

    def now(self) -> datetime:
        return self._now

    def elapsed(self) -> int:
        return self._elapsed

    def advance(self, by: timedelta) -> None:
        """Let time pass.

        Raises:
            ValueError: `by` is negative: only the wall clock may go back (`step_wall`).
        """
        if by < timedelta(0):
            raise ValueError("time does not go back; step_wall() sets the wall clock back")
        self._now += by
        self._elapsed += by // _MICROSECOND * 1000

    def step_wall(self, by: timedelta) -> None:
        """Set the wall clock forward or back, as an operator or NTP would; no time passes."""
        self._now += by

    def __repr__(self) -> str:
        return f"ManualClock({self._now.isoformat()})"
