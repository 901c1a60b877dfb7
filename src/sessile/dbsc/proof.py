"""The proof that a browser holds its session's key: a JWT that it signs anew each time (DBSC 9.10). Needs PyJWT."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Final

import jwt
import msgspec
from jwt.algorithms import ECAlgorithm

LONGEST: Final = 2_048
"""Bytes of a proof that are looked at; a browser's has some 500."""
ALGORITHM: Final = "ES256"
"""The one that is offered and taken. RS256 is the draft's other one; `none` exists in the draft and proves nothing."""
_TYPE: Final = "dbsc+jwt"
_COORDINATE: Final = 43
# What is signed is a challenge of ours. A browser's clock has no part in it.
_OPTIONS: Final[Any] = {
    "require": ["jti"], "verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False,
    "verify_iss": False, "verify_sub": False,
}  # fmt: skip


class NotProved(Exception):
    """What was sent is no proof over the challenge with the key. The text says why and holds nothing that was sent."""


class PublicKey(msgspec.Struct, frozen=True):
    """A public key on P-256 (RFC 7518, 6.2.1): its coordinates, base64url."""

    x: str
    y: str

    @property
    def thumbprint(self) -> str:
        """What the key is called: the SHA-256 of its members in order, base64url (RFC 7638), 43 characters."""
        digest = hashlib.sha256(json.dumps(self._jwk, separators=(",", ":"), sort_keys=True).encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def _jwk(self) -> dict[str, str]:
        return {"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y}

    def verify(self, proof: str) -> dict[str, Any]:
        """The claims that the key has signed. Raises NotProved."""
        try:
            key: Any = ECAlgorithm.from_jwk(self._jwk)
            claims: dict[str, Any] = jwt.decode(proof, key, algorithms=[ALGORITHM], options=_OPTIONS)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise NotProved("the proof's signature is not the key's") from None
        return claims


def registering(proof: str, authorization: str) -> tuple[PublicKey, str]:
    """The key that a browser registers, and the challenge that it signed. `authorization` is what the offer gave it to
    copy. Raises NotProved."""
    key = _key(_header(proof).get("jwk"))
    claims = key.verify(proof)
    if claims.get("authorization") != authorization:
        raise NotProved("the proof is not for the session that was offered")
    return key, _challenge(claims)


def refreshing(proof: str, key: PublicKey) -> str:
    """The challenge that a browser signed with the key it has registered. Raises NotProved."""
    if "jwk" in _header(proof):
        raise NotProved("a refresh names no key: the one that was registered counts")
    return _challenge(key.verify(proof))


def _header(proof: str) -> dict[str, Any]:
    if len(proof) > LONGEST:
        raise NotProved("the proof is too long")
    try:
        header = jwt.get_unverified_header(proof)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotProved("the proof is no JSON Web Token") from None
    if header.get("typ") != _TYPE or header.get("alg") != ALGORITHM:
        raise NotProved(f"the proof is not of the type {_TYPE} with the algorithm {ALGORITHM}")
    return header


def _key(jwk: object) -> PublicKey:
    match jwk:
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y), **more} if "d" not in more:
            if len(x) == len(y) == _COORDINATE:
                return PublicKey(x, y)
    raise NotProved("the proof's header has no public key on the curve P-256")


def _challenge(claims: dict[str, Any]) -> str:
    challenge = claims["jti"]
    if not isinstance(challenge, str) or not challenge:
        raise NotProved("the proof is over no challenge")
    return challenge
