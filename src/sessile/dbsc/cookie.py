"""The bound cookie: says for ten minutes that this browser has proved that it holds its session's key.

Nothing is stored for it. It names the session, the key and its end, under a key of the server's: whoever has copied a
session's cookie, or the database, cannot make one, and one that was copied with it is worth nothing ten minutes later.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sessile.web import cookie as cookies
from sessile.web.cookie import CookieSpec

LIFETIME: Final = timedelta(minutes=10)
KEY_BYTES: Final = 32
_LABEL: Final = b"sessile bound cookie 1"
_FORM: Final = re.compile(rb"(ses_[0-9a-z]{27}\.([\w-]{43})\.([0-9]{1,12}))\.([\w-]{43})")


class Signer:
    """Signs what bound cookies say.

    Args:
        keys: 32 random bytes each, the same on all nodes; the newest first, which signs. All of them verify.

    Raises:
        ValueError: a key is too short.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """These keys from now on."""
        if any(len(key) < KEY_BYTES for key in keys):
            raise ValueError(f"the keys of a device binding are {KEY_BYTES} random bytes each")
        # Each use of the server's key has a key of its own, derived from it.
        self._keys = [hmac.digest(key, _LABEL, "sha256") for key in keys]

    def __bool__(self) -> bool:
        """Whether it can sign."""
        return bool(self._keys)

    def sign(self, said: bytes) -> bytes:
        return _mac(self._keys[0], said)

    def signed(self, said: bytes, mac: bytes) -> bool:
        """Whether one of the keys has signed it, in constant time for each."""
        return any(hmac.compare_digest(_mac(key, said), mac) for key in self._keys)


class BoundCookie:
    """Writes and reads the cookie that stands beside the session's, with the same attributes."""

    def __init__(self, session: CookieSpec, signer: Signer) -> None:
        self.spec = replace(session, name=cookies.beside(session.name, "bound"))
        self._signer = signer

    def set_header(self, session_id: str, key: str, now: datetime) -> tuple[bytes, bytes]:
        """The Set-Cookie header for the session with this id, whose key has this thumbprint."""
        said = f"{session_id}.{key}.{int((now + LIFETIME).timestamp())}"
        name, value = self.spec.set_header(f"{said}.{self._signer.sign(said.encode()).decode()}")
        return name, value + b"; Max-Age=%d" % LIFETIME.total_seconds()

    def shown(self, headers: Iterable[tuple[bytes, bytes]], now: datetime) -> str | None:
        """The thumbprint of the key that the request's cookie speaks for; None: it has none that counts. Never raises.

        That the key is the session's, `decide` sees: a session has one, which the browser made for it.
        """
        value = cookies.read(headers, self.spec.raw_name)
        found = _FORM.fullmatch(value) if isinstance(value, bytes) else None
        if found is None:
            return None
        said, key, until, mac = found.groups()
        return key.decode() if self._signer.signed(said, mac) and now.timestamp() < int(until) else None


def _mac(key: bytes, said: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, said, "sha256")).rstrip(b"=")
