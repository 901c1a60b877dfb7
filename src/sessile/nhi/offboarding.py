"""When a person leaves: what is theirs, and what becomes of each of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from sessile.errors import Conflict, NotFound
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.principal import Principal, PrincipalKind, Status, canonical
from sessile.kernel.session import SessionInfo
from sessile.kernel.trace import TraceKind
from sessile.nhi.inventory import living
from sessile.receipt import Receipt
from sessile.stores.protocol import Page

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

T = TypeVar("T")

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
    """The agents and services that it answers for."""
    handed_out: tuple[SessionInfo, ...]
    """Living keys and leases that it handed out, whosever they are."""
    held: tuple[SessionInfo, ...]
    """Other living keys and leases of the agents and services that it answers for."""
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
    person = await authority.principal(name)
    store = authority.store
    owned = [one async for one in _all(lambda after: store.principals(owner=person.uid, after=after, limit=_PAGE))]
    given = [one async for one in _all(lambda after: store.sessions(giver=person.uid, after=after, limit=_PAGE))]
    handed_out = living(given)
    known = {one.id for one in handed_out}
    held: list[SessionInfo] = []
    for one in owned:
        theirs = [each async for each in _all(lambda after: store.sessions(uid=one.uid, after=after, limit=_PAGE))]  # noqa: B023
        held += [each for each in living(theirs) if each.id not in known]
    seen = []
    for trace in await store.traces(kind=TraceKind.SHOWN, subjects=[person.uid]):
        info = await store.session(trace.what)
        if info is not None and info.live:
            seen.append(Seen(session=info, at=trace.first, how=trace.how))
    return Holdings(principals=tuple(owned), handed_out=handed_out, held=tuple(held), seen=tuple(seen))


async def hand_over(
    authority: NonHuman, name: str, to: str, only: Iterable[str] | None, by: Active | Actor | None
) -> tuple[Principal, ...]:
    """See `Authority.hand_over`."""
    person, heir = await authority.principal(name), await authority.principal(to)
    if heir.kind is not PrincipalKind.HUMAN or heir.status is not Status.ACTIVE or heir.uid == person.uid:
        raise Conflict(f"{heir.name} cannot answer for it: name another person who is active")
    mine = {one.name: one for one in (await holdings(authority, name)).principals}
    wanted = list(mine) if only is None else [canonical(one) for one in only]
    if strange := [one for one in wanted if one not in mine]:
        raise NotFound(f"{person.name} does not answer for {', '.join(strange)}")
    return tuple(
        [
            await authority.store.describe(mine[one].uid, owner=heir.uid, purpose=mine[one].purpose, by=actor_of(by))
            for one in wanted
        ]
    )


async def offboard(
    authority: NonHuman, name: str, *, to: str | None, end_keys: bool, cause: str, by: Active | Actor | None
) -> Offboarded:
    """See `Authority.offboard`."""
    if to is not None:  # judged before anything is ended
        heir = await authority.principal(to)
        if heir.kind is not PrincipalKind.HUMAN or heir.status is not Status.ACTIVE or heir.name == canonical(name):
            raise Conflict(f"{heir.name} cannot answer for it: name another person who is active")
    found = await holdings(authority, name)
    receipt = await authority.disable(name, cause=cause, by=by)
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


async def _all(fetch: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    after: str | None = None
    while True:
        page = await fetch(after)
        for one in page:
            yield one
        after = page.next
        if after is None:
            return
