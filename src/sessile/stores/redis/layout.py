"""Rows and keys: how sessions, principals and policies lie in an engine.

All keys of a partition carry its hash tag, so that they share a slot. `{s:0}` stands before

    ses_0…          a session: its tokens' states and its pending salt with it
    t<digest>       the id of the session that a token names
    prn_…           a principal's status and epoch, and whatever else the directory says of it; never expires
    policy:<name>   a policy; never expires
    everyone        the epoch of everybody, by kind of session, and until when sign-in is locked; never expires
    mark, delta     see `sessile.trust`
    head            what tells the mark's row from the one of that number in another history of the directory
    data:ses_0…     the application's data
    of:<uid>        sessions of a principal, by when they began
    by:<session>    sessions that it handed out, by when they began
    all, keep       all sessions, by when they began and by when their tombstones go

and `s!<database>!{s:0}<row before>.<row>:` before what is announced: those who track hear of all databases. A node's
pings are `s~<database>!<node>!{s:0}`, tracked by it alone; of two prefixes engines tell in this order, so that a ping's
comes last. The first line of a session's row is plain text for the scripts: its
principal, its ancestors and theirs; of a principal's row: its policy.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from sessile.kernel.assurance import Authentication
from sessile.kernel.decide import TokenState
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal
from sessile.kernel.session import Client, Link, Session, SessionKind


def announced(database: int) -> str:
    """The prefix of everything that is announced."""
    return f"s!{database}!"


def beats(database: int, node: str) -> str:
    """The prefix of a node's pings."""
    return f"s~{database}!{node}!"


def tag(partition: str) -> str:
    return f"{{s:{partition}}}"


@lru_cache(maxsize=1024)
def policy_key(partition: str, name: str) -> bytes:
    return f"{tag(partition)}policy:{_quoted(name)}".encode()


def _quoted(name: str) -> str:
    return quote(name, safe="")


class Token(msgspec.Struct, array_like=True, frozen=True):
    digest: bytes
    state: TokenState
    since: datetime


class Stored(msgspec.Struct, frozen=True):
    """A session as it lies in an engine."""

    session: Session
    tokens: tuple[Token, ...]
    salt: bytes | None
    """What the pending successor is derived with; None: none is pending."""
    keep_until: datetime
    """When the tombstone is of no more use to anybody."""
    ended_by_row: int = 0
    """The row of the journal that ended it."""

    def token(self, digest: bytes) -> Token | None:
        for token in self.tokens:
            if token.digest == digest:
                return token
        return None


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """The fields of `Session` without their names, in its order, and then those of `Stored`."""

    id: str
    kind: SessionKind
    uid: str | None
    principal: str | None
    parent: str | None
    origin: str | None
    lineage: tuple[Link, ...]
    policy: str
    authentications: tuple[Authentication, ...]
    created: datetime
    last_seen: datetime
    expires: datetime
    idle: timedelta | None
    epoch: bytes
    everyone: bytes
    generation: int
    rotated: datetime
    scopes: frozenset[str]
    client: Client
    label: str
    ended: datetime | None
    cause: str | None
    ended_by: str | None
    contained_since: datetime | None
    tokens: tuple[Token, ...]
    salt: bytes | None
    keep_until: datetime
    ended_by_row: int


_FIELDS = Session.__struct_fields__
_encode = msgspec.msgpack.Encoder().encode
_row = msgspec.msgpack.Decoder(_Row).decode
_principal = msgspec.msgpack.Decoder(Principal).decode
_policy = msgspec.msgpack.Decoder(Policy).decode


def session_line(session: Session) -> bytes:
    """The first line of its row: its principal, its ancestors and theirs."""
    words = [session.uid or "-"]
    for link in session.lineage:
        words += [link.session, link.uid or "-"]
    return " ".join(words).encode() + b"\n"


def session_row(stored: Stored) -> bytes:
    session = stored.session
    values: list[Any] = [getattr(session, name) for name in _FIELDS]
    body = _encode((*values, stored.tokens, stored.salt, stored.keep_until, stored.ended_by_row))
    return session_line(session) + body


# Decoding is pure, and so what was decoded once stays true: of the same bytes. The same few rows come with every look;
# those above a session with every look at one below it, and a session's own again after a minute.
@lru_cache(maxsize=4096)
def stored_of(row: bytes) -> Stored:
    found = _row(memoryview(row)[row.index(b"\n") + 1 :])
    session = Session(**{name: getattr(found, name) for name in _FIELDS})
    return Stored(session, found.tokens, found.salt, found.keep_until, found.ended_by_row)


def principal_row(principal: Principal) -> bytes:
    return _quoted(principal.policy).encode() + b"\n" + _encode(principal)


@lru_cache(maxsize=1024)
def principal_of(row: bytes) -> Principal:
    return _principal(memoryview(row)[row.index(b"\n") + 1 :])


def policy_row(policy: Policy) -> bytes:
    return _encode(policy)


@lru_cache(maxsize=256)
def policy_of(row: bytes) -> Policy:
    return _policy(row)


class Everyone(msgspec.Struct, frozen=True):
    """What holds for everybody."""

    epochs: dict[SessionKind, bytes]
    locked_until: datetime | None = None


_everyone = msgspec.msgpack.Decoder(Everyone).decode


def everyone_row(everyone: Everyone) -> bytes:
    return _encode(everyone)


@lru_cache(maxsize=16)
def everyone_of(row: bytes) -> Everyone:
    """Not to be changed: it is shared."""
    return _everyone(row)
