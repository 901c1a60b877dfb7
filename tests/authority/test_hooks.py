"""Hooks: told after the commit, in order, whatever they do themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sessile import Authority
from sessile.hooks import WAITING
from sessile.kernel.event import Event, EventName

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory:", "sqlite"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    return Authority(request.param if request.param == "memory:" else f"sqlite:///{tmp_path}/a.db")


async def test_a_hook_is_told_after_the_commit(authority: Authority) -> None:
    """Review 28: hooks. What it is told is in the record already, and it may act on the authority."""
    told: list[Event] = []
    found: list[bool] = []
    ended = asyncio.Event()

    @authority.on("session.begun", EventName.SESSION_REVOKED)
    async def tell(event: Event) -> None:
        told.append(event)
        found.append(event in await authority.store.events(session=event.session))
        if event.name is EventName.SESSION_BEGUN:
            await authority.revoke(session=event.session, cause="by the hook")
        else:
            ended.set()

    async with authority:
        issued = await authority.begin("alice", method="password")
        await asyncio.wait_for(ended.wait(), 10)
        assert not await authority.check(issued.token)
    assert [event.name.value for event in told] == ["session.begun", "session.revoked"]
    assert found == [True, True]


async def test_a_hook_that_fails_undoes_nothing_and_keeps_nobody_from_being_told(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    @authority.on()
    def fail(event: Event) -> None:
        raise RuntimeError("no mail today")

    authority.on()(lambda event: told.append(event.name.value))
    async with authority:
        issued = await authority.begin("alice", method="password")
        assert await authority.check(issued.token)
    assert told == ["principal.registered", "session.begun"]
    assert "a hook failed at event" in caplog.text
    assert "no mail today" in caplog.text


async def test_what_was_not_committed_is_not_told(authority: Authority) -> None:
    told: list[Event] = []
    async with authority:
        await authority.register("alice")
        authority.on()(told.append)
        with pytest.raises(Exception, match="alice already"):
            await authority.register("alice")
        await authority.register("bob")
    assert [event.principal for event in told] == ["bob"]


async def test_a_hook_is_told_although_whoever_asked_was_cancelled(tmp_path: Path) -> None:
    told: list[Event] = []
    authority = Authority(f"sqlite:///{tmp_path}/a.db")
    async with authority:
        authority.on("principal.registered")(told.append)
        task = asyncio.create_task(authority.register("alice"))
        await asyncio.sleep(0)  # it is in the writer's queue
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await authority.register("bob")
        written = [event for event in await authority.store.events() if event.name is EventName.PRINCIPAL_REGISTERED]
    assert [event.principal for event in written] == ["alice", "bob"]
    assert [event.seq for event in told] == [event.seq for event in written]


async def test_a_hook_that_hangs_costs_a_bounded_number_of_events(caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority("memory:")
    hanging = asyncio.Event()

    @authority.on("sign_in.failed")
    async def hang(event: Event) -> None:
        await hanging.wait()

    async with authority:
        for _ in range(WAITING + 2):
            await authority.store.record(Event(name=EventName.SIGN_IN_FAILED))
            await asyncio.sleep(0)
        assert caplog.text.count("a hook is too slow") == 1
        hanging.set()


def test_a_name_that_no_event_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="sesion"):
        Authority("memory:").on("sesion.begun")
