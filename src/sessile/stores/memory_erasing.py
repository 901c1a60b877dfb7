"""How the memory store erases a person from what remains of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sessile.kernel.containment import Cut
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.personal import NAMED, apart, whole
from sessile.kernel.principal import ERASED
from sessile.kernel.session import Client, Session
from sessile.stores.protocol import Contained
from sessile.stores.redaction import without


def erased_session(session: Session, uid: str, name: str, deleted: Event) -> Session:
    """A tombstone that says nothing of the person, whose it is or who ended it."""
    if session.uid == uid:
        session = msgspec.structs.replace(session, principal=ERASED, client=Client(), label="")
    # Whoever has the name by now is somebody else.
    if (
        session.ended_by == name
        and session.ended is not None
        and deleted.at is not None
        and session.ended <= deleted.at
    ):
        session = msgspec.structs.replace(session, ended_by=ERASED)
    return session


def erased_events(events: Sequence[Event], uid: str, name: str, deleted: Event) -> tuple[list[Event], int, list[str]]:
    """The record without what it says of the person, how many events that were, and the numbers of those that named
    it by its name only."""
    left: list[Event] = []
    count = 0
    others: list[str] = []
    for event in events:
        line, parts = apart(event)
        by_name = NAMED + name if event.seq <= deleted.seq else uid
        kept = [part for part in parts if part.whose not in (uid, by_name)]
        count += len(parts) - len(kept)
        if any(part.whose == by_name != uid for part in parts):
            others.append(str(event.seq))
        left.append(event if len(kept) == len(parts) else whole(line, [part.said for part in kept]))
    return left, count, others


def erased_containment(contained: Contained, name: str) -> Contained:
    """A containment, its cut and its report, without the name."""
    cut = erased_cut(contained.cut, name)
    report = None if contained.report is None else without(contained.report.decode(), name).encode()
    return Contained(cut=cut, state=contained.state, report=report)


def erased_cut(cut: Cut, name: str) -> Cut:
    """A cut without the name."""
    return msgspec.json.decode(without(msgspec.json.encode(cut).decode(), name), type=Cut)


def deletion(events: Sequence[Event], uid: str) -> Event:
    """The event of the deletion of a principal that is deleted."""
    return next(e for e in reversed(events) if e.uid == uid and e.name is EventName.PRINCIPAL_DELETED)


def erased_event(uid: str, cause: str, by: Actor, sessions: int, others: list[str]) -> Event:
    """An erasure, and the numbers of the events that named the person by its name only."""
    return Event(
        name=EventName.PRINCIPAL_ERASED, principal=ERASED, uid=uid, by=by, cause=cause,
        details={"sessions": sessions, "others": others},
    )  # fmt: skip
