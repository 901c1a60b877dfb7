"""The contract for what is noticed (`kernel.trace`) and for budgets (`kernel.budget`): a part of the directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from sessile.kernel.budget import Budget, Standing
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.principal import Principal
from sessile.kernel.trace import Trace, TraceKind

MOST_TRACES: Final = 1_000
"""So many traces of a kind are kept apart for one subject; all that come after are one, under `OTHERS`."""
OTHERS: Final = "…"
KEPT: Final = timedelta(days=100)
"""How long after its last time a trace is kept."""
SHOWN_KEPT: Final = timedelta(days=3_653)
"""That of who saw a secret is kept longer than anybody lets a key live, and each is kept apart."""


class Noticed(msgspec.Struct, frozen=True):
    """A trace to be added, and the event that is written with it if it is the first of its sort."""

    trace: Trace
    event: Event | None = None


class Notices(Protocol):
    """See the rules of `stores.protocol`."""

    async def notice(self, noticed: Sequence[Noticed]) -> None:
        """Add traces: one that is there already grows (`kernel.trace.merged`), and then its event is not written."""

    async def traces(
        self, *, kind: TraceKind, subjects: Sequence[str] | None = None, what: Sequence[str] | None = None,
        since: datetime | None = None, limit: int = MOST_TRACES,
    ) -> Sequence[Trace]:  # fmt: skip
        """Those of a kind, latest first; of some subjects, of some `what`, or with a time at or after `since`."""

    async def set_budget(self, uid: str, budget: Budget | None, by: Actor) -> Standing:
        """A principal's budget from now on; None: none. What was spent before does not count. Raises NotFound."""

    async def spend(self, calls: Mapping[str, int], since: datetime | None) -> tuple[datetime, Sequence[Standing]]:
        """Add calls (`kernel.budget.spend`) by uid.

        Returns the store's clock; and how all of those stand that have a budget, and of the others those whose
        budget was set at or after `since` (None: all that have one).
        """


def budget_event(principal: Principal, budget: Budget | None, by: Actor) -> Event:
    limits = {"per_minute": budget.per_minute, "overall": budget.overall} if budget is not None else {}
    return Event(
        name=EventName.BUDGET_SET, principal=principal.name, uid=principal.uid, by=by,
        details={name: limit for name, limit in limits.items() if limit is not None},
    )  # fmt: skip
