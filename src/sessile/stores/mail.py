"""The contract for mails that wait to be sent, and for finding whose an address is; a part of what a directory does.

Mails are not made by requests: whoever sends them pages through the audit record with a cursor that all nodes share,
and queues what an event is to tell in the transaction that moves the cursor. So an event that was committed is told
exactly once, whatever stops in between, and no secret waits here: a text is made when it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec

from sessile.kernel.event import Event

FIRST_RETRY: Final = timedelta(minutes=1)
"""How long a mail is its sender's, before another one takes it up; twice as long each further time."""
LONGEST_RETRY: Final = timedelta(hours=2)


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that is still to be handed to the mail server."""

    id: str
    seq: int
    """Of the event that it tells."""
    uid: str
    """Whom the event is about."""
    address: str
    until: datetime
    """From when on it is of no use to anybody."""
    due: datetime | None = None
    """Not before that; None: at once. It is said when it is queued, and not when it is taken up."""
    attempts: int = 0
    """How often somebody took it up."""

    def __repr__(self) -> str:
        return f"Mail({self.id})"


def retry_after(attempts: int) -> timedelta:
    """Until a mail that was taken up so often is taken up again."""
    return min(LONGEST_RETRY, FIRST_RETRY * (1 << min(max(attempts, 1) - 1, 20)))


class Mails(Protocol):
    """See the rules of `stores.protocol`."""

    async def at_address(self, id: str) -> Sequence[str]:
        """The uids of those who have a credential of kind `address` and that id, at most ten."""

    async def cursor(self, name: str) -> int | None:
        """How far a reader of the audit record has come; None: it has not begun."""

    async def queue_mails(self, name: str, after: int | None, to: int, mails: Sequence[Mail]) -> bool:
        """Move the cursor from `after` to `to` and queue the mails, due as they say. False, and nothing changed, if it
        is not at `after`: of several at once, one is told so."""

    async def take_mails(self, limit: int) -> Sequence[Mail]:
        """Take up what is due, the oldest first: it is due again after `retry_after`, and until then nobody else's.
        Mails whose time is over are among them."""

    async def settle_mail(self, id: str, event: Event | None = None) -> bool:
        """It was handed over, or is given up: it waits no more. The event is written with it. False: it did not."""

    async def waiting_mails(self) -> int:
        """How many were queued and not settled."""
