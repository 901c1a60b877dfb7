"""Who is asking: the client's address, whether it came over https, and a name for its device.

Forwarding headers can be written by anybody. They are believed only when the peer that delivered them is on
the configured list, and then only as far as the chain of listed peers reaches, from the right (ASVS V4.1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple

from sessile.kernel.session import Client

MAX_USER_AGENT: Final = 512
"""Characters of a user agent that are kept."""

MAX_HOPS: Final = 16
"""Entries of X-Forwarded-For that are looked at, from the right."""

UNKNOWN_CLIENT: Final = "unknown client"

_MAX_ADDRESS: Final = 64
_CONTROLS: Final = bytes([*range(0x20), *range(0x7F, 0xA0)])

_Address = IPv4Address | IPv6Address
RawHeaders = Iterable[tuple[bytes, bytes]]


class Traits(NamedTuple):
    """What is known of a client without asking it: `ip` in canonical form, `user_agent` bounded and
    printable.
    """

    ip: str | None
    user_agent: str | None


class TrustedPeers:
    """The networks whose forwarding headers are believed: the reverse proxies, and nothing else.

    `networks` are addresses or CIDR blocks, such as ``10.0.0.0/8`` or ``::1``. Raises `ValueError`, which
    names the cure.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[str] = ()) -> None:
        found: list[IPv4Network | IPv6Network] = []
        for text in networks:
            try:
                found.append(ip_network(text.strip()))
            except ValueError as error:
                raise ValueError(
                    f"{text!r} is not a network: write an address or a block such as 10.0.0.0/8, "
                    "with no bits set after its prefix"
                ) from error
        self._networks = tuple(found)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: object) -> bool:
        return any(address in network for network in self._networks)


class Clients:
    """Says who asks.

    `device_key` reads from raw headers the thumbprint of the key that the request speaks for (`sessile.dbsc`); without
    it nobody shows one.
    """

    __slots__ = ("_device_key", "trusted")

    def __init__(
        self, trusted: TrustedPeers, device_key: Callable[[RawHeaders], str | None] | None = None
    ) -> None:  # fmt: skip
        self.trusted = trusted
        self._device_key = device_key

    def of(self, scope: Mapping[str, Any]) -> Client:
        """Of an ASGI http or websocket scope, bounded and printable. Never raises for what a client sent."""
        traits = read_client(scope, self.trusted)
        key = None if self._device_key is None else self._device_key(scope["headers"])
        return Client(
            label=device_label(traits.user_agent), ip=traits.ip, user_agent=traits.user_agent, device_key=key
        )  # fmt: skip


def read_client(scope: Mapping[str, Any], trusted: TrustedPeers) -> Traits:
    """Address and user agent of an ASGI http or websocket scope. Never raises for what a client sent.

    The address is that of the nearest peer that is not `trusted`. Where the chain breaks off (an entry that
    is no address, too many entries), it is the last trusted peer: an attacker can hide behind a proxy, not
    pose as another.
    """
    user_agent: str | None = None
    forwarded: list[bytes] = []
    for key, value in scope["headers"]:
        if key == b"user-agent":
            if user_agent is None:
                user_agent = clean_user_agent(value)
        elif key == b"x-forwarded-for" and trusted:
            forwarded.append(value)
    if not forwarded:
        client = scope.get("client")
        return Traits(_canonical(client[0]) if client else None, user_agent)
    peer = _peer(scope)
    return Traits(None if peer is None else str(_walk(peer, forwarded, trusted)), user_agent)


def read_scheme(scope: Mapping[str, Any], trusted: TrustedPeers) -> str:
    """``http`` or ``https``, as the client sees it. Never raises for what a client sent.

    X-Forwarded-Proto counts only from a `trusted` peer, only once, and only with one of these two values;
    WebSocket schemes are said as their http counterparts.
    """
    own = "https" if scope.get("scheme") in ("https", "wss") else "http"
    if not trusted:
        return own
    values = [value for key, value in scope["headers"] if key == b"x-forwarded-proto"]
    if not values:
        return own
    peer = _peer(scope)
    if peer is None or peer not in trusted:
        return own
    # A trusted proxy that cannot say it clearly has not seen https.
    return "https" if len(values) == 1 and values[0].strip().lower() in (b"https", b"wss") else "http"


def clean_user_agent(raw: bytes) -> str | None:
    """A User-Agent header's value without control characters, at most 512 characters; `None` if nothing is
    left.
    """
    return raw[:MAX_USER_AGENT].translate(None, _CONTROLS).strip().decode("latin-1") or None


def _peer(scope: Mapping[str, Any]) -> _Address | None:
    """The address at the other end of the connection; `None` on a Unix socket."""
    client = scope.get("client")
    return _parse_address(client[0]) if client else None


def _walk(peer: _Address, forwarded: list[bytes], trusted: TrustedPeers) -> _Address:
    # With more entries than that, the rest stays in one piece, which is no address.
    for entry in reversed(b",".join(forwarded).rsplit(b",", MAX_HOPS - 1)):
        if peer not in trusted:
            break
        address = _parse_address(_without_port(entry.strip(b" \t").decode("latin-1")))
        if address is None:
            break
        peer = address
    return peer


def _without_port(entry: str) -> str:
    """Some proxies write ``192.0.2.1:4711`` and ``[2001:db8::1]:4711``."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


@lru_cache(maxsize=256)
def _parse_address(text: str) -> _Address | None:
    if len(text) > _MAX_ADDRESS:
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # One client, one address: a dual-stack socket shows IPv4 peers as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=256)
def _canonical(text: str) -> str | None:
    address = _parse_address(text)
    return None if address is None else str(address)


# In this order: most browsers also carry the marks of those that come after them.
_PROGRAMS: Final = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
)
# These name themselves first.
_TOOLS: Final = (
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("HTTPie/", "HTTPie"),
    ("python-requests/", "Python Requests"),
    ("python-httpx/", "Python HTTPX"),
    ("Python-urllib/", "Python urllib"),
    ("python-urllib3/", "Python urllib3"),
    ("Python/", "Python aiohttp"),
    ("Go-http-client/", "Go"),
    ("okhttp/", "OkHttp"),
    ("Java/", "Java"),
    ("node", "Node.js"),
    ("undici", "Node.js"),
    ("axios/", "Axios"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("kubectl/", "kubectl"),
    ("Terraform/", "Terraform"),
    ("git/", "Git"),
)


@lru_cache(maxsize=256)
def device_label(user_agent: str | None) -> str:
    """A few words by which a person knows a device again: "Chrome on Windows", "curl", or "unknown client".

    Made of fixed words only, so that nothing a client sent is shown. It is a hint and proves nothing.
    Libraries for this carry a thousand patterns that are tried one by one on a stranger's input; these are
    look-ups.
    """
    if not user_agent:
        return UNKNOWN_CLIENT
    for mark, name in _TOOLS:
        if user_agent.startswith(mark):
            return name
    if not user_agent.startswith("Mozilla/"):
        return UNKNOWN_CLIENT
    program = next((name for mark, name in _PROGRAMS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if program is None:
        return UNKNOWN_CLIENT if system is None else f"a browser on {system}"
    return program if system is None else f"{program} on {system}"
