"""The near cache: checked sessions in the process's memory, each a ready answer.

A hit is a look-up and two comparisons at any depth of the tree: an entry is registered under every object of
its lineage, and an invalidation of an object removes the entries under it. Only `Active` is ever answered
from here; every denial is confirmed by the store, so that a stale entry cannot shut out a live session.

Pure: no I/O and no clock. The store says whether it may be trusted (`Store.current`) and applies the
invalidations in the order of the journal. An entry costs about 1 KiB with its session; `capacity` bounds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sessile.kernel.decide import Active, Binding


class Entry:
    """One cached answer. The instants are nanoseconds of `Clock.elapsed`."""

    __slots__ = ("active", "binding", "good_until", "objects", "touch_at")

    def __init__(
        self,
        active: Active,
        *,
        good_until: int,
        touch_at: int,
        binding: Binding | None,
        objects: tuple[str, ...],
    ) -> None:
        self.active = active
        self.good_until = good_until
        self.touch_at = touch_at
        self.binding = binding
        self.objects = objects


class NearCache:
    """Entries by token digest, and the way from an object to its entries.

    `mark` is the number of the last journal row that was applied.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ValueError("capacity is at least 1 entry")
        self.capacity = capacity
        self.mark = 0
        self._entries: dict[bytes, Entry] = {}
        self._by_object: dict[str, set[bytes]] = {}
        # Bound once: a check pays for one attribute less. `_entries` is never replaced.
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, digest: bytes, entry: Entry, mark: int) -> bool:
        """Keep an answer that was read at `mark`.

        Refused unless every journal row that the read has seen was applied, and none since: a read that raced
        with an invalidation is never kept.
        """
        if mark != self.mark:
            return False
        self._remove(digest)
        if len(self._entries) >= self.capacity:
            # The oldest fill goes. Sound whatever the access pattern: an evicted session is read again.
            self._remove(next(iter(self._entries)))
        self._entries[digest] = entry
        for name in entry.objects:
            self._by_object.setdefault(name, set()).add(digest)
        return True

    def apply(self, mark: int, objects: Iterable[str]) -> None:
        """Apply the journal up to row `mark`, which touched `objects`. `all` drops everything."""
        for name in objects:
            if name == "all":
                self._clear()
            else:
                for digest in tuple(self._by_object.get(name, ())):
                    self._remove(digest)
        self.mark = mark

    def drop(self, mark: int) -> None:
        """Forget everything: after a disconnect, a gap in the journal or another identity of the store."""
        self._clear()
        self.mark = mark

    def _clear(self) -> None:
        self._entries.clear()
        self._by_object.clear()

    def _remove(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        for name in entry.objects:
            digests = self._by_object.get(name)
            if digests is not None:
                digests.discard(digest)
                if not digests:
                    del self._by_object[name]
