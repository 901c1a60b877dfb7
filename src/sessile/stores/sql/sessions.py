"""Writing sessions and their tokens: what beginning, rotating and ending share."""

from __future__ import annotations

import msgspec

from sessile.kernel.decide import TokenState
from sessile.kernel.event import Actor
from sessile.kernel.session import Session
from sessile.stores.protocol import PREDECESSORS, TOMBSTONE
from sessile.stores.sql.rows import CHANGING, instant, json_text, session_values
from sessile.stores.sql.snapshots import Loaded
from sessile.stores.sql.transaction import Transaction

_CHANGE = "UPDATE session SET " + ", ".join(f"{name} = ?" for name in CHANGING) + " WHERE seq = ?"  # noqa: S608
_KEEP = "UPDATE session SET keep_until = ? WHERE seq = ? AND keep_until < ?"


def add(tx: Transaction, session: Session, digest: bytes) -> None:
    """A new session with its current token. The tombstones above it are kept as long as its own."""
    keep_until = instant(session.expires + TOMBSTONE)
    seq = tx.insert("session", {**session_values(session), "keep_until": keep_until})
    put_token(tx, seq, digest, TokenState.CURRENT)
    _keep_those_above(tx, session, keep_until)


def save(tx: Transaction, loaded: Loaded, session: Session) -> None:
    """Write what has changed of a session."""
    values = session_values(session)
    tx.change(_CHANGE, *(values[name] for name in CHANGING), loaded.seq)
    if session.expires > loaded.session.expires:
        keep_until = instant(session.expires + TOMBSTONE)
        tx.change(_KEEP, keep_until, loaded.seq, keep_until)
        _keep_those_above(tx, session, keep_until)


def end(tx: Transaction, loaded: Loaded, cause: str, by: Actor) -> Session:
    """End a session; the first cause and instant are kept."""
    session = loaded.session
    if session.ended is None:
        session = msgspec.structs.replace(session, ended=tx.now, cause=cause, ended_by=by.name)
        save(tx, loaded, session)
    tx.announce(f"s:{session.id}")
    return session


def put_token(tx: Transaction, seq: int, digest: bytes, state: TokenState) -> None:
    tx.insert("token", {"digest": digest, "session": seq, "state": state.value, "since": instant(tx.now)})


def follow_on(tx: Transaction, loaded: Loaded) -> None:
    """The pending successor becomes current, and the current token a predecessor."""
    now = instant(tx.now)
    change = "UPDATE token SET state = ?, since = ? WHERE session = ? AND state = ?"
    tx.change(change, TokenState.PREDECESSOR.value, now, loaded.seq, TokenState.CURRENT.value)
    tx.change(change, TokenState.CURRENT.value, now, loaded.seq, TokenState.SUCCESSOR.value)
    set_salt(tx, loaded.seq, None)
    _forget_old(tx, loaded.seq)


def supersede(tx: Transaction, loaded: Loaded, digest: bytes) -> None:
    """Make `digest` the current token. Grace never crosses an event: all others that counted are over at once.

    A predecessor past its grace stays one: it is still a sign of theft.
    """
    policy = loaded.snapshot.policy
    counts_since = instant(tx.now - policy.grace) if policy else 0
    tx.change(
        "UPDATE token SET state = 'superseded', since = ? WHERE session = ?"
        " AND (state IN ('current', 'successor') OR (state = 'predecessor' AND since > ?))",
        instant(tx.now), loaded.seq, counts_since,
    )  # fmt: skip
    put_token(tx, loaded.seq, digest, TokenState.CURRENT)
    set_salt(tx, loaded.seq, None)
    _forget_old(tx, loaded.seq)


def set_salt(tx: Transaction, seq: int, salt: bytes | None) -> None:
    tx.change("UPDATE session SET salt = ? WHERE seq = ?", salt, seq)


def _forget_old(tx: Transaction, seq: int) -> None:
    # Of the tokens that were rotated out, only the last few are remembered.
    tx.change(
        "DELETE FROM token WHERE digest IN (SELECT digest FROM token WHERE session = ?"
        " AND state IN ('predecessor', 'superseded') ORDER BY since DESC, digest DESC LIMIT 1000 OFFSET ?)",
        seq, PREDECESSORS,
    )  # fmt: skip


def _keep_those_above(tx: Transaction, session: Session, until: int) -> None:
    if session.lineage:
        tx.change(
            "UPDATE session SET keep_until = ? WHERE id IN (SELECT value FROM json_each(?)) AND keep_until < ?",
            until, json_text(tuple(link.session for link in session.lineage)), until,
        )  # fmt: skip
