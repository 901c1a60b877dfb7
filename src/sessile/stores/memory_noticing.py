"""What the memory store noticed, and its budgets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from sessile.clock import Clock
from sessile.errors import NotFound
from sessile.kernel.budget import Budget, Standing, spend
from sessile.kernel.event import Actor
from sessile.kernel.trace import Trace, TraceKind, merged
from sessile.stores.memory_directory import MemoryDirectory
from sessile.stores.noticing import KEPT, MOST_TRACES, OTHERS, SHOWN_KEPT, Noticed, budget_event


class MemoryNotices(MemoryDirectory):
    """`Notices` in dictionaries."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._traces: dict[tuple[str, TraceKind, str, str, str], Trace] = {}
        self._budgets: dict[str, Standing] = {}

    async def notice(self, noticed: Sequence[Noticed]) -> None:
        now = self._clock.now()
        for one in noticed:
            if self._add_trace(one.trace) and one.event is not None:
                self._append(one.event, now)

    def _add_trace(self, trace: Trace) -> bool:
        """Whether it is the first of its sort."""
        if _key(trace) not in self._traces:
            same = [one for one in self._traces.values() if (one.subject, one.kind) == (trace.subject, trace.kind)]
            if len(same) >= MOST_TRACES and trace.kind is not TraceKind.SHOWN:
                trace = msgspec.structs.replace(trace, what=OTHERS, how="")
        key = _key(trace)
        before = self._traces.get(key)
        self._traces[key] = trace if before is None else merged(before, trace)
        return before is None

    def _forget_uses(self, sessions: Collection[str | None]) -> None:
        """From where tokens of these sessions were used."""
        kept = (one for one in self._traces.values() if one.kind is not TraceKind.USE or one.subject not in sessions)
        self._traces = {_key(one): one for one in kept}

    async def traces(
        self, *, kind: TraceKind, subjects: Sequence[str] | None = None, what: Sequence[str] | None = None,
        since: datetime | None = None, limit: int = MOST_TRACES,
    ) -> Sequence[Trace]:  # fmt: skip
        found = [
            one
            for one in self._traces.values()
            if one.kind is kind
            and (subjects is None or one.subject in subjects)
            and (what is None or one.what in what)
            and (since is None or one.last >= since)
        ]
        return sorted(found, key=lambda one: (one.last, *_key(one)), reverse=True)[:limit]

    async def set_budget(self, uid: str, budget: Budget | None, by: Actor) -> Standing:
        principal = self._principal(uid)
        if principal is None:
            raise NotFound("no such principal")
        now = self._clock.now()
        self._budgets[uid] = Standing(uid=uid, budget=budget, changed=now)
        self._append(budget_event(principal, budget, by), now)
        return self._budgets[uid]

    async def spend(self, calls: Mapping[str, int], since: datetime | None) -> tuple[datetime, Sequence[Standing]]:
        now = self._clock.now()
        for uid, some in calls.items():
            if uid in self._budgets:
                self._budgets[uid] = spend(self._budgets[uid], some, now)
        return now, [
            one
            for _, one in sorted(self._budgets.items())
            if one.uid in calls or (one.budget is not None if since is None else one.changed >= since)
        ]

    def _sweep_traces(self) -> None:
        now = self._clock.now()
        self._traces = {
            key: one
            for key, one in self._traces.items()
            if one.last >= now - (SHOWN_KEPT if one.kind is TraceKind.SHOWN else KEPT)
        }


def _key(trace: Trace) -> tuple[str, TraceKind, str, str, str]:
    return trace.subject, trace.kind, trace.what, trace.how, trace.decision
