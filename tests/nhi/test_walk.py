"""What was over with something that ended is told in the record, and so is a dead token that is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Issued, Policy, Reason
from sessile.clock import SystemClock
from sessile.kernel.event import Event, EventName
from sessile.near import NearCache
from sessile.nhi.walk import walk_all
from sessile.stores import open_url
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import HOUR, MINUTE, reason
from tests.program import Program

Ends = Callable[[Authority, Issued], Awaitable[Any]]
ENDINGS: dict[str, Ends] = {
    "logout": lambda a, top: a.revoke(session=top.active.session.id, cause="logout", by=top.active),
    "left": lambda a, top: a.disable("alice", cause="left"),
    "gone": lambda a, top: a.delete("alice", cause="gone"),
    "all of hers": lambda a, top: a.revoke(principal="alice", cause="all of hers"),
    "limit": lambda a, top: a.begin("alice"),
    "replaced": lambda a, top: a.begin("alice", replaces=top.active),
    "stolen": lambda a, top: a.contain(session=top.active.session.id, cause="stolen"),
}


async def over(authority: Authority) -> list[Event]:
    await walk_all(authority.store, pause=0)
    return list(await authority.store.events(names={EventName.SESSION_OVER}))


@pytest.mark.parametrize("cause", ENDINGS)
async def test_whatever_ends_a_session_says_so_of_each_agents_session_below(authority: Authority, cause: str) -> None:
    """Review 11. Which agent, for whom, what, why, by whom, in which correlation, with what assurance."""
    await authority.set_policy(Policy.aal2(version=2, max_sessions=1))
    alice = await authority.begin("alice")
    one = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    two = await authority.delegate(one.active, to="agent:b", scopes={"x"})
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    await ENDINGS[cause](authority, alice)
    found = {event.session: event for event in await over(authority)}
    expected = [one, two, *([key] if cause == "stolen" else [])]
    assert set(found) == {each.active.session.id for each in expected}
    event = found[two.active.session.id]
    assert (event.principal, event.uid, event.cause) == ("agent:b", two.active.session.uid, cause)
    details = event.details
    assert details["for"] == [each.active.session.uid for each in (alice, one, two)]
    assert (details["correlation"], details["assurance"]) == (alice.active.session.id, 1)
    assert (details["action"], details["decision"], details["kind"]) == ("session.over", "allowed", "delegated")
    assert details["with"] in (alice.active.session.id, alice.active.session.uid)
    assert isinstance(details["ending"], int)
    (ending,) = await authority.store.events(after=details["ending"] - 1, limit=1)
    assert (ending.cause, ending.by.name) == (cause, event.by.name)
    assert details.get("containment") == ending.details.get("containment")
    assert (cause == "stolen") == ("containment" in details)


@pytest.mark.parametrize("walked", [True, False])
@pytest.mark.parametrize(("cause", "why"), [
    ("logout", Reason.REVOKED), ("left", Reason.DISABLED), ("all of hers", Reason.REVOKED), ("stolen", Reason.REVOKED),
])  # fmt: skip
async def test_an_agents_token_that_is_over_and_used_is_recorded_with_why(
    authority: Authority, cause: str, why: Reason, walked: bool
) -> None:
    alice = await authority.begin("alice")
    one = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    await ENDINGS[cause](authority, alice)
    if walked:
        await over(authority)
    used = [one, *([key] if cause == "stolen" else [])]
    for _ in range(3):
        for each in used:
            assert await reason(authority, each.token) is why
    await authority.traces.flush(authority.store)
    denied = list(await authority.store.events(names={EventName.ACCESS_DENIED}))
    assert {event.session for event in denied} == {each.active.session.id for each in used}
    assert len(denied) == len(used), "once, however often"
    for event in denied:
        by = "alice" if cause == "logout" else "system"
        assert (event.cause, event.details["decision"], event.details["ended_by"]) == (cause, why, by)
        assert (event.details["resource"], event.details["action"]) == ("token", "use")
        assert event.details["correlation"] == alice.active.session.id
    assert not [event for event in denied if event.principal == "alice"], "and of a person nothing"


async def test_a_containment_long_after_the_end_is_why(authority: Authority) -> None:
    """The session keeps its first cause; what its key was ended by is the containment."""
    alice = await authority.begin("alice")
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    await authority.revoke(session=alice.active.session.id, cause="logout")
    await authority.contain(session=alice.active.session.id, cause="laptop stolen")
    assert await reason(authority, key.token) is Reason.REVOKED
    await authority.traces.flush(authority.store)
    (event,) = await authority.store.events(names={EventName.ACCESS_DENIED})
    assert event.cause == "laptop stolen"


async def test_what_time_ends_is_not_told(authority: Authority, clock: ManualClock) -> None:
    alice = await authority.begin("alice")
    await authority.delegate(alice.active, to="agent:a", scopes={"x"}, lifetime=10 * MINUTE)
    clock.advance(20 * MINUTE)
    await authority.revoke(session=alice.active.session.id, cause="logout")
    again = await authority.begin("alice")
    await authority.delegate(again.active, to="agent:a", scopes={"x"}, lifetime=12 * HOUR)
    clock.advance(2 * HOUR)  # idle
    await authority.disable("alice", cause="left")
    assert await over(authority) == []


async def test_what_is_minted_after_a_containment_is_not_of_it(authority: Authority, clock: ManualClock) -> None:
    """Alice is contained, signs in again and goes on: the report closes all the same, and says nothing of the new."""
    alice = await authority.begin("alice")
    old = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    report = await authority.contain(principal="alice", cause="stolen")
    clock.advance(MINUTE)
    new = await authority.mint_key((await authority.begin("alice")).active, owner="service:cd", scopes={"x"})
    assert [event.session for event in await over(authority)] == [old.active.session.id]
    assert report.id is not None
    stored = await authority.store.containment(report.id)
    assert stored is not None
    again = await authority.contain(principal="alice", cause="stolen", dry_run=True)
    assert again.radius is not None
    assert {one.id for one in again.radius.sessions if one.fate == "ends"} >= {new.active.session.id}
    assert await reason(authority, new.token) is None


async def test_whoever_dies_after_the_commit_another_process_tells_it(tmp_path: Path) -> None:
    """The walk was left by the ending's own transaction. A command does it before it is gone."""
    url = f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url) as authority:
        roots = [await authority.begin(name) for name in ("alice", "bob")]
        agents = [await authority.delegate(each.active, to=f"agent:{n}", scopes={"x"}) for n, each in enumerate(roots)]
    store = open_url(url, clock=SystemClock(), create=False)
    await store.open(NearCache())
    await store.end(End(session=roots[0].active.session.id, cause="stolen laptop"))
    assert len(await store.walks()) == 1
    assert await store.events(names={EventName.SESSION_OVER}) == []
    await store.close()  # as a process leaves it that dies here
    async with Authority(url) as authority:
        told = asyncio.Event()
        authority.on(EventName.SESSION_OVER)(lambda _: told.set())
        await told.wait()
        found = await authority.store.events(names={EventName.SESSION_OVER})
    assert [(event.session, event.cause) for event in found] == [(agents[0].active.session.id, "stolen laptop")]
    done = await asyncio.to_thread(
        Program(tmp_path).run, "revoke", "--session", roots[1].active.session.id, "--cause", "left"
    )
    assert done.returncode == 0, done.stderr
    await store.open(NearCache())
    last = (await store.events(names={EventName.SESSION_OVER}))[-1]
    assert (last.session, last.cause, last.by.name) == (agents[1].active.session.id, "left", "cli")
    await store.close()
