"""What every change does in the writer's transaction besides its own rows: journal and audit record."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from sessile.kernel.event import Event
from sessile.stores.sqlite.rows import instant, json_text

NO_CHAIN = bytes(32)
"""What the first event is chained to."""


class Transaction:
    """The writer's transaction, as one change sees it. `now` is the store's clock, read inside."""

    def __init__(self, db: sqlite3.Connection, now: datetime) -> None:
        self.db = db
        self.now = now

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def change(self, sql: str, *values: Any) -> int:
        """Run a statement; how many rows it changed."""
        return self.db.execute(sql, values).rowcount

    def insert(self, table: str, values: dict[str, Any]) -> int:
        """Insert a row; its rowid."""
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names of our own
        return self.db.execute(sql, tuple(values.values())).lastrowid or 0

    def announce(self, name: str) -> None:
        """Journal what this change may turn from a yes into a no."""
        self.change("INSERT INTO journal (at, object) VALUES (?, ?)", instant(self.now), name)

    def mark(self) -> int:
        mark: int = self.rows("SELECT max(n) FROM journal")[0][0]
        return mark

    def record(self, event: Event) -> None:
        """Append to the audit record, stamped and chained."""
        last = self.row("SELECT seq, chain FROM event ORDER BY seq DESC LIMIT 1")
        seq, before = last or (0, NO_CHAIN)
        event = msgspec.structs.replace(event, seq=seq + 1, at=self.now)
        body = json_text(event)
        self.insert(
            "event",
            {
                "seq": event.seq, "uid": event.uid, "session": event.session, "body": body,
                "chain": chain(before, body),
            },
        )  # fmt: skip


def chain(before: bytes, body: str) -> bytes:
    """What ties an event to all before it: an edit, a removal or an insertion changes every chain after it."""
    return sha256(before + body.encode()).digest()
