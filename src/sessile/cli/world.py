"""The demo's world: who lives in it, and what happened before. All by the library's public face."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

import msgspec

from sessile.authority import Authority
from sessile.clock import Clock, SystemClock
from sessile.factors.password import Passwords, SignInFailed
from sessile.kernel.principal import EVERYTHING, OPERATOR
from sessile.kernel.session import Client
from sessile.kernel.token import Token
from sessile.receipt import Issued
from sessile.server.settings import DemoPerson
from sessile.web.client import device_label

PEOPLE = (
    DemoPerson(
        name="alice", password="orange boats at noon", role="developer",
        hint="Two devices are signed in, and an agent acts for her. End one of them and see what else goes.",
    ),
    DemoPerson(
        name="bob", password="seven quiet bridges", role="developer",
        hint="Somebody tried his password last night: see the recent security events, then change it.",
    ),
    DemoPerson(
        name="carol", password="paper moon on a lake", role="writer",
        hint="Her tablet was stolen last week, and an operator ended its session.",
    ),
    DemoPerson(
        name="olga", password="lighthouse in a storm", role="operator",
        hint="Open the console: find alice, look at her tree of sessions, and revoke it.",
    ),
)  # fmt: skip


def _client(user_agent: str, ip: str) -> Client:
    return Client(label=device_label(user_agent), ip=ip, user_agent=user_agent)


# Addresses of RFC 5737, which are nobody's.
_FIREFOX = _client("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "192.0.2.17")
_IPHONE = _client(
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6"
    " Mobile/15E148 Safari/604.1",
    "198.51.100.42",
)
_CHROME_MAC = _client(
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    " Safari/537.36",
    "192.0.2.31",
)
_EDGE = _client(
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    " Safari/537.36 Edg/142.0.0.0",
    "192.0.2.58",
)
_TABLET = _client(
    "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "198.51.100.7",
)
_STRANGER = _client("python-requests/2.32.5", "203.0.113.99")
_RUNNER = _client("Go-http-client/2.0", "192.0.2.200")


class World(msgspec.Struct, frozen=True):
    people: tuple[DemoPerson, ...]
    agent_token: Token
    """Of alice's delegation to agent:deploy."""
    key_token: Token
    """Of service:ci's key."""


class _History(Clock):
    """A wall clock that is set to how long ago something happened, and goes on from there."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._started = self._system.now()
        self._offset = timedelta(0)

    def ago(self, **ago: float) -> None:
        self._offset = self._started - timedelta(**ago) - datetime.fromtimestamp(time.time(), UTC)

    def now(self) -> datetime:
        return self._system.now() + self._offset

    def elapsed(self) -> int:
        return self._system.elapsed()


async def build(database: str) -> World:
    """Make the database and live through its past."""
    clock = _History()
    clock.ago(days=30)
    async with Authority(database, clock=clock) as authority:
        await _settle_in(authority)
        key = await _last_week(authority, clock)
        delegation = await _this_hour(authority, clock)
    return World(PEOPLE, delegation.token, key.token)


async def _settle_in(authority: Authority) -> None:
    passwords = Passwords(authority)
    for one in PEOPLE:
        scopes = {EVERYTHING, OPERATOR} if one.name == "olga" else None
        await authority.register(one.name, scopes=scopes)
    # Hashing is slow on purpose: all at once.
    await asyncio.gather(*(passwords.set(one.name, one.password) for one in PEOPLE))
    await authority.add_team("platform", members=["bob", "olga"])
    await authority.register("service:ci", owner="team:platform", purpose="builds and tests every push")
    await authority.register("agent:deploy", owner="alice", purpose="deploys what alice asks it to")


async def _last_week(authority: Authority, clock: _History) -> Issued:
    clock.ago(days=8)
    olga = await authority.begin("olga", method="password", client=_EDGE)
    key = await authority.mint_key(
        olga.active, owner="service:ci", scopes={"read"}, lifetime=timedelta(days=60), label="CI on the build machine",
        client=_RUNNER,
    )  # fmt: skip
    await _sign_out(authority, olga)
    clock.ago(days=6, minutes=20)
    tablet = await authority.begin("carol", method="password", client=_TABLET)
    clock.ago(days=6)
    olga = await authority.begin("olga", method="password", client=_EDGE)
    await authority.revoke(session=tablet.active.session.id, cause="tablet stolen on the train", by=olga.active)
    await _sign_out(authority, olga)
    clock.ago(days=1, hours=3)
    phone = await authority.begin("alice", method="password", client=_IPHONE)
    await _sign_out(authority, phone)
    return key


async def _this_hour(authority: Authority, clock: _History) -> Issued:
    passwords = Passwords(authority)
    clock.ago(hours=9)
    for guess in ("bob-2026-bob-2026", "correct horse battery"):
        with contextlib.suppress(SignInFailed):
            await passwords.sign_in("bob", guess, client=_STRANGER)
    clock.ago(minutes=52)
    carol = await authority.begin("carol", method="password", client=_EDGE)
    clock.ago(minutes=41)
    laptop = await authority.begin("alice", method="password", client=_FIREFOX)
    clock.ago(minutes=33)
    bob = await authority.begin("bob", method="password", client=_CHROME_MAC)
    clock.ago(minutes=26)
    phone = await authority.begin("alice", method="password", client=_IPHONE)
    clock.ago(minutes=12)
    await authority.touch(carol.active)
    delegation = await authority.delegate(
        laptop.active, to="agent:deploy", scopes={"deploy"}, label="deploy the web shop", client=_RUNNER,
        lifetime=timedelta(hours=8),
    )  # fmt: skip
    clock.ago(minutes=4)
    for one in (phone, laptop, bob):
        await authority.touch(one.active)
    clock.ago()
    return delegation


async def _sign_out(authority: Authority, issued: Issued) -> None:
    await authority.revoke(session=issued.active.session.id, cause="logout", by=issued.active)
