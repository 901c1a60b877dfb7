"""Watching a session: every change is told, as soon as this process knows of it; time as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from sessile import Authority, NotFound, Reason
from sessile.kernel.ids import new_session_id
from sessile.kernel.session import SessionInfo
from sessile.testing import ManualClock
from tests.authority.asking import MINUTE, active


@asynccontextmanager
async def watched(authority: Authority, session: str) -> AsyncIterator[AsyncIterator[SessionInfo]]:
    """The states of a session after the first, which is that it lives."""
    states = authority.watch(session)
    try:
        assert (await anext(states)).live
        yield states
    finally:
        await states.aclose()


async def test_what_ends_a_session_is_told(authority: Authority) -> None:
    for ending in ({"session": True}, {"principal": "alice"}, {"everyone": True}):
        issued = await authority.begin("alice", method="password")
        selector = {"session": issued.active.session.id} if "session" in ending else ending
        async with watched(authority, issued.active.session.id) as states:
            await authority.revoke(cause="stolen", **selector)  # type: ignore[arg-type]
            last = await anext(states)
            assert (last.live, last.reason) == (False, Reason.REVOKED)
            assert await anext(states, None) is None


async def test_an_ending_by_another_process_is_told(sqlite_url: str, clock: ManualClock) -> None:
    async with Authority(sqlite_url, clock=clock) as one, Authority(sqlite_url, clock=clock) as other:
        issued = await one.begin("alice", method="password")
        async with watched(one, issued.active.session.id) as states:
            await other.disable("alice", cause="left")
            assert (await anext(states)).reason is Reason.DISABLED


async def test_a_delegation_hears_of_the_end_above_it(authority: Authority) -> None:
    issued = await authority.begin("alice", method="password")
    given = await authority.delegate(await active(authority, issued.token), to="agent:a", scopes=set())
    async with watched(authority, given.active.session.id) as states:
        await authority.revoke(session=issued.active.session.id, cause="logout")
        assert not (await anext(states)).live


async def test_the_end_by_time_is_told_and_before_it_a_warning(authority: Authority, clock: ManualClock) -> None:
    """Review 23: a watcher hears of the session's own deadline even if nothing is pushed."""
    issued = await authority.begin("alice", method="password")
    async with watched(authority, issued.active.session.id) as states:
        clock.advance(58.5 * MINUTE)
        assert (await anext(states)).live
        clock.advance(2 * MINUTE)
        assert (await anext(states)).reason is Reason.IDLE


async def test_a_policy_that_asks_for_more_is_told(authority: Authority) -> None:
    issued = await authority.begin("alice", method="password")
    policy = await authority.store.policy("default")
    assert policy is not None
    async with watched(authority, issued.active.session.id) as states:
        await authority.set_policy(msgspec.structs.replace(policy, assurance=2, version=policy.version + 1))
        told = await anext(states)
        assert (told.live, told.reason) == (True, Reason.ASSURANCE)


async def test_nobody_hears_of_other_sessions(authority: Authority) -> None:
    alice = await authority.begin("alice", method="password")
    bob = await authority.begin("bob", method="password")
    async with watched(authority, alice.active.session.id) as states:
        await authority.revoke(principal="bob", cause="stolen")
        await authority.revoke(session=alice.active.session.id, cause="logout")
        told = await anext(states)
        assert (told.id, told.cause) == (alice.active.session.id, "logout")
    with pytest.raises(NotFound):
        await anext(authority.watch(new_session_id(bob.active.session.partition)))


async def test_whoever_stops_watching_leaves_nothing_behind(authority: Authority) -> None:
    issued = await authority.begin("alice", method="password")
    async with watched(authority, issued.active.session.id) as states:
        waiting = asyncio.ensure_future(anext(states))
        await asyncio.sleep(0)
        assert len(authority.watching) == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(authority.watching) == 0
