"""Work under short lifetimes: parked and taken up again, and approved by another person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from sessile import Active, Authority, Client, Conflict, Issued, LimitExceeded, NotFound, Policy, Reason, Refused
from sessile.kernel.work import LARGEST, Work
from sessile.testing import ManualClock

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Transfer(msgspec.Struct):
    to: str
    amount: int


WORK = Transfer("bob", 100)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def authority(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Authority]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url, policy=Policy.aal2(), clock=clock) as authority:
        yield authority


async def strong(authority: Authority, name: str) -> Active:
    issued = await authority.begin(name, method="password")
    return (await authority.elevate(issued.active, method="totp")).active


async def idle(authority: Authority, clock: ManualClock, name: str = "alice") -> Issued:
    """A session whose inactivity limit was reached."""
    issued = await authority.begin(name, method="password")
    clock.advance(HOUR)
    denied = await authority.check(issued.token)
    assert not denied
    assert denied.reason is Reason.IDLE
    return issued


class TestParked:
    async def test_work_of_an_idle_session_comes_back_to_its_person(
        self, authority: Authority, clock: ManualClock
    ) -> None:
        before = await idle(authority, clock)
        parked = await authority.park(before.token, "transfer to bob", WORK)
        clock.advance(MINUTE)
        again = (await authority.begin("alice", method="password")).active
        (found,) = await authority.parked(again)
        assert (found.id, found.name, found.type) == (parked.id, "transfer to bob", "Transfer")
        assert await authority.resume(again, found.id, Transfer) == WORK
        assert list(await authority.parked(again)) == []
        with pytest.raises(NotFound):
            await authority.resume(again, found.id, Transfer)
        assert not await authority.check(before.token), "parking revives nothing"
        names = [e.name.value for e in await authority.store.events() if e.name.startswith("work.")]
        assert names == ["work.parked", "work.resumed"]

    async def test_work_of_an_expired_session_too(self, authority: Authority, clock: ManualClock) -> None:
        issued = await authority.begin("alice", method="password", lifetime=MINUTE)
        clock.advance(MINUTE)
        await authority.park(issued.token, "transfer", WORK)
        clock.advance(MINUTE)
        assert len(await authority.parked((await authority.begin("alice", method="password")).active)) == 1

    async def test_nobody_else_gets_it(self, authority: Authority, clock: ManualClock) -> None:
        work = await authority.park((await idle(authority, clock)).token, "transfer", WORK)
        clock.advance(MINUTE)
        bob = (await authority.begin("bob", method="password")).active
        assert list(await authority.parked(bob)) == []
        for attempt in (authority.resume(bob, work.id, Transfer), authority.drop(bob, work.id)):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(NotFound):
            await authority.approve(bob, work.id)

    async def test_a_person_proves_itself_anew_first(self, authority: Authority, clock: ManualClock) -> None:
        other = await authority.begin("alice", method="password")
        work = await authority.park((await idle(authority, clock)).token, "transfer", WORK)
        clock.advance(MINUTE)
        with pytest.raises(Refused) as caught:
            await authority.resume(other.active, work.id, Transfer)
        assert (caught.value.denied.reason, caught.value.denied.cure) == ("stale_authentication", "step_up")
        again = await authority.begin("alice", method="password")
        with pytest.raises(ValueError, match="Expected `int`"):
            await authority.resume(again.active, work.id, int)
        assert await authority.resume(again.active, work.id, Transfer) == WORK

    async def test_only_a_timeout_lets_a_token_park(self, authority: Authority, clock: ManualClock) -> None:
        revoked = await authority.begin("alice", method="password")
        stolen = await authority.begin("alice", method="password", client=Client(user_agent="Firefox"))
        rotated = await authority.elevate(stolen.active, method="totp")
        await authority.revoke(session=revoked.active.session.id, cause="x")
        agent = await authority.delegate(rotated.active, to="agent:a", scopes=set())
        clock.advance(HOUR)
        for token in (revoked.token, stolen.token, "slb_nothing", "x" * 5000, agent.token):
            with pytest.raises((Conflict, Refused)):
                await authority.park(token, "transfer", WORK)
        await authority.park(rotated.token, "transfer", WORK)
        await authority.disable("alice", cause="x")
        with pytest.raises(Conflict):
            await authority.park(rotated.token, "transfer", WORK)

    async def test_what_is_kept_is_bounded(self, authority: Authority, clock: ManualClock) -> None:
        token = (await idle(authority, clock)).token
        for name, work, lifetime in (
            ("", WORK, HOUR),
            ("x" * 101, WORK, HOUR),
            ("a\nb", WORK, HOUR),
            ("transfer", WORK, timedelta(days=8)),
            ("transfer", WORK, timedelta(0)),
        ):
            with pytest.raises(ValueError, match="work"):
                await authority.park(token, name, work, lifetime=lifetime)
        with pytest.raises(LimitExceeded):
            await authority.park(token, "transfer", "x" * LARGEST)
        await authority.park(token, "transfer", "x" * (LARGEST - 2))
        for _ in range(9):
            await authority.park(token, "transfer", WORK)
        with pytest.raises(LimitExceeded):
            await authority.park(token, "transfer", WORK)

    async def test_its_time_is_over_to_the_microsecond(self, authority: Authority, clock: ManualClock) -> None:
        token = (await idle(authority, clock)).token
        work = await authority.park(token, "transfer", WORK, lifetime=MINUTE)
        clock.advance(MINUTE - timedelta(microseconds=1))
        again = (await authority.begin("alice", method="password")).active
        assert len(await authority.parked(again)) == 1
        clock.advance(timedelta(microseconds=1))
        assert len(await authority.parked(again)) == 0
        with pytest.raises(NotFound):
            await authority.resume(again, work.id, Transfer)

    @pytest.mark.parametrize("how", ["revoke", "principal", "contain", "disable", "everyone"])
    async def test_an_ending_destroys_it(self, authority: Authority, clock: ManualClock, how: str) -> None:
        before = await idle(authority, clock)
        work = await authority.park(before.token, "transfer", WORK)
        session = before.active.session.id
        if how == "revoke":
            await authority.revoke(session=session, cause="stolen")
        elif how == "principal":
            await authority.revoke(principal="alice", cause="stolen")
        elif how == "contain":
            await authority.contain(session=session, cause="stolen")
        elif how == "disable":
            await authority.disable("alice", cause="stolen")
            await authority.enable("alice")
        else:
            await authority.revoke(everyone=True, cause="stolen")
        clock.advance(MINUTE)
        again = (await authority.begin("alice", method="password")).active
        assert list(await authority.parked(again)) == []
        with pytest.raises(NotFound):
            await authority.resume(again, work.id, Transfer)

    async def test_it_is_taken_up_once(self, authority: Authority, clock: ManualClock) -> None:
        token = (await idle(authority, clock)).token
        for _ in range(100):
            clock.advance(MINUTE / 100)
            work = await authority.park(token, "transfer", WORK)
            clock.advance(MINUTE / 100)
            again = (await authority.begin("alice", method="password")).active
            done = await asyncio.gather(
                *[authority.resume(again, work.id, Transfer) for _ in range(3)], return_exceptions=True
            )
            assert sorted(isinstance(one, NotFound) for one in done) == [False, True, True]


@pytest.mark.requirement("ASVS V2.3.5")
class TestFourEyes:
    async def asked(self, authority: Authority, **more: object) -> tuple[Active, Work]:
        alice = (await authority.begin("alice", method="password")).active
        return alice, await authority.ask_approval(alice, "transfer to bob", WORK, **more)  # type: ignore[arg-type]

    async def test_another_person_approves_and_the_asker_uses_it_once(self, authority: Authority) -> None:
        alice, work = await self.asked(authority)
        bob = await strong(authority, "bob")
        assert [one.id for one in await authority.approvals()] == [work.id]
        with pytest.raises(NotFound):
            await authority.use_approval(alice, work.id, Transfer)
        given = await authority.approve(bob, work.id)
        assert (given.state, given.giver, given.giver_session) == ("given", bob.session.uid, bob.session.id)
        with pytest.raises(Conflict):
            await authority.approve(await strong(authority, "carol"), work.id)
        assert await authority.use_approval(alice, work.id, Transfer) == WORK
        with pytest.raises(NotFound):
            await authority.use_approval(alice, work.id, Transfer)
        names = [e.name.value for e in await authority.store.events() if e.name.startswith("approval.")]
        assert names == ["approval.asked", "approval.given", "approval.used"]

    async def test_nobody_who_stands_behind_the_asker_approves(self, authority: Authority) -> None:
        """Nor does an agent, whoever it acts for."""
        alice = await strong(authority, "alice")
        agent = (await authority.delegate(alice, to="agent:pay", scopes={"pay"})).active
        work = await authority.ask_approval(agent, "transfer", WORK)
        bob = await strong(authority, "bob")
        his = (await authority.delegate(bob, to="agent:bobs", scopes={"pay"})).active
        for one in (alice, agent, his, await strong(authority, "alice")):
            with pytest.raises(Refused) as caught:
                await authority.approve(one, work.id)
            assert caught.value.denied.reason is Reason.OUT_OF_SCOPE
            with pytest.raises(Refused):
                await authority.refuse(one, work.id)
        assert (await authority.approve(bob, work.id)).giver == bob.session.uid
        assert await authority.use_approval(agent, work.id, Transfer) == WORK

    async def test_it_takes_a_fresh_and_high_enough_proof(self, authority: Authority, clock: ManualClock) -> None:
        _, work = await self.asked(authority, scope="pay")
        weak = await authority.begin("bob", method="password")
        with pytest.raises(Refused) as caught:
            await authority.approve(weak.active, work.id)
        assert (caught.value.denied.reason, caught.value.denied.cure) == ("assurance", "step_up")
        strong_one = await strong(authority, "carol")
        clock.advance(5 * MINUTE)
        with pytest.raises(Refused) as caught:
            await authority.approve(strong_one, work.id)
        assert caught.value.denied.reason is Reason.STALE_AUTHENTICATION
        await authority.register("dave", scopes={"read"})
        with pytest.raises(Refused) as caught:
            await authority.approve(await strong(authority, "dave"), work.id)
        assert caught.value.denied.reason is Reason.OUT_OF_SCOPE
        assert (await authority.approve(await strong(authority, "bob"), work.id)).state == "given"

    async def test_it_is_used_in_the_session_that_asked(self, authority: Authority) -> None:
        alice, work = await self.asked(authority)
        await authority.approve(await strong(authority, "bob"), work.id)
        with pytest.raises(NotFound):
            await authority.use_approval((await authority.begin("alice", method="password")).active, work.id, Transfer)
        alice = (await authority.elevate(alice, method="totp")).active
        assert await authority.use_approval(alice, work.id, Transfer) == WORK

    @pytest.mark.parametrize("given", [False, True])
    async def test_it_dies_with_the_session_that_asked(self, authority: Authority, given: bool) -> None:
        alice, work = await self.asked(authority)
        bob = await strong(authority, "bob")
        if given:
            await authority.approve(bob, work.id)
        await authority.revoke(session=alice.session.id, cause="stolen")
        assert list(await authority.approvals()) == []
        with pytest.raises(NotFound):
            await authority.approve(bob, work.id)
        with pytest.raises(NotFound):
            await authority.use_approval(alice, work.id, Transfer)

    async def test_it_dies_with_what_the_asker_hung_on(self, authority: Authority) -> None:
        """No row of the agent's session says that it is over."""
        alice = await strong(authority, "alice")
        agent = (await authority.delegate(alice, to="agent:pay", scopes={"pay"})).active
        work = await authority.ask_approval(agent, "transfer", WORK)
        bob = await strong(authority, "bob")
        await authority.approve(bob, work.id)
        await authority.revoke(session=alice.session.id, cause="stolen")
        assert list(await authority.approvals()) == []
        with pytest.raises(NotFound):
            await authority.use_approval(agent, work.id, Transfer)

    async def test_it_dies_with_the_session_that_gave_it(self, authority: Authority) -> None:
        alice, work = await self.asked(authority)
        await authority.approve(bob := await strong(authority, "bob"), work.id)
        await authority.contain(session=bob.session.id, cause="stolen")
        with pytest.raises(NotFound):
            await authority.use_approval(alice, work.id, Transfer)

    async def test_one_whose_session_is_over_approves_and_uses_nothing(self, authority: Authority) -> None:
        """The proof of an earlier check is read again."""
        _, work = await self.asked(authority)
        bob = await strong(authority, "bob")
        await authority.revoke(session=bob.session.id, cause="stolen")
        with pytest.raises(Conflict):
            await authority.approve(bob, work.id)
        other = await authority.begin("carol", method="password")
        await authority.revoke(session=other.active.session.id, cause="stolen")
        with pytest.raises(Conflict):
            await authority.ask_approval(other.active, "transfer", WORK)

    async def test_it_may_be_refused_or_taken_back(self, authority: Authority) -> None:
        alice, work = await self.asked(authority)
        await authority.refuse((await authority.begin("bob", method="password")).active, work.id)
        with pytest.raises(NotFound):
            await authority.approve(await strong(authority, "carol"), work.id)
        again = await authority.ask_approval(alice, "transfer", WORK)
        await authority.drop(alice, again.id)
        assert list(await authority.approvals(principal="alice")) == []

    async def test_of_many_that_use_it_at_once_one_does(self, authority: Authority) -> None:
        bob = await strong(authority, "bob")
        alice = (await authority.begin("alice", method="password")).active
        for _ in range(100):
            work = await authority.ask_approval(alice, "transfer", WORK)
            await authority.approve(bob, work.id)
            done = await asyncio.gather(
                *[authority.use_approval(alice, work.id, Transfer) for _ in range(3)], return_exceptions=True
            )
            assert sorted(isinstance(one, NotFound) for one in done) == [False, True, True]

    async def test_nothing_is_used_after_the_receipt_of_a_revocation(self, authority: Authority) -> None:
        bob = await strong(authority, "bob")
        for _ in range(100):
            alice, work = await self.asked(authority)
            await authority.approve(bob, work.id)
            await asyncio.gather(
                authority.use_approval(alice, work.id, Transfer),
                authority.revoke(session=alice.session.id, cause="stolen"),
                return_exceptions=True,
            )
            with pytest.raises(NotFound):
                await authority.use_approval(alice, work.id, Transfer)
