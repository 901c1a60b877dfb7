"""Keeping the near cache true to the last commit of any process, and reading what it does not have.

One connection on which nothing else runs. Every statement is stepped to its end before anything else happens: a
half-read cursor would pin an old snapshot for all that follows on the connection (review 6a).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessile.errors import StoreUnavailable
from sessile.near import NearCache
from sessile.stores.sqlite.connection import Connection
from sessile.stores.sqlite.schema import check_version

T = TypeVar("T")

_VERSION = "PRAGMA data_version"
# From the row that was applied last, which has to be there unchanged.
_JOURNAL = "SELECT n, at, object FROM journal WHERE n >= ? ORDER BY n LIMIT ?"
_HEAD = "SELECT n, at, object FROM journal ORDER BY n DESC LIMIT 1"
_MOST = 1_000
"""Journal rows that are applied one by one; with more to catch up on, everything is dropped."""
_LOOK_NS = 1_000_000_000
"""How often the path is looked at: a file that was replaced answers from its old inode for as long as one asks."""
_NOWHERE = -1
"""A mark that no read has: while it is the cache's, nothing is kept."""


class Follower:
    """The connection of the checks. Any thread may call; one at a time gets in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # It never waits for a lock: that would be the event loop sleeping.
        self._connection = Connection(path, busy_timeout=0.0, query_only=True)
        self._near = NearCache(1)
        self._db: sqlite3.Connection | None = None
        self.lock = threading.Lock()
        """Held while a statement runs."""
        self._look_at = 0
        self._seen: list[tuple[int]] | None = None
        self._head: tuple[int, int, str] | None = None
        self._ask: Callable[[str], sqlite3.Cursor] | None = None

    def open(self, near: NearCache | None = None) -> None:
        """Open, or open anew. Raises sqlite3.Error and StoreUnavailable."""
        with self.lock:
            db = self._connection.get()
            check_version(db, self._path)
            if near is not None:
                self._near = near
                self._drop(db)
            self._ask = db.cursor().execute
            self._seen, self._look_at = None, 0
            self._db = db

    @property
    def is_open(self) -> bool:
        return self._db is not None

    def close(self) -> None:
        """Let go of the connection. What the cache holds is good again once `open` has caught up with the journal."""
        with self.lock:
            self.close_locked()

    def close_locked(self) -> None:
        """`close`, by whoever holds the lock."""
        self._db = self._ask = None
        self._connection.close()

    def current(self, now: int, partition: str | None = None) -> bool:
        """See `Store.current`: what every check pays."""
        try:
            with self.lock:
                # `data_version` changes with every commit of another connection, the writer's of this process included.
                if now < self._look_at and self._ask(_VERSION).fetchall() == self._seen:  # type: ignore[misc]
                    return True
                return self._catch_up(now)
        except Exception:  # closed, busy, replaced, corrupt: ask the store
            return False

    def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Read something small. Raises sqlite3.Error; StoreUnavailable if it is closed."""
        with self.lock:
            if self._db is None:
                raise StoreUnavailable("the database is not open")
            return read(self._db)

    def _catch_up(self, now: int) -> bool:
        db = self._db
        if db is None:
            return False
        if now >= self._look_at:
            if self._connection.moved():
                self._forget()
                return False
            self._look_at = now + _LOOK_NS
        # Asked before the journal is read: a commit in between is seen again the next time.
        seen = db.execute(_VERSION).fetchall()
        if seen != self._seen:
            rows = db.execute(_JOURNAL, (self._near.mark, _MOST + 1)).fetchall()
            if not rows or rows[0] != self._head or len(rows) > _MOST:
                # Swept past where this process stood, or another history: a file that was restored in place.
                self._drop(db)
            elif len(rows) > 1:
                self._near.apply(rows[-1][0], [name for _, _, name in rows[1:]])
                self._head = rows[-1]
            self._seen = seen
        return True

    def _drop(self, db: sqlite3.Connection) -> None:
        head: tuple[int, int, str] = db.execute(_HEAD).fetchall()[0]
        self._near.drop(head[0])
        self._head = head

    def _forget(self) -> None:
        """Another file lies at the path: trust nothing until it is open."""
        self._near.drop(_NOWHERE)
        self._head = None
        self.close_locked()

    # -- fork ---------------------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In the child: nothing of the parent's is trusted."""
        self.lock = threading.Lock()
        self._db = self._ask = None
        self._connection.abandon()
        self._near.drop(_NOWHERE)
        self._head = None
