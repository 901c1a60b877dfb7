"""Work that waits: parked for its own person, or asked for another one's approval. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from sessile.kernel.decide import Denied, Requirement, demand
from sessile.kernel.principal import PrincipalKind, kind_of
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, SessionInfo, SessionKind

LARGEST = 16 * 1024
"""Bytes of what waits, as JSON."""
MOST = 10
"""What waits of one principal, of each kind."""
LONGEST = timedelta(days=7)
"""The longest that anything waits."""
_NAME = 100


class WorkKind(StrEnum):
    PARKED = "parked"
    """It waits for its own person, who was timed out."""
    APPROVAL = "approval"
    """It waits for another person's approval: four eyes."""


class WorkState(StrEnum):
    WAITING = "waiting"
    GIVEN = "given"
    """Approved, and not used yet."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that waits. Bound to the session that it is from: it dies when that is revoked."""

    id: str
    kind: WorkKind
    uid: str
    """Whose it is."""
    session: str
    name: str
    """What it is, for people."""
    type: str
    """What the application takes it up as."""
    body: bytes
    """JSON, by the application."""
    begun: datetime
    until: datetime
    state: WorkState = WorkState.WAITING
    behind: frozenset[str] = frozenset()
    """uids of all who stand behind an asker, itself included: none of them approves."""
    scope: str = ""
    """What whoever approves has to hold; empty: nothing more."""
    assurance: int = 2
    fresh: timedelta = timedelta(minutes=5)
    """How recently whoever approves must have proved itself."""
    giver: str | None = None
    """uid of who approved,"""
    giver_session: str | None = None
    """in which session; it dies when that is revoked, too."""
    given: datetime | None = None

    def decoded(self) -> Any:
        """What waits, as plain values."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Work({self.kind} {self.id})"


class TooLarge(Exception):
    """More than may wait."""


def check_work(name: str, type: str, body: bytes, lifetime: timedelta) -> None:
    """Raises ValueError: no name of 1 to 100 printable characters, or not up to seven days; TooLarge: over 16 KiB."""
    for said in (name, type):
        if not 1 <= len(said) <= _NAME or not said.isprintable():
            raise ValueError(f"work has a name and a type of 1 to {_NAME} printable characters")
    if len(body) > LARGEST:
        raise TooLarge(f"work that waits is at most {LARGEST} bytes of JSON")
    if not timedelta(0) < lifetime <= LONGEST:
        raise ValueError("work waits for at most seven days")


def may_give(work: Work, session: Session, now: datetime) -> Denied | None:
    """Whether this session may approve: a person's own, of nobody who stands behind the asker, with a fresh and high
    enough authentication."""
    person = session.kind is SessionKind.BROWSER and session.principal is not None
    if not person or kind_of(session.principal or "") is not PrincipalKind.HUMAN or session.uid in work.behind:
        return Denied(reason=Reason.OUT_OF_SCOPE, session=session.id)
    scopes = frozenset({work.scope}) if work.scope else frozenset()
    return demand(session, Requirement(assurance=work.assurance, fresh=work.fresh, scopes=scopes), now)


def still_counts(info: SessionInfo | None) -> bool:
    """Whether the session that work hangs on was not revoked. Its limits may be reached, and a sign-in may have taken
    its place: that is what parking is for. One that is gone counts for nothing."""
    if info is None:
        return False
    return info.live or info.reason in (Reason.IDLE, Reason.EXPIRED) or info.cause in ("replaced", "limit")
