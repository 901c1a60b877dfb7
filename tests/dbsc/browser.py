"""A browser that can bind a session to its device, as far as the server can tell: a key, and proofs signed with it.

Fields and proofs are read and made by other code than the server's: cryptography signs, http-sf parses.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import http_sf
import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sessile import Authority, Policy
from sessile.dbsc import DeviceBinding
from sessile.kernel.policy import Mismatch, Trait
from sessile.testing import ManualClock
from tests.asgi.browser import World, application

KEY = b"k" * 32
REGISTER = "/dbsc/register"
REFRESH = "/dbsc/refresh"
BOUND = "__Host-bound-sessile"
OFFER = "secure-session-registration"
CHALLENGE = "secure-session-challenge"
TEN = timedelta(minutes=10)


class Device:
    """A key on P-256 that stays here."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self._key = ec.generate_private_key(curve or ec.SECP256R1())
        self._bytes = (self._key.key_size + 7) // 8

    @property
    def jwk(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        name = {256: "P-256", 384: "P-384"}[self._key.key_size]
        return {"kty": "EC", "crv": name, "x": self._number(numbers.x), "y": self._number(numbers.y)}

    @property
    def thumbprint(self) -> str:
        x, y = self.jwk["x"], self.jwk["y"]
        said = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
        return encoded(hashlib.sha256(said.encode()).digest())

    def sign(self, header: dict[str, Any], payload: object) -> str:
        said = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
        r, s = decode_dss_signature(self._key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{said}.{encoded(r.to_bytes(self._bytes, 'big') + s.to_bytes(self._bytes, 'big'))}"

    def registration(self, challenge: str, authorization: str | None, **header: Any) -> str:
        payload = {"jti": challenge} | ({} if authorization is None else {"authorization": authorization})
        return self.sign({"typ": "dbsc+jwt", "alg": "ES256", "jwk": self.jwk, **header}, payload)

    def proof(self, challenge: str, **header: Any) -> str:
        return self.sign({"typ": "dbsc+jwt", "alg": "ES256", **header}, {"jti": challenge})

    def _number(self, number: int) -> str:
        return encoded(number.to_bytes(self._bytes, "big"))


class Offer:
    """What an answer asks the browser to register."""

    def __init__(self, answer: httpx.Response) -> None:
        parsed: Any = http_sf.parse(answer.headers[OFFER].encode(), tltype="list")
        [(algorithms, parameters)] = parsed
        self.algorithms = [str(name) for name, _ in algorithms]
        self.path: str = parameters["path"]
        self.challenge: str = parameters["challenge"]
        self.authorization: str = parameters["authorization"]


def challenge_of(answer: httpx.Response) -> tuple[str, str]:
    """The challenge that an answer gives, and the session that it is for."""
    parsed: Any = http_sf.parse(answer.headers[CHALLENGE].encode(), tltype="item")
    value, parameters = parsed
    assert type(value) is str
    return value, parameters["id"]


async def register(browser: httpx.AsyncClient, proof: str | None) -> httpx.Response:
    return await browser.post(REGISTER, headers={} if proof is None else {"Secure-Session-Response": f'"{proof}"'})


async def refresh(
    browser: httpx.AsyncClient, session_id: str, proof: str | None = None, **headers: str
) -> httpx.Response:  # fmt: skip
    sent = {"Sec-Secure-Session-Id": f'"{session_id}"'} | headers
    return await browser.post(
        REFRESH, headers=sent if proof is None else sent | {"Secure-Session-Response": f'"{proof}"'}
    )  # fmt: skip


class Bound:
    """A browser that signed in and registered a key of its device."""

    def __init__(self, browser: httpx.AsyncClient, device: Device, answer: httpx.Response) -> None:
        self.browser = browser
        self.device = device
        self.challenge, self.session = challenge_of(answer)

    async def refresh(self, challenge: str | None = None) -> httpx.Response:
        answer = await refresh(self.browser, self.session, self.device.proof(challenge or self.challenge))
        if CHALLENGE in answer.headers:
            self.challenge, _ = challenge_of(answer)
        return answer


class Bindings(World):
    """An application whose people are bound to their devices."""

    async def offered(self, name: str = "alice", path: str = "/login") -> tuple[httpx.AsyncClient, Offer]:
        browser = self.browser()
        answer = await browser.post(path, params={"name": name})
        assert answer.status_code == 200
        return browser, Offer(answer)

    async def bound(self, name: str = "alice") -> Bound:
        browser, offer = await self.offered(name)
        device = Device()
        answer = await register(browser, device.registration(offer.challenge, offer.authorization))
        assert answer.status_code == 200, answer.text
        bound = Bound(browser, device, answer)
        await self.settled(bound)
        return bound

    async def settled(self, bound: Bound) -> None:
        """Until the token alone counts no more."""
        for _ in range(200):
            if (await self.authority.session(bound.session)).client.device_key is not None:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the session was not bound")

    def copied(self, bound: Bound, *names: str) -> httpx.AsyncClient:
        """Another browser, into which these cookies were copied."""
        thief = self.browser()
        for name in names:
            thief.cookies.set(name, bound.browser.cookies[name], domain="localhost.local", path="/")
        return thief


@asynccontextmanager
async def bindings(
    *more: Any, mismatch: Mismatch = Mismatch.REFUSE, policy: Policy | None = None, url: str = "memory:",
    settles: timedelta = timedelta(0), **settings: Any,
) -> AsyncIterator[Bindings]:  # fmt: skip
    clock = ManualClock()
    policy = policy or Policy.aal2(binding=frozenset({Trait.DEVICE}), mismatch=mismatch)
    authority = Authority(url, policy=policy, clock=clock)
    device = DeviceBinding([KEY], settles=settles)
    app = application(authority, *more, **({"device": device} | settings))
    try:
        yield Bindings(authority, clock, app)
    finally:
        await authority.close()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
