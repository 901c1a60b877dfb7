"""Keys that are rotated: another key takes a key's place, and for an overlap both count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sessile.errors import Conflict, NotFound, SessileError
from sessile.kernel.decide import Active
from sessile.kernel.event import actor_of
from sessile.kernel.session import Client, SessionKind
from sessile.kernel.trace import Trace, TraceKind
from sessile.receipt import Issued

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

OVERLAP: Final = timedelta(days=1)
"""How long the old key counts beside the new one, where nobody says otherwise."""


async def rotate(
    authority: NonHuman, active: Active, key: str, *, overlap: timedelta, lifetime: timedelta | None,
    label: str | None, client: Client | None,
) -> Issued:  # fmt: skip
    """See `Authority.rotate_key`."""
    if overlap < timedelta(0):
        raise ValueError("an overlap is not negative")
    old = await authority.session(key)
    if old.kind is not SessionKind.KEY or old.principal is None:
        raise NotFound(f"{key} is no key")
    if not old.live or old.rotated_out:
        raise Conflict("this key is over, or was rotated out before: mint another")
    new = await authority.mint_key(
        active, owner=old.principal, scopes=old.scopes, lifetime=lifetime or old.expires - old.created,
        label=old.label if label is None else label, client=client,
    )  # fmt: skip
    successor = new.active.session.id
    try:
        # Minted first: what fails in between leaves a key that nobody holds, never a service without one.
        if overlap:
            until = authority.clock.now() + overlap
            await authority.store.retire(key, until, successor, actor_of(active, client))
        else:
            await authority.revoke(session=key, cause="rotated", by=active)
    except SessileError:
        await authority.revoke(session=successor, cause="not rotated", by=active, wait=False)
        raise
    return new


async def last_uses(authority: NonHuman, ids: Sequence[str]) -> Mapping[str, Trace]:
    """See `Authority.last_uses`."""
    found: dict[str, Trace] = {}
    for start in range(0, len(ids), 100):
        some = ids[start : start + 100]
        for trace in await authority.store.traces(kind=TraceKind.USE, subjects=some):
            found.setdefault(trace.subject, trace)  # the latest comes first
    return found
