"""Containment: after a compromise, end what was handed out, by whichever tie, and say what that was.

The root is cut first: one commit, and nothing below passes a check or can be minted from then on. What it reached is
walked afterwards, by whoever comes first: the caller, or any process on the store if the caller died meanwhile.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from sessile.errors import NotFound
from sessile.kernel.containment import EVER, Cut, Fate
from sessile.kernel.decide import Active
from sessile.kernel.event import SYSTEM, Actor, Event, EventName
from sessile.kernel.ids import check_session_id, new_id
from sessile.kernel.principal import Principal, Status
from sessile.nhi.blast import BlastRadius, Living, Outside, leases_of, living_of, outside_of, walk
from sessile.receipt import Receipt
from sessile.stores.protocol import Contained, ContainmentState, End

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

logger = logging.getLogger("sessile")


class Containment(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a containment, or (`id` is None) of what one would do. Safe to keep and to show."""

    id: str | None
    state: Literal["closed", "partial", "unknown"] | None
    """`closed`: all that it reached is over, outside too. `partial`: `living` is not. `unknown`: not walked to the end
    yet, but the root is cut and nothing below passes a check. It turns to `closed` by itself. None: nothing was done.
    """
    session: str | None
    principal: str | None
    """The principal that was contained, or whose session it was."""
    since: datetime | None
    """What was handed out from this instant on is reached; None: all that ever was (aware UTC)."""
    cause: str
    receipt: Receipt | None
    settled: datetime | None = None
    """When the walk had come to its end."""
    radius: BlastRadius | None = None
    """None while it is not known."""
    living: tuple[Living, ...] = ()
    """What should be over and is not yet."""
    leases: tuple[Outside, ...] = ()
    """The leases that it reached: what their end means in other systems, what was rotated, and what a person has to
    do where no connector can."""


_SHOWN = 100
_report = msgspec.json.Decoder(Containment).decode


async def contain(
    authority: NonHuman, *, session: str | None, principal: str | None, since: datetime | None, cause: str,
    by: Active | Actor | None, disable: bool, dry_run: bool, wait: bool,
) -> Containment:  # fmt: skip
    """See `Authority.contain`."""
    if (session is None) == (principal is None):
        raise ValueError("name exactly one of session= and principal=")
    if disable and principal is None:
        raise ValueError("disable= goes with principal=")
    if since is not None and since.tzinfo is None:
        raise ValueError("since= is an aware datetime")
    try:
        since = EVER if since is None or since < EVER else since.astimezone(UTC)
    except OverflowError:
        raise ValueError("since= is out of range") from None
    target = await authority.principal(principal) if principal is not None else None
    if dry_run:
        return await _would(authority, session, target, since, cause)
    end = End(
        session=None if session is None else check_session_id(session), uid=target.uid if target else None,
        cause=cause, contain_since=since, containment=new_id("con"), status=Status.DISABLED if disable else None,
    )  # fmt: skip
    receipt = await authority.end(end, by=by, wait=wait)
    stored = await authority.store.containment(end.containment or "")
    if stored is None:
        raise NotFound(f"no containment {end.containment}")
    return await _settle(authority, stored.cut, receipt)


async def show(authority: NonHuman, id: str) -> Containment:
    """See `Authority.containment`."""
    stored = await authority.store.containment(id)
    if stored is None:
        raise NotFound(f"no containment {id}")
    report = _shown(authority, stored)
    if stored.state is ContainmentState.PARTIAL or any(one.successor for one in report.leases):
        return await _by_now(authority, report, stored)
    return report


async def resume(authority: NonHuman) -> None:
    """Walk what is not closed. Any process may, at any time: what is found is the same."""
    for id in await authority.store.open_containments():
        stored = await authority.store.containment(id)
        if stored is None or stored.state is ContainmentState.CLOSED:
            continue
        report = _shown(authority, stored)
        if not await _waits(authority, report):
            found = await _settle(authority, stored.cut, report.receipt)
            logger.info("containment %s is %s", id, found.state)


async def _waits(authority: NonHuman, report: Containment) -> bool:
    """Whether leases keep a report open, and nothing else: as long as one of them does, a walk finds the same again."""
    ids = [one.id for one in report.living if one.connector is not None]
    if not ids or len(ids) < len(report.living):
        return False
    return any(one.confirmed is None for one in await leases_of(authority.store, ids))


async def _would(
    authority: NonHuman, session: str | None, target: Principal | None, since: datetime, cause: str
) -> Containment:
    name = target.name if target is not None else None
    if session is not None:
        name = (await authority.session(session)).principal
    cut = Cut(
        id="", session=session, uid=target.uid if target else None, principal=name, since=since,
        at=authority.clock.now(), cause=cause, by=SYSTEM.name,
    )  # fmt: skip
    await authority.traces.flush(authority.store, everything=True)
    radius, _, leases = await walk(authority.store, cut)
    return _of(cut, None, None, radius=radius, leases=leases)


async def _settle(authority: NonHuman, cut: Cut, receipt: Receipt | None) -> Containment:
    await authority.traces.flush(authority.store, everything=True)
    radius, living, leases = await walk(authority.store, cut)
    if receipt is not None:
        ids = tuple(one.id for one in radius.sessions if one.fate is Fate.ENDS)
        receipt = msgspec.structs.replace(receipt, revoked=radius.ended, sessions=ids[:_SHOWN])
    state = ContainmentState.PARTIAL if living else ContainmentState.CLOSED
    report = _of(cut, state, receipt, radius=radius, living=living, leases=leases, settled=authority.clock.now())
    event = Event(
        name=EventName.CONTAINMENT_SETTLED, principal=cut.principal, uid=cut.uid, session=cut.session,
        by=Actor(name=cut.by), cause=cut.cause,
        details={
            "containment": cut.id, "state": state.value, "principals": list(radius.principals[:100]),
            **{f"{kind}_ended": count for kind, count in radius.ends.items()},
        },
    )  # fmt: skip
    await authority.store.settle_containment(cut.id, state, msgspec.json.encode(report), event)
    return report


async def _by_now(authority: NonHuman, report: Containment, stored: Contained) -> Containment:
    """A report as it stands by now: between two walks leases are tried again, and what was rotated is taken."""
    whose = {one.id: one.principal for one in report.leases}
    now = {one.session: one for one in await leases_of(authority.store, whose)}
    others = tuple(one for one in report.living if one.connector is None)
    living = others + tuple(living_of(one, whose[id]) for id, one in now.items() if one.confirmed is None)
    if not living and stored.state is ContainmentState.PARTIAL:
        return await _settle(authority, stored.cut, report.receipt)
    leases = tuple(
        # What is forgotten by now was confirmed long ago, and had no secret to be taken.
        outside_of(now[one.id], one.principal) if one.id in now else msgspec.structs.replace(one, successor=False)
        for one in report.leases
    )
    return msgspec.structs.replace(report, living=living, leases=leases)


def _shown(authority: NonHuman, stored: Contained) -> Containment:
    if stored.report is not None:
        return _report(stored.report)
    cut = stored.cut
    # Nobody has told when the cut was acknowledged: by now it is, so from now on the wait counts.
    effective = authority.clock.now() + authority.settling(cut.delta)
    receipt = Receipt(revoked=None, cause=cut.cause, by=cut.by, at=cut.at, effective=effective)
    return _of(cut, stored.state, receipt)


def _of(
    cut: Cut, state: ContainmentState | None, receipt: Receipt | None, *, radius: BlastRadius | None = None,
    living: tuple[Living, ...] = (), leases: tuple[Outside, ...] = (), settled: datetime | None = None,
) -> Containment:  # fmt: skip
    return Containment(
        id=cut.id or None, state=None if state is None else state.value, session=cut.session, principal=cut.principal,
        since=None if cut.since == EVER else cut.since, cause=cut.cause, receipt=receipt, settled=settled,
        radius=radius, living=living, leases=leases,
    )  # fmt: skip
