"""What was over with something that ended, told in the record: one event for each agent's and service's session.

An ending is one small write, and liveness is derived upward: nothing below it is written, then or ever. The ending's
own transaction leaves a walk to do (`stores.walking`); any process on the store takes it up, in small batches behind
the requests, and may die at any moment. What time ends has no ending: it was said when it began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from sessile.kernel.containment import Cut, Fate, fate
from sessile.kernel.decide import Snapshot, is_live
from sessile.kernel.event import Event, over_event
from sessile.stores import Backend
from sessile.stores.walking import Walk

EVERY_SECONDS: Final = 1.0
"""How often it is looked whether there is a walk to do."""
PAUSE_SECONDS: Final = 0.05
"""Between two batches: requests go first."""
_BATCH: Final = 50
"""Events of one transaction: a few milliseconds."""
_PAGE: Final = 1_000


async def walk_all(store: Backend, *, pause: float = PAUSE_SECONDS) -> None:
    """Do the walks that there are, the oldest ending first. Raises StoreUnavailable, and then goes on another time."""
    while walks := await store.walks():
        first, *later = walks
        if not await _walk(store, first, [one.cut for one in later], pause):
            return


async def _walk(store: Backend, walk: Walk, later: Sequence[Cut], pause: float) -> bool:
    """Whether it came to its end. Somebody else may be at it; or an engine has not heard of the ending yet."""
    while True:
        page = await store.handed_out(root=walk.cut.session, uid=walk.cut.uid, after=walk.after or None, limit=_PAGE)
        over = [one for one in page if fate(one, walk.cut, later) is Fate.ENDS]
        if any(is_live(one, one.now) for one in over):
            return False
        told = [one for one in over if one.session.id != walk.cut.session and not one.session.kind.is_a_persons]
        for batch in _batches(told, walk.done):
            to = msgspec.structs.replace(walk, done=batch[-1].session.id)
            if not await store.walk_on(walk, to, [_event(one, walk) for one in batch]):
                return False
            walk = to
            await asyncio.sleep(pause)
        following = None if page.next is None else msgspec.structs.replace(walk, after=page.next, done="")
        if not await store.walk_on(walk, following, []):
            return False
        if following is None:
            return True
        walk = following


def _batches(told: list[Snapshot], done: str) -> list[list[Snapshot]]:
    # What is on a page stays on it, in its order: tombstones are kept longer than a walk takes.
    place = next((n + 1 for n, one in enumerate(told) if one.session.id == done), 0)
    return [told[n : n + _BATCH] for n in range(place, len(told), _BATCH)]


def _event(one: Snapshot, walk: Walk) -> Event:
    cut = walk.cut
    return over_event(one.session, cut.session or cut.uid or "", cut.cause, cut.actor, walk.n, cut.id)
