"""Which names this service answers to.

A page of a hostile site can make its own name resolve to this machine (DNS rebinding); its requests are then
same-origin to the browser, and no check of origins sees anything wrong. The Host header still carries the
hostile name, so a name that is not on the list is refused before anything else (421 Misdirected Request, RFC
9110 15.5.20).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""What is allowed when nothing is configured. No one can make these names lead elsewhere."""

MAX_HOST_BYTES: Final = 262
"""A name of 253 characters, a colon, a port of five digits, and a little room."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_MAX_SEEN: Final = 64
_AUTHORITY: Final = re.compile(
    r"(?:(?P<name>[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)"
    r"|\[(?P<v6>[0-9a-f:.]{2,45})\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Host:
    """A host and perhaps a port: `name` in lower case, an IPv6 address bracketed and at its shortest."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """A web origin (RFC 6454) of scheme http or https, with its default port filled in."""

    scheme: str
    name: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.name}{port}"


def parse_host(raw: bytes | str) -> Host | None:
    """A Host header's value (RFC 9110 7.2), or `None` if it is not exactly ``host[:port]``. Never raises.

    Stricter than RFC 3986: names are letters, digits, hyphens, underscores and single inner dots; no
    percent-encoding, no user part, no zone, no empty port.
    """
    if len(raw) > MAX_HOST_BYTES:
        return None
    match = _AUTHORITY.fullmatch(raw.decode("latin-1") if isinstance(raw, bytes) else raw)
    if match is None:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65_536:
        return None
    if match["v6"] is None:
        return Host(match["name"].lower(), port)
    try:
        return Host(f"[{IPv6Address(match['v6']).compressed}]", port)
    except AddressValueError:
        return None


def parse_origin(text: str) -> Origin | None:
    """A serialised origin, as in the Origin header or in a setting, or `None`. Never raises.

    `None` also for ``null``, other schemes, and anything after the port.
    """
    scheme, separator, authority = text.partition("://")
    scheme = scheme.lower() if scheme.isascii() else ""
    if not separator or scheme not in DEFAULT_PORTS:
        return None
    host = parse_host(authority)
    if host is None:
        return None
    return Origin(scheme, host.name, DEFAULT_PORTS[scheme] if host.port is None else host.port)


def configured_origin(text: str) -> Origin:
    """An origin from the settings; raises `ValueError` that names the cure."""
    origin = parse_origin(text)
    if origin is None:
        raise ValueError(
            f"{text!r} is not an origin: write scheme, host and perhaps port, such as "
            "https://console.example.com or http://localhost:8000; no path, no trailing slash, no wildcard, "
            "names beyond ASCII in their xn-- form"
        )
    return origin


class AllowedHosts:
    """The list of names. An entry without a port allows every port of the name; one with a port, only that.

    `names` are entries as in a Host header; of each of the public `origins` the name is taken, whatever the
    port: a proxy may drop or change it, and a port cannot be rebound. Raises `ValueError`, which names the
    cure.
    """

    __slots__ = ("_allowed", "seen")

    def __init__(self, names: Iterable[str] = LOOPBACK, origins: Iterable[str] = ()) -> None:
        allowed = set()
        for entry in names:
            host = parse_host(entry)
            if host is None:
                raise ValueError(
                    f"{entry!r} is not a host: write a name such as console.example.com, an address such "
                    "as [::1], each perhaps with :port; no scheme, no path, no wildcard"
                )
            allowed.add(host)
        allowed.update(Host(configured_origin(text).name, None) for text in origins)
        if not allowed:
            raise ValueError("allow at least one host, or no request can be answered")
        self._allowed = frozenset(allowed)
        self.seen: set[bytes] = set()
        """Spellings that were allowed."""

    def allows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the request has exactly one Host header and it is on the list. Never raises.

        `headers` are raw, with names in lower case as ASGI gives them (which puts HTTP/2's ``:authority``
        there too).
        """
        value: bytes | None = None
        for key, content in headers:
            if key == b"host":
                if value is not None:
                    return False
                value = content
        return value is not None and self.allows_name(value)

    def allows_name(self, value: bytes) -> bool:
        """Whether this value of a Host header is on the list. Never raises."""
        if value in self.seen:
            return True
        host = parse_host(value)
        if host is None or not (host in self._allowed or Host(host.name, None) in self._allowed):
            return False
        # Only spellings that were allowed are kept, and only so many: a client cannot make this grow.
        if len(self.seen) < _MAX_SEEN:
            self.seen.add(value)
        return True
