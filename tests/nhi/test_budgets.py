"""Budgets: calls per minute and overall, over all sessions of an agent, its own delegations and all processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sessile import Authority, Cure, Reason
from sessile.kernel.budget import Budget
from sessile.testing import ManualClock
from tests.authority.asking import MINUTE, SECOND, denied, events, reason, reasons


async def calls(authority: Authority, token: str, count: int) -> list[Reason | None]:
    return [await reason(authority, token) for _ in range(count)]


async def test_so_many_calls_a_minute(authority: Authority, clock: ManualClock) -> None:
    alice = await authority.begin("alice")
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    other = await authority.delegate(alice.active, to="agent:b", scopes={"x"})
    assert await calls(authority, agent.token, 3) == [None] * 3
    clock.advance(20 * SECOND)
    await authority.set_budget("agent:a", Budget(per_minute=5))
    assert await calls(authority, agent.token, 5) == [None] * 5, "set from now on, also for what is cached"
    over = await denied(authority, agent.token)
    assert (over.reason, over.cure, over.wait) == (Reason.OVER_BUDGET, Cure.RETRY, 40 * SECOND)
    assert await reasons(authority, [other, alice]) == [None, None]
    assert authority.peek(agent.token, touch=False) is not None, "what is no call is not counted"
    assert await authority.check(agent.token, touch=False)
    clock.advance(40 * SECOND)
    assert await calls(authority, agent.token, 6) == [None] * 5 + [Reason.OVER_BUDGET]
    await authority.traces.flush(authority.store)
    (event,) = [one for one in await events(authority) if one.name == "access.denied"]
    assert (event.principal, event.cause, event.details["resource"]) == ("agent:a", "over_budget", "budget")
    await authority.set_budget("agent:a", None)
    assert await calls(authority, agent.token, 9) == [None] * 9


async def test_so_many_calls_overall_and_what_it_hands_on_counts(authority: Authority, clock: ManualClock) -> None:
    alice = await authority.begin("alice")
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    await authority.set_budget("agent:a", Budget(overall=6))
    helper = await authority.delegate(agent.active, to="agent:helper", scopes={"x"})
    again = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    assert await calls(authority, helper.token, 2) == [None] * 2
    assert await calls(authority, agent.token, 2) == [None] * 2
    assert await calls(authority, again.token, 2) == [None] * 2
    assert await reasons(authority, [agent, helper, again]) == [Reason.OVER_BUDGET] * 3
    assert (await denied(authority, helper.token)).wait is None
    clock.advance(10 * MINUTE)
    assert await reasons(authority, [agent, helper]) == [Reason.OVER_BUDGET] * 2
    await authority.set_budget("agent:a", Budget(overall=1))
    assert await calls(authority, helper.token, 2) == [None, Reason.OVER_BUDGET]


async def test_people_have_no_budget(authority: Authority) -> None:
    await authority.register("alice")
    with pytest.raises(ValueError, match="agents"):
        await authority.set_budget("alice", Budget(overall=1))
    with pytest.raises(ValueError, match="budget"):
        Budget()
    with pytest.raises(ValueError, match="budget"):
        Budget(per_minute=0)


async def test_processes_add_up(tmp_path: Path) -> None:
    """Over all of them it is exceeded by at most what the others let through since they last reported."""
    clock = ManualClock()
    url = f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url, clock=clock) as one, Authority(url, clock=clock) as two:
        alice = await one.begin("alice")
        agent = await one.delegate(alice.active, to="agent:a", scopes={"x"})
        assert await reason(two, agent.token) is None
        await one.set_budget("agent:a", Budget(overall=10))
        await two.add_up_budgets()
        assert await calls(one, agent.token, 4) == [None] * 4
        assert await calls(two, agent.token, 3) == [None] * 3
        for each in (one, two, one):
            await each.add_up_budgets()
        standing = await one.budget("agent:a")
        assert standing is not None
        assert standing.overall == 7
        assert await calls(one, agent.token, 4) == [None] * 3 + [Reason.OVER_BUDGET]
        await asyncio.gather(*(each.add_up_budgets() for each in (one, two)))
        await two.add_up_budgets()
        assert await reason(two, agent.token) is Reason.OVER_BUDGET
    async with Authority(url, clock=clock) as three:
        assert await reason(three, agent.token) is Reason.OVER_BUDGET, "what was spent outlives the processes"
