"""The SQLite store: one file, strict. A check sees the last commit of any process on it.

Where to read: `store` is the whole from above; `follow` keeps the near cache true; `writer` groups commits;
`stores.sql` is what a transaction does; `schema/` is the tables.
"""

from __future__ import annotations

from sessile.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
