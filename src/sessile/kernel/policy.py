"""The rules for a group of principals. Read at every check: a stricter policy bites live sessions at once."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec

_TOUCH_AT_MOST = timedelta(minutes=1)
_WITHOUT_IDLE = timedelta(minutes=5)


class AtLimit(StrEnum):
    """What happens when a principal has `max_sessions` and signs in once more (ASVS V7.1.2)."""

    REFUSE = "refuse"
    END_OLDEST = "end_oldest"


class Trait(StrEnum):
    """What of the client a session may be bound to."""

    USER_AGENT = "user_agent"
    IP = "ip"
    NETWORK = "network"
    """The address's surroundings: an IPv4 /24, an IPv6 /48."""
    DEVICE = "device"
    """A key that the browser made for this session and proves every ten minutes (Device Bound Session Credentials);
    bound from the registration on."""


class Mismatch(StrEnum):
    """What a session's token is answered with where the client is not the one that the session is bound to. An event
    tells of each, once an hour for the same."""

    REFUSE = "refuse"
    """Denied, `unbound`. The session goes on where it was."""
    NOTE = "note"
    """Let in."""
    STEP_UP = "step_up"
    """Denied until the person proves itself anew: the session is bound to that client from then on."""
    END = "end"
    """The session ends."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Lifetimes, assurance, concurrency, binding and rotation. All lifetimes are timedeltas.

    The store keeps policies by name with their version. Code seeds them: a seed that differs from what is
    stored is an error unless its `version` is higher. The presets take the same fields as changes:
    `Policy.aal2(idle=timedelta(minutes=20))`.

    Raises:
        ValueError: a limit is not positive, or two fields contradict each other.
    """

    name: str = "default"
    version: int = 1
    preset: str = "custom"
    """Which preset it started from; `sessile doctor` compares the limits with the standard's."""

    overall: timedelta = timedelta(hours=24)
    """From the last authentication event to the end, however active (63B-4 5.2, ASVS V7.3.2)."""
    idle: timedelta | None = timedelta(hours=1)
    """From the last act of the person to the end; None: no such limit (AAL1 only)."""
    assurance: int = 1
    """Below this a session opens nothing but the step-up."""
    max_sessions: int | None = None
    """Live browser sessions of one principal; None: no limit."""
    at_limit: AtLimit = AtLimit.END_OLDEST
    rotate_after: timedelta | None = timedelta(minutes=15)
    """Age at which a browser's token gets a successor; None: only events rotate."""
    grace: timedelta = timedelta(seconds=60)
    """How long an old token still counts after its successor's first use. Read at the check: a change reaches
    back, in both directions."""
    strict_replay: bool = True
    """An old token after the grace ends the session; False: only if the client differs, else only the token."""
    binding: frozenset[Trait] = frozenset()
    """What of the client a browser's session is bound to; empty: nothing."""
    mismatch: Mismatch = Mismatch.REFUSE
    """What becomes of a request whose client differs in that."""
    max_depth: int = 8
    """How long a chain of delegations may get."""
    key_lifetime: timedelta = timedelta(days=90)
    """The longest life of an API key."""
    reason: str = ""
    """Why limits depart from SP 800-63B-4, where they do (ASVS V7.1.1)."""

    def __post_init__(self) -> None:
        for field in ("overall", "key_lifetime"):
            if getattr(self, field) <= timedelta(0):
                raise ValueError(f"{field} must be positive")
        if self.idle is not None and not timedelta(0) < self.idle <= self.overall:
            raise ValueError("idle must be positive and not above overall")
        if self.rotate_after is not None and self.rotate_after <= timedelta(0):
            raise ValueError("rotate_after must be positive")
        if self.grace < timedelta(0) or self.grace > timedelta(minutes=10):
            raise ValueError("grace is between 0 and 10 minutes")
        if self.assurance not in (1, 2, 3):
            raise ValueError("assurance is 1, 2 or 3")
        if (self.assurance == 3 or self.preset == "aal3") and self.overall > timedelta(hours=12):
            raise ValueError("at assurance 3 overall is at most 12 hours (NIST SP 800-63B-4, 2.3.3)")
        if self.max_sessions is not None and self.max_sessions < 1:
            raise ValueError("max_sessions is at least 1")
        if not 1 <= self.max_depth <= 8:
            raise ValueError("max_depth is between 1 and 8")
        if self.version < 1 or not self.name or len(self.name) > 64:
            raise ValueError("a policy has a name of at most 64 characters and a version of at least 1")

    @classmethod
    def aal1(cls, **changes: Any) -> Policy:
        """NIST SP 800-63B-4, 2.1.3: overall 30 days, no inactivity limit."""
        return _preset("aal1", changes, overall=timedelta(days=30), idle=None, rotate_after=timedelta(days=1))

    @classmethod
    def aal2(cls, **changes: Any) -> Policy:
        """NIST SP 800-63B-4, 2.2.3: overall 24 hours, inactivity 1 hour."""
        return _preset("aal2", changes, overall=timedelta(hours=24), idle=timedelta(hours=1))

    @classmethod
    def aal3(cls, **changes: Any) -> Policy:
        """NIST SP 800-63B-4, 2.3.3: overall 12 hours, inactivity 15 minutes."""
        return _preset("aal3", changes, overall=timedelta(hours=12), idle=timedelta(minutes=15))

    @classmethod
    def operator(cls, **changes: Any) -> Policy:
        """For consoles: overall 8 hours, inactivity 15 minutes, assurance 2."""
        return _preset("operator", changes, overall=timedelta(hours=8), idle=timedelta(minutes=15), assurance=2)

    @property
    def touch_interval(self) -> timedelta:
        """How stale a stored last act may be: what coalescing may cost a session of its idle time."""
        if self.idle is None:
            return _WITHOUT_IDLE
        return min(_TOUCH_AT_MOST, self.idle / 10)


def _preset(name: str, changes: dict[str, Any], **values: Any) -> Policy:
    return Policy(**{"preset": name, **values, **changes})


def same_rules(one: Policy, other: Policy) -> bool:
    """Whether two policies say the same, whatever their versions."""
    return msgspec.structs.replace(one, version=1) == msgspec.structs.replace(other, version=1)
