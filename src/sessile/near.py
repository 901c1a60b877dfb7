"""The near cache: checked sessions in the process's memory, each a ready answer.

A hit is a look-up and two comparisons at any depth of the tree: an entry is registered under every object of
its lineage, and an invalidation of an object removes the entries under it. Only `Active` is ever answered
from here; every denial is confirmed by the store, so that a stale entry cannot shut out a live session.

Pure: no I/O and no clock. The store says whether it may be trusted (`Store.current`) and applies the
invalidations in the order of the journal. An entry costs about 1 KiB with its session; `capacity` bounds it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sessile.kernel.decide import Active, Binding


class Entry(msgspec.Struct, eq=False):
    """One cached answer. The instants are nanoseconds of `Clock.elapsed`."""

    active: Active
    good_until: int
    touch_at: int
    binding: Binding | None
    objects: tuple[str, ...]
    metered: Any = None
    """What counts its calls, where there is a budget; then `touch_at` is in the past."""


class Reading:
    """A read of the store that is under way: what was invalidated meanwhile must not be kept from it."""

    __slots__ = ("_near", "everything", "objects")

    def __init__(self, near: NearCache | None = None) -> None:
        self.objects: set[str] = set()
        self.everything = False
        self._near = near

    def __enter__(self) -> Reading:
        if (near := self._near) is not None:
            with near._lock:
                near._readings.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        if (near := self._near) is not None:
            with near._lock:
                near._readings.discard(self)


class NearCache:
    """Entries by a hash of the token, and the way from an object to its entries.

    `mark` is the number of the last journal row that was applied, kept for the store.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ValueError("capacity is at least 1 entry")
        self.capacity = capacity
        self.mark = 0
        self._entries: dict[bytes, Entry] = {}
        self._by_object: dict[str, set[bytes]] = {}
        self._readings: set[Reading] = set()
        self._lock = threading.Lock()
        """Held by whatever changes the cache, never by a look-up: with the sync face checks come on many threads."""
        _CACHES.add(self)
        self.listener: Callable[[Iterable[str]], None] | None = None
        """Hears of every object that was touched (`all`: of any), after its entries are gone; on any thread."""
        # Bound once: a check pays for one attribute less. `_entries` is never replaced.
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def reading(self) -> Reading:
        """Around a read of the store and the `put` of what it found: `with near.reading() as reading`."""
        return Reading(self)

    def put(self, digest: bytes, entry: Entry, reading: Reading) -> bool:
        """Keep an answer. Refused if anything it depends on was invalidated since its reading began: a read that
        raced with an invalidation is never kept. An invalidation that comes later removes it.
        """
        with self._lock:
            if reading.everything or not reading.objects.isdisjoint(entry.objects):
                return False
            entries, by_object = self._entries, self._by_object
            if digest in entries:
                self._remove(digest)
            elif len(entries) >= self.capacity:
                # The oldest fill goes. Sound whatever the access pattern: an evicted session is read again.
                self._remove(next(iter(entries)))
            entries[digest] = entry
            for name in entry.objects:
                digests = by_object.get(name)
                if digests is None:
                    by_object[name] = {digest}
                else:
                    digests.add(digest)
            return True

    def apply(self, mark: int, objects: Iterable[str]) -> None:
        """Apply the journal up to row `mark`, which touched `objects`. `all` drops everything."""
        objects = tuple(objects)
        with self._lock:
            for reading in self._readings:
                reading.objects.update(objects)
                reading.everything = reading.everything or "all" in objects
            for name in objects:
                if name == "all":
                    self._clear()
                else:
                    for digest in tuple(self._by_object.get(name, ())):
                        self._remove(digest)
            self.mark = mark
        if self.listener is not None:
            self.listener(objects)

    def drop(self, mark: int) -> None:
        """Forget everything: after a disconnect, a gap in the journal or another identity of the store."""
        with self._lock:
            for reading in self._readings:
                reading.everything = True
            self._clear()
            self.mark = mark
        if self.listener is not None:
            self.listener(("all",))

    def _clear(self) -> None:
        for entry in self._entries.values():
            entry.good_until = 0
        self._entries.clear()
        self._by_object.clear()

    def _remove(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        entry.good_until = 0  # for a check that holds it already
        for name in entry.objects:
            digests = self._by_object.get(name)
            if digests is not None:
                digests.discard(digest)
                if not digests:
                    del self._by_object[name]


_CACHES: weakref.WeakSet[NearCache] = weakref.WeakSet()


def _in_child() -> None:
    """A thread that stayed behind in the parent may have held the lock."""
    for cache in tuple(_CACHES):
        cache._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
