"""Cross-site request forgery: where a request comes from, and a token that ties a form to its session.

The check of origins is the algorithm of Go's ``http.CrossOriginProtection`` (net/http, 1.25), with three
additions: forms that sign in may demand that the browser says where they come from (OWASP CSRF Prevention
Cheat Sheet); a WebSocket handshake is a GET, but with effects, so it counts as unsafe and must name its
origin; and where the public origins are configured, they take the place of the Host header, which a proxy may
have rewritten.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sessile.web.hosts import DEFAULT_PORTS, Origin, configured_origin, parse_host, parse_origin

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
VARY: Final = (b"vary", b"Sec-Fetch-Site, Origin")
"""For every answer that depends on these headers, refusals above all."""

MIN_KEY_BYTES: Final = 32
_FORM_TOKEN_LABEL: Final = b"sessile form token 1\x00"
_FORM_TOKEN_LENGTH: Final = 43


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on (also as its truth value), and if not, why not, in a sentence without
    input.
    """

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


_ALLOWED: Final = Verdict(True)


@dataclass(frozen=True, slots=True)
class OriginHeaders:
    """The three headers that are judged. One that came twice is joined with a comma (RFC 9110 5.3), which
    none of them may contain: so it is an unknown value and is refused as such.
    """

    sec_fetch_site: str | None = None
    origin: str | None = None
    host: str | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> OriginHeaders:
        """From raw headers, with names in lower case as ASGI gives them. Never raises."""
        found: dict[bytes, str] = {}
        for key, value in headers:
            if key in _WANTED:
                text = value.decode("latin-1").strip(" \t")
                found[key] = f"{found[key]}, {text}" if key in found else text
        return cls(found.get(b"sec-fetch-site"), found.get(b"origin"), found.get(b"host"))


_WANTED: Final = frozenset({b"sec-fetch-site", b"origin", b"host"})


class OriginRule:
    """Which origins may send unsafe requests.

    `public`: this service's own origins, as browsers see them. Without any, an Origin counts as our own if
    its host and port are those of the Host header; its scheme cannot be compared then, so HSTS is part of the
    defence. Behind a proxy give them: no forwarded header is ever believed here.
    `trusted`: other origins that may send as well, each exactly ``scheme://host[:port]``.

    Raises `ValueError`, which names the cure.
    """

    __slots__ = ("_public", "_trusted")

    def __init__(self, public: Iterable[str] = (), trusted: Iterable[str] = ()) -> None:
        self._public = frozenset(configured_origin(text) for text in public)
        self._trusted = frozenset(configured_origin(text) for text in trusted)

    def judge(self, method: str, headers: OriginHeaders, *, strict: bool = False, websocket: bool = False) -> Verdict:
        """Whether the request may go on. Pure, and never raises.

        `strict`: refuse an unsafe request that says nothing of where it comes from; for forms that sign in,
        where a browser always does. `websocket`: the request is a WebSocket handshake, whatever its method.
        The numbers are those of the steps in the standard's description.
        """
        # 1. Safe methods change nothing. (Methods are case-sensitive: "get" is not safe.)
        if method in SAFE_METHODS and not websocket:
            return _ALLOWED
        site, raw_origin = headers.sec_fetch_site, headers.origin
        if not websocket:
            # 2. The browser vouches: scripts and forms cannot set a Sec- header.
            if site in ("same-origin", "none"):
                return _ALLOWED
            # 3. Neither header: not a browser's cross-origin request.
            if site is None and raw_origin is None:
                return _SILENT if strict else _ALLOWED
        elif raw_origin is None:
            return _NO_ORIGIN
        origin = parse_origin(raw_origin) if raw_origin is not None else None
        # 4. No metadata (an older browser, plain http, a handshake): the Origin must be our own.
        if site in (None, "same-origin", "none") and origin is not None and self._is_own(origin, headers.host):
            return _ALLOWED
        # 5. Somebody else, but trusted by name.
        if origin is not None and origin in self._trusted:
            return _ALLOWED
        return _CROSS_SITE if site is not None and not websocket else _FOREIGN

    def _is_own(self, origin: Origin, host_header: str | None) -> bool:
        if self._public:
            return origin in self._public
        host = parse_host(host_header) if host_header is not None else None
        if host is None:
            return False
        port = DEFAULT_PORTS[origin.scheme] if host.port is None else host.port
        return (origin.name, origin.port) == (host.name, port)


_SILENT: Final = Verdict(False, "This form must be sent by a browser that says where it comes from.")
_NO_ORIGIN: Final = Verdict(False, "A WebSocket handshake must carry the Origin header.")
_CROSS_SITE: Final = Verdict(False, "The browser says that another site made this request.")
_FOREIGN: Final = Verdict(False, "The request's origin is not this service's own.")


def form_token(key: bytes, session_id: str) -> str:
    """The synchroniser token for the forms of one session: HMAC-SHA256, base64url, 43 characters.

    It satisfies SP 800-63B-4 5.1 (the content of POST carries a session identifier that is verified) without
    storing anything: who knows the public session id still lacks `key` (32 bytes or more, the server's
    secret, else `ValueError`). It belongs in a form's hidden field, never in a cookie, a URL or a log.
    """
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the key of form tokens must be at least {MIN_KEY_BYTES} random bytes")
    message = _FORM_TOKEN_LABEL + session_id.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, message, "sha256")).rstrip(b"=").decode("ascii")


def check_form_token(key: bytes, session_id: str, presented: str | None) -> bool:
    """Whether `presented` is the token of this session, in constant time. Never raises for what was
    presented.
    """
    expected = form_token(key, session_id)
    if presented is None or len(presented) != _FORM_TOKEN_LENGTH:
        return False
    return hmac.compare_digest(expected.encode("ascii"), presented.encode("utf-8", "surrogatepass"))
