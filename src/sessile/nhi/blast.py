"""The blast radius: what a session, or all of a principal's, handed out, and what a containment does to each of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from sessile.kernel.containment import Cut, Fate, Reached, reached
from sessile.kernel.decide import is_live
from sessile.kernel.lease import EndsBy, Lease, Outcome
from sessile.kernel.session import SessionKind
from sessile.kernel.trace import Trace, TraceKind
from sessile.stores import Backend

LISTED = 1_000
"""So many sessions are listed one by one; the counts tell of all."""
_PAGE = 1_000


class Living(msgspec.Struct, frozen=True, kw_only=True):
    """What should be over and is not yet."""

    id: str
    kind: str
    principal: str | None
    until: datetime | None
    """It does not outlive this (aware UTC); None: nobody knows."""
    connector: str | None = None
    """Of a lease: what ends it outside."""
    shown: str = ""
    error: str = ""
    """Why the last try failed."""
    next_try: datetime | None = None
    by_hand: str = ""
    """What a person has to do to end it earlier; empty: nothing."""


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that was reached: what its end means in the other system, and how far that has got."""

    id: str
    connector: str
    shown: str
    principal: str | None
    ends_by: EndsBy
    by_hand: str
    """What a person has to do, because no connector can; empty: nothing."""
    confirmed: datetime | None
    outcome: Outcome | None
    successor: bool
    """It was rotated, and nobody has taken the new secret yet."""


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that was asked for: by whom, in which session, how and when."""

    resource: str
    action: str
    decision: str
    """`allowed`, or why it was denied."""
    session: str
    principal: str | None
    first: datetime
    last: datetime
    times: int


class BlastRadius(msgspec.Struct, frozen=True, kw_only=True):
    """A tree of sessions, givers first. Safe to keep and to show."""

    sessions: tuple[Reached, ...]
    """Those that end or stay, and those above them that were over before; at most `LISTED`."""
    more: int = 0
    """How many of those are left out of the list. The counts count them."""
    ends: dict[str, int]
    """How many end, by kind of session."""
    stays: dict[str, int]
    """How many go on, by kind: keys that were handed out before `since`, and what hangs on them."""
    over: int
    """How many were over before."""
    principals: tuple[str, ...]
    """Whose sessions end, by name."""
    touched: tuple[Touched, ...] = ()
    """What these sessions, and those over before, asked for since then; the latest first, at most `LISTED`."""

    @property
    def ended(self) -> int:
        """How many end in all."""
        return sum(self.ends.values())


async def walk(store: Backend, cut: Cut) -> tuple[BlastRadius, tuple[Living, ...], tuple[Outside, ...]]:
    """Walk down from the target of a cut, page by page; nothing is open between two of them.

    Returns:
        The blast radius; what the cut should have ended and is found alive, outside too; and the leases that end, or
        that ended before and are not confirmed. At most `LISTED` of each.
    """
    found: dict[str, Reached] = {}
    living: list[Living] = []
    outside: list[Outside] = []
    after: str | None = None
    while True:
        page = await store.handed_out(root=cut.session, uid=cut.uid, after=after, limit=_PAGE)
        for snapshot in page:
            one = reached(snapshot, cut)
            found[one.id] = one
            if cut.before is not None and one.fate is Fate.ENDS and is_live(snapshot, snapshot.now):
                living.append(Living(id=one.id, kind=one.kind, principal=one.principal, until=one.expires))
        ids = [one.session.id for one in page if one.session.kind is SessionKind.LEASE]
        for lease in await leases_of(store, [id for id in ids if found[id].fate is not Fate.STAYS]):
            one = found[lease.session]
            if one.fate is Fate.ENDS or lease.confirmed is None:
                outside.append(outside_of(lease, one.principal))
                # Of what only would be done, nothing is late.
                if cut.before is not None and lease.confirmed is None:
                    living.append(living_of(lease, one.principal))
        after = page.next
        if after is None:
            whole = msgspec.structs.replace(radius(found, cut), touched=await touched_by(store, found, cut.since))
            return whole, tuple(living[:LISTED]), tuple(outside[:LISTED])


async def touched_by(store: Backend, found: dict[str, Reached], since: datetime) -> tuple[Touched, ...]:
    """What those sessions asked for since then, save those that stay."""
    ids = [one.id for one in found.values() if one.fate is not Fate.STAYS]
    traces: list[Trace] = []
    for start in range(0, len(ids), _PAGE):
        some = ids[start : start + _PAGE]
        traces += await store.traces(kind=TraceKind.TOUCH, subjects=some, since=since, limit=LISTED)
    latest = sorted(traces, key=lambda trace: trace.last, reverse=True)[:LISTED]
    return tuple(touched_of(one, found[one.subject].principal) for one in latest)


def touched_of(trace: Trace, principal: str | None) -> Touched:
    return Touched(
        resource=trace.what, action=trace.how, decision=trace.decision, session=trace.subject, principal=principal,
        first=trace.first, last=trace.last, times=trace.times,
    )  # fmt: skip


async def leases_of(store: Backend, ids: Iterable[str]) -> list[Lease]:
    """The leases of those sessions, at most 1,000."""
    wanted = list(ids)
    return list(await store.leases(sessions=wanted, limit=1000)) if wanted else []


def living_of(lease: Lease, principal: str | None) -> Living:
    return Living(
        id=lease.session, kind=SessionKind.LEASE, principal=principal, until=lease.lingers or lease.until,
        connector=lease.connector, shown=lease.shown, error=lease.error, next_try=lease.due, by_hand=lease.by_hand,
    )  # fmt: skip


def outside_of(lease: Lease, principal: str | None) -> Outside:
    return Outside(
        id=lease.session, connector=lease.connector, shown=lease.shown, principal=principal, ends_by=lease.ends_by,
        by_hand=lease.by_hand, confirmed=lease.confirmed, outcome=lease.outcome, successor=bool(lease.successor),
    )  # fmt: skip


def radius(found: dict[str, Reached], cut: Cut) -> BlastRadius:
    """What was reached, as one value. `found` is in the order of the walk."""
    shown: set[str] = set()
    for one in found.values():
        # Those above are shown too, so that the tree hangs together.
        at: Reached | None = one if one.fate is not Fate.OVER or one.id == cut.session else None
        while at is not None and at.id not in shown:
            shown.add(at.id)
            at = found.get(at.origin or "")
    listed = [one for one in found.values() if one.id in shown]
    return BlastRadius(
        sessions=tuple(listed[:LISTED]), more=max(0, len(listed) - LISTED), ends=_kinds(found, Fate.ENDS),
        stays=_kinds(found, Fate.STAYS), over=sum(one.fate is Fate.OVER for one in found.values()),
        principals=tuple(sorted({one.principal for one in found.values() if one.fate is Fate.ENDS and one.principal})),
    )  # fmt: skip


def _kinds(found: dict[str, Reached], fate: Fate) -> dict[str, int]:
    return dict(sorted(Counter(one.kind.value for one in found.values() if one.fate is fate).items()))
