"""Tokens: the secrets that name sessions. Seen by their holder only, stored only as a hash.

Form: `slb_` (browser), `sld_` (delegated) or `slk_` (key); one character that names the partition, without
saying whose session it is; 256 random bits in base 62; a CRC-32 in base 62, by which secret scanners tell a
leaked token from a look-alike without asking anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from enum import StrEnum

from sessile.kernel.ids import ALPHABET, PARTITIONS

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_VALUES = {digit: value for value, digit in enumerate(_BASE62)}
_PLACES = {character: place for place, character in enumerate(ALPHABET)}
_SECRET_DIGITS = 43
_CHECKSUM_DIGITS = 6
TOKEN_LENGTH = 4 + 1 + _SECRET_DIGITS + _CHECKSUM_DIGITS
TOKEN_PATTERN = rf"sl[bdk]_[{ALPHABET}][0-9A-Za-z]{{{_SECRET_DIGITS + _CHECKSUM_DIGITS}}}"
"""What secret scanners search for."""

_TOKEN = re.compile(TOKEN_PATTERN)


class TokenKind(StrEnum):
    """Who holds the token. A browser's counts only as a cookie, the others only as a bearer token."""

    BROWSER = "slb_"
    DELEGATED = "sld_"
    KEY = "slk_"


class Token(str):
    """A token in clear, as handed to its holder. Its repr hides it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Token({self[:4]}…)"


def new_token(kind: TokenKind, partition: str) -> Token:
    """A fresh random token of 256 bits (ASVS V7.2.3, 63B-4 5.1)."""
    return _compose(kind, partition, secrets.token_bytes(32))


def digest(token: str) -> bytes:
    """What is stored in the token's place: its SHA-256, five bits of which give way to the partition. 256 random bits
    need no slow hash. What is no token has one too."""
    return placed(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), token[4:5])


def placed(hashed: bytes, partition: str) -> bytes:
    """A hash that says its partition, so that a store which has only the digest knows where to look."""
    return bytes(((hashed[0] & 0xE0) | _PLACES.get(partition, 0),)) + hashed[1:]


def partition_of_digest(digest: bytes) -> str:
    """The partition that `placed` wrote; of what is no digest, any."""
    return ALPHABET[digest[0] & 0x1F] if digest else ALPHABET[0]


def well_formed(token: object) -> bool:
    """Whether the value has a token's form and checksum. Costs no look-up."""
    return (
        isinstance(token, str)
        and len(token) == TOKEN_LENGTH
        and _TOKEN.fullmatch(token) is not None
        and _number(token[-_CHECKSUM_DIGITS:]) == zlib.crc32(token[:-_CHECKSUM_DIGITS].encode())
    )


def kind_of(token: str) -> TokenKind:
    """The kind that a well-formed token names."""
    return TokenKind(token[:4])


def partition_of(token: str) -> str:
    return token[4]


def rotation_seed(token: str) -> bytes:
    """What a process keeps of a presented token to derive its successor. It lets nobody in."""
    # 256 random bits of one length: hashed behind a name of its own, the token tells neither itself nor its digest.
    return hashlib.sha256(b"sessile rotation:" + token.encode()).digest()


def derive(seed: bytes, salt: bytes, kind: TokenKind, partition: str) -> Token:
    """The successor of the token that `seed` came from.

    Every holder of the old token derives the same one, so that a lost answer can be sent again and two tabs
    cannot part ways; the stored `salt` alone yields nothing.
    """
    return _compose(kind, partition, hmac.digest(seed, salt, "sha256"))


def _compose(kind: TokenKind, partition: str, secret: bytes) -> Token:
    if len(partition) != 1 or partition not in ALPHABET:
        raise ValueError(f"a partition is one of {PARTITIONS} characters")
    body = kind.value + partition + _base62(int.from_bytes(secret), _SECRET_DIGITS)
    return Token(body + _checksum(body))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_DIGITS)


def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 62 + _VALUES[digit]
    return number


def _base62(number: int, digits: int) -> str:
    out = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        out = _BASE62[digit] + out
    return out
