"""Guessing, slowed down over all nodes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from sessile import Authority, Client, Issued
from sessile.factors.password import Busy, Passwords, SignInFailed
from sessile.factors.throttle import (
    ACCOUNT,
    EVERYBODY,
    IN_A_ROW,
    IN_A_ROW_OF_STRANGERS,
    LANE,
    NETWORK,
    TRIED,
    Throttle,
    Throttled,
)
from sessile.kernel.event import EventName
from sessile.kernel.tries import TOLD
from sessile.strangers import network
from sessile.testing import ManualClock

PASSWORD, WRONG = "correct horse battery", "wrong horse battery!"
SECRET = b"s" * 32
MINUTE = timedelta(minutes=1)
STRANGER = Client(ip="192.0.2.66")


class Counting(PasswordHasher):
    """Argon2 at its cheapest, and how often it was asked."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, *arguments: object, **more: object) -> bool:  # type: ignore[override]
        self.verified += 1
        return super().verify(*arguments, **more)  # type: ignore[arg-type]


class Node:
    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.hasher = Counting()
        self.throttle = Throttle(authority, SECRET)
        self.passwords = Passwords(authority, hasher=self.hasher, throttle=self.throttle)


class World:
    def __init__(self, clock: ManualClock, nodes: list[Node], uid: str) -> None:
        self.clock = clock
        self.nodes = nodes
        self.uid = uid
        self.guesses = 0

    @property
    def device(self) -> str:
        """What alice's own browser shows."""
        return self.nodes[0].throttle.new_device(self.uid)

    async def guess(
        self, name: str = "alice", node: int = 0, password: str | None = None, **more: object
    ) -> type[Exception]:  # fmt: skip
        """Another password each time, as those who guess do."""
        self.guesses += 1
        given = {"client": STRANGER, **more}
        with pytest.raises((SignInFailed, Throttled)) as refused:
            await self.nodes[node].passwords.sign_in(name, password or f"{WRONG} {self.guesses}", **given)  # type: ignore[arg-type]
        return refused.type

    async def told(self) -> list[tuple[str, str | None, str | None, str | None]]:
        """Who watches is told: what, of whom, from where, why."""
        return [
            (event.name.value, event.principal, event.by.client.ip, event.cause)
            for event in await self.nodes[0].authority.store.events(limit=1_000)
            if event.name in ("sign_in.guessing", "factor.off")
        ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{tmp_path}/sessile.db"
        authorities = [await stack.enter_async_context(Authority(url, clock=clock)) for _ in range(3)]
        nodes = [Node(authority) for authority in authorities]
        alice = await authorities[0].register("alice")
        await nodes[0].passwords.set("alice", PASSWORD)
        yield World(clock, nodes, alice.uid)


@pytest.mark.requirement("RFC4226 7.3", "ASVS V6.3.1")
async def test_ten_thousand_guesses_over_three_nodes(world: World) -> None:
    """No more than the limit reach the hash, and the owner signs in throughout, on a device of old."""

    async def guesses(number: int) -> None:
        node = world.nodes[number % 3]
        client = Client(ip=f"198.51.{number % 250}.{number % 199}")
        for _ in range(1_000):
            try:
                await node.passwords.sign_in("alice", WRONG, client=client)
            except (SignInFailed, Throttled, Busy):
                continue
            raise AssertionError("a wrong password")

    async def owner() -> None:
        device = world.device
        for turn in range(20):
            issued = await world.nodes[turn % 3].passwords.sign_in("alice", PASSWORD, device=device)
            assert isinstance(issued, Issued)
            own.append(issued)
            await asyncio.sleep(0)

    own: list[Issued] = []
    await asyncio.gather(*[guesses(number) for number in range(10)], owner())
    assert len(own) == 20
    assert sum(node.hasher.verified for node in world.nodes) <= ACCOUNT[0] + len(own)


async def test_a_stranger_waits_and_the_owner_does_not(world: World) -> None:
    burst, every = ACCOUNT
    assert [await world.guess(node=n % 3) for n in range(burst)] == [SignInFailed] * burst
    with pytest.raises(Throttled) as refused:
        await world.nodes[1].passwords.sign_in("alice", PASSWORD, client=STRANGER)  # the right one, too
    assert refused.value.wait == every
    assert await world.nodes[2].passwords.sign_in("alice", PASSWORD, device=world.device)
    world.clock.advance(every)
    assert await world.nodes[0].passwords.sign_in("alice", PASSWORD, client=STRANGER)


async def test_the_device_is_of_one_person_and_is_not_made_up(world: World) -> None:
    throttle = world.nodes[0].throttle
    device = throttle.new_device(world.uid)
    assert throttle.device_id(device, world.uid) is not None
    assert world.nodes[1].throttle.device_id(device, world.uid) is not None
    assert device != throttle.new_device(world.uid)
    for shown, uid in ((device, "prn_other"), (device[:-1] + "~", world.uid), ("", world.uid), (None, world.uid),
                       ("é" * 86, world.uid), ("~" + device[1:], world.uid)):  # fmt: skip
        assert throttle.device_id(shown, uid) is None
    lane = [await world.guess(device=device) for _ in range(LANE[0] + 1)]
    assert lane == [SignInFailed] * LANE[0] + [Throttled]


@pytest.mark.requirement("63B-4 3.2.2-a")
async def test_after_a_hundred_failures_in_a_row_it_is_off_until_it_is_set_anew(world: World) -> None:
    device, reached = world.device, 0
    for _ in range(IN_A_ROW_OF_STRANGERS + 5):
        reached += await world.guess() is SignInFailed
        world.clock.advance(ACCOUNT[1])
    assert reached == IN_A_ROW_OF_STRANGERS
    for _ in range(20):
        reached += await world.guess(device=device) is SignInFailed
        world.clock.advance(LANE[1])
    assert reached == IN_A_ROW
    world.clock.advance(timedelta(days=400))
    for given in ({"client": STRANGER}, {"device": device}):
        with pytest.raises(Throttled) as refused:
            await world.nodes[0].passwords.sign_in("alice", PASSWORD, **given)  # type: ignore[arg-type]
        assert refused.value.wait is None
    await world.nodes[1].passwords.set("alice", "another " + PASSWORD)
    assert await world.nodes[2].passwords.sign_in("alice", "another " + PASSWORD)


async def test_a_network_that_tries_many_names_waits(world: World) -> None:
    tried = [await world.guess(f"user{n}", client=Client(ip=f"2001:db8::{n:x}")) for n in range(NETWORK[0] + 1)]
    assert tried == [SignInFailed] * NETWORK[0] + [Throttled]
    assert await world.guess("user0", client=Client(ip="2001:db8:0:1::1")) is SignInFailed


@pytest.mark.requirement("ASVS V6.3.8")
async def test_all_strangers_together_wait_and_known_devices_do_not() -> None:
    """The bucket of everybody: many accounts, from many networks, with many passwords."""
    burst, every = EVERYBODY
    async with Authority("memory:", clock=ManualClock()) as authority:
        throttle = Throttle(authority, SECRET)
        for n in range(burst):
            await throttle.count(
                "password", f"user{n}", known=False, client=Client(ip=f"10.{n >> 8}.{n & 255}.7"), tried=f"word {n}"
            )
        with pytest.raises(Throttled) as refused:
            await throttle.count("password", "one more", known=False, client=Client(ip="192.0.2.7"))
        assert refused.value.wait == every
        assert await throttle.count("password", "prn_owner", known=True, lane="dev_one")
        told = await authority.store.events(names=[EventName.GUESSING])
        assert [one.cause for one in told] == ["guessing_everybody"]


async def test_an_unknown_name_is_slowed_down_like_a_known_one(world: World) -> None:
    for name in ("alice", "nobody"):
        tried = [await world.guess(name, client=Client(ip="203.0.113.9")) for _ in range(ACCOUNT[0] + 1)]
        assert tried == [SignInFailed] * ACCOUNT[0] + [Throttled]


def test_networks() -> None:
    for ip, expected in (("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
                        ("2001:db8::1", "2001:db8::/64"), ("testclient", None), (None, None)):  # fmt: skip
        assert network(ip) == expected
    assert network(None) is None


# -- whoever watches is told ----------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V6.3.1", "CS-AUTH-1")
async def test_one_password_tried_for_many_accounts_is_slowed_and_told(world: World) -> None:
    """Spraying: each account once, each try from another network."""
    tried = [
        await world.guess(f"user{n}", password="Autumn leaves 2026!", client=Client(ip=f"198.51.100.{n}"))
        for n in range(TRIED[0] + 5)
    ]
    assert tried == [SignInFailed] * TRIED[0] + [Throttled] * 5
    assert await world.told() == [("sign_in.guessing", None, f"198.51.100.{TRIED[0]}", "guessing_tried")]
    assert await world.guess("alice", password="Autumn leaves 2026!", device=world.device) is SignInFailed
    world.clock.advance(TRIED[1])
    assert await world.guess("user99", password="Autumn leaves 2026!") is SignInFailed


@pytest.mark.requirement("ASVS V6.3.1", "CS-AUTH-1", "63B-4 5.3-a")
async def test_guessing_and_stuffing_are_told_once_an_hour(world: World) -> None:
    """One account guessed, and many accounts tried from one network, on whichever node."""
    for n in range(ACCOUNT[0] + 5):
        await world.guess(node=n % 3, client=Client(ip=f"198.51.100.{n}"))
    account = ("sign_in.guessing", "alice", f"198.51.100.{ACCOUNT[0]}", "guessing_account")
    assert await world.told() == [account]
    for n in range(NETWORK[0] + 5):
        await world.guess(f"user{n}", node=n % 3)
    network_ = ("sign_in.guessing", None, STRANGER.ip, "guessing_network")
    assert await world.told() == [account, network_]
    world.clock.advance(TOLD)
    for n in range(NETWORK[0] + 5):
        await world.guess(f"other{n}", node=n % 3)
    assert await world.told() == [account, network_, network_]


@pytest.mark.requirement("63B-4 3.2.2-a")
async def test_what_is_off_is_told_to_its_person_once_until_it_is_bound_anew(world: World) -> None:
    for turn in ("off", "off again"):
        for _ in range(IN_A_ROW + 3):
            await world.guess(device=world.device)
            world.clock.advance(LANE[1])
        told = [one for one in await world.told() if one[0] == "factor.off"]
        assert told == [("factor.off", "alice", STRANGER.ip, "guessing_off")] * (1 if turn == "off" else 2)
        await world.nodes[0].passwords.set("alice", "another " + PASSWORD)


async def test_what_is_kept_of_a_try_tells_nothing_of_the_password(world: World, tmp_path: Path) -> None:
    for n in range(3):
        await world.guess(f"user{n}", password="Autumn leaves 2026!")
    for name in ("sessile.db", "sessile.db-wal"):
        held = await asyncio.to_thread((tmp_path / name).read_bytes)
        for digest in (b"Autumn", hashlib.sha256(b"Autumn leaves 2026!").digest()[:8]):
            assert digest not in held


@pytest.mark.requirement("63B-4 3.2.2-c", "63B-4 3.2.2-b")
async def test_a_right_password_forgives_no_wrong_codes(world: World) -> None:
    """Each authenticator has a count of its own, and only its own success begins it anew."""
    throttle = world.nodes[0].throttle

    async def wrong_code() -> bool:
        world.clock.advance(LANE[1])
        try:
            await throttle.count("totp", world.uid, known=True, lane="session")
        except Throttled as refused:
            return refused.wait is not None
        return True

    assert [await wrong_code() for _ in range(60)] == [True] * 60
    assert await world.nodes[1].passwords.sign_in("alice", PASSWORD, device=world.device)
    assert [await wrong_code() for _ in range(45)] == [True] * (IN_A_ROW - 60) + [False] * 5
    assert await world.nodes[2].passwords.sign_in("alice", PASSWORD, device=world.device), "the password is not off"
