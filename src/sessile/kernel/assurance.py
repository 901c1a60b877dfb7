"""Authentication events and the assurance that follows from them (NIST SP 800-63B-4, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import msgspec


class Method(StrEnum):
    """How a principal proved itself. A string with one of these values is accepted wherever a Method is."""

    PASSWORD = "password"
    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"
    SECURITY_KEY = "security_key"
    """A hardware key touched, without a PIN or biometric: something one has."""
    PASSKEY = "passkey"
    """A passkey with user verification; it may be synced, so it is worth 2 and not 3."""
    HARDWARE_KEY = "hardware_key"
    """A non-exportable key in hardware with user verification."""
    FEDERATED = "federated"
    """Another provider vouched."""


class Authentication(msgspec.Struct, frozen=True):
    """One authentication event: the method and when (aware UTC)."""

    method: Method
    at: datetime


_KNOWS = {Method.PASSWORD}
_HAS = {Method.TOTP, Method.RECOVERY_CODE, Method.SECURITY_KEY}


def assurance(events: Iterable[Authentication]) -> int:
    """The assurance (0 to 3) that the events amount to: NIST SP 800-63B-4, 2.1.1, 2.2.1, 2.3.1.

    0 is nobody proved (an anonymous session). Two factors must be of different kinds to make 2;
    3 needs a non-exportable key that resists phishing.
    """
    return _amounts_to(tuple([event.method for event in events]))


@lru_cache(maxsize=1024)
def _amounts_to(sequence: tuple[Method, ...]) -> int:
    methods = set(sequence)
    if not methods:
        return 0
    if Method.HARDWARE_KEY in methods or (Method.SECURITY_KEY in methods and methods & _KNOWS):
        return 3
    if Method.PASSKEY in methods or (methods & _KNOWS and methods & _HAS):
        return 2
    return 1
