"""How many calls an agent may make: in a minute, and in all. Pure; `sessile.nhi.budgets` counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

MINUTE = timedelta(minutes=1)
_START = datetime(1970, 1, 1, tzinfo=UTC)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one agent or service, over all of its sessions and nodes; what it hands on counts as its own.

    Raises:
        ValueError: a number is not positive, or there is none.
    """

    per_minute: int | None = None
    """In one minute of the store's clock; None: no such limit."""
    overall: int | None = None
    """Since the budget was set; None: no such limit."""

    def __post_init__(self) -> None:
        for limit in (self.per_minute, self.overall):
            if limit is not None and not 0 < limit < 2**53:
                raise ValueError("a budget is a positive number of calls")
        if self.per_minute is None and self.overall is None:
            raise ValueError("a budget says how many calls in a minute, or overall")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget stands, as the store knows it."""

    uid: str
    budget: Budget | None
    """None: it was taken away."""
    changed: datetime
    """When the budget was set; what was spent before does not count."""
    minute: int = 0
    """The minute that `in_minute` counts."""
    in_minute: int = 0
    overall: int = 0


def minute_of(at: datetime) -> int:
    """The number of a minute since 1970."""
    return (at - _START) // MINUTE


def minute_ends(at: datetime) -> datetime:
    """When the minute that `at` is in is over."""
    return _START + (minute_of(at) + 1) * MINUTE


def spend(standing: Standing, calls: int, now: datetime) -> Standing:
    """The standing after so many calls more."""
    minute = minute_of(now)
    before = standing.in_minute if standing.minute == minute else 0
    return msgspec.structs.replace(
        standing, minute=minute, in_minute=before + calls, overall=standing.overall + calls
    )  # fmt: skip
