"""One-time codes through the library, against a real store."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from sessile import Authority, Issued, Method
from sessile.errors import LimitExceeded, NotFound, Refused
from sessile.factors.enrolled import Factors
from sessile.factors.sealing import Seal, Unsealable
from sessile.factors.totp import DRIFT, CodeRefused, Enrolment, Totp
from sessile.kernel.reason import Reason
from sessile.testing import ManualClock

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
STEP = 30 * SECOND
OLD, NEW = b"o" * 32, b"n" * 32


def code(secret: str, at: datetime) -> str:
    """What an app shows at that instant."""
    return TOTP(base64.b32decode(secret), 6, SHA1(), 30).generate(int(at.timestamp())).decode()  # noqa: S303


class World:
    def __init__(self, authority: Authority, clock: ManualClock, keys: tuple[bytes, ...] = (OLD,)) -> None:
        self.authority = authority
        self.clock = clock
        self.factors = Factors(authority, Seal(keys))
        self.totp = Totp(self.factors, issuer="Test")

    async def signed_in(self, name: str = "alice") -> Issued:
        return await self.authority.begin(name, method=Method.PASSWORD)

    async def enrolled(self, issued: Issued, name: str = "phone") -> tuple[Enrolment, Issued]:
        made = await self.totp.enrol(issued.active, name=name)
        after = await self.totp.confirm(issued.active, made.factor.id, self.now(made))
        self.clock.advance(STEP)
        return made, after

    def now(self, made: Enrolment, ago: timedelta = timedelta(0)) -> str:
        return code(made.secret, self.clock.now() - ago)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        yield World(authority, clock)


@pytest.mark.requirement("RFC6238 5.1", "63B-4 3.1.4.1-a", "RFC4226 4-R6", "ASVS V6.5.3", "RFC4226 5.3")
async def test_each_enrolment_has_a_key_of_its_own(world: World) -> None:
    issued = await world.signed_in()
    made = [await world.totp.enrol(issued.active) for _ in range(5)]
    assert {len(base64.b32decode(one.secret)) for one in made} == {20}
    assert len({one.secret for one in made}) == 5
    uri = urlsplit(made[0].uri)
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/Test:alice")
    assert parse_qs(uri.query) == {
        "secret": [made[0].secret], "issuer": ["Test"], "algorithm": ["SHA1"], "digits": ["6"], "period": ["30"],
    }  # fmt: skip
    assert made[0].secret not in repr(made[0])


@pytest.mark.requirement("ASVS V6.5.5", "63B-4 3.1.4.2-b", "RFC6238 5.2-b", "ASVS V6.5.8")
async def test_a_code_counts_in_its_step_and_the_next_one(world: World) -> None:
    issued = await world.signed_in()
    made, issued = await world.enrolled(issued)
    assert DRIFT == STEP
    for ago in (2 * STEP, -STEP):
        with pytest.raises(CodeRefused):
            await world.totp.step_up(issued.active, world.now(made, ago))
    world.clock.advance(3 * STEP)
    issued = await world.totp.step_up(issued.active, world.now(made, STEP))
    issued = await world.totp.step_up(issued.active, world.now(made))
    assert issued.active.session.assurance == 2
    for wrong in ("", "12345", "1234567", "abcdef", "٠١٢٣٤٥", "0" * 60):
        with pytest.raises(CodeRefused):
            await world.totp.step_up(issued.active, wrong)


@pytest.mark.requirement("ASVS V6.5.1", "63B-4 3.1.4.2-a", "RFC6238 5.2-a")
async def test_a_code_counts_once_also_when_it_is_shown_twice_at_once(world: World, tmp_path: Path) -> None:
    """Two nodes, 100 races."""
    made, issued = await world.enrolled(await world.signed_in())
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=world.clock) as second:
        other = World(second, world.clock)
        sessions = [await world.authority.begin("alice"), await second.begin("alice")]
        for _ in range(100):
            world.clock.advance(STEP)
            shown = world.now(made)
            done = await asyncio.gather(
                world.totp.step_up(sessions[0].active, shown),
                other.totp.step_up(sessions[1].active, shown),
                return_exceptions=True,
            )
            won = [one for one in done if isinstance(one, Issued)]
            assert [type(one) for one in done if not isinstance(one, Issued)] == [CodeRefused]
            sessions[done.index(won[0])] = won[0]
    before = world.now(made, STEP)
    for shown in (world.now(made), before):
        with pytest.raises(CodeRefused):
            await world.totp.step_up(issued.active, shown)
    failed = [event for event in await world.authority.store.events(limit=1000) if event.name == "sign_in.failed"]
    assert {event.cause for event in failed} == {"totp_used"}


@pytest.mark.requirement("RFC6238 4.2")
async def test_time_goes_on_beyond_32_bits(world: World) -> None:
    vector = TOTP(b"12345678901234567890", 8, SHA1(), 30)  # noqa: S303
    assert vector.generate(20_000_000_000) == b"65353130"  # RFC 6238, appendix B: the year 2603
    world.clock.advance(datetime(2040, 1, 1, tzinfo=UTC) - world.clock.now())
    made, issued = await world.enrolled(await world.signed_in())
    assert (await world.totp.step_up(issued.active, world.now(made))).active.session.assurance == 2


@pytest.mark.requirement("CS-MFA-2", "63B-4 4.1.2.1-a")
async def test_a_session_alone_changes_no_factor(world: World) -> None:
    issued = await world.signed_in()
    world.clock.advance(5 * MINUTE)
    with pytest.raises(Refused) as refused:
        await world.totp.enrol(issued.active)
    assert refused.value.denied.reason is Reason.STALE_AUTHENTICATION
    issued = await world.authority.elevate(issued.active, method=Method.PASSWORD)
    made, strong = await world.enrolled(issued)
    weak = await world.signed_in()  # a fresh password, and nothing more
    for change in (
        world.totp.enrol(weak.active),
        world.factors.remove(weak.active, made.factor.id),
        world.factors.rename(weak.active, made.factor.id, "mine"),
    ):
        with pytest.raises(Refused) as refused:
            await change
        assert refused.value.denied.reason is Reason.ASSURANCE
    delegated = await world.authority.delegate(strong.active, to="agent:a", scopes={"x"})
    with pytest.raises(Refused):
        await world.totp.enrol(delegated.active)
    assert [factor.name for factor in await world.factors.of(strong.active.session.uid or "")] == ["phone"]


@pytest.mark.requirement("CSF PR.AA-02", "ASVS V6.5.6", "63B-4 3.2.1-a")
async def test_several_and_each_can_be_renamed_and_removed(world: World) -> None:
    phone, issued = await world.enrolled(await world.signed_in())
    tablet, issued = await world.enrolled(issued, "  my   tablet ")
    uid = issued.active.session.uid or ""
    assert [factor.name for factor in await world.factors.of(uid)] == ["phone", "my tablet"]
    issued = await world.totp.step_up(issued.active, world.now(tablet))
    issued = await world.totp.step_up(issued.active, world.now(phone))
    await world.factors.rename(issued.active, phone.factor.id, "old phone")
    await world.factors.remove(issued.active, phone.factor.id)
    with pytest.raises(NotFound):
        await world.factors.remove(issued.active, phone.factor.id)
    world.clock.advance(STEP)
    with pytest.raises(CodeRefused):
        await world.totp.step_up(issued.active, world.now(phone))
    await world.totp.step_up(issued.active, world.now(tablet))
    events = [event for event in await world.authority.store.events(uid=uid, limit=100) if "factor" in event.name]
    assert [event.name.value for event in events] == [
        "factor.added", "factor.added", "factor.changed", "factor.removed",
    ]  # fmt: skip
    assert events[-1].details == {"factor": phone.factor.id, "method": "totp", "called": "old phone"}
    assert all(event.at is not None and event.by.uid == uid and event.session for event in events)
    for name in ("", " ", "x" * 61, "a\x00b", "\u202e"):
        with pytest.raises(ValueError, match="name"):
            await world.factors.rename(issued.active, tablet.factor.id, name)


async def test_an_enrolment_waits_ten_minutes_for_its_code(world: World) -> None:
    issued = await world.signed_in()
    made = await world.totp.enrol(issued.active)
    uid = issued.active.session.uid or ""
    with pytest.raises(CodeRefused):
        await world.totp.confirm(issued.active, made.factor.id, world.now(made, 10 * MINUTE))
    with pytest.raises(CodeRefused):
        await world.totp.step_up(issued.active, world.now(made))  # it proves nothing yet
    assert await world.factors.of(uid) == []
    assert (await world.totp.pending(issued.active, made.factor.id)).secret == made.secret
    world.clock.advance(10 * MINUTE)
    issued = await world.signed_in()
    with pytest.raises(NotFound):
        await world.totp.confirm(issued.active, made.factor.id, world.now(made))
    other = await world.signed_in("bob")
    for _ in range(10):
        made = await world.totp.enrol(other.active)
    with pytest.raises(LimitExceeded):
        await world.totp.enrol(other.active)
    with pytest.raises(NotFound):
        await world.totp.confirm(issued.active, made.factor.id, world.now(made))  # another person's
    world.clock.advance(10 * MINUTE)
    await world.totp.enrol((await world.signed_in("bob")).active)
    assert len(await world.factors.stored(other.active.session.uid or "")) == 1, "what is over is cleared away"


@pytest.mark.requirement("RFC4226 7.5", "63B-4 3.1.4.2-c")
async def test_secrets_are_sealed_and_the_key_can_be_rotated(world: World, tmp_path: Path) -> None:
    made, issued = await world.enrolled(await world.signed_in())
    key = base64.b32decode(made.secret)
    for name in ("sessile.db", "sessile.db-wal"):
        held = await asyncio.to_thread((tmp_path / name).read_bytes)
        assert key not in held
        assert made.secret.encode() not in held
        assert base64.b64encode(key)[:24] not in held
    rotated = World(world.authority, world.clock, (NEW, OLD))
    issued = await rotated.totp.step_up(issued.active, world.now(made))
    world.clock.advance(STEP)
    only_new = World(world.authority, world.clock, (NEW,))
    issued = await only_new.totp.step_up(issued.active, world.now(made))
    world.clock.advance(STEP)
    with pytest.raises(Unsealable):
        await world.totp.step_up(issued.active, world.now(made))


@pytest.mark.requirement("63B-4 3.1.4.2-c")
async def test_a_secret_that_is_moved_or_altered_does_not_open(world: World) -> None:
    """Whoever can write to the database cannot put a secret of their own in another's place."""
    mine, _ = await world.enrolled(await world.signed_in("mallory"))
    _, issued = await world.enrolled(await world.signed_in())
    (stolen,) = await world.factors.stored((await world.authority.principal("mallory")).uid)
    (target,) = await world.factors.stored(issued.active.session.uid or "")
    moved = target.changed(msgspec.structs.replace(target.record, sealed=stolen.record.sealed))
    await world.authority.store.set_credential(moved)
    with pytest.raises(Unsealable):
        await world.totp.step_up(issued.active, world.now(mine))


def test_a_seal_says_what_it_needs() -> None:
    for keys in ((), (b"short",)):
        with pytest.raises(ValueError, match="32"):
            Seal(keys)
    seal = Seal((NEW, OLD))
    sealed = seal.seal(b"secret", "a", "b")
    assert seal.open(sealed, "a", "b") == b"secret"
    assert sealed != seal.seal(b"secret", "a", "b")
    for wrong, place in (
        (sealed, ("ab",)), (sealed, ("a",)), (sealed[:-1], ("a", "b")), (b"", ("a", "b")),
        (b"\x02" + sealed[1:], ("a", "b")),
    ):  # fmt: skip
        with pytest.raises(Unsealable):
            seal.open(wrong, *place)
    assert Seal((OLD, NEW)).open(sealed, "a", "b") == b"secret"
    assert not Seal((OLD, NEW)).is_current(sealed)
    assert re.fullmatch(r"Seal\(2 keys\)", repr(seal))


@pytest.mark.requirement("ASVS V6.5.1", "63B-4 4.2.2.2-a")
async def test_a_code_proves_outside_of_a_session_once(world: World) -> None:
    made, issued = await world.enrolled(await world.signed_in())
    alice, shown = await world.authority.principal("alice"), world.now(made)
    await world.totp.accept(alice, f"{shown[:3]} {shown[3:]}")
    for refused in (world.totp.accept(alice, shown), world.totp.step_up(issued.active, shown)):
        with pytest.raises(CodeRefused):
            await refused
    failed = [event for event in await world.authority.store.events(limit=1000) if event.name == "sign_in.failed"]
    assert [(event.principal, event.cause) for event in failed] == [("alice", "totp_used")] * 2
