"""The header of SQLite's wal-index, read where SQLite itself looks for commits: in the memory that all share.

A reading transaction begins by comparing this header with the one it saw last (walformat.html, "The WAL-Index Header";
`walIndexTryHdr`). A commit, by whichever process, rewrites it before it is acknowledged. So as long as its bytes are
the same nothing was committed; and to look costs a copy of 48 bytes, where a statement costs three system calls.

The danger in it is known, and is the rule of this file: **closing any descriptor of a file drops all locks of this
process on it** (POSIX, fcntl), SQLite's own too. So what was opened here stays open as long as the file has a name.
SQLite removes the file when the last connection of any process closes; only then is it let go. `docs/decisions/0026`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sqlite3
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import cast

HEADER_BYTES = 48
_FORMAT = struct.Struct("=IIIB")
_VERSION = 3_007_000
"""Of the format, the same since SQLite 3.7.0 (2010). Another is not read."""


class _Mapped:
    """One wal-index, mapped for reading."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        self.identity = status.st_dev, status.st_ino
        self.memory = mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ)
        # It has a descriptor of its own. The end of the interpreter, too, must not close that: a thread may be in the
        # middle of a commit.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.memory))
        self.read = cast(Callable[[], bytes], partial(self.memory.__getitem__, slice(HEADER_BYTES)))
        """The header as it is now. Every check calls it: so no function of Python's."""

    @property
    def is_removed(self) -> bool:
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        self.memory.close()
        os.close(self._descriptor)


_kept: list[_Mapped] = []
_lock = threading.Lock()


def header(db: sqlite3.Connection) -> Callable[[], bytes] | None:
    """What reads the header of the wal-index that `db` uses; None where that cannot be had, and the database has to be
    asked. `db` has read already, and stays open as long as the result is used."""
    if sys.platform != "linux":
        return None  # elsewhere an open file cannot be removed, or it was not tried
    path = f"{db.execute('PRAGMA database_list').fetchall()[0][2]}-shm"
    with _lock:
        for each in [each for each in _kept if each.is_removed]:
            _kept.remove(each)
            each.close()
        try:
            status = os.stat(path)
            mapped = next((each for each in _kept if each.identity == (status.st_dev, status.st_ino)), None)
            if mapped is None:
                if status.st_size < mmap.PAGESIZE:
                    return None
                mapped = _Mapped(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                _kept.append(mapped)
        except (OSError, ValueError):  # no room for it: what was opened stays open all the same
            return None
    version, _, _, ready = _FORMAT.unpack_from(mapped.read())
    return mapped.read if version == _VERSION and ready == 1 else None


def _in_child() -> None:
    """A thread that stayed behind in the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
