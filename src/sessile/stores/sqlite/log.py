"""Keeping the write-ahead log short."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

LONG_LOG = 16 * 1024 * 1024
"""Bytes of the write-ahead log above which it is written back and cut."""


def log_bytes(path: Path) -> int:
    """The size of the database's write-ahead log."""
    try:
        return os.stat(f"{path}-wal").st_size
    except OSError:  # nobody has the database open, or it is elsewhere by now
        return 0


def shorten_log(db: sqlite3.Connection, path: Path) -> None:
    """Cut the write-ahead log if it is long. Outside a transaction; waits for nobody."""
    if log_bytes(path) < LONG_LOG:
        return
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
