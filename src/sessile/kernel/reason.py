"""Why access was denied, and what would cure it."""

from __future__ import annotations

from enum import StrEnum


class Cure(StrEnum):
    """What the holder can do about a denial."""

    SIGN_IN = "sign_in"
    STEP_UP = "step_up"
    RETRY = "retry"
    NONE = "none"


class Reason(StrEnum):
    """Why a check denied. Each has exactly one `cure`."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    IDLE = "idle"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DISABLED = "disabled"
    SUPERSEDED = "superseded"
    REPLAYED = "replayed"
    UNBOUND = "unbound"
    ASSURANCE = "assurance"
    STALE_AUTHENTICATION = "stale_authentication"
    OUT_OF_SCOPE = "out_of_scope"
    OVER_BUDGET = "over_budget"
    UNAVAILABLE = "unavailable"

    @property
    def cure(self) -> Cure:
        return _CURES.get(self, Cure.SIGN_IN)


_CURES = {
    Reason.DISABLED: Cure.NONE,
    # The browser holds the new token by then: the same request again succeeds.
    Reason.SUPERSEDED: Cure.RETRY,
    Reason.ASSURANCE: Cure.STEP_UP,
    Reason.STALE_AUTHENTICATION: Cure.STEP_UP,
    Reason.OUT_OF_SCOPE: Cure.NONE,
    # In the next minute; if the budget is used up as a whole, once its owner has set another.
    Reason.OVER_BUDGET: Cure.RETRY,
    Reason.UNAVAILABLE: Cure.RETRY,
}
