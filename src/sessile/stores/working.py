"""The contract for work that waits (`kernel.work`): a part of the directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sessile.kernel.event import Event, EventName
from sessile.kernel.work import Work, WorkKind, WorkState
from sessile.stores.protocol import End


class Works(Protocol):
    """See the rules of `stores.protocol`.

    An ending destroys, in its own transaction: of a session, what hangs on it (asked, parked or given there); of a
    principal, all of its own and all that it gave, save what hangs on a session that goes on (`End.keep`); of
    everybody, everything.
    What hangs on something further down is found out when it is taken up (`kernel.work.still_counts`).
    """

    async def add_work(self, work: Work, most: int, event: Event) -> None:
        """Raises LimitExceeded: `most` of that kind wait of that principal already."""

    async def work(self, id: str) -> Work | None:
        """What waits, while it does."""

    async def works(self, kind: WorkKind, *, uid: str | None = None, limit: int = 100) -> Sequence[Work]:
        """What waits, oldest first: of a principal, or of all."""

    async def give_work(self, work: Work, event: Event) -> bool:
        """Write who approved. False, and nothing is changed, unless it was waiting: of two at once one is told so."""

    async def take_work(self, id: str, state: WorkState, event: Event) -> Work | None:
        """Take it away, if it is in that state and its time is not over. Of two at once one gets it. The event is
        written with it."""


def destroyed_event(end: End, count: int) -> Event:
    """An ending took away work that waited."""
    return Event(
        name=EventName.WORK_DESTROYED, uid=end.uid, session=end.session, by=end.by, cause=end.cause,
        details={"count": count},
    )  # fmt: skip
