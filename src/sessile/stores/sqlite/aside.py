"""Reads that may take their time: lists, and whatever the connection of the checks would have to wait for."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sessile.stores.sqlite.connection import Connection, when_free
from sessile.stores.sqlite.schema import check_version

T = TypeVar("T")


class Aside:
    """A reading connection in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = Connection(path, query_only=True)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `read`. Raises sqlite3.Error and StoreUnavailable."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "sessile-sqlite-reader")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, read)

    def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            return when_free(lambda: read(self._open()))

    def _open(self) -> sqlite3.Connection:
        db = self._connection.get()
        check_version(db, self._path)
        return db

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self._connection.close()

    def pause(self) -> None:
        """Close the connection, and let nothing run until `resume`."""
        self._lock.acquire()
        self._connection.close()

    def resume(self) -> None:
        self._lock.release()

    def abandon(self) -> None:
        """In a forked child: this object is not used any more."""
        self._connection.abandon()
