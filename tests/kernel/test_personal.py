"""What of an event names a person is kept apart from what the record is chained by."""

from __future__ import annotations

import msgspec

from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.personal import Part, apart, whole
from sessile.kernel.session import Client

CLIENT = Client(label="Firefox on Linux", ip="192.0.2.7", user_agent="Mozilla/5.0 alices-laptop")
TRACES = ("alice", "bob", "192.0.2.7", "alices-laptop", "Firefox on Linux", "her own phone")


def test_an_event_is_the_same_when_it_is_put_together_again() -> None:
    """What is left out of the record is named by its digest, and only that."""
    event = Event(
        name=EventName.FACTOR_ADDED, seq=7, principal="alice", uid="prn_a", session="ses_a", cause="c",
        by=Actor(name="bob", session="ses_b", client=CLIENT), details={"called": "her own phone", "n": 1},
    )  # fmt: skip
    line, parts = apart(event)
    assert whole(line, [part.said for part in parts]) == event
    text = msgspec.json.encode(line).decode()
    assert [trace for trace in TRACES if trace in text] == []
    assert line.personal == tuple((part.key, part.digest) for part in parts)
    assert apart(event)[0] != line, "salted anew: the same words have another digest"
    assert {part.key for part in parts} == {"prn_a", ""}
    assert Part("name:bob", b"", "").key == ""
