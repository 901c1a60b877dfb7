"""Secrets at rest: sealed under the server's key, so that a copy of the database opens none. Needs cryptography.

AES-256-GCM (NIST SP 800-38D) with a random nonce. A sealed value says under which key it was made, and is bound to
its place: put into another row, it does not open. Of several keys the first one seals and all of them open, so a key
is rotated by putting a new one before it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sessile.errors import SessileError

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"
_ID: Final = 4
_NONCE: Final = 12
_SEALING: Final = b"sessile sealing 1"
_NAMING: Final = b"sessile key id 1"


class Unsealable(SessileError):
    """A sealed secret does not open: it was altered, moved, or sealed under a key that is not given any more."""


class Seal:
    """Seals and opens secrets.

    Args:
        keys: the newest first; at least 32 random bytes each.

    Raises:
        ValueError: no key, or one that is too short.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) < KEY_BYTES for key in keys):
            raise ValueError(f"give at least one key of {KEY_BYTES} random bytes")
        self._newest = _name(keys[0])
        # Each use of the server's key has a key of its own, derived from it.
        self._keys = {_name(key): AESGCM(hmac.digest(key, _SEALING, "sha256")) for key in reversed(keys)}

    def __repr__(self) -> str:
        return f"Seal({len(self._keys)} keys)"

    def seal(self, secret: bytes, *place: str) -> bytes:
        """The secret, for this place only."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._keys[self._newest].encrypt(nonce, secret, _bound(place))
        return _FORMAT + self._newest + nonce + sealed

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The secret again. Raises Unsealable."""
        name, rest = sealed[1 : 1 + _ID], sealed[1 + _ID :]
        key = self._keys.get(name)
        if sealed[:1] != _FORMAT or key is None or len(rest) <= _NONCE:
            raise Unsealable("a stored secret is sealed under a key that the key file does not hold")
        try:
            return key.decrypt(rest[:_NONCE], rest[_NONCE:], _bound(place))
        except InvalidTag:
            raise Unsealable("a stored secret was altered or moved, and does not open") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed under the newest key."""
        return sealed[: 1 + _ID] == _FORMAT + self._newest


def _name(key: bytes) -> bytes:
    return hmac.digest(key, _NAMING, "sha256")[:_ID]


def _bound(place: Sequence[str]) -> bytes:
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in place)
