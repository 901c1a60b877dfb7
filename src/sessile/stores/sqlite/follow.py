"""Keeping the near cache true to the last commit of any process, and reading what it does not have.

One connection on which nothing else runs. Every statement is stepped to its end before anything else happens: a
half-read cursor would pin an old snapshot for all that follows on the connection (review 6a).
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessile.errors import StoreUnavailable
from sessile.near import NearCache
from sessile.stores.sqlite.connection import Connection
from sessile.stores.sqlite.schema import check_version
from sessile.stores.sqlite.walindex import header

T = TypeVar("T")

logger = logging.getLogger("sessile")

# Changes with every commit of another connection, the writer's of this process included.
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


def _closed() -> object:
    raise StoreUnavailable("the database is not open")


class Follower:
    """The connection of the checks. Any thread may call; one at a time gets in. It never waits for another process:
    that would be the event loop sleeping."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = Connection(path, query_only=True)
        self._near = NearCache(1)
        self._db: sqlite3.Connection | None = None
        self.lock = threading.RLock()
        """Held while a statement runs."""
        self._look_at = 0
        self._last_commit: Callable[[], object] = _closed
        """What is another value after every commit."""
        self._seen: object = None
        self._version: list[tuple[int]] | None = None
        self._head: tuple[int, int, str] | None = None

    def open(self, near: NearCache | None = None) -> None:
        """Open, or open anew. Raises sqlite3.Error and StoreUnavailable."""
        with self.lock:
            db = self._connection.get()
            check_version(db, self._path)
            if near is not None:
                self._near = near
                self._drop(db)
            self._last_commit = header(db) or self._ask
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
        self._db, self._last_commit = None, _closed
        self._connection.close()

    def current(self, now: int, partition: str | None = None) -> bool:
        """See `Store.current`: what every check pays."""
        try:
            # What was seen is set when all up to it has been applied: so without the lock.
            if now < self._look_at and self._last_commit() == self._seen:
                return True
            with self.lock:
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
            self._prove(db)
        # Asked before the journal is read: a commit in between is seen again the next time.
        seen = self._last_commit()
        if seen != self._seen:
            version = db.execute(_VERSION).fetchall()
            rows = db.execute(_JOURNAL, (self._near.mark, _MOST + 1)).fetchall()
            if not rows or rows[0] != self._head or len(rows) > _MOST:
                # Swept past where this process stood, or another history: a file that was restored in place.
                self._drop(db)
            elif len(rows) > 1:
                self._near.apply(rows[-1][0], [name for _, _, name in rows[1:]])
                self._head = rows[-1]
            self._seen, self._version = seen, version
        return True

    def _prove(self, db: sqlite3.Connection) -> None:
        """That the header which is looked at is the one that the database goes by: another system, a file system of
        another kind, whatever nobody thought of. If not, the database is asked from now on."""
        before = self._last_commit()
        version = db.execute(_VERSION).fetchall()
        if version != self._version and before == self._seen == self._last_commit():
            logger.warning("%s: commits cannot be seen in shared memory; every check asks the database", self._path)
            self._last_commit, self._seen = self._ask, None

    def _ask(self) -> object:
        with self.lock:
            return _closed() if self._db is None else self._db.execute(_VERSION).fetchall()

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
        self.lock = threading.RLock()
        self._db, self._last_commit = None, _closed
        self._connection.abandon()
        self._near.drop(_NOWHERE)
        self._head = None
