"""Where sessions and principals are kept. `protocol` is the contract; each store is a page beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sessile.clock import Clock
from sessile.stores.leasing import Leased
from sessile.stores.mail import Mails
from sessile.stores.noticing import Notices
from sessile.stores.owning import Owning
from sessile.stores.protocol import Directory, Store
from sessile.stores.walking import Walks
from sessile.stores.working import Works

REDIS = (
    "redis", "rediss", "valkey", "valkeys", "redis+sentinel", "rediss+sentinel", "valkey+sentinel", "valkeys+sentinel",
    "redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster", "redis+unix",
)  # fmt: skip


class Backend(Store, Directory, Owning, Mails, Leased, Notices, Works, Walks, Protocol):
    """A store that is its own directory."""


def open_url(url: str, *, clock: Clock, create: bool, directory: str | None = None) -> Backend:
    """The store that a URL names. No I/O. `directory` goes with Redis and Valkey, and only with them.

    Raises:
        ValueError: not a URL of a store; says which there are.
        ImportError: its driver is not installed; says how to get it.
    """
    scheme, _, rest = url.partition(":")
    if scheme in REDIS:
        return _redis(url, clock, create, directory)
    if directory is not None:
        raise ValueError("directory= goes with redis:// only: every other store is its own directory")
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
        " or memory: (in this process only); redis://host:6379/0 with a directory"
    )


def _redis(url: str, clock: Clock, create: bool, directory: str | None) -> Backend:
    if directory is None:
        raise ValueError(
            'redis:// needs a directory: the SQL store for accounts and the record, as directory="sqlite:///sessile.db"'
        )
    beside = open_url(directory, clock=clock, create=create)
    try:
        from sessile.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        raise ImportError("redis:// needs its parser: pip install 'sessile[redis]'") from error
    from sessile.stores.sql.store import SQLStore

    if not isinstance(beside, SQLStore):
        raise ValueError("a directory is a store in SQL: sqlite:///… or postgresql://…")
    return RedisStore(url, directory=beside, clock=clock)
