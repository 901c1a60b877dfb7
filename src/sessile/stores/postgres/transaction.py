"""One change's transaction: locks by row, announcements to all nodes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg

from sessile.stores.postgres.dialect import Db
from sessile.stores.postgres.engine import LOCKS, NOW
from sessile.stores.sql.leases import wake
from sessile.stores.sql.rows import datetime_of, instant
from sessile.stores.sql.transaction import Transaction as SQLTransaction
from sessile.trust import Mark

_TOKEN = "SELECT s.id, s.uid, s.lineage FROM token t JOIN session s ON s.seq = t.session WHERE t.digest = ?"
_links = msgspec.json.Decoder(list[dict[str, Any]]).decode


def new_head() -> str:
    """What tells a row of the journal from the one of that number in another history."""
    return secrets.token_hex(8)


class Transaction(SQLTransaction):
    """READ COMMITTED: each statement sees what was committed before it, and what is locked stays as it is."""

    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(
        self, connection: psycopg.Connection[Any], schema: str, began: datetime, wall: Callable[[], datetime] | None,
        *, quiet: bool = False,
    ) -> None:  # fmt: skip
        """`began`: the engine's clock at the beginning. `wall`: what counts instead of that clock (tests). `quiet`:
        what is journalled is not announced: nodes find it out by its number, which their next ping tells."""
        self.db = Db(connection)
        self._schema = schema
        self._wall = wall
        self._quiet = quiet
        self._now: datetime | None = began if wall is None else wall()
        self._tokens: dict[bytes, tuple[list[str], list[str | None]]] = {}
        self.announced: list[str] = []
        self.head: Mark | None = None
        """The last row of the journal that this change appended."""

    @property
    def now(self) -> datetime:  # type: ignore[override]
        if self._now is None:
            # Read again behind the locks: what was waited for may have lasted.
            self._now = datetime_of(self.rows(f"SELECT {NOW}")[0][0]) if self._wall is None else self._wall()
        return self._now

    def insert(self, table: str, values: dict[str, Any]) -> int:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        back = " RETURNING seq" if table == "session" else ""
        cursor = self.db.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks}){back}",  # noqa: S608 - names of our own
            tuple(values.values()),
        )
        return int(cursor.fetchall()[0][0]) if back else 0

    # -- locks --------------------------------------------------------------------------------------------------

    def lock_everyone(self, *, change: bool = False) -> None:
        kind = "" if change else "_shared"
        self._lock(f"SELECT pg_advisory_xact_lock{kind}(?, hashtext(?))", LOCKS, f"{self._schema} everyone")

    def lock_teams(self, uids: Iterable[str]) -> None:
        self._lock("SELECT 1 FROM team WHERE uid = ANY (?) ORDER BY uid FOR UPDATE", sorted(uids))

    def lock_principals(self, uids: Iterable[str | None], *, tokens: Sequence[bytes] = ()) -> None:
        wanted = {uid for uid in uids if uid is not None}
        for token in tokens:
            wanted |= {uid for uid in self._named(token)[1] if uid is not None}
        if wanted:
            sql = "SELECT 1 FROM principal WHERE uid = ANY (?) ORDER BY uid FOR NO KEY UPDATE"
            self._lock(sql, sorted(wanted))

    def lock_sessions(
        self, ids: Iterable[str] = (), *, tokens: Sequence[bytes] = (), browsers_of: str | None = None
    ) -> None:
        wanted = set(ids)
        for token in tokens:
            wanted |= set(self._named(token)[0])
        if browsers_of is not None:
            self._lock(
                "SELECT 1 FROM session WHERE id = ANY (?) OR (uid = ? AND kind = 'browser' AND ended IS NULL"
                " AND expires > ?) ORDER BY id FOR NO KEY UPDATE",
                sorted(wanted), browsers_of, instant(self.now),
            )  # fmt: skip
        elif wanted:
            self._lock("SELECT 1 FROM session WHERE id = ANY (?) ORDER BY id FOR NO KEY UPDATE", sorted(wanted))

    def _lock(self, sql: str, *values: Any) -> None:
        self.rows(sql, *values)
        self._now = None

    def _named(self, token: bytes) -> tuple[list[str], list[str | None]]:
        """The session that the token names and those above it, and whose they are: that never changes."""
        if token not in self._tokens:
            ids: list[str] = []
            uids: list[str | None] = []
            for id_, uid, lineage in self.rows(_TOKEN, token):
                links = _links(lineage)
                ids += [id_, *(link["session"] for link in links)]
                uids += [uid, *(link["uid"] for link in links)]
            self._tokens[token] = ids, uids
        return self._tokens[token]

    def lock_record(self) -> None:
        self.rows("SELECT lock_record()")

    # -- journal ------------------------------------------------------------------------------------------------

    def announce(self, name: str) -> None:
        head = new_head()
        if self._quiet:
            number, delta = self._journal(name, head)
        else:
            number, delta = self.rows("SELECT number, delta FROM announce(?, ?, ?)", instant(self.now), name, head)[0]
        self.head = Mark(number, head)
        self.delta = timedelta(microseconds=delta / 1000)
        self.announced.append(name)
        wake(self, name)

    def _journal(self, name: str, head: str) -> tuple[int, int]:
        """As the schema's `announce`, without the message. Each statement sees what was committed before it."""
        self.lock_record()
        insert = "INSERT INTO journal (n, at, object, head) SELECT max(n) + 1, ?, ?, ? FROM journal RETURNING n"
        number = self.rows(insert, instant(self.now), name, head)[0][0]
        return number, self.rows("SELECT wait FROM everyone")[0][0]

    def mark(self) -> int:
        assert self.head is not None, "nothing was announced"  # noqa: S101 - a mistake of ours
        return self.head.number

    def skip_to(self, number: int) -> None:
        sql = "INSERT INTO journal (n, at, object, head) VALUES (?, ?, 'all', ?)"
        self.change(sql, number, instant(self.now), new_head())
