"""Recovery codes through the library, against a real store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessile import Authority, Conflict, Issued, Method
from sessile.errors import Refused
from sessile.factors.enrolled import Factors
from sessile.factors.recovery import CODES, GROUP, GROUPS, Recovered, RecoveryCodes, RecoveryRefused
from sessile.factors.sealing import Seal
from sessile.factors.throttle import IN_A_ROW, LANE, Throttle, Throttled
from sessile.factors.totp import Totp
from sessile.kernel.ids import ALPHABET
from sessile.kernel.reason import Reason
from sessile.testing import ManualClock

SECRET = b"s" * 32
WRONG = "00000-00000-00000-00000-00000"


class World:
    def __init__(self, authority: Authority, clock: ManualClock) -> None:
        self.authority = authority
        self.clock = clock
        self.throttle = Throttle(authority, SECRET)
        self.factors = Factors(authority, Seal((SECRET,)), self.throttle)
        self.recovery = RecoveryCodes(self.factors)

    async def signed_in(self, *methods: Method) -> Issued:
        first, *more = methods or (Method.PASSWORD,)
        issued = await self.authority.begin("alice", method=first)
        for method in more:
            issued = await self.authority.elevate(issued.active, method=method)
        return issued

    async def codes(self) -> tuple[str, ...]:
        strong = await self.signed_in(Method.PASSWORD, Method.TOTP)
        return (await self.recovery.make(strong.active)).codes

    async def refused(self, code: str) -> None:
        with pytest.raises(RecoveryRefused):
            await self.recovery.step_up((await self.signed_in()).active, code)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        yield World(authority, clock)


@pytest.mark.requirement("63B-4 4.2.1.1-a", "ASVS V6.5.2", "ASVS V6.5.3", "ASVS V6.5.4", "63B-4 3.1.2.2-a")
async def test_codes_are_random_and_only_their_digests_are_kept(world: World, tmp_path: Path) -> None:
    codes = [*await world.codes(), *await world.codes()]
    assert len(set(codes)) == 2 * CODES
    assert len(ALPHABET) ** (GROUP * GROUPS) >= 2**112  # above this a plain digest may be stored
    for code in codes:
        assert [len(group) for group in code.split("-")] == [GROUP] * GROUPS
        assert set(code) <= {*ALPHABET, "-"}
    for name, code in itertools.product(("sessile.db", "sessile.db-wal"), codes):
        held = await asyncio.to_thread((tmp_path / name).read_bytes)
        for said in (code, code.replace("-", ""), code[:11]):
            assert said.encode() not in held


@pytest.mark.requirement("63B-4 4.2.1.1-b", "63B-4 4.2.2.2-a", "63B-4 4.2.3-a", "ASVS V6.4.4")
async def test_a_code_with_the_password_opens_the_way_to_a_new_factor(world: World) -> None:
    codes = await world.codes()
    totp = Totp(world.factors)
    issued = await world.signed_in()
    with pytest.raises(Refused):
        await world.recovery.make(issued.active)
    done = await world.recovery.step_up(issued.active, codes[3])
    assert done.issued.active.session.assurance == 2
    assert not await world.authority.check(issued.token)
    await totp.enrol(done.issued.active)
    again = await world.signed_in()
    assert done.replacement not in codes
    await world.refused(codes[3])
    await world.recovery.step_up(again.active, done.replacement)
    happened = [event for event in await world.authority.store.events(limit=100) if "recovery" in event.name]
    assert [(event.name.value, event.principal) for event in happened] == [
        ("recovery.codes_made", "alice"), ("recovery.code_used", "alice"), ("recovery.code_used", "alice"),
    ]  # fmt: skip
    assert not any(code in repr(happened) for code in (*codes, done.replacement))
    alone = await world.authority.begin("bob", method=Method.RECOVERY_CODE)
    assert alone.active.session.assurance == 1


@pytest.mark.requirement("63B-4 3.1.2.1-a", "ASVS V7.5.1")
async def test_they_are_shown_in_a_strong_and_fresh_session_only(world: World) -> None:
    for methods, reason in (((Method.PASSWORD,), Reason.ASSURANCE), ((Method.TOTP,), Reason.ASSURANCE)):
        with pytest.raises(Refused) as refused:
            await world.recovery.make((await world.signed_in(*methods)).active)
        assert refused.value.denied.reason is reason
    strong = await world.signed_in(Method.PASSKEY)
    assert len((await world.recovery.make(strong.active)).codes) == CODES
    delegated = await world.authority.delegate(strong.active, to="agent:a", scopes={"x"})
    with pytest.raises(Refused):
        await world.recovery.make(delegated.active)
    with pytest.raises(Conflict):
        await world.recovery.step_up(delegated.active, WRONG)
    world.clock.advance(timedelta(minutes=5))
    with pytest.raises(Refused) as refused:
        await world.recovery.make(strong.active)
    assert refused.value.denied.reason is Reason.STALE_AUTHENTICATION
    with_password = await world.authority.elevate(strong.active, method=Method.PASSWORD)
    with pytest.raises(Refused, match="second factor"):
        await world.recovery.make(with_password.active)


async def test_it_is_read_as_people_write_it_and_new_ones_replace_the_old(world: World) -> None:
    codes = await world.codes()
    written = codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "l")
    await world.recovery.step_up((await world.signed_in()).active, f"  {written} ")
    for wrong in ("", "x", codes[1][:-1], codes[1] + "0", "é" * 25, "0" * 100_000, codes[1].replace("-", "é", 1)):
        await world.refused(wrong)
        world.clock.advance(LANE[1])
    await world.codes()
    await world.refused(codes[1])
    kept = await world.recovery.of((await world.authority.principal("alice")).uid)
    assert kept is not None
    assert (len(kept.digests), kept.made, kept.used) == (CODES, world.clock.now(), None)


@pytest.mark.requirement("ASVS V6.5.1", "63B-4 3.1.2.2-a")
async def test_a_code_counts_once_also_when_it_is_shown_twice_at_once(world: World, tmp_path: Path) -> None:
    """Two nodes, 100 races; each winner's replacement is the next code, and the others stay as they are."""
    code, *others = await world.codes()
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=world.clock) as second:
        nodes = [world, World(second, world.clock)]
        sessions = [(await world.signed_in()).active, (await nodes[1].signed_in()).active]
        for _ in range(100):
            done = await asyncio.gather(
                *[node.recovery.step_up(active, code) for node, active in zip(nodes, sessions, strict=True)],
                return_exceptions=True,
            )
            won = [one for one in done if isinstance(one, Recovered)]
            assert [type(one) for one in done if not isinstance(one, Recovered)] == [RecoveryRefused]
            sessions[done.index(won[0])] = won[0].issued.active
            code = won[0].replacement
            world.clock.advance(LANE[1])
    for other in others:
        await world.recovery.step_up((await world.signed_in()).active, other)


@pytest.mark.requirement("63B-4 3.1.2.2-b", "63B-4 3.2.2-a", "63B-4 3.1.3.2-b", "63B-4 3.2.2-b", "ASVS V6.6.3")
async def test_guessing_is_slowed_and_ends_and_new_codes_do_not_begin_anew(world: World) -> None:
    codes = await world.codes()
    for number in range(LANE[0] + 1):
        with pytest.raises(RecoveryRefused if number < LANE[0] else Throttled):
            await world.recovery.step_up((await world.signed_in()).active, WRONG)
    for _ in range(LANE[0], IN_A_ROW):
        world.clock.advance(LANE[1])
        await world.refused(WRONG)
    codes = await world.codes()
    world.clock.advance(timedelta(days=400))
    with pytest.raises(Throttled) as refused:
        await world.recovery.step_up((await world.signed_in()).active, codes[0])
    assert refused.value.wait is None
    told = [event for event in await world.authority.store.events(limit=1_000) if event.name == "factor.off"]
    assert [(event.principal, event.details) for event in told] == [("alice", {"method": "recovery_code"})]
    olga = await world.authority.begin("olga", method=Method.PASSWORD)
    await world.factors.reset("alice", by=olga.active, cause="asked in person")
    await world.refused(codes[0])
    codes = await world.codes()
    await world.recovery.step_up((await world.signed_in()).active, codes[0])


async def test_no_repr_shows_a_code(world: World) -> None:
    strong = await world.signed_in(Method.PASSWORD, Method.TOTP)
    made = await world.recovery.make(strong.active)
    done = await world.recovery.step_up((await world.signed_in()).active, made.codes[0])
    shown = repr([made, done, world.recovery, await world.recovery.of(strong.active.session.uid or "")])
    assert not any(code in shown for code in (*made.codes, done.replacement))


@pytest.mark.requirement("63B-4 4.2.2.2-a", "63B-4 4.2.1.1-b")
async def test_a_code_proves_outside_of_a_session_too(world: World) -> None:
    codes = await world.codes()
    alice = await world.authority.principal("alice")
    with pytest.raises(RecoveryRefused):
        await world.recovery.accept(alice, WRONG)
    replacement = await world.recovery.accept(alice, codes[0])
    with pytest.raises(RecoveryRefused):
        await world.recovery.accept(alice, codes[0])
    await world.recovery.accept(alice, replacement)
