"""Ending, in the writer's transaction: one small write each, whatever hangs below. Liveness is derived upward."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sessile.errors import Conflict, NotFound
from sessile.kernel.containment import Before
from sessile.kernel.decide import holds, is_live
from sessile.kernel.event import ending_event
from sessile.kernel.issue import elevate
from sessile.kernel.principal import Principal, Status, new_epoch
from sessile.kernel.session import Session, SessionKind
from sessile.stores.containing import before, cut_of, ending_of
from sessile.stores.protocol import End, Ended
from sessile.stores.sql import containing, owning, sessions, walking, working
from sessile.stores.sql.directory import find_policy, find_principal, put_credential, save_principal
from sessile.stores.sql.rows import epochs_of, instant, json_text
from sessile.stores.sql.snapshots import Loaded, by_id, by_ids
from sessile.stores.sql.transaction import Transaction

SHOWN = 100
"""How many ids an acknowledgement names."""
_LOOKED_AT = 256
"""Up to so many sessions are looked at one by one to count them. Of more the number is not told: an ending is one small
write, and takes no longer where there are a hundred thousand."""
_ROWS = 1_000
"""Among so many of a principal's latest sessions those that are not over are sought."""

_OPEN = "ended IS NULL AND expires > :now"
# Whether it is alive, as far as its own row and its principal's tell.
_SEEMS = "(s.uid IS NULL OR p.epoch = s.epoch) AND (s.idle IS NULL OR s.last_seen + s.idle > :now)"
# Level by level, each cut off: a recursive query would first gather all that hangs directly on one session.
_NEXT = f"SELECT id FROM session WHERE parent IN (SELECT value FROM json_each(:level)) AND {_OPEN} LIMIT :most"  # noqa: S608
_THESE = f"""
SELECT s.id, {_SEEMS} FROM session s LEFT JOIN principal p ON p.uid = s.uid
WHERE s.id IN (SELECT value FROM json_each(:ids)) AND {_OPEN}
"""  # noqa: S608
_OF = f"""
SELECT s.id, {_SEEMS} FROM (
    SELECT id, uid, ended, expires, epoch, idle, last_seen FROM session
    WHERE uid = :seed ORDER BY created DESC, id DESC LIMIT {_ROWS}
) s LEFT JOIN principal p ON p.uid = s.uid WHERE {_OPEN} LIMIT {_LOOKED_AT + 1}
"""  # noqa: S608
_HAS_MORE = f"SELECT count(*) FROM (SELECT 1 FROM session WHERE uid = :seed LIMIT {_ROWS + 1}) latest"  # noqa: S608

Revoked = tuple[int | None, list[str]]
"""How many live sessions an ending ended (None: more than are looked at), and the ids of some."""


def end(tx: Transaction, end: End) -> Ended:
    """See `Store.end`. `at` is stamped by the store, at the acknowledgement."""
    target: Session | Principal | None = None
    cut: Before | None = None
    if (end.session is not None) + (end.uid is not None) + bool(end.everyone) != 1:
        raise ValueError("an ending names exactly one of session, uid and everyone")
    if end.session is not None:
        target, cut, (revoked, ids) = _session(tx, end, end.session)
    elif end.uid is not None:
        target, cut, (revoked, ids) = _principal(tx, end, end.uid)
    else:
        _everyone(tx, end)
        revoked, ids = None, []
    if end.containment is not None:
        revoked = None
    event = ending_event(
        target, cause=end.cause, by=end.by, status=end.status, contained=end.contain_since is not None,
        password=end.credential is not None, revoked=revoked, sessions=ids, containment=end.containment,
    )  # fmt: skip
    tx.record(event)
    if target is not None and cut is not None:
        walking.add(tx, ending_of(end, target, cut, tx.now))
    working.destroy(tx, end)
    ended = Ended(tx.now, tx.mark(), revoked, tuple(ids[:SHOWN]), tx.delta)
    if end.containment is not None and cut is not None:
        containing.add(tx, cut_of(end, target, cut, ended))
    return ended


def _session(tx: Transaction, end: End, session_id: str) -> tuple[Session, Before, Revoked]:
    tx.lock_sessions((session_id,))
    found = by_id(tx.db, session_id, tx.now)
    if found is None:
        raise NotFound(f"no session {session_id}")
    was = before(found.session)
    revoked = _revoked(tx, end)
    if end.contain_since is not None:
        since = _earlier(found.session.contained_since, end.contain_since)
        session = msgspec.structs.replace(found.session, contained_since=since)
        sessions.save(tx, found, session)
        found = msgspec.structs.replace(found, snapshot=msgspec.structs.replace(found.snapshot, session=session))
    return sessions.end(tx, found, end.cause, end.by), was, revoked


def _principal(tx: Transaction, end: End, uid: str) -> tuple[Principal, Before, Revoked]:
    owning.lock_to_end(tx, uid, end.status)
    tx.lock_sessions(() if end.keep is None else (end.keep,))
    found = find_principal(tx.db, uid)
    if found is None or (found.status is Status.DELETED and end.status not in (None, Status.DELETED)):
        # What a deleted principal handed out can still be contained; itself it does not come back.
        raise NotFound("no such principal")
    if end.policy is not None and find_policy(tx.db, end.policy) is None:
        raise NotFound(f"no policy is named {end.policy!r}")
    kept = _kept(tx, end.keep, uid) if end.keep is not None else None
    revoked = _revoked(tx, end)
    after = msgspec.structs.replace(
        found, epoch=new_epoch(), status=end.status or found.status, policy=end.policy or found.policy,
        scopes=found.scopes if end.scopes is None else end.scopes,
    )  # fmt: skip
    if end.contain_since is not None:
        since = _earlier(found.contained_since, end.contain_since)
        after = msgspec.structs.replace(after, contained_since=since, contained_at=tx.now)
    save_principal(tx, after)
    if after.status is Status.DELETED:
        tx.change("DELETE FROM credential WHERE uid = ?", uid)
    elif end.credential is not None:
        put_credential(tx, end.credential)
    if kept is not None:
        _carry_on(tx, kept, after, end)
    tx.announce(f"p:{uid}")
    return after, before(found), revoked


def _kept(tx: Transaction, session_id: str, uid: str) -> Loaded:
    found = by_id(tx.db, session_id, tx.now)
    denied = holds(found.snapshot if found else None, tx.now, stepping_up=True)
    if found is None or found.session.uid != uid or denied is not None:
        raise Conflict("the session that was to go on is over", denied)
    return found


def _carry_on(tx: Transaction, kept: Loaded, principal: Principal, end: End) -> None:
    policy = find_policy(tx.db, principal.policy)
    if policy is None:
        raise Conflict("the principal's policy is missing from the store: set it again")
    if end.keep_digest is not None:
        sessions.supersede(tx, kept, end.keep_digest)
    session = elevate(kept.session, end.keep_method, policy=policy, now=tx.now)
    sessions.save(tx, kept, msgspec.structs.replace(session, epoch=principal.epoch))


def _everyone(tx: Transaction, end: End) -> None:
    tx.lock_everyone(change=True)
    epochs, locked_until = tx.rows("SELECT epochs, locked_until FROM everyone")[0]
    changed: dict[SessionKind, bytes] = epochs_of(epochs) | {kind: new_epoch() for kind in end.everyone}
    if end.lock_sign_in is not None:
        locked_until = instant(tx.now + end.lock_sign_in)
    tx.change(
        "UPDATE everyone SET epochs = ?, locked_until = ?",
        json_text({kind.value: epoch.hex() for kind, epoch in changed.items()}), locked_until,
    )  # fmt: skip
    tx.announce("all")


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)


def _below(tx: Transaction, root: str) -> list[Any]:
    """A session and those whose life hangs on it, with what they seem; what is over has nothing alive below it. At most
    one more than are looked at."""
    values = {"now": instant(tx.now)}
    ids = level = [root]
    while level and len(ids) <= _LOOKED_AT:
        most = _LOOKED_AT + 1 - len(ids)
        rows = tx.db.execute(_NEXT, {**values, "level": json_text(level), "most": most}).fetchall()
        level = [id for (id,) in rows]
        ids = ids + level
    order = {id: n for n, id in enumerate(ids)}
    found = tx.db.execute(_THESE, {**values, "ids": json_text(ids)}).fetchall()
    return sorted(found, key=lambda row: order[row[0]]) if any(id == root for id, _ in found) else []


def _of(tx: Transaction, uid: str) -> tuple[list[Any], bool]:
    """Those of a principal, likewise; and whether there may be more than were sought among."""
    found = tx.db.execute(_OF, {"seed": uid, "now": instant(tx.now)}).fetchall()
    more = len(found) <= _LOOKED_AT and tx.db.execute(_HAS_MORE, {"seed": uid}).fetchall()[0][0] > _ROWS
    return found, more


def _revoked(tx: Transaction, end: End) -> Revoked:
    """Those that are alive, before the ending is written."""
    if end.containment is not None:  # the cut comes first, whoever walks counts
        return None, []
    candidates, more = (_below(tx, end.session), False) if end.session is not None else _of(tx, end.uid or "")
    if more or len(candidates) > _LOOKED_AT:
        return None, [id for id, seems in candidates[:SHOWN] if seems and id != end.keep]
    found = by_ids(tx.db, [id for id, _ in candidates], tx.now)
    live = [one.session.id for one in found if is_live(one.snapshot, tx.now) and one.session.id != end.keep]
    return len(live), live
