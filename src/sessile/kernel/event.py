"""One line of the audit record: something that happened, written with the change that caused it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from sessile.kernel.session import Client


class EventName(StrEnum):
    SESSION_BEGUN = "session.begun"
    SESSION_DELEGATED = "session.delegated"
    KEY_MINTED = "key.minted"
    SESSION_ELEVATED = "session.elevated"
    SESSION_ROTATED = "session.rotated"
    SESSION_REVOKED = "session.revoked"
    SESSION_CONTAINED = "session.contained"
    TOKEN_REPLAYED = "session.replayed"
    SIGN_IN_FAILED = "sign_in.failed"
    PRINCIPAL_REGISTERED = "principal.registered"
    PRINCIPAL_CHANGED = "principal.changed"
    PRINCIPAL_REVOKED = "principal.revoked"
    PRINCIPAL_CONTAINED = "principal.contained"
    PRINCIPAL_DISABLED = "principal.disabled"
    PRINCIPAL_ENABLED = "principal.enabled"
    PRINCIPAL_DELETED = "principal.deleted"
    PASSWORD_SET = "principal.password_set"
    EVERYONE_REVOKED = "everyone.revoked"
    POLICY_CHANGED = "policy.changed"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """By whom a change was made."""

    name: str = "system"
    """A principal's name, `cli` or `system`."""
    session: str | None = None
    client: Client = Client()


SYSTEM = Actor()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, to whom, by whom, from where. Never a token, a hash or a password.

    The store stamps `seq` (its order) and `at` (its clock, aware UTC).
    """

    name: EventName
    seq: int = 0
    at: datetime | None = None
    principal: str | None = None
    """The name of the principal that it happened to."""
    uid: str | None = None
    session: str | None = None
    by: Actor = SYSTEM
    cause: str | None = None
    details: dict[str, str | int | list[str]] = {}
