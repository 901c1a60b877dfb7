"""The inventory: every agent and service with what it holds, whose it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.kernel.trace import Trace, TraceKind
from sessile.nhi.findings import Finding, findings, rotation_due
from sessile.nhi.owning import Owner
from sessile.stores.protocol import Page

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

_SESSIONS = 1_000
_AT_ONCE = 100


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A living key or lease. All instants are aware UTC."""

    id: str
    kind: SessionKind
    label: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime
    rotation_due: datetime
    rotated_out: bool
    last_used: datetime | None
    """To the minute; None: never."""
    last_used_from: str | None
    assurance: int
    origin: str | None
    """The session that handed it out."""
    handed_out_by: str | None
    """Its principal."""
    seen_by: tuple[str, ...]
    """Who was shown the secret, by name."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An agent or a service. Safe to keep and to show."""

    principal: str
    uid: str
    kind: PrincipalKind
    status: Status
    owner: str | None
    """A person's name, or `team:NAME`."""
    purpose: str
    created: datetime
    last_used: datetime | None
    """Of any of its living sessions."""
    scopes: tuple[str, ...]
    """What its living sessions may do, together."""
    held: tuple[Held, ...]
    """Living keys and leases, newest first."""
    delegations: int
    """How many act for somebody now."""
    findings: tuple[Finding, ...]


async def inventory(authority: NonHuman, *, owner: str | None, after: str | None, limit: int) -> Page[Item]:
    """See `Authority.inventory`."""
    store = authority.store
    uid = await authority.owner_uid(owner) if owner is not None else None
    await authority.traces.flush(store)
    found: list[Principal] = []
    following = after
    # By name: agents come before services, and what lies between them are people.
    for kind in (PrincipalKind.AGENT, PrincipalKind.SERVICE):
        if len(found) == limit or (after is not None and after > f"{kind.value};"):
            continue
        page = await store.principals(kind=kind, owner=uid, after=after, limit=limit - len(found))
        found += page
        following = page.next
        if following is not None:
            break
    if following is None and len(found) == limit and found[-1].kind is PrincipalKind.AGENT:
        following = found[-1].name
    names = _Names(authority)
    return Page([await _item(authority, one, names) for one in found], following)


async def _item(authority: NonHuman, principal: Principal, names: _Names) -> Item:
    store, now = authority.store, authority.clock.now()
    live = (await store.sessions(uid=principal.uid, limit=_SESSIONS)).items
    keys = [one for one in live if one.kind.outlives_its_giver]
    ids = [one.id for one in live]
    uses = await _by_subject(authority, TraceKind.USE, ids)
    leaks = await _by_subject(authority, TraceKind.LEAKED, ids)
    shown = await _seen(authority, [one.id for one in keys])
    held = tuple([await _held(authority, one, uses, shown, names) for one in keys])
    owner = await names.owner(principal.owner)
    used = [trace.last for traces in uses.values() for trace in traces]
    item = Item(
        principal=principal.name, uid=principal.uid, kind=principal.kind, status=principal.status,
        owner=owner.name if owner is not None else None, purpose=principal.purpose, created=principal.created,
        last_used=max(used, default=None), scopes=tuple(sorted({scope for one in live for scope in one.scopes})),
        held=held, delegations=sum(one.kind is SessionKind.DELEGATED for one in live), findings=(),
    )  # fmt: skip
    gone = {
        one.id: [who.name for uid in shown.get(one.id, ()) if (who := await names.principal(uid)) and over(who)]
        for one in keys
    }
    return msgspec.structs.replace(
        item, findings=findings(item, owner=owner, uses=uses, leaks=leaks, gone=gone, now=now)
    )


async def _held(
    authority: NonHuman, one: SessionInfo, uses: Mapping[str, Sequence[Trace]], shown: Mapping[str, Sequence[str]],
    names: _Names,
) -> Held:  # fmt: skip
    last = next(iter(uses.get(one.id, ())), None)
    seen = [await names.principal(uid) for uid in shown.get(one.id, ())]
    origin = await authority.store.session(one.origin) if one.origin is not None else None
    return Held(
        id=one.id, kind=one.kind, label=one.label, scopes=tuple(sorted(one.scopes)), created=one.created,
        expires=one.expires, rotation_due=rotation_due(one.created, one.expires), rotated_out=one.rotated_out,
        last_used=last.last if last is not None else None, last_used_from=(last.what or None) if last else None,
        assurance=one.assurance, origin=one.origin, handed_out_by=origin.principal if origin is not None else None,
        seen_by=tuple(sorted(who.name for who in seen if who is not None)),
    )  # fmt: skip


def over(principal: Principal | None) -> bool:
    """Whether nobody answers there any more."""
    return principal is None or principal.status is not Status.ACTIVE


async def _by_subject(authority: NonHuman, kind: TraceKind, ids: Sequence[str]) -> dict[str, list[Trace]]:
    found: dict[str, list[Trace]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        for trace in await authority.store.traces(kind=kind, subjects=ids[start : start + _AT_ONCE]):
            found.setdefault(trace.subject, []).append(trace)
    return found


async def _seen(authority: NonHuman, ids: Sequence[str]) -> dict[str, list[str]]:
    """Who was shown which, by uid."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        for trace in await authority.store.traces(kind=TraceKind.SHOWN, what=ids[start : start + _AT_ONCE]):
            if trace.subject not in found.setdefault(trace.what, []):
                found[trace.what].append(trace.subject)
    return found


class _Names:
    """Principals and owners by uid, each read once."""

    def __init__(self, authority: NonHuman) -> None:
        self._authority, self._store = authority, authority.store
        self._owners: dict[str, Owner] = {}
        self._known: dict[str, Principal | None] = {}

    async def owner(self, uid: str | None) -> Owner | None:
        if uid is None:
            return None
        if uid not in self._owners:
            self._owners[uid] = await self._authority.owner_named(uid)
        return self._owners[uid]

    async def principal(self, uid: str | None) -> Principal | None:
        if uid is None:
            return None
        if uid not in self._known:
            self._known[uid] = await self._store.principal(uid=uid)
        return self._known[uid]


def living(infos: Iterable[SessionInfo]) -> tuple[SessionInfo, ...]:
    """Those among them that have a life of their own, and are alive."""
    return tuple(one for one in infos if one.live and one.kind.outlives_its_giver)
