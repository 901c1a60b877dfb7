"""Where sessions and principals are kept. `protocol` is the contract; each store is a page beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sessile.clock import Clock
from sessile.stores.protocol import Directory, Store


class Backend(Store, Directory, Protocol):
    """A store that is its own directory."""


def open_url(url: str, *, clock: Clock, create: bool) -> Backend:
    """The store that a URL names. No I/O.

    Raises:
        ValueError: not a URL of a store; says which there are.
        ImportError: its driver is not installed; says how to get it.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        from sessile.stores.memory import MemoryStore

        return MemoryStore(clock=clock)
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > 3:
        from sessile.stores.sqlite import SQLiteStore

        return SQLiteStore(Path(rest[3:]).absolute(), clock=clock, create=create)
    if scheme in ("postgresql", "postgres"):
        from sessile.stores.postgres import PostgresStore

        return PostgresStore(url, clock=clock, create=create)
    # The URL itself may carry a password: it is not repeated.
    raise ValueError(
        "not a store: use sqlite:///relative.db, sqlite:////absolute/path.db, postgresql://user@host/database"
        " or memory: (in this process only)"
    )
