"""Principals, policies, credentials, the audit record and facts: statements, inside and outside the writer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from sessile.errors import Conflict, NotFound
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.issue import Fence
from sessile.kernel.personal import Line
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.kernel.session import SessionKind
from sessile.stores.protocol import Credential, Ended, Page, Tally, Verified
from sessile.stores.sql import leases
from sessile.stores.sql.personal import line_of, proves, put_together
from sessile.stores.sql.rows import (
    PRINCIPAL_COLUMNS,
    datetime_of,
    epochs_of,
    instant,
    json_text,
    policy_of,
    principal_of,
    principal_values,
)  # fmt: skip
from sessile.stores.sql.transaction import Db, Transaction, chain

MOST = 1_000
"""Rows of a page."""

_P = ", ".join(PRINCIPAL_COLUMNS)
_PRINCIPAL = f"SELECT {_P} FROM principal WHERE"  # noqa: S608 - names of our own
_SAVE_PRINCIPAL = f"UPDATE principal SET ({_P}) = ({', '.join('?' * len(PRINCIPAL_COLUMNS))}) WHERE uid = ?"  # noqa: S608
_COUNT_SESSIONS = """
SELECT s.kind, s.everyone, count(*) FROM session s LEFT JOIN principal p ON p.uid = s.uid
WHERE s.ended IS NULL AND s.expires > ? AND (s.uid IS NULL OR (p.epoch = s.epoch AND p.status = 'active'))
GROUP BY s.kind, s.everyone
"""
# Said so, and not as «not deleted», SQLite chooses the index that has all that a search looks at.
_THERE = ", ".join(f"'{status}'" for status in Status if status is not Status.DELETED)
_LARGEST = 2**62
_HOUR = 3_600_000_000
"""Microseconds."""

# -- reading ----------------------------------------------------------------------------------------------------


def find_principal(db: Db, uid: str) -> Principal | None:
    rows = db.execute(f"{_PRINCIPAL} uid = ?", (uid,)).fetchall()
    return principal_of(rows[0]) if rows else None


def find_named(db: Db, name: str) -> Principal | None:
    """The principal that has the name now, never a deleted one."""
    rows = db.execute(f"{_PRINCIPAL} name = ? AND status <> 'deleted'", (name,)).fetchall()
    return principal_of(rows[0]) if rows else None


def find_fence(db: Db, name: str) -> tuple[Principal, Fence] | None:
    # Two statements, but the order makes it safe: an epoch read before a principal that changes in between is older
    # than the one that `begin` compares it with.
    epochs = db.execute("SELECT epochs FROM everyone").fetchall()[0][0]
    principal = find_named(db, name)
    if principal is None:
        return None
    return principal, Fence(principal.uid, principal.epoch, epochs_of(epochs)[SessionKind.BROWSER])


def find_policy(db: Db, name: str) -> Policy | None:
    rows = db.execute("SELECT rules FROM policy WHERE name = ?", (name,)).fetchall()
    return policy_of(rows[0][0]) if rows else None


def all_policies(db: Db) -> Sequence[Policy]:
    return [policy_of(rules) for (rules,) in db.execute("SELECT rules FROM policy ORDER BY name").fetchall()]


def find_credential(db: Db, uid: str, kind: str, id_: str) -> Credential | None:
    rows = db.execute(
        "SELECT value, changed FROM credential WHERE uid = ? AND kind = ? AND id = ?", (uid, kind, id_)
    ).fetchall()
    if not rows:
        return None
    return Credential(uid=uid, kind=kind, id=id_, value=rows[0][0], changed=datetime_of(rows[0][1]))


def all_credentials(db: Db, uid: str) -> Sequence[Credential]:
    rows = db.execute(
        "SELECT kind, id, value, changed FROM credential WHERE uid = ? ORDER BY kind, id", (uid,)
    ).fetchall()
    return [
        Credential(uid=uid, kind=kind, id=id_, value=value, changed=datetime_of(changed))
        for kind, id_, value, changed in rows
    ]


def find_passkey(db: Db, id_: str) -> Credential | None:
    rows = db.execute("SELECT uid, value, changed FROM credential WHERE kind = 'passkey' AND id = ?", (id_,)).fetchall()
    if not rows:
        return None
    uid, value, changed = rows[0]
    return Credential(uid=uid, kind="passkey", id=id_, value=value, changed=datetime_of(changed))


def find_fact(db: Db, name: str) -> bytes | None:
    rows = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchall()
    return rows[0][0] if rows else None


def list_principals(
    db: Db, kind: PrincipalKind | None, search: str, owner: str | None, after: str | None, limit: int
) -> Page[Principal]:
    limit = max(1, min(limit, MOST))
    where, values = [f"status IN ({_THERE})", "name > ?"], [after or ""]
    for condition, wanted in (("kind = ?", kind), ("owner = ?", owner), ("instr(name, ?) > 0", search or None)):
        if wanted is not None:
            where.append(condition)
            values.append(str(wanted))
    # The inner look needs only the index `principal_search`: that is what makes a search among very many quick.
    inner = f"SELECT uid FROM principal WHERE {' AND '.join(where)} ORDER BY name LIMIT ?"  # noqa: S608 - names of our own
    rows = db.execute(f"{_PRINCIPAL} uid IN ({inner}) ORDER BY name", (*values, limit + 1)).fetchall()
    found = [principal for row in rows[:limit] if (principal := principal_of(row)) is not None]
    return Page(found, found[-1].name if len(rows) > limit else None)


def list_events(
    db: Db, *, after: int, before: int | None, limit: int, uid: str | None, session: str | None,
    names: Collection[EventName], since: datetime | None, latest: bool,
) -> Sequence[Event]:  # fmt: skip
    where = ["seq > ?"]
    values: list[object] = [max(0, min(after, _LARGEST))]
    for condition, wanted in (
        ("seq < ?", None if before is None else max(0, min(before, _LARGEST))),
        ("uid = ?", uid),
        ("session = ?", session),
        ("at >= ?", None if since is None else instant(since)),
    ):
        if wanted is not None:
            where.append(condition)
            values.append(wanted)
    if names:
        where.append(f"name IN ({', '.join('?' * len(names))})")
        values += [str(name) for name in names]
    order = "DESC" if latest else "ASC"
    sql = f"SELECT body FROM event WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?"  # noqa: S608
    rows = db.execute(sql, (*values, max(1, min(limit, MOST)))).fetchall()
    return put_together(db, [body for (body,) in rows])


def tallies(db: Db, since: datetime) -> Sequence[Tally]:
    """See `Directory.tallies`."""
    rows = db.execute(
        f"SELECT at / {_HOUR} AS hour, name, count(*) FROM event WHERE at >= ? GROUP BY hour, name ORDER BY hour, name",  # noqa: S608
        (instant(since) // _HOUR * _HOUR,),
    ).fetchall()
    return [Tally(datetime_of(hour * _HOUR), EventName(name), count) for hour, name, count in rows]


def verify_events(db: Db, after: Verified) -> Verified:
    """See `Directory.verify_events`."""
    rows = db.execute(
        "SELECT seq, uid, session, name, at, body, chain FROM event WHERE seq >= ? ORDER BY seq LIMIT ?",
        # No event has a number below 1: one that somebody gave it is found, too.
        (after.seq or -(2**62), MOST),
    ).fetchall()
    seq, before = after.seq, after.chain
    # What is gone on from has to be there unchanged: a record that was cut short has no row at all.
    if seq > 0 and (not rows or (rows[0][0], bytes(rows[0][-1])) != (seq, before)):
        return Verified(seq, before, broken=seq)
    lines: list[Line] = []
    links = {seq: before}
    broken: int | None = None
    for number, *found_by, body, link in rows[seq > 0 :]:
        line = _says(body, number, *found_by)
        # What is missing needs no look of its own: the next one is not chained to the one before it.
        if line is None or bytes(link) != chain(before, body):
            broken = seq + 1
            break
        seq, before = number, bytes(link)
        lines.append(line)
        links[seq] = before
    if (wrong := proves(db, lines)) is not None:
        seq, broken = wrong - 1, wrong
    return Verified(seq, links[seq], broken=broken, more=broken is None and len(rows) >= MOST)


def _says(body: str, *columns: object) -> Line | None:
    """The event, if the columns that it is found by are as it says itself."""
    try:
        line = line_of(body)
    except (msgspec.MsgspecError, TypeError):
        return None
    at = None if line.at is None else instant(line.at)
    return line if (line.seq, line.uid, line.session, line.name, at) == columns else None


# -- in the writer's transaction --------------------------------------------------------------------------------


def save_principal(tx: Transaction, principal: Principal) -> None:
    values = principal_values(principal)
    tx.change(_SAVE_PRINCIPAL, *(values[name] for name in PRINCIPAL_COLUMNS), principal.uid)


def put_credential(tx: Transaction, credential: Credential) -> None:
    tx.change(
        "INSERT INTO credential (uid, kind, id, value, changed) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (uid, kind, id) DO UPDATE SET value = excluded.value, changed = excluded.changed",
        credential.uid, credential.kind, credential.id, credential.value, instant(tx.now),
    )  # fmt: skip


def set_policy(tx: Transaction, policy: Policy, by: Actor) -> Ended:
    """See `Directory.set_policy`."""
    tx.lock_everyone(change=True)
    stored = find_policy(tx.db, policy.name)
    if stored is not None and policy.version <= stored.version:
        raise Conflict(f"policy {policy.name!r} has version {stored.version}: give yours a higher one")
    tx.change(
        "INSERT INTO policy (name, version, rules) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET version = excluded.version, rules = excluded.rules",
        policy.name, policy.version, json_text(policy),
    )  # fmt: skip
    tx.announce(f"policy:{policy.name}")
    details: dict[str, str | int | list[str]] = {"policy": policy.name, "version": policy.version}
    tx.record(Event(name=EventName.POLICY_CHANGED, by=by, details=details))
    return Ended(tx.now, tx.mark(), None, (), tx.delta)


def set_credential(tx: Transaction, credential: Credential, event: Event | None, instead_of: bytes | None) -> bool:
    """See `Directory.set_credential`."""
    tx.lock_principals((credential.uid,))
    if find_principal(tx.db, credential.uid) is None:
        raise NotFound("no such principal")
    if instead_of is None:
        put_credential(tx, credential)
    elif not tx.change(
        "UPDATE credential SET value = ?, changed = ? WHERE uid = ? AND kind = ? AND id = ? AND value = ?",
        credential.value, instant(tx.now), credential.uid, credential.kind, credential.id, instead_of,
    ):  # fmt: skip
        return False
    if event is not None:
        tx.record(event)
    return True


def remove_credential(tx: Transaction, uid: str, kind: str, id_: str, event: Event | None, value: bytes | None) -> bool:
    """See `Directory.remove_credential`."""
    tx.lock_principals((uid,))
    only, values = ("", ()) if value is None else (" AND value = ?", (value,))
    if not tx.change(f"DELETE FROM credential WHERE uid = ? AND kind = ? AND id = ?{only}", uid, kind, id_, *values):  # noqa: S608
        return False
    if event is not None:
        tx.record(event)
    return True


def set_fact(tx: Transaction, name: str, value: bytes) -> bytes:
    """See `Directory.set_fact`."""
    tx.change("INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, value)
    return find_fact(tx.db, name) or b""


def statistics(db: Db, now: datetime) -> dict[str, int]:
    """See `Directory.statistics`. Sessions as far as rows tell: those that are idle are among them."""
    epochs = epochs_of(db.execute("SELECT epochs FROM everyone").fetchall()[0][0])
    counts = {f"sessions_{kind}": 0 for kind in SessionKind}
    for kind, everyone, count in db.execute(_COUNT_SESSIONS, (instant(now),)).fetchall():
        if epochs.get(SessionKind(kind)) == everyone:
            counts[f"sessions_{kind}"] += count
    for name, sql in (
        ("principals", "SELECT count(*) FROM principal WHERE status <> 'deleted'"),
        ("events", "SELECT max(seq) FROM event"),
        ("journal", "SELECT max(n) FROM journal"),
    ):
        counts[name] = db.execute(sql).fetchall()[0][0] or 0
    return counts | leases.counts(db, now)
