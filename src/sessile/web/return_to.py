"""Where a person goes after signing in: always a page of this service.

A redirect that takes its target from a request sends people wherever an attacker likes (ASVS V3.7.2).
Browsers do not read a target as RFC 3986 does: they turn ``\\`` into ``/``, drop TAB and LF wherever they
stand, and resolve ``%2e`` as a dot (WHATWG URL). So nothing is repaired here: a target is in a narrow form
that every reader takes the same way, or it is none.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_LENGTH: Final = 2_048

_PCHAR: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_LOCAL: Final = re.compile(rf"(?P<path>/(?:{_PCHAR}+/)*{_PCHAR}*)(?:\?(?:{_PCHAR}|[/?])*)?")
_UNSAFE: Final = re.compile(rb"[\x00-\x1f\x7f\\]|//|/\.{1,2}(?:/|$)")
_MAX_DECODINGS: Final = 4


def safe_path(value: str | None) -> str | None:
    """`value` itself if it is a path of this service, perhaps with a query; otherwise `None`. Never raises.

    The path starts with exactly one ``/`` and is made of RFC 3986 segments: no empty ones (``//``), no
    ``\\``, no control characters, no ``.`` or ``..``, and no fragment, in at most 2048 characters. All of
    this also holds for the path percent-decoded, however many times it is encoded.
    """
    if value is None or len(value) > MAX_LENGTH:
        return None
    match = _LOCAL.fullmatch(value)
    if match is None:
        return None
    path = match["path"].encode("ascii")
    for _ in range(_MAX_DECODINGS):
        if _UNSAFE.search(path):
            return None
        decoded = unquote_to_bytes(path)
        if decoded == path:
            return value
        path = decoded
    return None
