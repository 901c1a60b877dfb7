"""The walks of the memory store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sessile.clock import Clock
from sessile.kernel.containment import Cut
from sessile.kernel.event import Event
from sessile.stores.memory_directory import MemoryDirectory
from sessile.stores.memory_erasing import erased_cut
from sessile.stores.walking import Walk


class MemoryWalks(MemoryDirectory):
    """`Walks` in a dictionary."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._walks: dict[int, Walk] = {}

    def _add_walk(self, cut: Cut | None) -> None:
        """Behind the ending's event."""
        if cut is not None:
            n = self._events[-1].seq
            self._walks[n] = Walk(n=n, cut=cut)

    def _erase_walks(self, name: str) -> None:
        self._walks = {
            n: msgspec.structs.replace(walk, cut=erased_cut(walk.cut, name)) for n, walk in self._walks.items()
        }

    async def walks(self, limit: int = 1_000) -> Sequence[Walk]:
        return [walk for _, walk in sorted(self._walks.items())][:limit]

    async def walk_on(self, walk: Walk, to: Walk | None, events: Sequence[Event]) -> bool:
        if self._walks.get(walk.n) != walk:
            return False
        if to is None:
            del self._walks[walk.n]
        else:
            self._walks[walk.n] = to
        for event in events:
            self._append(event, self._clock.now())
        return True
