"""Before a fork every connection is closed, and after it each side opens its own.

SQLite keeps its locks by process, in memory that a child inherits: a child that carries a connection over, or opens
the file anew beside one, believes in locks that it does not hold, and another process may then delete the
write-ahead log under it: an acknowledged revocation would be lost. So no connection is there while the fork
happens; it waits for the transaction that runs (review 5).
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What has connections to be closed."""

    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


_open: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(store: Forked) -> None:
    _open.add(store)


def unwatch(store: Forked) -> None:
    _open.discard(store)


def _before() -> None:
    for store in tuple(_open):
        store.before_fork()


def _in_parent() -> None:
    for store in tuple(_open):
        store.after_fork_in_parent()


def _in_child() -> None:
    for store in tuple(_open):
        store.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
