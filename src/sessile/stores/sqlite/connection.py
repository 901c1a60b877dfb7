"""One connection to the file, and what its driver's errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sessile.errors import Conflict, SessileError, StoreUnavailable

T = TypeVar("T")

BUSY_SECONDS = 5.0
"""How long another process is waited for."""
LOOK_SECONDS = 0.0002
"""Between two looks whether it has let go of the file."""

Identity = tuple[int, int]
"""Device and inode: which file lies at a path."""

_ABANDONED: list[sqlite3.Connection] = []


class Connection:
    """A connection that is opened when first used, and anew when another file lies at the path.

    A handle goes on answering from the old inode after a restore or a `mv` (review 6b).
    """

    def __init__(self, path: Path, *, query_only: bool) -> None:
        self._path = path
        self._query_only = query_only
        self._db: sqlite3.Connection | None = None
        self.identity: Identity | None = None

    def get(self) -> sqlite3.Connection:
        """The open connection. Raises sqlite3.Error and StoreUnavailable."""
        if self._db is not None and self.moved():
            self.close()
        if self._db is None:
            self._db, self.identity = connect(self._path, query_only=self._query_only)
        return self._db

    @property
    def is_open(self) -> bool:
        return self._db is not None

    def moved(self) -> bool:
        """Whether the file at the path is not the one that is open."""
        return identity(self._path) != self.identity

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):  # nothing is left to be done with it
                db.close()

    def abandon(self) -> None:
        """Let go without closing: in a forked child, closing would touch what the parent is using."""
        if self._db is not None:
            _ABANDONED.append(self._db)
            self._db = None


def connect(path: Path, *, query_only: bool) -> tuple[sqlite3.Connection, Identity]:
    """Open an existing file. Autocommit: every transaction is written out. It waits for no lock: see `when_free`."""
    before = identity(path)
    if before is None:
        raise StoreUnavailable(f"there is no file {path}")
    # `mode=rw` never makes a file. Any thread may use a connection: the locks are ours (`follow`, `writer`).
    db = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False,
        cached_statements=256,
    )  # fmt: skip
    try:
        # FULL: in WAL mode, NORMAL may lose the last commits at power loss, and with them acknowledged revocations.
        db.execute("PRAGMA synchronous = FULL").fetchall()
        db.execute("PRAGMA fullfsync = ON").fetchall()  # macOS: an ordinary fsync stops at the disk's own cache
        db.execute("PRAGMA trusted_schema = OFF").fetchall()
        db.execute("PRAGMA journal_size_limit = 16777216").fetchall()
        if query_only:
            db.execute("PRAGMA query_only = ON").fetchall()
        if identity(path) != before:
            raise StoreUnavailable(f"{path} was replaced while it was opened")
    except BaseException:
        db.close()
        raise
    return db, before


def identity(path: Path) -> Identity | None:
    """Which file lies at the path; None: none that can be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def when_free(act: Callable[[], T]) -> T:
    """What `act` returns; while another process holds the file it is tried anew. Blocks for BUSY_SECONDS at most.

    SQLite's own way of waiting sleeps longer and longer, up to 100 ms: beside a process that writes without a pause it
    misses the moments between two commits for seconds, and a revocation would wait with it.

    Raises sqlite3.Error, also when it took too long, and whatever else `act` raises.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)


def is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translated(error: sqlite3.Error) -> SessileError:
    """What a driver's error is to the store's users."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(f"it exists already ({error})")
    if is_busy(error):
        return StoreUnavailable("another process is writing to the database for too long: try again")
    return StoreUnavailable(f"the database does not answer: {error}")
