"""What was noticed about a session or a person, added up: where a key was used from, what was touched, who saw what."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from sessile.kernel.session import Session

LONGEST = 200
"""Characters of a text in a trace."""
ALLOWED = "allowed"


class TraceKind(StrEnum):
    USE = "use"
    """A token was used. `what` is the address it came from, `how` the client; empty where it is not known."""
    TOUCH = "touch"
    """A resource was asked for. `what` is the resource, `how` the action."""
    SHOWN = "shown"
    """A secret was shown to somebody. `subject` is who saw it, `what` the session or lease, `how` on what occasion."""
    LEAKED = "leaked"
    """The token was found where none should be. `what` is where, `how` who reported it."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One line of it. All that happened to the same subject in the same way is one trace."""

    subject: str
    """A session's id. Of what was shown, the uid of who saw it."""
    kind: TraceKind
    what: str
    how: str = ""
    decision: str = ALLOWED
    """`allowed`, or the reason why it was denied."""
    first: datetime
    last: datetime
    times: int = 1


def shown(session: Session, giver: Session | None) -> Trace | None:
    """Who saw the secret of a session that has just begun; None: it does not outlive who saw it."""
    if giver is None or giver.uid is None or not session.kind.outlives_its_giver:
        return None
    return Trace(
        subject=giver.uid, kind=TraceKind.SHOWN, what=session.id, how="minted", first=session.created,
        last=session.created,
    )  # fmt: skip


def merged(one: Trace, other: Trace) -> Trace:
    """Two traces of the same as one."""
    return msgspec.structs.replace(
        one, first=min(one.first, other.first), last=max(one.last, other.last), times=one.times + other.times
    )
