"""What events say of people, beside the record: put together again, and proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from sessile.kernel.event import Event, EventName
from sessile.kernel.personal import Line, Part, whole
from sessile.stores.sql.transaction import Db

_line = msgspec.json.Decoder(Line).decode


class _Row(NamedTuple):
    whose: str
    salt: bytes | None
    said: str | None
    erased: int | None
    """The event of the erasure; None: it is still there."""


def line_of(body: str) -> Line:
    """Raises msgspec.MsgspecError, TypeError: no event."""
    return _line(body)


def put_together(db: Db, bodies: Sequence[str]) -> list[Event]:
    """Events as they happened, less what was erased."""
    lines = [_line(body) for body in bodies]
    rows = _rows(db, [line.seq for line in lines if line.personal])
    return [whole(line, [row.said for row in rows.get(line.seq, ()) if row.said is not None]) for line in lines]


def proves(db: Db, lines: Sequence[Line]) -> int | None:
    """The first of these events of which something that it said of somebody is not there as it was, and was not erased
    either; None: all is."""
    rows = _rows(db, [line.seq for line in lines])
    erasures: dict[int, Line | None] = {}
    for line in lines:
        found = rows.get(line.seq, ())
        if len(found) != len(line.personal):
            return line.seq
        for (key, digest), row in zip(line.personal, found, strict=True):
            if row.erased is None:
                kept = Part(row.whose, bytes(row.salt or b""), row.said or "")
                if (kept.key, kept.digest) != (key, digest):
                    return line.seq
            elif row.said is not None or not _erased(db, erasures, row.erased, line.seq, key):
                return line.seq
    return None


def _erased(db: Db, known: dict[int, Line | None], number: int, seq: int, key: str) -> bool:
    """Whether the event `number` says that this was erased."""
    if number not in known:
        found = db.execute("SELECT body FROM event WHERE seq = ?", (number,)).fetchall()
        known[number] = _line(found[0][0]) if found else None
    erasure = known[number]
    if erasure is None or erasure.name is not EventName.PRINCIPAL_ERASED or erasure.seq < seq:
        return False
    others = erasure.details.get("others")
    return erasure.uid == key if key else isinstance(others, list) and str(seq) in others


def _rows(db: Db, numbers: Sequence[int]) -> Mapping[int, list[_Row]]:
    found: dict[int, list[_Row]] = {}
    if numbers:
        marks = ", ".join("?" * len(numbers))
        sql = f"SELECT seq, whose, salt, said, erased FROM personal WHERE seq IN ({marks}) ORDER BY seq, n"  # noqa: S608
        for seq, *row in db.execute(sql, tuple(numbers)).fetchall():
            found.setdefault(seq, []).append(_Row(*row))
    return found
