"""The session cookie: read from raw headers, and written so that only one server can have set it.

Frameworks' cookie parsers are not used. They strip more than RFC 6265 does (``\\x85__Host-sessile`` becomes
``__Host-sessile``), and of two cookies with one name they take the last. A sibling subdomain can set both
kinds, and so choose the session that a person is in. Here a pair is trimmed of SP and HTAB only, the name
must be exact, and two of it mean none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

MAX_HEADER_BYTES: Final = 16_384
"""All Cookie headers of one request together; more is answered without being looked at."""

MAX_COOKIE_BYTES: Final = 4_096
"""Name and value together (RFC 6265bis 5.6: a browser drops a larger cookie whole)."""

MAX_ATTRIBUTE_BYTES: Final = 1_024
"""One attribute's value (RFC 6265bis 5.6)."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COOKIE_OCTETS: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")
_PATH: Final = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_BLANK: Final = b" \t"
_PREFIXES: Final = ("__Host-Http-", "__Http-", "__Host-", "__Secure-")


class Malformed(StrEnum):
    """Why a request's cookies count as none although there are some. Never a token: that is bytes."""

    REPEATED = "the cookie was sent more than once"
    OTHER_CASE = "the cookie was sent under another spelling of its name"
    TOO_LARGE = "the cookies are too large"


def read(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | Malformed | None:
    """The value of the cookie `name`, `None` if the request has none, or why what it has is not used.

    `headers` are raw, with names in lower case as ASGI gives them; HTTP/2 may bring several Cookie headers
    (RFC 9113 8.2.3). Never raises. `name` is an RFC 9110 token, as `CookieSpec` makes sure.
    """
    raw = b""
    for key, value in headers:
        if key == b"cookie":
            raw = raw + b"; " + value if raw else value
            if len(raw) > MAX_HEADER_BYTES:
                return Malformed.TOO_LARGE
    return find(raw, name)


def find(raw: bytes, name: bytes) -> bytes | Malformed | None:
    """The same in what all Cookie headers together say."""
    if len(raw) > MAX_HEADER_BYTES:
        return Malformed.TOO_LARGE
    length = len(name)
    if raw.startswith(name) and b";" not in raw and raw.startswith(b"=", length):  # the only one
        return raw[length + 1 :].strip(_BLANK)
    # Searches in C decide for nearly all requests: the letters of the name stand nowhere, or once and written as
    # browsers write it. They cannot miss a cookie of this name: what stands before one is a separator, which no
    # name contains, so no other match overlaps it.
    wanted = name.lower()
    times = raw.lower().count(wanted)
    if times == 0:
        return None
    start = raw.find(name)
    if times == 1 and start >= 0 and (start == 0 or raw[start - 2 : start] == b"; "):
        start += len(name)
        if raw[start : start + 1] == b"=":
            stop = raw.find(b";", start)
            return (raw[start + 1 :] if stop < 0 else raw[start + 1 : stop]).strip(_BLANK)
    return _read_each(raw, name, wanted)


def _read_each(raw: bytes, name: bytes, wanted: bytes) -> bytes | Malformed | None:
    """The same, pair by pair, for whatever is not as plain as that."""
    found: bytes | None = None
    for pair in raw.split(b";"):
        key, equals, value = pair.partition(b"=")
        key = key.strip(_BLANK)
        if not equals or key.lower() != wanted:
            continue
        if key != name:
            return Malformed.OTHER_CASE
        if found is not None:
            return Malformed.REPEATED
        found = value.strip(_BLANK)
    return found


@dataclass(frozen=True, slots=True)
class CookieSpec:
    """How the session cookie is written. The defaults are what NIST SP 800-63B-4 5.1.1 asks for.

    HttpOnly is always set, SameSite always explicit, and there is no Max-Age: the cookie ends with the
    browser, and the server's clocks decide in any case. Raises `ValueError`, which names the cure, for a
    combination that a browser would drop or that would weaken the session.
    """

    name: str = "__Host-sessile"
    secure: bool = True
    same_site: Literal["Lax", "Strict"] = "Lax"
    path: str = "/"
    domain: str | None = None
    raw_name: bytes = field(init=False, repr=False, compare=False)
    _attributes: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.same_site not in ("Lax", "Strict"):
            raise ValueError('same_site must be "Lax" or "Strict": a session cookie is never sent from other sites')
        if not _PATH.fullmatch(self.path) or len(self.path) > MAX_ATTRIBUTE_BYTES:
            raise ValueError('path must start with "/" and hold printable ASCII without ";", at most 1024 bytes')
        if self.domain is not None and (not _DOMAIN.fullmatch(self.domain) or len(self.domain) > 253):
            raise ValueError('domain must be a host name in lower case, such as "example.com"; or leave it out')
        self._check_prefix()
        attributes = [f"; Path={self.path}"]
        if self.domain is not None:
            attributes.append(f"; Domain={self.domain}")
        if self.secure:
            attributes.append("; Secure")
        attributes.append(f"; HttpOnly; SameSite={self.same_site}")
        object.__setattr__(self, "raw_name", self.name.encode("ascii"))
        object.__setattr__(self, "_attributes", "".join(attributes).encode("ascii"))

    def _check_prefix(self) -> None:
        """Hold to what each prefix demands: RFC 6265bis 4.1.3; for `Http`, the Layered Cookies draft."""
        prefix = next((p for p in _PREFIXES if self.name.startswith(p)), None)
        if prefix is None:
            return
        if not self.secure:
            raise ValueError(f"a {prefix} cookie needs secure=True; over plain http use a name without prefix")
        if prefix.startswith("__Host-"):
            if self.domain is not None:
                raise ValueError(f"a {prefix} cookie has no domain: leave it out, or name a cookie to share __Secure-…")
            if self.path != "/":
                raise ValueError(f'a {prefix} cookie needs path="/"; for a narrower path use the prefix __Secure-')

    @property
    def attributes(self) -> str:
        """Path, Domain, Secure, HttpOnly and SameSite, as they stand in the header."""
        return self._attributes.decode("ascii").removeprefix("; ")

    @property
    def deviations(self) -> tuple[str, ...]:
        """What departs from SP 800-63B-4 5.1.1 and ASVS V3.3, a sentence each, for `doctor`; empty by
        default.
        """
        found = []
        if not self.secure:
            found.append("The session cookie is not Secure: it also travels over plain http (63B-4 5.1.1).")
        elif not self.name.startswith(_PREFIXES):
            found.append("The session cookie's name has no __Host- or __Secure- prefix (ASVS V3.3.1).")
        if self.domain is not None:
            found.append(f"The session cookie is sent to every host under {self.domain} (63B-4 5.1.1, ASVS V3.3.3).")
        if self.path != "/":
            found.append("The session cookie's path is not /; a path parts no applications (63B-4 5.1.1).")
        return tuple(found)

    def set_header(self, value: str) -> tuple[bytes, bytes]:
        """The Set-Cookie header that hands out `value`; the answer must carry ``Cache-Control: no-store``.

        Raises `ValueError` if `value` is empty, is not made of cookie-octets (RFC 6265 4.1.1) or is too long.
        The error does not show the value.
        """
        if not _COOKIE_OCTETS.fullmatch(value):
            raise ValueError("a cookie's value must be one or more cookie-octets (RFC 6265 4.1.1)")
        if len(self.raw_name) + len(value) > MAX_COOKIE_BYTES:
            raise ValueError(f"a cookie's name and value must be at most {MAX_COOKIE_BYTES} bytes together")
        return b"set-cookie", self.raw_name + b"=" + value.encode("ascii") + self._attributes

    def clear_header(self) -> tuple[bytes, bytes]:
        """The Set-Cookie header that removes the cookie. Only a logout sends it: on any other denial it could
        remove a newer cookie that another answer has just set.
        """
        return b"set-cookie", self.raw_name + b"=" + self._attributes + b"; Max-Age=0"


def beside(name: str, word: str) -> str:
    """The name of a cookie that stands beside the session's: with the same prefix, and without containing its name,
    which would make each look for that one longer."""
    prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
    return f"{prefix}{word}-{name.removeprefix(prefix)}"


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError("a cookie's name must be letters, digits and !#$%&'*+-.^_`|~, at least one (RFC 9110 token)")
    if len(name) > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"a cookie's name must be at most {MAX_ATTRIBUTE_BYTES} bytes")
    lowered = name.lower()
    if lowered.startswith("__hosthttp-"):
        raise ValueError("__HostHttp- was dropped from the draft and protects nothing: use __Host-Http-")
    for prefix in _PREFIXES:
        # Browsers that know the prefixes match them in any case; older ones know this spelling only.
        if lowered.startswith(prefix.lower()):
            if not name.startswith(prefix):
                raise ValueError(f"write the prefix of the cookie's name as {prefix}")
            if name == prefix:
                raise ValueError(f"give the cookie a name after its prefix: {prefix}sessile")
            return
