"""Budgets, counted in each process and added up over all of them once a second.

A process knows what itself let through, and what the others had by their last report. So over all nodes a budget is
exceeded by at most what the others let through in `SYNC_SECONDS` and the report's way; a single process exceeds it by
nothing. A session without a budget pays nothing for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sessile.clock import Clock
from sessile.errors import SessileError
from sessile.kernel.budget import Budget, Standing, minute_ends, minute_of
from sessile.kernel.decide import Snapshot
from sessile.kernel.session import Tie
from sessile.stores import Backend

SYNC_SECONDS: Final = 1.0
"""How often a process reports its calls and hears of the others'."""
_OVERLAP: Final = timedelta(seconds=5)
"""So far back it is asked what changed: a transaction may commit a little after its clock was read."""


class Meter:
    """One budget, as this process knows it."""

    __slots__ = ("budget", "changed", "in_minute", "minute", "overall", "unsent")

    def __init__(self, standing: Standing) -> None:
        self.unsent = 0
        self.minute = 0
        self.in_minute = 0
        self.hear(standing)

    def hear(self, standing: Standing) -> None:
        """What the store has by now; what was counted here and not reported comes on top."""
        self.budget: Budget | None = standing.budget
        self.changed: datetime = standing.changed
        self.overall = standing.overall + self.unsent
        if standing.minute >= self.minute:
            self.minute, self.in_minute = standing.minute, standing.in_minute + self.unsent

    def left(self, minute: int) -> timedelta | bool | None:
        """True: a call more is in the budget. False: none ever. Else it is again in the next minute."""
        budget = self.budget
        if budget is None:
            return True
        if budget.overall is not None and self.overall >= budget.overall:
            return False
        if budget.per_minute is not None and self.minute == minute and self.in_minute >= budget.per_minute:
            return None
        return True

    def count(self, minute: int) -> None:
        if minute != self.minute:
            self.minute, self.in_minute = minute, 0
        self.in_minute += 1
        self.overall += 1
        self.unsent += 1


class Metered:
    """What an entry of the near cache carries whose session, or one above it, has a budget."""

    __slots__ = ("_budgets", "_meters", "touch_at")

    def __init__(self, budgets: Budgets, meters: tuple[Meter, ...], touch_at: int) -> None:
        self._budgets = budgets
        self._meters = meters
        self.touch_at = touch_at
        """When the session's last act is to be written again, nanoseconds of `Clock.elapsed`."""

    def take(self) -> bool:
        """Count a call, if it is in every budget."""
        return self._budgets.take(self._meters)

    def wait(self) -> timedelta | None:
        """After how long there may be another call; None: waiting does not help."""
        return self._budgets.wait(self._meters)


class Budgets:
    """The budgets of all principals, in one process. Callable from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[str, Meter] = {}
        self._heard: datetime | None = None
        self._lock = threading.Lock()

    def of(self, snapshot: Snapshot, touch_at: int) -> Metered | None:
        """The budgets that a call with this session counts for: its principal's, and those of all it acts for."""
        if not self._meters:
            return None
        above = [link.uid for link in snapshot.session.lineage if link.tie is Tie.PARENT]
        uids = dict.fromkeys((snapshot.session.uid, *above))
        meters = tuple(meter for uid in uids if uid is not None and (meter := self._meters.get(uid)) is not None)
        return Metered(self, meters, touch_at) if meters else None

    def take(self, meters: tuple[Meter, ...]) -> bool:
        minute = minute_of(self._clock.now())
        with self._lock:
            if any(meter.left(minute) is not True for meter in meters):
                return False
            for meter in meters:
                meter.count(minute)
        return True

    def wait(self, meters: tuple[Meter, ...]) -> timedelta | None:
        now = self._clock.now()
        if any(meter.left(minute_of(now)) is False for meter in meters):
            return None
        return minute_ends(now) - now

    async def sync(self, store: Backend) -> list[str]:
        """Report what was counted, and hear how all budgets stand. Raises StoreUnavailable, and then keeps it.

        Returns:
            The uids of those whose budget is new here.
        """
        with self._lock:
            calls = {uid: meter.unsent for uid, meter in self._meters.items() if meter.unsent}
        since = None if self._heard is None else self._heard - _OVERLAP
        now, standings = await store.spend(calls, since)
        self._heard = now
        return self.hear(standings, calls)

    def hear(self, standings: Iterable[Standing], reported: dict[str, int] | None = None) -> list[str]:
        """See `sync`."""
        reported = reported or {}
        new = []
        with self._lock:
            for standing in standings:
                meter = self._meters.get(standing.uid)
                if meter is None:
                    new.append(standing.uid)
                    self._meters[standing.uid] = Meter(standing)
                    continue
                if meter.changed != standing.changed:
                    # Set anew: what was counted before is not in it.
                    meter.unsent = 0
                    meter.minute = meter.in_minute = 0
                else:
                    meter.unsent = max(0, meter.unsent - reported.get(standing.uid, 0))
                meter.hear(standing)
        return new

    async def close(self, store: Backend) -> None:
        try:
            await self.sync(store)
        except SessileError:  # the last second's calls are not counted
            return
