"""The near cache as its user sees it, what a cached check costs, and a store that is away."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from sessile import Active, Authority, Cure, Issued, Reason, StoreUnavailable
from sessile.testing import ManualClock
from tests.authority.asking import MINUTE, SECOND, active, cached, denied, reason, rules


async def test_the_cache_is_bounded(url: str, clock: ManualClock) -> None:
    async with Authority(url, clock=clock, capacity=10) as authority:
        issued = [await authority.begin("alice") for _ in range(50)]
        for _ in range(2):
            for each in issued:
                await active(authority, each.token)
                await active(authority, each.token)
        answered = [each for each in issued if authority.peek(each.token)]
        assert len(answered) == 10
        # An eviction costs a read and nothing else: it shuts nobody out, and hides no revocation.
        await authority.revoke(principal="alice", cause="lost")
        for each in issued:
            assert (await denied(authority, each.token)).reason is Reason.REVOKED


def test_a_cache_holds_something() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Authority("memory:", capacity=0)


async def test_a_wall_clock_that_was_set_is_noticed_within_a_minute(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    await cached(authority, issued.token, touch=False)
    clock.step_wall(61 * MINUTE)
    clock.advance(60 * SECOND)
    assert (await denied(authority, issued.token, touch=False)).reason is Reason.IDLE


async def test_an_entry_of_what_was_superseded_confirmed_or_disabled_is_gone(authority: Authority) -> None:
    issued = await authority.begin("alice")
    await cached(authority, issued.token)
    successor = await authority.rotate(issued.active)
    await cached(authority, issued.token)
    assert authority.peek(successor.token) is None
    await active(authority, successor.token)  # its first use
    assert authority.peek(issued.token) is None
    await cached(authority, issued.token)
    elevated = await authority.elevate(successor.active, method="totp")
    for each in (issued, successor):
        assert authority.peek(each.token) is None
    await cached(authority, elevated.token)
    await authority.disable("alice", cause="x")
    assert authority.peek(elevated.token) is None
    await authority.enable("alice")
    again = await authority.begin("alice")
    await cached(authority, again.token)
    await rules(authority, idle=MINUTE)
    assert authority.peek(again.token) is None


async def test_checks_at_once_with_an_ending(authority: Authority) -> None:
    """A read that raced with an invalidation is never kept."""
    for _ in range(50):
        issued = await authority.begin("alice")
        session = issued.active.session.id
        answers = await asyncio.gather(
            *[reason(authority, issued.token) for _ in range(5)],
            authority.revoke(session=session, cause="logout"),
            *[reason(authority, issued.token) for _ in range(5)],
        )
        assert {type(answer) for answer in answers} <= {type(None), Reason, type(answers[5])}
        assert (await denied(authority, issued.token)).reason is Reason.REVOKED


# -- what a cached check costs ---------------------------------------------------------------------------------------


def calls(work: Callable[[], object]) -> int:
    """How many functions `work` calls, Python's and C's: a cost without a clock."""
    counted = 0

    def count(_frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


@pytest.fixture(params=[0, 3])
async def chained(request: pytest.FixtureRequest, authority: Authority) -> Issued:
    """A session of its own, and one three delegations deep."""
    issued = await authority.begin("alice")
    for depth in range(request.param):
        issued = await authority.delegate(issued.active, to=f"agent:d{depth}", scopes={"x"})
    return issued


async def test_a_cached_check_calls_few_functions(url: str, authority: Authority, chained: Issued) -> None:
    """Review 29: a hit is a look-up and two comparisons at any depth. Whoever makes it dearer has to say so here."""
    token = chained.token
    await cached(authority, token)
    peeks = calls(lambda: authority.peek(token))

    def check() -> None:
        waiting = authority.check(token).__await__()
        with pytest.raises(StopIteration):
            next(waiting)

    assert isinstance(authority.peek(token), Active)
    most = {"memory:": 10}.get(url, 13)
    assert peeks <= most
    assert calls(check) > peeks  # the counter counts


async def test_a_cached_check_asks_no_more_the_second_time(authority: Authority, chained: Issued) -> None:
    await cached(authority, chained.token)
    counted = [calls(lambda: authority.peek(chained.token)) for _ in range(3)]
    assert len(set(counted)) == 1


# -- a store that is away --------------------------------------------------------------------------------------------


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """The folder that holds the file, as a volume that may go away."""
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


def move(folder: Path, to: Path) -> None:
    folder.rename(to)


@pytest.mark.requirement("ASVS V16.5.2", "ASVS V16.5.3")
async def test_a_store_that_goes_away_and_comes_back(volume: Path, clock: ManualClock) -> None:
    """`unavailable`, cure `retry`: nobody is let in, nobody is signed out, and nobody has to restart anything."""
    async with Authority(f"sqlite:///{volume}/sessile.db", clock=clock) as authority:
        warm, cold = await authority.begin("alice"), await authority.begin("bob")
        doomed = [await authority.begin("carol") for _ in range(3)]
        away = volume.with_name("away")
        for turn in range(3):
            await cached(authority, warm.token)
            move(volume, away)
            clock.advance(2 * SECOND)  # the path is looked at once a second
            for each in (warm, cold):
                answer = await denied(authority, each.token)
                assert (answer.reason, answer.cure) == (Reason.UNAVAILABLE, Cure.RETRY)
            for refused in (
                authority.begin("alice"),
                authority.sessions(principal="alice"),
                authority.elevate(warm.active, method="totp"),
                authority.rotate(warm.active),
            ):
                with pytest.raises(StoreUnavailable):
                    await refused
            # An ending is repeated until it is acknowledged (review 8): it outlasts a short absence.
            revoking = asyncio.create_task(authority.revoke(session=doomed[turn].active.session.id, cause="logout"))
            await asyncio.wait([revoking], timeout=0.01)
            assert not revoking.done()
            move(away, volume)
            clock.advance(2 * SECOND)
            assert (await revoking).revoked == 1
            assert (await denied(authority, doomed[turn].token)).reason is Reason.REVOKED
            for each in (warm, cold):
                await active(authority, each.token)
        await authority.revoke(session=warm.active.session.id, cause="logout")
        assert (await denied(authority, warm.token)).reason is Reason.REVOKED


async def test_a_store_that_is_away_at_the_first_request(volume: Path, clock: ManualClock) -> None:
    url = f"sqlite:///{volume}/sessile.db"
    async with Authority(url, clock=clock) as authority:
        issued = await authority.begin("alice")
    away = volume.with_name("away")
    move(volume, away)
    authority = Authority(url, clock=clock)
    assert (await denied(authority, issued.token)).reason is Reason.UNAVAILABLE
    assert not authority.is_open
    move(away, volume)
    await active(authority, issued.token)
    await authority.close()


async def test_another_writer_that_does_not_let_go(sqlite_url: str, clock: ManualClock) -> None:
    """Beyond the busy time-out writes are refused; checks go on; the ending is carried through (review 8)."""
    async with Authority(sqlite_url, clock=clock) as authority:
        warm, cold = await authority.begin("alice"), await authority.begin("bob")
        await cached(authority, warm.token)
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        beginning = asyncio.create_task(authority.begin("alice"))
        revoking = asyncio.create_task(authority.revoke(session=warm.active.session.id, cause="logout"))
        for each in (warm, cold):
            await active(authority, each.token)
        assert authority.peek(warm.token)
        with pytest.raises(StoreUnavailable):
            await beginning
        await active(authority, warm.token)
        assert not revoking.done()
        other.execute("ROLLBACK")
        other.close()
        assert (await revoking).revoked == 1
        assert (await denied(authority, warm.token)).reason is Reason.REVOKED
        await active(authority, cold.token)
