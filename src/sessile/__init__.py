"""Session-based authentication: the server keeps the login state, and access can be ended at once."""

from sessile.authority import Authority
from sessile.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    Refused,
    RevocationUncertain,
    SessileError,
    StoreUnavailable,
)
from sessile.kernel.assurance import Authentication, Method
from sessile.kernel.decide import Active, Denied, Requirement
from sessile.kernel.policy import AtLimit, Mismatch, Policy, Trait
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.session import Client, Session, SessionInfo, SessionKind
from sessile.receipt import Issued, Receipt
from sessile.signing_in import SignIn

__all__ = [
    "Active",
    "AtLimit",
    "Authentication",
    "Authority",
    "Client",
    "Conflict",
    "Cure",
    "Denied",
    "Issued",
    "LimitExceeded",
    "Method",
    "Mismatch",
    "NotFound",
    "Policy",
    "Reason",
    "Receipt",
    "Refused",
    "Requirement",
    "RevocationUncertain",
    "SessileError",
    "Session",
    "SessionInfo",
    "SessionKind",
    "SignIn",
    "StoreUnavailable",
    "Trait",
]
