"""Leases: credentials that live in outside systems. The session of kind `lease` says who has it and whether it may be
used still; this says where it lives, and how far its end has got there.

That a lease is over is derived, as for every session. What is kept here is the work that this means outside: it is due
as soon as something that the lease hangs on ended, and stays until the outside system has confirmed the end.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from sessile.kernel.session import Session

OVERDUE = timedelta(minutes=15)
"""How long an end may stay unconfirmed before an alarm is raised."""


class EndsBy(StrEnum):
    """What the end of a lease means outside."""

    REVOKE = "revoke"
    ROTATE = "rotate"
    """The credential is one that others need too: it is replaced, and the new secret kept for whoever takes over."""


class Outcome(StrEnum):
    """How the end of a lease was confirmed."""

    ENDED = "ended"
    EXPIRED = "expired"
    """Nobody could end it early; its time is over."""
    ROTATED = "rotated"
    BY_HAND = "by_hand"
    """A person says so."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as the directory keeps it. Handle and successor are sealed and hidden in its repr."""

    session: str
    connector: str
    """The name that the connector is configured by."""
    shown: str = ""
    """What the outside system calls the credential; safe to show."""
    handle: bytes = b""
    """What the connector knows it by, sealed. Kept until the end is confirmed."""
    ends_by: EndsBy = EndsBy.REVOKE
    until: datetime | None = None
    """When it ends outside by itself, at the latest; None: not known, or never."""
    by_hand: str = ""
    """What a person has to do so that it ends before `until`; empty: the connector can end it."""
    minting: datetime | None = None
    """Until then the credential may still be in the making: that it is not found means nothing."""
    over: datetime | None = None
    """Since when it is known that it should be over."""
    tries: int = 0
    error: str = ""
    """Why the last try failed."""
    lingers: datetime | None = None
    """All that can be done was done; it lives until then all the same."""
    alarmed: bool = False
    confirmed: datetime | None = None
    """When its end was confirmed."""
    outcome: Outcome | None = None
    successor: bytes = b""
    """The secret that rotation made, sealed, until somebody takes it."""
    due: datetime | None = None
    """When a worker looks at it next; None: its end is confirmed. The store says it."""

    def __repr__(self) -> str:
        return f"Lease({self.session}, {self.connector!r}, {self.shown!r})"

    @property
    def resource(self) -> str:
        """What events call it."""
        return f"{self.connector}:{self.shown}"

    def is_overdue(self, now: datetime) -> bool:
        """Whether its end stays unconfirmed for longer than it may. What lives on by its nature is not overdue."""
        since = self.over or self.due
        return self.confirmed is None and self.lingers is None and since is not None and now - since >= OVERDUE


def hangs_on(session: Session) -> tuple[str, ...]:
    """The objects whose ending may end the session, as endings announce them: itself, its principal, and those of its
    lineage by either tie."""
    objects = [f"s:{session.id}", f"p:{session.uid}"]
    for link in session.lineage:
        objects += [f"s:{link.session}", f"p:{link.uid}"]
    return tuple(dict.fromkeys(one for one in objects if not one.endswith(":None")))
