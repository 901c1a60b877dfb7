"""Containments: the cut, what hangs below it, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from sessile.errors import NotFound
from sessile.kernel.containment import Cut
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import Event
from sessile.stores.protocol import Contained, ContainmentState, Page
from sessile.stores.sql.directory import MOST
from sessile.stores.sql.rows import instant, json_text
from sessile.stores.sql.snapshots import by_ids
from sessile.stores.sql.transaction import Db, Transaction

# The depth is known on the way down: few and narrow columns are sorted, whole rows are read for one page only.
_BELOW = """
WITH RECURSIVE tree (id, created, depth) AS (
    SELECT id, created, json_array_length(lineage) FROM session WHERE {seed} = :seed
    UNION
    SELECT c.id, c.created, tree.depth + 1 FROM tree CROSS JOIN session c ON c.origin = tree.id
)
SELECT id, created, depth FROM tree
WHERE (depth, created, id) > (:depth, :created, :id) ORDER BY depth, created, id LIMIT :rows
"""
_cut = msgspec.json.Decoder(Cut).decode


def handed_out(
    db: Db, now: datetime, root: str | None, uid: str | None, after: str | None, limit: int
) -> Page[Snapshot]:
    """See `Store.handed_out`."""
    limit = max(1, min(limit, MOST))
    place = re.fullmatch(r"([0-9]{1,2}) ([0-9]{1,18}) (ses_[0-9a-z]{27})", after or "")
    depth, created, id_ = (int(place[1]), int(place[2]), place[3]) if place is not None else (-1, 0, "")
    rows = db.execute(
        _BELOW.format(seed="id" if root is not None else "uid"),
        {"seed": root if root is not None else uid, "depth": depth, "created": created, "id": id_, "rows": limit + 1},
    ).fetchall()
    found = {one.session.id: one.snapshot for one in by_ids(db, [row[0] for row in rows[:limit]], now)}
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else f"{last[2]} {last[1]} {last[0]}"
    return Page([found[row[0]] for row in rows[:limit] if row[0] in found], following)


def add(tx: Transaction, cut: Cut) -> None:
    """Write a cut. One that is there stays: an ending whose outcome was unknown is repeated."""
    tx.change(
        "INSERT INTO containment (id, at, state, cut) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        cut.id, instant(cut.at), ContainmentState.UNKNOWN.value, json_text(cut),
    )  # fmt: skip


def find(db: Db, id_: str) -> Contained | None:
    """See `Directory.containment`."""
    rows = db.execute("SELECT cut, state, report FROM containment WHERE id = ?", (id_,)).fetchall()
    if not rows:
        return None
    cut, state, report = rows[0]
    return Contained(
        cut=_cut(cut), state=ContainmentState(state), report=None if report is None else report.encode()
    )  # fmt: skip


def still_open(db: Db, limit: int) -> Sequence[str]:
    """See `Directory.open_containments`."""
    sql = "SELECT id FROM containment WHERE state <> 'closed' ORDER BY at, id LIMIT ?"
    return [id_ for (id_,) in db.execute(sql, (max(1, min(limit, MOST)),)).fetchall()]


def settle(tx: Transaction, id_: str, state: ContainmentState, report: bytes, event: Event) -> None:
    """See `Directory.settle_containment`."""
    tx.lock_record()  # of two nodes that settle it at once, one waits for what the other wrote
    before = tx.row("SELECT state FROM containment WHERE id = ?", id_)
    if before is None:
        raise NotFound(f"no containment {id_}")
    if before[0] == ContainmentState.CLOSED.value:
        return
    tx.change("UPDATE containment SET state = ?, report = ? WHERE id = ?", state.value, report.decode(), id_)
    if before[0] != state.value:
        tx.record(event)
