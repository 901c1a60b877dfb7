"""Tokens that follow one another, the device's key, the last act, and the application's data, in the writer's
transaction.

Revocation wins over all of it: a session that has ended is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sessile.errors import Conflict, NotFound
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState, holds, is_live, rebound
from sessile.kernel.event import Actor, EventName, bound_event, changed_event, retired_event
from sessile.kernel.issue import bound, elevate
from sessile.kernel.issue import confirm as confirmed
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.stores.protocol import Replaced
from sessile.stores.retiring import retired
from sessile.stores.sql import sessions
from sessile.stores.sql.rows import instant
from sessile.stores.sql.snapshots import Loaded, by_id, by_ids, by_token
from sessile.stores.sql.transaction import Db, Transaction


def offer(tx: Transaction, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
    """See `Store.offer`. Announces nothing: no yes turns into a no."""
    _lock(tx, presented)
    found = by_token(tx.db, presented, tx.now)
    if found is None or found.snapshot.token_state is not TokenState.CURRENT:
        return None
    if holds(found.snapshot, tx.now) is not None:
        return None
    if found.salt is not None:
        return found.salt
    sessions.put_token(tx, found.seq, successor, TokenState.SUCCESSOR)
    sessions.set_salt(tx, found.seq, salt)
    return salt


def confirm(tx: Transaction, successor: bytes) -> None:
    """See `Store.confirm`."""
    _lock(tx, successor)
    found = by_token(tx.db, successor, tx.now)
    if found is None or found.snapshot.token_state is not TokenState.SUCCESSOR:
        return
    if not is_live(found.snapshot, tx.now):
        return
    sessions.follow_on(tx, found)
    session = confirmed(found.session, tx.now)
    sessions.save(tx, found, session)
    tx.announce(f"s:{session.id}")
    tx.record(changed_event(EventName.SESSION_ROTATED, session))


def replace(tx: Transaction, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
    """See `Store.replace`."""
    _lock(tx, presented)
    found = by_token(tx.db, presented, tx.now)
    denied = holds(found.snapshot if found else None, tx.now, stepping_up=True)
    if found is None or found.snapshot.policy is None or denied is not None:
        reason = denied.reason if denied is not None else Reason.UNKNOWN
        raise Conflict(f"this session cannot go on: {reason}", denied)
    session = elevate(found.session, method, policy=found.snapshot.policy, now=tx.now)
    if method is not None:
        session = rebound(session, found.snapshot.policy, by.client)
    sessions.save(tx, found, session)
    sessions.supersede(tx, found, digest)
    tx.announce(f"s:{session.id}")
    name = EventName.SESSION_ROTATED if method is None else EventName.SESSION_ELEVATED
    tx.record(changed_event(name, session, by, method))
    replaced = by_token(tx.db, digest, tx.now)
    assert replaced is not None  # noqa: S101 - inserted above
    return Replaced(replaced.snapshot, tx.now, tx.delta)


def retire(tx: Transaction, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
    """See `Store.retire`."""
    found = _locked(tx, session_id)
    if found is None:
        raise NotFound(f"no session {session_id}")
    session = retired(found.snapshot, until, tx.now)
    sessions.save(tx, found, session)
    tx.announce(f"s:{session.id}")
    tx.record(retired_event(session, successor, by))
    return session


def bind(tx: Transaction, session_id: str, device_key: str, by: Actor) -> bool:
    """See `Store.bind`."""
    found = _locked(tx, session_id)
    session = bound(found.snapshot, device_key, tx.now) if found is not None else None
    if found is None or session is None:
        return False
    if session != found.session:
        sessions.save(tx, found, session)
        tx.announce(f"s:{session.id}")
        tx.record(bound_event(session, by))
    return True


def touch(tx: Transaction, seen: Mapping[str, datetime]) -> None:
    """See `Store.touch`. Announces nothing."""
    tx.lock_sessions(seen)
    for found in by_ids(tx.db, seen, tx.now):
        # A node whose clock is ahead makes no session last longer.
        at = min(seen[found.session.id], tx.now)
        # As it is now, not as it was at the act: a late flush revives nothing that was denied meanwhile.
        if at > found.session.last_seen and is_live(found.snapshot, tx.now):
            tx.change("UPDATE session SET last_seen = ? WHERE seq = ?", instant(at), found.seq)


def write_data(tx: Transaction, session_id: str, version: int, data: bytes) -> bool:
    """See `Store.write_data`. Announces nothing."""
    tx.lock_sessions((session_id,))
    found = by_id(tx.db, session_id, tx.now)
    if found is None or not is_live(found.snapshot, tx.now):
        return False
    if version == 0:
        first = "INSERT INTO session_data (session, version, data) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
        return tx.change(first, found.seq, data) == 1
    next_one = "UPDATE session_data SET version = version + 1, data = ? WHERE session = ? AND version = ?"
    return tx.change(next_one, data, found.seq, version) == 1


def _locked(tx: Transaction, session_id: str) -> Loaded | None:
    uid = tx.row("SELECT uid FROM session WHERE id = ?", session_id)
    tx.lock_principals(uid or ())
    tx.lock_sessions((session_id,))
    return by_id(tx.db, session_id, tx.now)


def _lock(tx: Transaction, token: bytes) -> None:
    tx.lock_principals((), tokens=(token,))
    tx.lock_sessions(tokens=(token,))


def read_data(db: Db, session_id: str) -> tuple[int, bytes]:
    """See `Store.read_data`."""
    sql = "SELECT d.version, d.data FROM session s CROSS JOIN session_data d ON d.session = s.seq WHERE s.id = ?"
    rows = db.execute(sql, (session_id,)).fetchall()
    return rows[0] if rows else (0, b"")
