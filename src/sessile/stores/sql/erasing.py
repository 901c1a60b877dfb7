"""Erasing a person from what remains of it, in the writer's transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from sessile.errors import Conflict, NotFound
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.personal import NAMED
from sessile.kernel.principal import ERASED, Principal, Status
from sessile.kernel.session import Client
from sessile.stores.protocol import Erased
from sessile.stores.redaction import without
from sessile.stores.sql.directory import find_principal, save_principal
from sessile.stores.sql.personal import line_of
from sessile.stores.sql.rows import instant, json_text
from sessile.stores.sql.transaction import Transaction

_OTHERS = 1_000
"""How many events one event of an erasure names."""
_ITS_SESSIONS = "SELECT session FROM event WHERE uid = ? AND session IS NOT NULL"


def erase(tx: Transaction, uid: str, cause: str, by: Actor, sessions: int = 0) -> tuple[Erased, Principal]:
    """See `Store.erase`. `sessions`: those that lie elsewhere."""
    tx.lock_principals((uid,))
    found = find_principal(tx.db, uid)
    if found is None:
        raise NotFound("no such principal")
    if found.status is not Status.DELETED:
        raise Conflict(f"{found.name} is {found.status}: delete it first, then erase what is kept of it")
    deleted = _deletion(tx, uid)
    sessions += _sessions(tx, found, deleted[1])
    after = msgspec.structs.replace(found, name=ERASED, purpose="")
    save_principal(tx, after)
    tx.change("DELETE FROM mail WHERE uid = ?", uid)
    # Where its tokens were used from.
    tx.change(f"DELETE FROM trace WHERE kind = 'use' AND subject IN ({_ITS_SESSIONS})", uid)  # noqa: S608
    _containments(tx, found.name)
    _walks(tx, found.name)
    return Erased(uid, sessions, _events(tx, found, deleted[0], sessions, cause, by), tx.now), after


def _deletion(tx: Transaction, uid: str) -> tuple[int, int]:
    """The number of the event of the deletion, and its instant."""
    for (body,) in tx.rows("SELECT body FROM event WHERE uid = ? ORDER BY seq DESC", uid):
        line = line_of(body)
        if line.name is EventName.PRINCIPAL_DELETED and line.at is not None:
            return line.seq, instant(line.at)
    raise NotFound("the record does not say when it was deleted")


def _sessions(tx: Transaction, found: Principal, deleted: int) -> int:
    tx.change("DELETE FROM session_data WHERE session IN (SELECT seq FROM session WHERE uid = ?)", found.uid)
    # Whoever has the name by now is somebody else.
    tx.change("UPDATE session SET ended_by = ? WHERE ended_by = ? AND ended <= ?", ERASED, found.name, deleted)
    return tx.change(
        "UPDATE session SET principal = ?, client = ?, label = '' WHERE uid = ? AND principal <> ?",
        ERASED, json_text(Client()), found.uid, ERASED,
    )  # fmt: skip


def _containments(tx: Transaction, name: str) -> None:
    for id_, cut, report in tx.rows("SELECT id, cut, report FROM containment"):
        texts: list[Any] = [None if text is None else without(text, name) for text in (cut, report)]
        if texts != [cut, report]:
            tx.change("UPDATE containment SET cut = ?, report = ? WHERE id = ?", *texts, id_)


def _walks(tx: Transaction, name: str) -> None:
    for n, cut in tx.rows("SELECT n, cut FROM walk"):
        if (text := without(cut, name)) != cut:
            tx.change("UPDATE walk SET cut = ? WHERE n = ?", text, n)


def _events(tx: Transaction, found: Principal, deleted: int, sessions: int, cause: str, by: Actor) -> int:
    of_name = "whose = ? AND seq <= ? AND erased IS NULL"
    others = tx.rows(f"SELECT seq FROM personal WHERE {of_name} ORDER BY seq", NAMED + found.name, deleted)  # noqa: S608
    own: int = tx.rows("SELECT count(*) FROM personal WHERE whose = ? AND erased IS NULL", found.uid)[0][0]
    if not own and not others and not sessions and found.name == ERASED:
        return 0
    numbers = [str(seq) for (seq,) in others]
    first = 0
    for start in range(0, max(1, len(numbers)), _OTHERS):
        some = numbers[start : start + _OTHERS]
        details: dict[str, str | int | list[str]] = {"sessions": sessions, "others": some}
        tx.record(
            Event(name=EventName.PRINCIPAL_ERASED, principal=ERASED, uid=found.uid, by=by, cause=cause, details=details)
        )
        number = tx.recorded[-1].seq
        first = first or number
        if some:
            tx.change(
                f"UPDATE personal SET whose = '', salt = NULL, said = NULL, erased = ? WHERE {of_name} AND seq <= ?",  # noqa: S608
                number, NAMED + found.name, deleted, int(some[-1]),
            )  # fmt: skip
    tx.change(
        "UPDATE personal SET salt = NULL, said = NULL, erased = ? WHERE whose = ? AND erased IS NULL", first, found.uid
    )
    return own + len(numbers)
