"""Which sessions the lists of the memory store are of."""

from __future__ import annotations

from collections.abc import Iterable

from sessile.kernel.session import Session


def listed(sessions: Iterable[Session], uid: str | None, giver: str | None, root: str | None) -> list[Session]:
    """See `Store.sessions`."""
    if root is not None:
        return [s for s in sessions if s.id == root or any(link.session == root for link in s.lineage)]
    found = [s for s in sessions if s.uid is not None and uid in (None, s.uid)]
    return found if giver is None else [s for s in found if s.lineage and s.lineage[0].uid == giver]


def all_below(sessions: Iterable[Session], root: str | None, uid: str | None) -> list[Session]:
    """See `Store.handed_out`."""
    return [
        s
        for s in sessions
        if (s.id == root if root is not None else s.uid == uid)
        or any(link.session == root if root is not None else link.uid == uid for link in s.lineage)
    ]
