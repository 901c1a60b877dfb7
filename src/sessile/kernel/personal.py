"""What of an event names a person. It is kept beside the record, which is chained by a salted digest of it.

So it can be erased, and the record still shows that it is as it was written: of what is gone only the digest is left,
which says nothing without the 32 random bytes that went with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from sessile.kernel.event import Actor, Event
from sessile.kernel.principal import ERASED, RESERVED_NAMES
from sessile.kernel.session import Client

DETAILS = frozenset({"called", "address", "device_key"})
"""Details that a person chose, or that reach it, or know its device again."""
NAMED = "name:"
"""Whose what is said of a name is that nobody has, or of one whose uid is not known."""

_SALT = 32
_NOBODY = Client()


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an event says of one person."""

    principal: str | None = None
    by: str | None = None
    client: Client | None = None
    details: dict[str, str | int | list[str]] = {}


class Part(msgspec.Struct, frozen=True):
    """What an event says of one person, as it is written down."""

    whose: str
    """A uid, or `NAMED` and a name; empty: nobody's."""
    salt: bytes
    said: str
    """JSON."""

    @property
    def key(self) -> str:
        """What the record calls it by: a uid; empty where that would be a name."""
        return "" if self.whose.startswith(NAMED) else self.whose

    @property
    def digest(self) -> str:
        return sha256(self.salt + self.said.encode()).hexdigest()


class Line(Event, frozen=True, kw_only=True):
    """An event as the record has it, without what names a person."""

    personal: tuple[tuple[str, str], ...] = ()
    """Of each part that was left out: whose it is (`Part.key`), and its digest."""


_encode = msgspec.json.Encoder(order="deterministic").encode
_said = msgspec.json.Decoder(Said).decode


def apart(event: Event) -> tuple[Line, tuple[Part, ...]]:
    """An event without what names a person, and that."""
    by = event.by
    details = {key: value for key, value in event.details.items() if key in DETAILS}
    principal = None if event.principal == ERASED else event.principal
    subject = Said(principal=principal, details=details)
    named = by.name not in RESERVED_NAMES and by.name != ""
    actor = Said(by=by.name if named else None, client=by.client if by.client != _NOBODY else None)
    about = event.uid or (f"{NAMED}{principal}" if principal is not None else "")
    whose = by.uid or (f"{NAMED}{by.name}" if named and by.name != event.principal else about)
    said: dict[str, Said] = {}
    if subject != Said():
        said[about] = subject
    if actor != Said():
        before = said.get(whose, Said())
        said[whose] = msgspec.structs.replace(before, by=actor.by, client=actor.client)
    parts = tuple(Part(of, secrets.token_bytes(_SALT), _encode(one).decode()) for of, one in said.items())
    line = Line(
        name=event.name, seq=event.seq, at=event.at, principal=None if event.principal is None else ERASED,
        uid=event.uid, session=event.session, by=Actor(name=ERASED if named else by.name, uid=by.uid,
        session=by.session), cause=event.cause,
        details={key: value for key, value in event.details.items() if key not in DETAILS},
        personal=tuple((part.key, part.digest) for part in parts),
    )  # fmt: skip
    return line, parts


def whole(line: Line, parts: Iterable[str]) -> Event:
    """The event again, with what is still there of what it says (`Part.said`). What was erased is `ERASED`."""
    principal, by, details = line.principal, line.by, line.details
    for text in parts:
        said = _said(text)
        principal = said.principal or principal
        by = msgspec.structs.replace(by, name=said.by or by.name, client=said.client or by.client)
        details = {**details, **said.details}
    return Event(
        name=line.name, seq=line.seq, at=line.at, principal=principal, uid=line.uid, session=line.session, by=by,
        cause=line.cause, details=details,
    )  # fmt: skip
