"""What was over with something that ended, told in the record: one event for each agent's and service's session.

An ending is one small write, and liveness is derived upward: nothing below it is written, then or ever. The ending's
own transaction leaves a walk to do (`stores.walking`); any process on the store takes it up, in small batches behind
the requests, and may die at any moment. What time ends has no ending: it was said when it began.
"""

from __future__ import annotations

import asyncio
import time
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
"""Between two batches, at least; and nine times as long as a batch took: requests go first."""
_REST: Final = 9
_BATCH: Final = 25
"""Sessions that are looked at in one go, and events of one transaction: a few milliseconds each."""
_PAGE: Final = 500


async def walk_all(store: Backend, *, pause: float = PAUSE_SECONDS) -> None:
    """Do the walks that there are, the oldest ending first. Raises StoreUnavailable, and then goes on another time.

    `pause=0`: without rest.
    """
    while walks := await store.walks():
        first, *later = walks
        if not await _Walker(store, [one.cut for one in later], pause).walk(first):
            return


class _Walker:
    def __init__(self, store: Backend, later: Sequence[Cut], pause: float) -> None:
        self._store = store
        self._pause = pause
        self._later: dict[str, list[tuple[int, Cut]]] = {}
        """What ended later, by its id and in its order."""
        for n, cut in enumerate(later):
            self._later.setdefault(cut.session or cut.uid or "", []).append((n, cut))

    async def walk(self, walk: Walk) -> bool:
        """Whether it came to its end. Somebody else may be at it; or an engine has not heard of the ending yet."""
        while True:
            began = time.monotonic()
            cut = walk.cut
            page = await self._store.handed_out(root=cut.session, uid=cut.uid, after=walk.after or None, limit=_PAGE)
            for batch in _batches(page.items, walk.done):
                over = [one for one in batch if fate(one, cut, self._later_of(one)) is Fate.ENDS]
                if any(is_live(one, one.now) for one in over):
                    return False
                events = [_event(one, walk) for one in over if _is_told(one, cut)]
                if events:
                    to = msgspec.structs.replace(walk, done=batch[-1].session.id)
                    if not await self._store.walk_on(walk, to, events):
                        return False
                    walk = to
                await self._rest(began)
                began = time.monotonic()
            to_next = None if page.next is None else msgspec.structs.replace(walk, after=page.next, done="")
            if not await self._store.walk_on(walk, to_next, []):
                return False
            if to_next is None:
                return True
            walk = to_next

    async def _rest(self, began: float) -> None:
        await asyncio.sleep(self._pause and max(self._pause, _REST * (time.monotonic() - began)))

    def _later_of(self, one: Snapshot) -> list[Cut]:
        """What may have ended it, too, since then."""
        session = one.session
        names = {session.id, session.uid or ""}
        names.update(*((link.session, link.uid or "") for link in session.lineage))
        return [cut for _, cut in sorted((each for name in names for each in self._later.get(name, ())), key=_order)]


def _order(one: tuple[int, Cut]) -> int:
    return one[0]


def _batches(page: Sequence[Snapshot], done: str) -> list[Sequence[Snapshot]]:
    # What is on a page stays on it, in its order: tombstones are kept longer than a walk takes.
    place = next((n + 1 for n, one in enumerate(page) if one.session.id == done), 0)
    return [page[n : n + _BATCH] for n in range(place, len(page), _BATCH)]


def _is_told(one: Snapshot, cut: Cut) -> bool:
    """Not of what the ending's own event is about, and not of people's sessions."""
    return one.session.id != cut.session and not one.session.kind.is_a_persons


def _event(one: Snapshot, walk: Walk) -> Event:
    cut = walk.cut
    return over_event(one.session, cut.session or cut.uid or "", cut.cause, cut.actor, walk.n, cut.id)
