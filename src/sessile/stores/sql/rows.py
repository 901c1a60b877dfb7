"""Rows and values: how sessions, principals and policies are written down and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from sessile.kernel.assurance import Authentication
from sessile.kernel.decide import TokenState
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.kernel.session import Client, Link, Session, SessionKind

Row = tuple[Any, ...]

SESSION_COLUMNS = (
    "id", "kind", "uid", "principal", "parent", "origin", "lineage", "policy", "authentications", "created", "expires",
    "idle", "epoch", "everyone", "generation", "rotated", "scopes", "client", "label", "ended", "cause", "ended_by",
    "contained_since", "last_seen",
)  # fmt: skip
"""The last act comes last: see `session_of`."""
PRINCIPAL_COLUMNS = (
    "uid", "name", "kind", "created", "status", "epoch", "policy", "scopes", "owner", "purpose", "contained_since",
    "contained_at",
)  # fmt: skip
CHANGING = ("authentications", "last_seen", "expires", "idle", "epoch", "generation", "rotated", "ended", "cause",
            "ended_by", "contained_since", "client")  # fmt: skip
"""What of a session changes in its life."""

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KIND = {kind.value: kind for kind in SessionKind}
_STATE = {state.value: state for state in TokenState}
_authentications = msgspec.json.Decoder(tuple[Authentication, ...]).decode
_lineage = msgspec.json.Decoder(tuple[Link, ...]).decode
_client = msgspec.json.Decoder(Client).decode
_scopes = msgspec.json.Decoder(frozenset[str]).decode
_policy = msgspec.json.Decoder(Policy).decode
_epochs = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def json_text(value: object) -> str:
    """JSON with sorted keys: the same value is always the same text."""
    return _encode(value).decode()


def instant(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _START) // _MICROSECOND


def datetime_of(instant: int) -> datetime:
    return _START + timedelta(0, 0, instant)


def maybe_instant(at: datetime | None) -> int | None:
    return None if at is None else instant(at)


def maybe_datetime(instant: int | None) -> datetime | None:
    return None if instant is None else datetime_of(instant)


def token_state(text: str) -> TokenState:
    return _STATE[text]


# Few texts, read at every look at the store, decoded once. Pure, and so always true.
@lru_cache(maxsize=256)
def policy_of(text: str) -> Policy:
    return _policy(text)


@lru_cache(maxsize=16)
def epochs_of(text: str) -> dict[SessionKind, bytes]:
    """The epoch of everybody by kind of session. Not to be changed: it is shared."""
    return {_KIND[kind]: bytes.fromhex(epoch) for kind, epoch in _epochs(text).items()}


@lru_cache(maxsize=1024)
def _scopes_of(text: str) -> frozenset[str]:
    return _scopes(text)


def session_values(session: Session) -> dict[str, Any]:
    """The session's columns by name."""
    return {
        "id": session.id, "kind": session.kind.value, "uid": session.uid, "principal": session.principal,
        "parent": session.parent, "origin": session.origin, "lineage": json_text(session.lineage),
        "policy": session.policy, "authentications": json_text(session.authentications),
        "created": instant(session.created), "last_seen": instant(session.last_seen),
        "expires": instant(session.expires), "idle": None if session.idle is None else session.idle // _MICROSECOND,
        "epoch": session.epoch, "everyone": session.everyone, "generation": session.generation,
        "rotated": instant(session.rotated), "scopes": json_text(session.scopes), "client": json_text(session.client),
        "label": session.label, "ended": maybe_instant(session.ended), "cause": session.cause,
        "ended_by": session.ended_by, "contained_since": maybe_instant(session.contained_since),
    }  # fmt: skip


def session_of(row: Row, start: int) -> Session:
    """The session whose columns begin at `start`, in the order of `SESSION_COLUMNS`."""
    last_seen = start + len(SESSION_COLUMNS) - 1
    return replace(_session(row[start:last_seen]), last_seen=datetime_of(row[last_seen]))


# A row is the same at every look until something about it changes, but for the last act, which does every minute.
@lru_cache(maxsize=2048)
def _session(columns: Row) -> Session:
    (
        id_, kind, uid, principal, parent, origin, lineage, policy, authentications, created, expires, idle, epoch,
        everyone, generation, rotated, scopes, client, label, ended, cause, ended_by, contained_since,
    ) = columns  # fmt: skip
    return Session(
        id=id_, kind=_KIND[kind], uid=uid, principal=principal, parent=parent, origin=origin,
        lineage=_lineage(lineage), policy=policy, authentications=_authentications(authentications),
        created=datetime_of(created), last_seen=_START, expires=datetime_of(expires),
        idle=None if idle is None else timedelta(0, 0, idle), epoch=epoch, everyone=everyone, generation=generation,
        rotated=datetime_of(rotated), scopes=_scopes_of(scopes), client=_client(client), label=label,
        ended=maybe_datetime(ended), cause=cause, ended_by=ended_by, contained_since=maybe_datetime(contained_since),
    )  # fmt: skip


def principal_values(principal: Principal) -> dict[str, Any]:
    """The principal's columns by name."""
    return {
        "uid": principal.uid, "name": principal.name, "kind": principal.kind.value,
        "created": instant(principal.created), "status": principal.status.value, "epoch": principal.epoch,
        "policy": principal.policy, "scopes": json_text(principal.scopes), "owner": principal.owner,
        "purpose": principal.purpose, "contained_since": maybe_instant(principal.contained_since),
        "contained_at": maybe_instant(principal.contained_at),
    }  # fmt: skip


def principal_of(row: Row, start: int = 0) -> Principal | None:
    """The principal whose columns begin at `start`; None if an outer join found none."""
    return _principal(row[start : start + len(PRINCIPAL_COLUMNS)]) if row[start] is not None else None


@lru_cache(maxsize=2048)
def _principal(columns: Row) -> Principal:
    (uid, name, kind, created, status, epoch, policy, scopes, owner, purpose, contained_since, contained_at) = columns
    return Principal(
        uid=uid, name=name, kind=PrincipalKind(kind), created=datetime_of(created), status=Status(status), epoch=epoch,
        policy=policy, scopes=_scopes_of(scopes), owner=owner, purpose=purpose,
        contained_since=maybe_datetime(contained_since), contained_at=maybe_datetime(contained_at),
    )  # fmt: skip
