"""The public keys of a secret scanner, and whether a report is signed with one of them.

The form is GitHub's secret scanning partner program's: ECDSA on P-256 over the SHA-256 of the body, the signature in
DER and base 64, and the keys as JSON, `{"public_keys": [{"key_identifier", "key", "is_current"}]}`.
https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from pathlib import Path
from typing import Final

import httpx
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sessile.clock import Clock
from sessile.errors import StoreUnavailable

logger = logging.getLogger("sessile")

FRESH_SECONDS: Final = 3600
"""How long fetched keys are taken without asking again."""
AGAIN_SECONDS: Final = 60
"""How often it is asked for a key that is not among them."""
_LARGEST: Final = 64 * 1024
_SECOND: Final = 1_000_000_000


class _Key(msgspec.Struct):
    key_identifier: str
    key: str


class _Keys(msgspec.Struct):
    public_keys: list[_Key]


class Scanner:
    """Knows the keys at `source`: an https address, or a file with what is to be had there."""

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self._asked: int | None = None

    async def signed(self, body: bytes, identifier: str, signature: str) -> bool:
        """Whether the scanner signed this body. Raises StoreUnavailable: its keys cannot be had now."""
        age = None if self._asked is None else (self._clock.elapsed() - self._asked) / _SECOND
        if age is None or age > FRESH_SECONDS or (identifier not in self._keys and age > AGAIN_SECONDS):
            await self._ask()
        key = self._keys.get(identifier)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(SHA256()))
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    async def _ask(self) -> None:
        try:
            listed = msgspec.json.decode(await self._read(), type=_Keys).public_keys
            keys = {one.key_identifier: load_pem_public_key(one.key.encode()) for one in listed}
        except (OSError, ValueError, httpx.HTTPError) as error:
            if self._keys:
                logger.warning("a secret scanner's keys cannot be had, those of before are taken: %s", error)
                return
            raise StoreUnavailable("the secret scanner's keys cannot be had now: ask again later") from error
        self._asked = self._clock.elapsed()
        self._keys = {
            name: key
            for name, key in keys.items()
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        }

    async def _read(self) -> bytes:
        if not self._source.startswith("https://"):
            return await asyncio.to_thread(Path(self._source).read_bytes)
        async with httpx.AsyncClient(timeout=10, follow_redirects=False) as client:
            answer = await client.get(self._source)
            answer.raise_for_status()
            if len(answer.content) > _LARGEST:
                raise ValueError("the list of keys is too large")
            return answer.content
