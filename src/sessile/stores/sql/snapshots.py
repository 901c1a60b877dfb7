"""Reading what a decision needs, of one instant: a session, its principal, policy, ancestors, everybody's epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from sessile.kernel.decide import Ancestor, Snapshot
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal
from sessile.kernel.session import Session
from sessile.stores.sql.rows import (
    PRINCIPAL_COLUMNS,
    SESSION_COLUMNS,
    Row,
    datetime_of,
    epochs_of,
    json_text,
    policy_of,
    principal_of,
    session_of,
    token_state,
)  # fmt: skip
from sessile.stores.sql.transaction import Db

S = ", ".join(f"s.{name}" for name in SESSION_COLUMNS)
P = ", ".join(f"p.{name}" for name in PRINCIPAL_COLUMNS)
# Where the columns of each begin.
_STATE, _SINCE, _SEQ, _SALT, _MARK, _EPOCHS, _RULES, _SESSION = range(8)
_PRINCIPAL = _SESSION + len(SESSION_COLUMNS)
_LINEAGE = _SESSION + SESSION_COLUMNS.index("lineage")

# The policy is the one that the principal has now, whatever it was when the session began.
BESIDE = "LEFT JOIN principal p ON p.uid = s.uid LEFT JOIN policy y ON y.name = coalesce(p.policy, 'default')"
_JOINED = f"CROSS JOIN everyone e {BESIDE}"
_COLUMNS = f"s.seq, s.salt, (SELECT max(n) FROM journal), e.epochs, y.rules, {S}, {P}"  # noqa: S608
_BY_TOKEN = f"""
SELECT t.state, t.since, {_COLUMNS} FROM token t CROSS JOIN session s ON s.seq = t.session {_JOINED}
WHERE t.digest = ?
"""  # noqa: S608 - names of our own, here and below
_SESSIONS = f"SELECT 'current', s.rotated, {_COLUMNS} FROM session s {_JOINED} "  # noqa: S608
_ANCESTORS = f"""
SELECT y.rules, {S}, {P} FROM json_each(?) wanted CROSS JOIN session s ON s.id = wanted.value {BESIDE}
"""  # noqa: S608


class Loaded(msgspec.Struct, frozen=True):
    """A session as stored: what a decision needs, and what only the store does."""

    seq: int
    salt: bytes | None
    snapshot: Snapshot

    @property
    def session(self) -> Session:
        return self.snapshot.session


Above = dict[str, tuple[Session, Principal | None, Policy | None]]


def by_token(db: Db, digest: bytes, now: datetime) -> Loaded | None:
    """The session that the token names, or its tombstone."""
    rows = db.execute(_BY_TOKEN, (digest,)).fetchall()
    if not rows:
        return None
    if rows[0][_LINEAGE] == "[]" or db.in_transaction:
        return _loaded(db, rows, now)[0]
    # Two statements see one instant only inside a transaction.
    db.execute("BEGIN")
    try:
        rows = db.execute(_BY_TOKEN, (digest,)).fetchall()
        return _loaded(db, rows, now)[0] if rows else None
    finally:
        db.execute("ROLLBACK")


def by_id(db: Db, session_id: str, now: datetime) -> Loaded | None:
    found = by_ids(db, (session_id,), now)
    return found[0] if found else None


def by_ids(db: Db, ids: Iterable[str], now: datetime) -> list[Loaded]:
    return select(db, "WHERE s.id IN (SELECT value FROM json_each(?))", (json_text(tuple(ids)),), now)


def select(db: Db, where: str, values: Row | Mapping[str, Any], now: datetime) -> list[Loaded]:
    """The sessions `s` that `where` names, in its order."""
    if db.in_transaction:
        return _loaded(db, db.execute(_SESSIONS + where, values).fetchall(), now)
    db.execute("BEGIN")
    try:
        return _loaded(db, db.execute(_SESSIONS + where, values).fetchall(), now)
    finally:
        db.execute("ROLLBACK")


def _loaded(db: Db, rows: list[Row], now: datetime) -> list[Loaded]:
    sessions = [session_of(row, _SESSION) for row in rows]
    above = _above(db, {link.session for session in sessions for link in session.lineage})
    return [assemble(row, session, above, now) for row, session in zip(rows, sessions, strict=True)]


def assemble(row: Row, session: Session, above: Above, now: datetime) -> Loaded:
    """Put together what was read: the columns before the session's, the session, and those above it."""
    return Loaded(
        row[_SEQ],
        row[_SALT],
        Snapshot(
            session=session,
            principal=principal_of(row, _PRINCIPAL),
            policy=policy_of(row[_RULES]) if row[_RULES] is not None else None,
            ancestors=tuple(Ancestor(link, *above.get(link.session, (None, None, None))) for link in session.lineage),
            everyone=epochs_of(row[_EPOCHS]),
            token_state=token_state(row[_STATE]),
            token_since=datetime_of(row[_SINCE]),
            now=now,
            mark=row[_MARK],
        ),
    )


def _above(db: Db, ids: set[str]) -> Above:
    return above_of(db.execute(_ANCESTORS, (json_text(ids),)).fetchall(), 0) if ids else {}


def above_of(rows: Iterable[Row], start: int) -> Above:
    """Those above, by their ids: of each the policy's rules at `start`, then its columns and its principal's."""
    found: Above = {}
    for row in rows:
        session = session_of(row, start + 1)
        policy = policy_of(row[start]) if row[start] is not None else None
        found[session.id] = (session, principal_of(row, start + 1 + len(SESSION_COLUMNS)), policy)
    return found
