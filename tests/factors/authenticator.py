"""An authenticator and the browser before it, in software: what WebAuthn Level 3 has them do, with real keys."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

ORIGIN = "https://console.example.com"
UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Held:
    """One passkey."""

    id: bytes
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    rp_id: str
    user: bytes
    count: int = 0

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, PKCS1v15(), SHA256())
        return self.key.sign(data, ec.ECDSA(SHA256()))

    def cose(self) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            numbers = self.key.public_key().public_numbers()
            modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
            return cbor2.dumps({1: 3, 3: -257, -1: modulus, -2: numbers.e.to_bytes(3, "big")})
        point = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})


@dataclass
class Authenticator:
    """`synced`: its passkeys may be backed up, and are. `counts`: it counts how often each was used."""

    synced: bool = True
    counts: bool = True
    origin: str = ORIGIN
    held: list[Held] = field(default_factory=list)

    def create(
        self, options: dict[str, Any], *, flags: int = UP | UV, rp_id: str | None = None, id: bytes | None = None,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None, **client: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """What the browser hands to the page's script, as JSON. What is given besides is done wrong on purpose."""
        one = Held(
            id=id or secrets.token_bytes(32), key=key or ec.generate_private_key(ec.SECP256R1()),
            rp_id=rp_id or options["rp"]["id"], user=raw(options["user"]["id"]),
        )  # fmt: skip
        self.held.append(one)
        attested = bytes(16) + len(one.id).to_bytes(2, "big") + one.id + one.cose()
        data = self._data(one, flags | AT) + attested
        return self._answer(
            one, client_data("webauthn.create", options, client, self.origin),
            attestationObject=b64(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            transports=["internal", "hybrid"],
        )  # fmt: skip

    def get(
        self, options: dict[str, Any], *, flags: int = UP | UV, which: int = -1, rp_id: str | None = None,
        handle: bytes | None = b"", spoil: bool = False, count: int | None = None, **client: Any,
    ) -> dict[str, Any]:  # fmt: skip
        one = self.held[which]
        one.count = one.count + 1 if count is None else count
        data = self._data(one, flags, rp_id)
        said = client_data("webauthn.get", options, client, self.origin)
        signature = one.sign(data + hashlib.sha256(said).digest())
        if spoil:
            signature = one.sign(data + hashlib.sha256(said + b" ").digest())
        user = one.user if handle == b"" else handle
        return self._answer(
            one, said, authenticatorData=b64(data), signature=b64(signature),
            userHandle=None if user is None else b64(user),
        )  # fmt: skip

    def _data(self, one: Held, flags: int, rp_id: str | None = None) -> bytes:
        if self.synced:
            flags ^= BE | BS
        counted = one.count if self.counts else 0
        return hashlib.sha256((rp_id or one.rp_id).encode()).digest() + bytes([flags]) + counted.to_bytes(4, "big")

    def _answer(self, one: Held, said: bytes, **response: Any) -> dict[str, Any]:
        return {
            "id": b64(one.id), "rawId": b64(one.id), "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform", "response": {"clientDataJSON": b64(said), **response},
        }  # fmt: skip


def client_data(type: str, options: dict[str, Any], changed: dict[str, Any], origin: str) -> bytes:
    said = {"type": type, "challenge": options["challenge"], "origin": origin, "crossOrigin": False}
    return json.dumps(said | changed).encode()
