"""Known devices: what they are worth, and that they are forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from sessile import Authority, Client, Issued, NotFound
from sessile.factors.devices import KEPT, MOST, Devices
from sessile.factors.password import Passwords, SignInFailed
from sessile.factors.throttle import IN_A_ROW_OF_STRANGERS, Throttle, Throttled
from sessile.testing import ManualClock

PASSWORD = "seven quiet bridges"
LAPTOP = Client(label="Firefox on Linux", ip="192.0.2.7")


class World:
    def __init__(self, authority: Authority, clock: ManualClock) -> None:
        self.authority = authority
        self.clock = clock
        throttle = Throttle(authority, b"s" * 32)
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.passwords = Passwords(authority, hasher=hasher, throttle=throttle)
        self.devices = self.passwords.devices = Devices(authority, throttle)

    async def sign_in(self, name: str = "alice", shown: str | None = None) -> tuple[str, Issued]:
        issued = await self.passwords.sign_in(name, PASSWORD, client=LAPTOP, device=shown)
        return (await self.devices.remember(shown, issued))[0], issued


@pytest.fixture(params=["memory:", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    url = request.param if request.param == "memory:" else f"sqlite:///{tmp_path}/a.db"
    async with Authority(url, clock=clock) as authority:
        found = World(authority, clock)
        for name in ("alice", "bob"):
            await authority.register(name)
            await found.passwords.set(name, PASSWORD)
        yield found


async def test_a_device_is_known_to_its_person_from_the_first_sign_in(world: World) -> None:
    shown, issued = await world.sign_in()
    uid = issued.active.session.uid or ""
    (device,) = await world.devices.of(uid)
    assert (device.label, device.ip) == ("Firefox on Linux", "192.0.2.7")
    assert device.id not in shown
    assert await world.devices.known(shown, uid) == device.id
    bob = await world.authority.principal("bob")
    assert await world.devices.known(shown, bob.uid) is None
    half = len(shown) // 2
    almost = shown[:half] + ("1" if shown[half] == "0" else "0") + shown[half + 1 :]
    for other in (None, "", device.id, almost, shown + "0", "é"):
        assert await world.devices.known(other, uid) is None
    world.clock.advance(timedelta(hours=2))
    again, _ = await world.sign_in(shown=shown)
    assert again == shown
    (later,) = await world.devices.of(uid)
    assert (later.id, later.added, later.used - device.used) == (device.id, device.added, timedelta(hours=2))
    names = [event.name.value for event in await world.authority.store.events(uid=uid)]
    assert names.count("device.added") == 1


@pytest.mark.requirement("63B-4 5.1-e")
async def test_a_known_device_replaces_no_proof(world: World) -> None:
    """A stored cookie lets nobody in, and raises no assurance."""
    shown, issued = await world.sign_in()
    with pytest.raises(SignInFailed):
        await world.passwords.sign_in("alice", "wrong " + PASSWORD, device=shown)
    again = await world.passwords.sign_in("alice", PASSWORD, device=shown)
    assert again.active.session.assurance == 1
    assert not await world.authority.check(shown)
    assert issued.active.session.id != again.active.session.id


async def test_one_that_is_forgotten_is_a_stranger(world: World) -> None:
    shown, issued = await world.sign_in()
    other, _ = await world.sign_in()
    uid = issued.active.session.uid or ""
    for _ in range(IN_A_ROW_OF_STRANGERS + 1):
        world.clock.advance(timedelta(minutes=3))
        try:
            await world.passwords.sign_in("alice", "wrong " + PASSWORD)
        except (SignInFailed, Throttled):
            continue
    id = await world.devices.known(shown, uid) or ""
    issued = await world.authority.begin("alice", method="password")
    bob = await world.authority.begin("bob", method="password")
    with pytest.raises(NotFound):
        await world.devices.forget(bob.active, id)
    await world.devices.forget(issued.active, id)
    with pytest.raises(NotFound):
        await world.devices.forget(issued.active, id)
    with pytest.raises(Throttled):
        await world.passwords.sign_in("alice", PASSWORD, device=shown)
    await world.passwords.sign_in("alice", PASSWORD, device=other)
    await world.devices.remember(shown, issued)
    assert await world.devices.known(shown, uid) is None, "what it shows stays worth nothing"


async def test_there_are_not_too_many_nor_for_ever(world: World) -> None:
    shown = [(await world.sign_in())[0]]
    uid = (await world.authority.principal("alice")).uid
    for _ in range(MOST):
        world.clock.advance(timedelta(minutes=1))
        shown.append((await world.sign_in())[0])
    assert len(await world.devices.of(uid)) == MOST
    assert await world.devices.known(shown[0], uid) is None
    assert await world.devices.known(shown[1], uid) is not None
    world.clock.advance(KEPT)
    assert await world.devices.known(shown[-1], uid) is None
    assert list(await world.devices.of(uid)) == []


async def test_they_go_with_their_person(world: World) -> None:
    shown, issued = await world.sign_in()
    await world.authority.delete("alice", cause="left")
    assert await world.devices.known(shown, issued.active.session.uid or "") is None
