"""When a person leaves: what is theirs, and what becomes of each of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from sessile.errors import Conflict, NotFound
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.principal import Principal, Status, canonical
from sessile.kernel.session import SessionInfo
from sessile.kernel.team import is_team, is_team_name
from sessile.kernel.trace import TraceKind
from sessile.nhi.inventory import living
from sessile.nhi.owning import every
from sessile.receipt import Receipt
from sessile.stores import Backend
from sessile.stores.owning import NO_OWNER, can_answer
from sessile.stores.protocol import Page

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

_PAGE = 1_000


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that lives, and that somebody was shown."""

    session: SessionInfo
    at: datetime
    how: str
    """On what occasion: `minted`, `revealed`."""


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What a person would leave behind."""

    principals: tuple[Principal, ...]
    """The agents and services that nobody but it answers for: its own, and those of teams in which nobody else is
    active."""
    teams: tuple[str, ...]
    """The teams that it is in, by name."""
    handed_out: tuple[SessionInfo, ...]
    """Living keys and leases that it handed out, whosever they are."""
    held: tuple[SessionInfo, ...]
    """Other living keys and leases of those agents and services."""
    seen: tuple[Seen, ...]
    """Living secrets that it was shown: whosever they are, they are to be rotated when it leaves."""


class Offboarded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it."""

    receipt: Receipt
    """Of the person's own end."""
    handed_over: tuple[str, ...]
    """Agents and services that somebody else answers for now, by name."""
    disabled: tuple[str, ...]
    """Agents and services that ended with the person, by name."""
    ended: tuple[str, ...]
    """Keys and leases that ended, by id."""
    rotate: tuple[SessionInfo, ...]
    """Keys and leases that go on and whose secret the person saw, or that it handed out."""


async def holdings(authority: NonHuman, name: str) -> Holdings:
    """See `Authority.holdings`."""
    store = authority.store
    uid = await authority.owner_uid(name)
    owned = await owned_by(authority, uid)
    teams: tuple[str, ...] = ()
    given: list[SessionInfo] = []
    seen = []
    if not is_team(uid):
        teams = tuple([one.name async for one in every(lambda after: store.teams(member=uid, after=after))])
        given = [one async for one in every(lambda after: store.sessions(giver=uid, after=after, limit=_PAGE))]
        for trace in await store.traces(kind=TraceKind.SHOWN, subjects=[uid]):
            info = await store.session(trace.what)
            if info is not None and info.live:
                seen.append(Seen(session=info, at=trace.first, how=trace.how))
    handed_out = living(given)
    known = {one.id for one in handed_out}
    held: list[SessionInfo] = []
    for one in owned:
        theirs = [each async for each in every(partial(_sessions, store, one.uid))]
        held += [each for each in living(theirs) if each.id not in known]
    return Holdings(
        principals=tuple(owned), teams=teams, handed_out=handed_out, held=tuple(held), seen=tuple(seen)
    )  # fmt: skip


async def owned_by(authority: NonHuman, uid: str) -> list[Principal]:
    """What a person answers for alone, or what a team owns, by name."""
    return await (authority.owned(uid) if is_team(uid) else authority.owned_alone(uid))


async def _heir(authority: NonHuman, name: str, to: str) -> str:
    """The uid of who shall answer for what is `name`'s. Raises NotFound; Conflict: it cannot, or only by `name`."""
    uid, heir = await authority.owner_uid(name), await authority.owner_uid(to)
    if is_team(heir):
        can = any(can_answer(one) and one.uid != uid for one in await authority.store.members(heir))
    else:
        can = can_answer(await authority.store.principal(uid=heir))
    if not can or heir == uid:
        raise Conflict(f"{to} cannot answer for it after {name}: {NO_OWNER}, other than {name}")
    return heir


async def hand_over(
    authority: NonHuman, name: str, to: str, only: Iterable[str] | None, by: Active | Actor | None
) -> tuple[Principal, ...]:
    """See `Authority.hand_over`."""
    heir = await _heir(authority, name, to)
    mine = {one.name: one for one in await owned_by(authority, await authority.owner_uid(name))}
    wanted = list(mine) if only is None else [canonical(one) for one in only]
    if strange := [one for one in wanted if one not in mine]:
        raise NotFound(f"{name} does not answer for {', '.join(strange)}, or not alone")
    return tuple(
        [
            await authority.store.describe(mine[one].uid, owner=heir, purpose=mine[one].purpose, by=actor_of(by))
            for one in wanted
        ]
    )


async def offboard(
    authority: NonHuman, name: str, *, to: str | None, end_keys: bool, cause: str, by: Active | Actor | None
) -> Offboarded:
    """See `Authority.offboard`."""
    if is_team_name(name):
        raise NotFound(f"{name} is a team: hand over what it owns, then delete it; or let its people leave")
    if to is not None:  # judged before anything is ended
        await _heir(authority, name, to)
    receipt = await authority.disable(name, cause=cause, by=by)
    # Looked at afterwards: from then on nothing more is handed to them, and nothing more is minted by them.
    found = await holdings(authority, name)
    handed_over: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    if to is not None:
        handed_over = tuple(one.name for one in await hand_over(authority, name, to, None, by))
    else:
        active = [one for one in found.principals if one.status is Status.ACTIVE]
        for one in active:
            await authority.disable(one.name, cause=f"{name} left: {cause}"[:200], by=by, wait=False)
        disabled = tuple(one.name for one in active)
    known = {one.id: one for one in (*found.handed_out, *(each.session for each in found.seen))}
    ended = []
    if end_keys:
        for id in known:
            await authority.revoke(session=id, cause=cause, by=by, wait=False)
            ended.append(id)
    if ended or disabled:  # one that waits, for all of them
        await authority.revoke(principal=name, cause=cause, by=by)
    now = [await authority.session(id) for id in known]
    return Offboarded(
        receipt=receipt, handed_over=handed_over, disabled=disabled, ended=tuple(ended),
        rotate=tuple(one for one in now if one.live),
    )  # fmt: skip


async def _sessions(store: Backend, uid: str, after: str | None) -> Page[SessionInfo]:
    return await store.sessions(uid=uid, after=after, limit=_PAGE)
