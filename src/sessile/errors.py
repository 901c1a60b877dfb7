"""What Sessile raises. One base, `SessileError`; the message names the cure. `check` and `peek` never raise."""

from __future__ import annotations

from sessile.kernel.decide import Denied
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session


class SessileError(Exception):
    """Base of all errors of this package."""


class StoreUnavailable(SessileError):
    """The store is away or too busy. Nothing was lost and nobody is signed out: try again (HTTP 503)."""


class EngineAway(StoreUnavailable):
    """The engine could not be reached for as long as opening waits for it. A server goes on waiting."""


class NotFound(SessileError):
    """No such principal, session, policy or event."""


class Conflict(SessileError):
    """What was asked does not fit what the store holds by now.

    `denied` says why, where a session that was to act is over.
    """

    def __init__(self, message: str, denied: Denied | None = None) -> None:
        super().__init__(message)
        self.denied = denied


class Refused(SessileError):
    """The giver may not do this: wider scopes than its own, another's agent, a stale authentication.

    `denied` carries the reason and the cure.
    """

    def __init__(self, message: str, denied: Denied) -> None:
        super().__init__(message)
        self.denied = denied


def refused(session: Session, message: str) -> Refused:
    """What a session asked is out of its scope; the message says what would not be."""
    return Refused(message, Denied(reason=Reason.OUT_OF_SCOPE, session=session.id))


class LimitExceeded(SessileError):
    """A bound was reached: concurrent sessions, depth of a chain, size of data."""


class RevocationUncertain(SessileError):
    """The store did not acknowledge a revocation: it may or may not be in force. Repeat it (it is idempotent)."""
