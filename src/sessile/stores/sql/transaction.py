"""What every change does in its transaction besides its own rows: locks, journal and audit record."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from sessile.kernel.event import Event
from sessile.kernel.personal import apart
from sessile.stores.sql.rows import instant, json_text

NO_CHAIN = bytes(32)
"""What the first event is chained to."""


class Cursor(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> list[Any]: ...


class Db(Protocol):
    """A connection, as far as statements go: sqlite3's own, or PostgreSQL's behind `stores.postgres.dialect`."""

    @property
    def in_transaction(self) -> bool:
        """Whether all statements see one instant."""

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ..., /) -> Cursor: ...


class Transaction(abc.ABC):
    """A change's transaction.

    Locks come first, in this order: everybody's epochs, teams, principals, sessions; `announce` and
    `record` after them.
    Whoever keeps to it never waits in a circle.
    """

    db: Db
    now: datetime
    """The store's clock, read inside the transaction and behind its locks."""
    skip_locked = ""
    """Behind a SELECT: take those rows for oneself, and leave out those that somebody else has."""
    delta: timedelta
    """Δ as this transaction reads it: valid once something was announced."""
    recorded: tuple[Event, ...] = ()
    """What was appended to the audit record."""

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def change(self, sql: str, *values: Any) -> int:
        """Run a statement; how many rows it changed."""
        return self.db.execute(sql, values).rowcount

    @abc.abstractmethod
    def insert(self, table: str, values: dict[str, Any]) -> int:
        """Insert a row; the `seq` of a session."""

    @abc.abstractmethod
    def lock_everyone(self, *, change: bool = False) -> None:
        """Nobody changes everybody's epochs, or a policy, until the commit."""

    @abc.abstractmethod
    def lock_teams(self, uids: Iterable[str]) -> None:
        """Nobody changes who is in these teams, nor deletes them."""

    @abc.abstractmethod
    def lock_principals(self, uids: Iterable[str | None], *, tokens: Sequence[bytes] = ()) -> None:
        """Nobody changes these principals, nor those of the sessions that the tokens name and of their ancestors."""

    @abc.abstractmethod
    def lock_sessions(
        self, ids: Iterable[str] = (), *, tokens: Sequence[bytes] = (), browsers_of: str | None = None
    ) -> None:
        """Nobody changes these sessions, nor those that the tokens name and their ancestors, nor the browser sessions
        of that principal that are not over."""

    @abc.abstractmethod
    def announce(self, name: str) -> None:
        """Journal what this change may turn from a yes into a no."""

    @abc.abstractmethod
    def mark(self) -> int:
        """The number of the last journal row."""

    @abc.abstractmethod
    def skip_to(self, number: int) -> None:
        """Append a row of that number, a higher one than the last, to the journal: the next one is after it."""

    @abc.abstractmethod
    def lock_record(self) -> None:
        """Nobody appends to the audit record until the commit."""

    def record(self, event: Event) -> None:
        """Append to the audit record, stamped and chained."""
        self.lock_record()
        last = self.row("SELECT seq, chain FROM event ORDER BY seq DESC LIMIT 1")
        seq, before = last or (0, NO_CHAIN)
        event = msgspec.structs.replace(event, seq=seq + 1, at=self.now)
        line, parts = apart(event)
        body = json_text(line)
        self.insert(
            "event",
            {
                "seq": event.seq, "uid": event.uid, "session": event.session, "name": event.name.value,
                "at": instant(self.now), "body": body, "chain": chain(before, body),
            },
        )  # fmt: skip
        for n, part in enumerate(parts):
            row = {"seq": event.seq, "n": n, "whose": part.whose, "salt": part.salt, "said": part.said}
            self.insert("personal", row)
        self.recorded += (event,)


def chain(before: bytes, body: str) -> bytes:
    """What ties an event to all before it: an edit, a removal or an insertion changes every chain after it."""
    return sha256(before + body.encode()).digest()
