"""The writer's transaction, as one change sees it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sessile.stores.sql.leases import wake
from sessile.stores.sql.rows import instant
from sessile.stores.sql.transaction import Transaction as SQLTransaction


class Transaction(SQLTransaction):
    """There is one writer: nothing is locked row by row, and a commit is seen by every check at once."""

    delta = timedelta(0)

    def __init__(self, db: sqlite3.Connection, now: datetime) -> None:
        self.db: sqlite3.Connection = db
        self.now = now

    def insert(self, table: str, values: dict[str, Any]) -> int:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names of our own
        return self.db.execute(sql, tuple(values.values())).lastrowid or 0

    def announce(self, name: str) -> None:
        self.change("INSERT INTO journal (at, object) VALUES (?, ?)", instant(self.now), name)
        wake(self, name)

    def mark(self) -> int:
        mark: int = self.rows("SELECT max(n) FROM journal")[0][0]
        return mark

    def skip_to(self, number: int) -> None:
        self.change("INSERT INTO journal (n, at, object) VALUES (?, ?, 'all')", number, instant(self.now))

    def lock_everyone(self, *, change: bool = False) -> None:
        pass

    def lock_teams(self, uids: Iterable[str]) -> None:
        pass

    def lock_principals(self, uids: Iterable[str | None], *, tokens: Sequence[bytes] = ()) -> None:
        pass

    def lock_sessions(
        self, ids: Iterable[str] = (), *, tokens: Sequence[bytes] = (), browsers_of: str | None = None
    ) -> None:
        pass

    def lock_record(self) -> None:
        pass
