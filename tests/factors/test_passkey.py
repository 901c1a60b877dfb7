"""Passkeys through the library: a real store, real keys, and each rule of WebAuthn broken once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessile import Active, Authority, Client, Conflict, Issued, Method
from sessile.errors import LimitExceeded, NotFound, Refused
from sessile.factors.enrolled import Factor, Factors
from sessile.factors.passkey import LIFETIME, PasskeyRefused, Passkeys, PasskeyUnusable
from sessile.factors.sealing import Seal, Unsealable
from sessile.factors.throttle import NETWORK, Throttle, Throttled
from sessile.kernel.event import EventName
from sessile.kernel.reason import Reason
from sessile.testing import ManualClock
from tests.factors.authenticator import BE, BS, ORIGIN, UP, UV, Authenticator, Held, b64, raw

SECRET = b"s" * 32
BROWSER = "what only this browser shows"
SECOND = timedelta(seconds=1)


class World:
    """One node: an authority with its passkeys."""

    def __init__(self, authority: Authority, clock: ManualClock, origins: tuple[str, ...] = (ORIGIN,)) -> None:
        self.authority = authority
        self.clock = clock
        self.throttle = Throttle(authority, SECRET)
        self.factors = Factors(authority, Seal((SECRET,)), self.throttle)
        self.passkeys = Passkeys(self.factors, SECRET, origins=origins, name="Test")

    async def signed_in(self, name: str = "alice", method: Method = Method.PASSKEY) -> Issued:
        return await self.authority.begin(name, method=method)

    async def enrolled(self, one: Authenticator, name: str = "alice") -> Factor:
        issued = await self.signed_in(name)
        made = one.create(await self.passkeys.registration_options(issued.active))
        return await self.passkeys.register(issued.active, made, name="laptop")

    async def sign_in(self, one: Authenticator, browser: str = BROWSER, **wrong: Any) -> Issued:
        options = await self.passkeys.sign_in_options(BROWSER)
        return await self.passkeys.sign_in(one.get(options, **wrong), browser)

    async def refused(self, one: Authenticator, **wrong: Any) -> None:
        with pytest.raises(PasskeyRefused):
            await self.sign_in(one, **wrong)

    async def happened(self) -> list[str]:
        return [event.name.value for event in await self.authority.store.events(limit=1_000)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        yield World(authority, clock)


# -- signing in -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 2.3.1-a", "63B-4 2.3.2-a", "63B-4 B.3-a", "63B-4 B.3-b", "63B-4 2.2.2-a")
@pytest.mark.parametrize(("synced", "method", "assurance"), [(True, "passkey", 2), (False, "hardware_key", 3)])
async def test_a_passkey_signs_in_without_a_name(world: World, synced: bool, method: str, assurance: int) -> None:
    one = Authenticator(synced=synced)
    factor = await world.enrolled(one)
    assert (factor.method, factor.proves, factor.name, factor.backed_up) == ("passkey", method, "laptop", synced)
    options = await world.passkeys.sign_in_options(BROWSER)
    assert (options["userVerification"], options["rpId"]) == ("required", "console.example.com")
    assert options["allowCredentials"] == []
    device = Client(label="Firefox on Linux", ip="192.0.2.1")
    issued = await world.passkeys.sign_in(one.get(options), BROWSER, client=device)
    assert isinstance(await world.authority.check(issued.token), Active)
    session = issued.active.session
    assert (session.principal, session.assurance, session.client) == ("alice", assurance, device)
    assert [event.method for event in session.authentications] == [method]
    (listed,) = await world.factors.of(session.uid or "")
    assert (listed.id, listed.used) == (factor.id, world.clock.now())


@pytest.mark.requirement("WEBAUTHN3 5.4.3", "WEBAUTHN3 7.1-d", "ASVS V6.5.7", "ASVS V6.7.2", "63B-4 3.1.6.2-a")
async def test_what_is_asked_and_what_is_kept(world: World) -> None:
    issued = await world.signed_in()
    options = await world.passkeys.registration_options(issued.active)
    assert options["rp"] == {"name": "Test", "id": "console.example.com"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert {one["alg"] for one in options["pubKeyCredParams"]} == {-7, -8, -257}
    handle, uid = raw(options["user"]["id"]), issued.active.session.uid or ""
    assert len(handle) == 32
    assert not {b"alice", uid.encode()} & {handle}
    one = Authenticator()
    await world.passkeys.register(issued.active, one.create(options), name="laptop")
    (stored,) = await world.factors.stored(uid, Method.PASSKEY)
    key = world.passkeys._key(stored)
    assert (key.credential, key.public, key.handle) == (one.held[0].id, one.held[0].cose(), handle)
    assert (key.synced, key.transports, stored.record.count, stored.record.backed_up) == (
        True, ("internal", "hybrid"), 0, True,
    )  # fmt: skip
    again = await world.passkeys.registration_options(issued.active)
    assert raw(again["user"]["id"]) == handle
    assert [raw(excluded["id"]) for excluded in again["excludeCredentials"]] == [one.held[0].id]
    challenges = {raw((await world.passkeys.sign_in_options(BROWSER))["challenge"]) for _ in range(1_000)}
    assert len({challenge[:16] for challenge in challenges}) == 1_000


@pytest.mark.requirement("WEBAUTHN3 7.2-b", "WEBAUTHN3 7.2-d", "63B-4 3.2.8-a", "63B-4 2.3.2-b", "63B-4 3.1.7.2-a")
async def test_an_assertion_that_is_not_in_order_signs_nobody_in(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    for wrong in (
        {"flags": UP}, {"flags": UV}, {"flags": 0}, {"rp_id": "evil.example"}, {"spoil": True},
        {"origin": "https://evil.example"}, {"origin": "http://console.example.com"}, {"origin": 7},
        {"origin": ORIGIN + ".evil.example"}, {"crossOrigin": True}, {"type": "webauthn.create"},
        {"challenge": b64(b"x" * 40)}, {"challenge": b64(b"")}, {"handle": None}, {"handle": b"somebody else"},
        {"browser": "another"},
    ):  # fmt: skip
        await world.refused(one, **wrong)
    assert (await world.sign_in(one)).active.session.principal == "alice"
    failed = [event for event in await world.authority.store.events(limit=1_000) if event.name == "sign_in.failed"]
    assert {event.cause for event in failed} == {"passkey"}


@pytest.mark.requirement("WEBAUTHN3 7.2-a")
async def test_a_passkey_is_its_own_persons(world: World) -> None:
    mine, hers = Authenticator(), Authenticator()
    await world.enrolled(mine, "mallory")
    await world.enrolled(hers, "alice")
    await world.refused(mine, handle=hers.held[0].user)
    mine.held[0].id = hers.held[0].id
    await world.refused(mine, handle=hers.held[0].user)
    mine.held[0].id = b"nobody has this"
    await world.refused(mine)
    session = await world.signed_in("alice")
    options = await world.passkeys.step_up_options(session.active)
    with pytest.raises(PasskeyRefused):
        await world.passkeys.step_up(session.active, mine.get(options))


@pytest.mark.requirement("WEBAUTHN3 7.2-c", "WEBAUTHN3 7.2-e")
async def test_whether_it_is_synced_never_changes(world: World) -> None:
    """What is refused changes nothing of what is kept, either."""
    bound = Authenticator(synced=False)
    await world.enrolled(bound)
    (before,) = await world.factors.stored((await world.authority.principal("alice")).uid)
    await world.refused(bound, flags=UP | UV | BE)
    await world.refused(bound, flags=UP | UV | BS)
    await world.refused(bound, flags=UP | UV | BE | BS)
    (after,) = await world.factors.stored((await world.authority.principal("alice")).uid)
    assert after.credential.value == before.credential.value
    synced = Authenticator()
    await world.enrolled(synced)
    await world.refused(synced, flags=UP | UV | BE | BS)  # it turns both off
    assert (await world.sign_in(synced, flags=UP | UV | BS)).active.session.assurance == 2


@pytest.mark.requirement("WEBAUTHN3 7.2-d")
async def test_a_counter_that_does_not_grow_is_refused_and_told(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    await world.sign_in(one, count=7)
    for count in (7, 6, 0):
        await world.refused(one, count=count)
    told = [event for event in await world.authority.store.events(limit=1_000) if event.name == "factor.cloned"]
    assert [(event.principal, event.details["called"]) for event in told] == [("alice", "laptop")] * 3
    await world.sign_in(one, count=8)
    mute = Authenticator(counts=False)
    await world.enrolled(mute, "bob")
    for _ in range(3):
        await world.sign_in(mute)
    assert (await world.happened()).count("factor.cloned") == 3


# -- challenges -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("WEBAUTHN3 13.4.3", "ASVS V6.7.2")
async def test_a_challenge_is_for_one_purpose_one_browser_and_five_minutes(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    issued, other = await world.signed_in(), await world.signed_in()
    assert len(raw((await world.passkeys.sign_in_options(BROWSER))["challenge"])) == 40
    for options in (
        await world.passkeys.step_up_options(other.active),
        await world.passkeys.sign_in_options(issued.active.session.id),
        await world.passkeys.registration_options(issued.active),
    ):
        with pytest.raises(PasskeyRefused):
            await world.passkeys.step_up(issued.active, one.get(options))
    options = await world.passkeys.step_up_options(issued.active)
    with pytest.raises(PasskeyRefused):
        await world.passkeys.sign_in(one.get(options), issued.active.session.id)
    late, intime = [await world.passkeys.sign_in_options(BROWSER) for _ in range(2)]
    world.clock.advance(LIFETIME - SECOND)
    await world.passkeys.sign_in(one.get(intime), BROWSER)
    world.clock.advance(SECOND)
    with pytest.raises(PasskeyRefused):
        await world.passkeys.sign_in(one.get(late), BROWSER)


@pytest.mark.requirement("WEBAUTHN3 13.4.3", "ASVS V6.7.2")
async def test_a_challenge_counts_once_also_when_it_is_answered_twice_at_once(world: World, tmp_path: Path) -> None:
    """Two nodes, 100 races."""
    one = Authenticator(counts=False)
    await world.enrolled(one)
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=world.clock) as second:
        other = World(second, world.clock)
        for _ in range(100):
            options = await world.passkeys.sign_in_options(BROWSER)
            done = await asyncio.gather(
                *[node.passkeys.sign_in(one.get(options), BROWSER) for node in (world, other)], return_exceptions=True
            )
            assert [type(each) for each in done if not isinstance(each, Issued)] == [PasskeyRefused]
            assert sum(isinstance(each, Issued) for each in done) == 1
            world.clock.advance(NETWORK[1])


# -- adding ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("WEBAUTHN3 7.1-a", "WEBAUTHN3 7.1-b", "WEBAUTHN3 7.1-c", "63B-4 3.1.6.2-a")
async def test_what_is_not_in_order_is_not_added(world: World) -> None:
    issued = await world.signed_in()
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    for wrong in (
        {"flags": UP}, {"flags": UV}, {"flags": 0}, {"rp_id": "evil.example"}, {"origin": "https://evil.example"},
        {"crossOrigin": True}, {"type": "webauthn.get"}, {"challenge": b64(b"x" * 40)}, {"id": b"x" * 1_024},
        {"key": weak}, {"flags": UP | UV | BE},
    ):  # fmt: skip
        options = await world.passkeys.registration_options(issued.active)
        with pytest.raises(PasskeyUnusable):
            await world.passkeys.register(issued.active, Authenticator().create(options, **wrong))
    assert await world.factors.of(issued.active.session.uid or "") == []
    refused = await world.authority.store.events(names=[EventName.FACTOR_REFUSED])
    assert [(one.principal, one.session, one.cause) for one in refused] == [
        ("alice", issued.active.session.id, "passkey")
    ] * 11
    one, bob = Authenticator(), await world.signed_in("bob")
    options = await world.passkeys.registration_options(issued.active)
    made = one.create(options, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    await world.passkeys.register(issued.active, made)
    with pytest.raises(PasskeyUnusable):  # the challenge is spent
        await world.passkeys.register(issued.active, made)
    for whose in (issued, bob):
        options = await world.passkeys.registration_options(whose.active)
        with pytest.raises(PasskeyUnusable):
            await world.passkeys.register(whose.active, Authenticator().create(options, id=one.held[0].id))
    assert (await world.sign_in(one)).active.session.principal == "alice"


@pytest.mark.requirement("63B-4 4.1.2.1-a", "CS-MFA-2", "ASVS V7.5.1")
async def test_several_and_each_with_a_fresh_proof_only(world: World) -> None:
    laptop, phone = Authenticator(), Authenticator()
    await world.enrolled(laptop)
    weak = await world.signed_in(method=Method.PASSWORD)
    for ask in (world.passkeys.registration_options(weak.active), world.passkeys.register(weak.active, {})):
        with pytest.raises(Refused) as refused:
            await ask
        assert refused.value.denied.reason is Reason.ASSURANCE
    second = await world.enrolled(phone)
    issued = await world.sign_in(phone)
    options = await world.passkeys.step_up_options(issued.active)
    assert {raw(one["id"]) for one in options["allowCredentials"]} == {laptop.held[0].id, phone.held[0].id}
    assert options["allowCredentials"][0]["transports"] == ["internal", "hybrid"]
    await world.factors.rename(issued.active, second.id, "my phone")
    assert {one.name for one in await world.factors.of(issued.active.session.uid or "")} == {"laptop", "my phone"}
    await world.factors.remove(issued.active, second.id)
    await world.refused(phone)
    await world.sign_in(laptop)
    world.clock.advance(timedelta(minutes=5))
    with pytest.raises(Refused) as refused:
        await world.passkeys.registration_options(issued.active)
    assert refused.value.denied.reason is Reason.STALE_AUTHENTICATION
    with_password = await world.authority.elevate(issued.active, method=Method.PASSWORD)
    with pytest.raises(Refused, match="second factor") as refused:
        await world.passkeys.registration_options(with_password.active)
    assert refused.value.denied.reason is Reason.STALE_AUTHENTICATION
    delegated = await world.authority.delegate((await world.sign_in(laptop)).active, to="agent:a", scopes={"x"})
    with pytest.raises(Conflict):
        await world.passkeys.step_up_options(delegated.active)
    fresh = await world.sign_in(laptop)
    for _ in range(9):
        await world.enrolled(Authenticator())
    with pytest.raises(LimitExceeded):
        await world.passkeys.registration_options(fresh.active)


@pytest.mark.requirement("63B-4 4.1.2.1-a")
async def test_a_further_hardware_key_needs_the_one_that_is_there(world: World) -> None:
    first, second, cloud = Authenticator(synced=False), Authenticator(synced=False), Authenticator(synced=True)
    await world.enrolled(first)
    await world.enrolled(cloud)  # from assurance 2, as strong as what is added
    weaker = await world.sign_in(cloud)
    assert weaker.active.session.assurance == 2
    made = second.create(await world.passkeys.registration_options(weaker.active))
    with pytest.raises(Refused) as refused:
        await world.passkeys.register(weaker.active, made)
    assert refused.value.denied.reason is Reason.ASSURANCE
    strong = await world.sign_in(first)
    added = await world.passkeys.register(
        strong.active, second.create(await world.passkeys.registration_options(strong.active))
    )
    assert added.proves is Method.HARDWARE_KEY
    assert (await world.sign_in(second)).active.session.assurance == 3


@pytest.mark.requirement("63B-4 2.2.1-a", "ASVS V7.2.4")
async def test_stepping_up_after_a_password(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    issued = await world.signed_in(method=Method.PASSWORD)
    options = await world.passkeys.step_up_options(issued.active)
    stepped = await world.passkeys.step_up(issued.active, one.get(options, handle=None))
    assert (stepped.active.session.id, stepped.active.session.assurance) == (issued.active.session.id, 2)
    assert not await world.authority.check(issued.token)
    with pytest.raises(PasskeyRefused):
        await world.passkeys.step_up(stepped.active, one.get(options))


# -- what else may happen -------------------------------------------------------------------------------------------


async def test_whoever_is_disabled_or_gone_is_not_let_in(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    await world.authority.disable("alice", cause="left")
    await world.refused(one)
    await world.authority.enable("alice")
    await world.sign_in(one)
    await world.authority.revoke(everyone=True, cause="x", lock_sign_in=timedelta(minutes=1))
    with pytest.raises(Conflict, match="locked"):
        await world.sign_in(one)
    world.clock.advance(timedelta(minutes=1))
    await world.sign_in(one)
    await world.authority.delete("alice", cause="left")
    await world.authority.register("alice")
    await world.refused(one)


@pytest.mark.requirement("ASVS V6.7.1", "63B-4 3.1.6.2-a")
async def test_a_stored_key_that_is_altered_opens_nothing(world: World) -> None:
    """Whoever can write to the database cannot put a key of their own in another's place."""
    mine, hers = Authenticator(), Authenticator()
    await world.enrolled(mine, "mallory")
    await world.enrolled(hers, "alice")
    (stolen,) = await world.factors.stored((await world.authority.principal("mallory")).uid)
    (target,) = await world.factors.stored((await world.authority.principal("alice")).uid)
    forged = msgspec.structs.replace(target.record, sealed=stolen.record.sealed)
    await world.authority.store.set_credential(target.changed(forged))
    mine.held[0].id, mine.held[0].user = hers.held[0].id, hers.held[0].user
    with pytest.raises(Unsealable):
        await world.sign_in(mine)


async def test_a_network_that_knocks_too_often_waits(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    device = Client(ip="192.0.2.1")
    for _ in range(NETWORK[0]):
        with pytest.raises(PasskeyRefused):
            await world.passkeys.sign_in({}, BROWSER, client=device)
    with pytest.raises(Throttled):
        await world.passkeys.sign_in({}, BROWSER, client=device)
    await world.sign_in(one)
    alice = await world.authority.principal("alice")
    options = await world.passkeys.sign_in_options(BROWSER)
    known = world.throttle.new_device(alice.uid)  # strangers in the same network keep nobody out
    issued = await world.passkeys.sign_in(one.get(options), BROWSER, client=device, device=known)
    options = await world.passkeys.step_up_options(issued.active)
    await world.passkeys.step_up(issued.active, one.get(options), client=device)
    world.clock.advance(NETWORK[1])
    for _ in range(3):  # a success is given back
        options = await world.passkeys.sign_in_options(BROWSER)
        await world.passkeys.sign_in(one.get(options), BROWSER, client=device)


@pytest.mark.parametrize("origins", [(), ("https://192.0.2.1",)])
async def test_without_a_public_name_they_are_for_this_machine(world: World, origins: tuple[str, ...]) -> None:
    local = World(world.authority, world.clock, origins)
    one = Authenticator(origin="http://localhost:8123")
    await local.enrolled(one)
    assert (await local.sign_in(one)).active.session.principal == "alice"
    for origin in ("http://127.0.0.1:8123", "http://localhost.evil.example", "http://evil.example", "localhost"):
        await local.refused(one, origin=origin)


async def test_origins_below_the_first_one_count_and_others_do_not(world: World) -> None:
    names = ("https://example.com", "https://console.example.com", "https://other.example")
    wide = World(world.authority, world.clock, names)
    assert wide.passkeys.rp_id == "example.com"
    one = Authenticator(origin=names[1])
    await wide.enrolled(one)
    await wide.sign_in(one)
    for origin in (names[2], "https://evil.example.com", "https://notexample.com"):
        await wide.refused(one, origin=origin)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.just(b64(b"{}")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ("id", "rawId", "type", "response", "clientDataJSON", "authenticatorData", "signature", "attestationObject")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.dictionaries(st.sampled_from(_KEYS), _json | st.dictionaries(st.sampled_from(_KEYS), _json)))
async def test_nonsense_is_refused_and_nothing_else(said: dict[str, Any]) -> None:
    async with Authority("memory:") as authority:
        world = World(authority, ManualClock())
        issued = await world.signed_in()
        with pytest.raises(PasskeyRefused):
            await world.passkeys.sign_in(said, BROWSER)
        with pytest.raises(PasskeyUnusable):
            await world.passkeys.register(issued.active, said)


@pytest.mark.requirement("ASVS V6.5.6", "63B-4 3.2.1-a", "ASVS V6.4.4", "63B-4 4.3-a")
async def test_an_operator_takes_lost_factors_away(world: World) -> None:
    laptop, phone = Authenticator(), Authenticator()
    await world.enrolled(laptop)
    factor = await world.enrolled(phone)
    issued = await world.sign_in(phone)
    olga = await world.signed_in("olga")
    removed, receipt = await world.factors.reset("alice", by=olga.active, cause="phone lost", id=factor.id)
    assert ([one.id for one in removed], receipt.cause) == ([factor.id], "phone lost")
    assert not await world.authority.check(issued.token)
    await world.refused(phone)
    await world.sign_in(laptop)
    with pytest.raises(NotFound):
        await world.factors.reset("alice", by=olga.active, cause="x", id=factor.id)
    removed, _ = await world.factors.reset("alice", by=olga.active, cause="all lost")
    assert len(removed) == 1
    await world.refused(laptop)
    told = [event for event in await world.authority.store.events(limit=1_000) if event.name == "factor.reset"]
    assert [(event.principal, event.by.name, event.cause) for event in told] == [
        ("alice", "olga", "phone lost"), ("alice", "olga", "all lost"),
    ]  # fmt: skip


async def test_no_repr_shows_a_key(world: World) -> None:
    one = Authenticator()
    await world.enrolled(one)
    (stored,) = await world.factors.stored((await world.authority.principal("alice")).uid)
    shown = repr([world.passkeys, world.passkeys._key(stored), stored.credential, stored.factor])
    assert b64(one.held[0].id) not in shown
    assert isinstance(one.held[0], Held)
    assert repr(one.held[0].cose()) not in shown
