"""A forgotten password, and the addresses that its link is sent to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from sessile import Active, Authority, Client, Conflict, NotFound, Policy
from sessile.errors import LimitExceeded
from sessile.factors.addresses import MOST, Addresses, check_address, masked
from sessile.factors.enrolled import Factors
from sessile.factors.links import LIVES, LinkOver, Links, Purpose
from sessile.factors.password import Passwords, SignInFailed, WeakPassword
from sessile.factors.reset import Proved, Reset, SecondProofNeeded
from sessile.factors.sealing import Seal
from sessile.factors.throttle import ASKING, Throttle, Throttled
from sessile.factors.totp import CodeRefused, Totp
from sessile.kernel.event import Actor, EventName
from sessile.kernel.principal import Principal
from sessile.testing import ManualClock
from tests.factors.test_totp import code

OLD, NEW = "correct horse battery", "seven green bottles"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
KEY = b"k" * 32
CLI = Actor(name="cli")
STRANGER = Client(ip="192.0.2.66")
SECOND = timedelta(seconds=1)
RACES = 100


class Node:
    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.throttle = Throttle(authority, KEY)
        self.passwords = Passwords(authority, hasher=CHEAP, throttle=self.throttle)
        self.factors = Factors(authority, Seal((KEY,)), self.throttle)
        self.totp = Totp(self.factors)
        self.links = Links(authority)
        self.addresses = Addresses(authority, self.links)
        self.reset = Reset(self.passwords, self.links, self.addresses, self.factors, self.throttle, self.prove)

    async def prove(self, principal: Principal, code: str, client: Client | None) -> Proved | None:
        try:
            await self.totp.accept(principal, code, client=client)
        except CodeRefused:
            return None
        return Proved()


class World:
    def __init__(self, clock: ManualClock, nodes: list[Node]) -> None:
        self.clock = clock
        self.nodes = nodes
        self.one = nodes[0]
        self.authority = self.one.authority

    async def person(self, name: str = "alice") -> Principal:
        await self.authority.register(name)
        await self.one.passwords.set(name, OLD)
        return await self.authority.principal(name)

    async def address(self, person: Principal, address: str) -> str:
        """A confirmed one; its id."""
        made = await self.one.addresses.add(person, address, by=CLI)
        await self.one.addresses.confirm(await self.one.addresses.link(person, made.id))
        return made.id

    async def happened(self) -> list[str]:
        return [event.name for event in await self.authority.store.events(limit=1000)]


@pytest.fixture(params=["memory:", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        if request.param == "memory:":
            opened = [await stack.enter_async_context(Authority("memory:", clock=clock))]
        else:
            url = f"sqlite:///{tmp_path_factory.mktemp('db')}/sessile.db"
            opened = [await stack.enter_async_context(Authority(url, clock=clock)) for _ in range(2)]
        yield World(clock, [Node(authority) for authority in opened])


# -- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CS-FP-2", "ASVS V6.5.1", "ASVS V11.5.1")
async def test_a_link_sets_a_password_once_and_ends_every_session(world: World) -> None:
    alice = await world.person()
    held = await world.one.passwords.sign_in("alice", OLD)
    secret = await world.one.reset.link("alice", by=CLI)
    assert await world.one.reset.look(secret) == (alice, [])
    done = await world.one.reset.redeem(secret, NEW, client=STRANGER)
    assert (done.principal.name, done.receipt.cause, done.receipt.by) == ("alice", "recovery", "alice")
    assert not await world.authority.check(held.token)
    with pytest.raises(SignInFailed):
        await world.one.passwords.sign_in("alice", OLD)
    await world.one.passwords.sign_in("alice", NEW)
    for again in (secret, secret[:-1], "", "prn_x." + "a" * 43, secret.replace(".", "..")):
        with pytest.raises(LinkOver):
            await world.one.reset.redeem(again, NEW)
    assert [name for name in await world.happened() if "recovery" in name] == ["recovery.link_made"]


@pytest.mark.requirement("CS-FP-2")
async def test_a_link_is_stored_as_a_digest_alone(world: World) -> None:
    alice = await world.person()
    secret = await world.one.reset.link("alice", by=CLI)
    stored = await world.authority.store.credentials(alice.uid)
    events = await world.authority.store.events(limit=1000)
    shown = repr((stored, [one.value for one in stored], [one.id for one in stored], events, world.one.reset))
    assert secret.partition(".")[2] not in shown
    assert len(secret.partition(".")[2]) == 43, "256 bits"


@pytest.mark.requirement("CS-FP-2", "63B-4 4.2.1.2-a")
async def test_a_link_lives_for_a_quarter_of_an_hour(world: World) -> None:
    await world.person()
    assert LIVES[Purpose.PASSWORD] == timedelta(minutes=15)
    secret = await world.one.reset.link("alice", by=CLI)
    world.clock.advance(LIVES[Purpose.PASSWORD] - SECOND)
    await world.one.reset.look(secret)
    world.clock.advance(SECOND)
    with pytest.raises(LinkOver):
        await world.one.reset.look(secret)


async def test_a_link_dies_with_the_password_that_it_replaces(world: World) -> None:
    """Review 10: what was given out before an ending opens nothing after it."""
    await world.person()
    store = world.authority

    async def change() -> None:
        await world.one.passwords.change((await world.one.passwords.sign_in("alice", OLD)).active, OLD, NEW)

    async def disable_and_enable() -> None:
        await store.disable("alice", cause="x")
        await store.enable("alice")

    async def sign_out() -> None:
        await store.revoke(principal="alice", cause="x")

    for act in (change, disable_and_enable, sign_out):
        secret = await world.one.reset.link("alice", by=CLI)
        await world.one.reset.look(secret)
        await act()
        with pytest.raises(LinkOver):
            await world.one.reset.redeem(secret, "another good password")
    secret = await world.one.reset.link("alice", by=CLI)
    await store.disable("alice", cause="x")
    with pytest.raises(LinkOver):
        await world.one.reset.redeem(secret, "another good password")


async def test_a_link_that_is_over_is_in_the_record_once_an_hour(world: World) -> None:
    alice = await world.person()
    made = await world.one.addresses.add(alice, "alice@example.org")
    to_confirm, to_reset = await world.one.addresses.link(alice, made.id), await world.one.reset.link("alice", by=CLI)
    await world.one.addresses.confirm(to_confirm)
    await world.one.reset.redeem(to_reset, NEW)

    async def told() -> list[tuple[str | None, object, Client]]:
        found = await world.authority.store.events(names=[EventName.LINK_REFUSED])
        return [(one.principal, one.details["purpose"], one.by.client) for one in found]

    async def follow() -> None:
        for over in (to_reset, to_reset[:-1] + "_", "prn_nobody" + to_reset[to_reset.index(".") :], "nonsense"):
            with pytest.raises(LinkOver):
                await world.one.reset.look(over, client=STRANGER)
            with pytest.raises(LinkOver):
                await world.one.reset.redeem(over, NEW, client=STRANGER)
        for one in (world.one.addresses.to_confirm, world.one.addresses.confirm):
            with pytest.raises(LinkOver):
                await one(to_confirm, client=STRANGER)

    await follow()
    await follow()
    assert await told() == [("alice", "password", STRANGER), ("alice", "address", STRANGER)]
    world.clock.advance(timedelta(hours=1))
    await follow()
    assert len(await told()) == 4


async def test_a_link_is_good_for_its_purpose_alone(world: World) -> None:
    alice = await world.person()
    made = await world.one.addresses.add(alice, "alice@example.org")
    to_confirm, to_reset = await world.one.addresses.link(alice, made.id), await world.one.reset.link("alice", by=CLI)
    with pytest.raises(LinkOver):
        await world.one.reset.redeem(to_confirm, NEW)
    with pytest.raises(LinkOver):
        await world.one.addresses.confirm(to_reset)
    await world.one.reset.look(to_reset)


@pytest.mark.requirement("ASVS V6.2.4", "ASVS V6.2.12")
async def test_a_weak_password_leaves_the_link_good(world: World) -> None:
    await world.person()
    secret = await world.one.reset.link("alice", by=CLI)
    for weak in ("short", "password1234567", "alicealicealice"):
        with pytest.raises(WeakPassword):
            await world.one.reset.redeem(secret, weak)
    await world.one.reset.redeem(secret, NEW)


@pytest.mark.requirement("ASVS V6.5.1", "CS-FP-2")
async def test_of_many_that_follow_a_link_at_once_one_does(world: World) -> None:
    await world.person()
    for turn in range(RACES):
        secret = await world.one.reset.link("alice", by=CLI)
        done = await asyncio.gather(
            *[node.reset.redeem(secret, f"seven green bottles {turn} {n}") for n, node in enumerate(world.nodes * 2)],
            return_exceptions=True,
        )
        won = [n for n, found in enumerate(done) if not isinstance(found, BaseException)]
        assert len(won) == 1
        assert {type(found) for n, found in enumerate(done) if n not in won} <= {LinkOver}
        if turn % 25 == 0:
            await world.one.passwords.sign_in("alice", f"seven green bottles {turn} {won[0]}")


async def test_a_person_has_a_bounded_number_of_links(world: World) -> None:
    alice = await world.person()
    secrets = [await world.one.reset.link("alice", by=CLI) for _ in range(25)]
    assert sum(one.kind == "link" for one in await world.authority.store.credentials(alice.uid)) == 20
    await world.one.reset.look(secrets[-1])
    world.clock.advance(timedelta(days=1))
    await world.one.reset.link("alice", by=CLI)
    assert sum(one.kind == "link" for one in await world.authority.store.credentials(alice.uid)) == 1


# -- two proofs -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.2.2.2-a", "ASVS V6.4.3")
async def test_whoever_has_a_second_factor_needs_it_as_well(world: World) -> None:
    await world.person()
    signed_in = await world.one.passwords.sign_in("alice", OLD)
    enrolment = await world.one.totp.enrol(signed_in.active)
    await world.one.totp.confirm(signed_in.active, enrolment.factor.id, code(enrolment.secret, world.clock.now()))
    world.clock.advance(timedelta(minutes=6))
    secret = await world.one.reset.link("alice", by=CLI)
    assert (await world.one.reset.look(secret))[1] == ["totp"]
    with pytest.raises(SecondProofNeeded):
        await world.one.reset.redeem(secret, NEW)
    right = code(enrolment.secret, world.clock.now())
    with pytest.raises(SecondProofNeeded):
        await world.one.reset.redeem(secret, NEW, code=f"{(int(right) + 1) % 1_000_000:06}")
    await world.one.passwords.sign_in("alice", OLD)
    await world.one.reset.redeem(secret, NEW, code=right)
    await world.one.passwords.sign_in("alice", NEW)
    assert (await world.happened()).count("sign_in.failed") == 1


@pytest.mark.requirement("63B-4 4.2.2.2-a")
async def test_a_session_that_a_second_factor_opened_just_now_is_the_other_proof(world: World) -> None:
    await world.person()
    await world.person("bob")
    signed_in = await world.one.passwords.sign_in("alice", OLD)
    enrolment = await world.one.totp.enrol(signed_in.active)
    strong = await world.one.totp.confirm(
        signed_in.active, enrolment.factor.id, code(enrolment.secret, world.clock.now())
    )
    weak = await world.one.passwords.sign_in("alice", OLD)
    others = await world.authority.begin("bob", method="hardware_key")
    secret = await world.one.reset.link("alice", by=CLI)
    sessions: tuple[Active | None, ...] = (weak.active, others.active, None)
    for active in sessions:
        with pytest.raises(SecondProofNeeded):
            await world.one.reset.redeem(secret, NEW, active=active)
    world.clock.advance(timedelta(minutes=5, seconds=1))
    with pytest.raises(SecondProofNeeded):
        await world.one.reset.redeem(secret, NEW, active=strong.active)
    fresh = await world.one.totp.step_up(strong.active, code(enrolment.secret, world.clock.now()))
    await world.one.reset.redeem(secret, NEW, active=fresh.active)


# -- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CS-FP-1", "ASVS V6.3.8")
async def test_asking_writes_the_same_for_everybody_and_keeps_nothing_that_a_stranger_typed(world: World) -> None:
    alice = await world.person()
    id = await world.address(alice, "alice@example.org")
    await world.authority.register("service:ci", owner="alice")
    before = len(await world.authority.store.events(limit=1000))
    asked = ("alice", "ALICE", "Alice@Example.org", "nobody", "nobody@example.org", "service:ci", "", "\0", "x" * 300)
    for named in asked:
        await world.one.reset.ask(named, client=Client(ip="192.0.2.1"))
    events = (await world.authority.store.events(limit=1000))[before:]
    assert {event.name for event in events} == {"recovery.requested"}
    assert [event.uid for event in events] == [alice.uid] * 3 + [None] * 6
    assert [event.details.get("id") for event in events][:3] == [None, None, id]
    assert "nobody" not in repr(events)
    assert "xxx" not in repr(events)


async def test_an_address_of_two_people_or_one_that_is_not_confirmed_names_nobody(world: World) -> None:
    alice, bob = await world.person(), await world.person("bob")
    await world.address(alice, "shared@example.org")
    await world.address(bob, "shared@example.org")
    await world.one.addresses.add(alice, "new@example.org")
    removed = await world.address(alice, "old@example.org")
    await world.one.addresses.remove(alice, removed)
    for address in ("shared@example.org", "new@example.org", "old@example.org"):
        await world.one.reset.ask(address)
        (event,) = await world.authority.store.events(latest=True, limit=1)
        assert (event.name, event.uid) == ("recovery.requested", None)


@pytest.mark.requirement("CS-FP-1", "ASVS V2.4.1")
async def test_asking_is_slowed_down_alike_and_locks_nobody_out(world: World) -> None:
    await world.person()
    burst, every = ASKING
    for named in ("alice", "nobody"):
        done = await asyncio.gather(
            *[world.nodes[n % len(world.nodes)].reset.ask(named) for n in range(100)], return_exceptions=True
        )
        assert done.count(None) == burst
        waits = {found.wait for found in done if isinstance(found, Throttled)}
        assert waits == {every}
    await world.one.passwords.sign_in("alice", OLD)
    world.clock.advance(every)
    await world.one.reset.ask("alice")
    for n in range(10 * burst):
        await world.one.reset.ask(f"person{n}", client=STRANGER)
    with pytest.raises(Throttled):
        await world.one.reset.ask("another", client=STRANGER)


# -- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.2.1.2-b", "63B-4 4.6-a")
async def test_an_address_counts_once_its_link_was_followed(world: World) -> None:
    alice = await world.person()
    first = await world.one.addresses.add(alice, " alice@example.org ", by=CLI)
    second = await world.one.addresses.add(alice, "a.other@example.org", by=CLI)
    assert [one.address for one in await world.one.addresses.of(alice.uid)] == [
        one.address for one in sorted((first, second), key=lambda one: (one.added, one.id))
    ]
    secret = await world.one.addresses.link(alice, first.id)
    assert (await world.one.addresses.to_confirm(secret)).confirmed is None
    confirmed = await world.one.addresses.confirm(secret)
    assert confirmed.confirmed == world.clock.now()
    assert {one.address: one.confirmed for one in await world.one.addresses.of(alice.uid)} == {
        "alice@example.org": world.clock.now(), "a.other@example.org": None
    }  # fmt: skip
    with pytest.raises(LinkOver):
        await world.one.addresses.confirm(secret)
    late = await world.one.addresses.link(alice, second.id)
    world.clock.advance(LIVES[Purpose.ADDRESS])
    with pytest.raises(LinkOver):
        await world.one.addresses.confirm(late)


async def test_a_removed_address_is_not_confirmed_by_an_old_link(world: World) -> None:
    alice = await world.person()
    made = await world.one.addresses.add(alice, "alice@example.org")
    secret = await world.one.addresses.link(alice, made.id)
    await world.one.addresses.remove(alice, made.id)
    with pytest.raises(NotFound):
        await world.one.addresses.remove(alice, made.id)
    with pytest.raises(NotFound):
        await world.one.addresses.confirm(secret)
    assert await world.one.addresses.of(alice.uid) == []
    await world.one.addresses.add(alice, "alice@example.org")
    assert [one.confirmed for one in await world.one.addresses.of(alice.uid)] == [None]


async def test_addresses_are_people_s_different_and_few(world: World) -> None:
    alice = await world.person()
    await world.one.addresses.add(alice, "alice@example.org")
    with pytest.raises(Conflict):
        await world.one.addresses.add(alice, "ALICE@example.org")
    for n in range(MOST - 1):
        await world.one.addresses.add(alice, f"a{n}@example.org")
    with pytest.raises(LimitExceeded):
        await world.one.addresses.add(alice, "more@example.org")
    with pytest.raises(ValueError, match="services"):
        await world.one.addresses.add(await world.authority.register("service:ci", owner="alice"), "ci@example.org")


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", "@example.org", "a@", "a b@example.org", "a@example.org\nBcc: x@y.org", "a@b@c.org", "<a@b.org>",
        "a@-b.org", "ä@example.org", "a@exämple.org", "a,b@example.org", '"a"@example.org', f"{'a' * 65}@example.org",
        f"a@{'b' * 250}.org", "a@b..org",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"example\.org"):
        check_address(text)


def test_an_address_is_masked_for_the_record() -> None:
    assert masked("alice@example.org") == "a…@example.org"
    assert check_address(" o'neil+x@mail.example.org ") == "o'neil+x@mail.example.org"


# -- how long -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 3.1.1.2-a", "ASVS V6.2.1")
async def test_eight_characters_do_where_a_second_factor_is_demanded(world: World) -> None:
    await world.person()
    with pytest.raises(WeakPassword) as refused:
        await world.one.passwords.set("alice", "twelve chars")
    assert refused.value.rule == "short"
    await world.authority.set_policy(Policy.operator(name="default", version=2))
    await world.one.passwords.set("alice", "k8 tree%")
    with pytest.raises(WeakPassword):
        await world.one.passwords.set("alice", "k8 tree")
