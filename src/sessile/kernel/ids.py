"""Public identifiers: stable, safe to show and to log, never a secret."""

from __future__ import annotations

import hashlib
import re
import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
PARTITIONS = len(ALPHABET)
"""Sessions live in a fixed number of partitions; a whole tree shares one. Its character follows `ses_`."""

_SESSION_ID = re.compile(rf"ses_[{ALPHABET}]{{27}}")


def new_id(prefix: str) -> str:
    """`prefix_` and 130 random bits."""
    return prefix + "_" + _random(26)


def id_of(prefix: str, digest: bytes) -> str:
    """`prefix_` and the first 130 bits of a digest: the same id for the same thing."""
    number = int.from_bytes(digest[:17], "big") >> 6
    return prefix + "_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def new_session_id(partition: str | None = None) -> str:
    """A session's id: `ses_`, the partition, 130 random bits. Without a partition one is drawn."""
    return "ses_" + (partition or _random(1)) + _random(26)


def partition_of(session_id: str) -> str:
    return session_id[4]


def home(uid: str) -> str:
    """The partition of the sessions that a principal begins itself: the same in every store and process."""
    return ALPHABET[hashlib.sha256(uid.encode()).digest()[0] % PARTITIONS]


def check_session_id(value: object) -> str:
    """The value itself, if it has the form of a session's id.

    Raises:
        ValueError: it has not; a principal's name passed where a session belongs ends here.
    """
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(value):
        raise ValueError("not a session id: it has the form 'ses_' and 27 characters")
    return value


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
