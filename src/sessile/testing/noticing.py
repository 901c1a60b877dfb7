"""Conformance: what is noticed, and budgets."""

from __future__ import annotations

import asyncio

import pytest

from sessile.errors import NotFound
from sessile.kernel.budget import Budget, minute_of
from sessile.kernel.event import SYSTEM, Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.trace import ALLOWED, Trace, TraceKind
from sessile.stores.noticing import KEPT, MOST_TRACES, OTHERS, SHOWN_KEPT, Noticed
from sessile.testing.world import MINUTE, SECOND, Node, World


def touch(world: World, subject: str, what: str, how: str = "read", decision: str = ALLOWED) -> Trace:
    now = world.clock.now()
    return Trace(subject=subject, kind=TraceKind.TOUCH, what=what, how=how, decision=decision, first=now, last=now)


class Noticing:
    async def test_traces_of_the_same_add_up_and_the_first_writes_its_event(self, world: World) -> None:
        event = Event(name=EventName.RESOURCE_TOUCHED, session="ses_one")
        one = touch(world, "ses_one", "secret:db")
        other = touch(world, "ses_one", "secret:db", "write")
        await world.store.notice([Noticed(one, event), Noticed(other)])
        world.clock.advance(SECOND)
        later = touch(world, "ses_one", "secret:db")
        denied = touch(world, "ses_one", "secret:db", decision="out_of_scope")
        await world.store.notice([Noticed(later, event), Noticed(denied, event)])
        found = await world.store.traces(kind=TraceKind.TOUCH)
        assert [(each.how, each.decision, each.times, each.first, each.last) for each in found] == [
            ("read", "out_of_scope", 1, later.first, later.last), ("read", ALLOWED, 2, one.first, later.last),
            ("write", ALLOWED, 1, one.first, one.last),
        ]  # fmt: skip
        assert await world.happened(session="ses_one") == [EventName.RESOURCE_TOUCHED.value] * 2
        await world.store.notice([])

    async def test_finding_traces(self, world: World) -> None:
        at = {}
        for name in ("a", "b", "c"):
            at[name] = world.clock.now()
            await world.store.notice([Noticed(touch(world, f"ses_{name}", f"path:{name}"))])
            world.clock.advance(MINUTE)

        async def whats(**query: object) -> list[str]:
            return [each.what[-1] for each in await world.store.traces(kind=TraceKind.TOUCH, **query)]  # type: ignore[arg-type]

        assert await whats() == ["c", "b", "a"]
        assert await whats(limit=1) == ["c"]
        assert await whats(subjects=["ses_a", "ses_c", "ses_x"]) == ["c", "a"]
        assert await whats(subjects=[]) == []
        assert await whats(what=["path:b"]) == ["b"]
        assert await whats(since=at["b"]) == ["c", "b"]
        assert await world.store.traces(kind=TraceKind.USE) == []

    async def test_so_many_of_a_subject_and_the_rest_together(self, world: World) -> None:
        many = [Noticed(touch(world, "ses_one", f"path:{n:04}")) for n in range(MOST_TRACES + 5)]
        await world.store.notice([*many, Noticed(touch(world, "ses_two", "path:x"))])
        found = await world.store.traces(kind=TraceKind.TOUCH, subjects=["ses_one"], what=[OTHERS])
        assert [(each.what, each.how, each.times) for each in found] == [(OTHERS, "", 5)]
        await world.store.notice(many[:1])
        (first,) = await world.store.traces(kind=TraceKind.TOUCH, subjects=["ses_one"], what=["path:0000"])
        assert first.times == 2, "what is kept apart stays so"
        assert len(await world.store.traces(kind=TraceKind.TOUCH, subjects=["ses_two"])) == 1

    async def test_old_traces_are_swept(self, world: World) -> None:
        await world.store.notice([Noticed(touch(world, "ses_one", "path:old"))])
        world.clock.advance(SECOND)
        await world.store.notice([Noticed(touch(world, "ses_one", "path:new"))])
        world.clock.advance(KEPT)
        await world.store.sweep()
        assert [each.what for each in await world.store.traces(kind=TraceKind.TOUCH)] == ["path:new"]

    async def test_who_saw_a_secret_is_kept_apart_and_for_long(self, world: World) -> None:
        """NHI1-c: as long as anybody may let a key live, and however many somebody minted."""
        now = world.clock.now()
        saw = [
            Trace(subject="prn_a", kind=TraceKind.SHOWN, what=f"ses_{n:04}", how="minted", first=now, last=now)
            for n in range(MOST_TRACES + 1)
        ]
        await world.store.notice([Noticed(one) for one in saw])
        world.clock.advance(2 * KEPT)
        await world.store.sweep()
        for one in (saw[0], saw[-1]):
            assert len(await world.store.traces(kind=TraceKind.SHOWN, what=[one.what])) == 1
        world.clock.advance(SHOWN_KEPT)
        await world.store.sweep()
        assert await world.store.traces(kind=TraceKind.SHOWN) == []

    async def test_budgets_are_set_and_spent(self, world: World) -> None:
        agent, other = [await world.person(name) for name in ("agent:a", "agent:b")]
        assert (await world.store.spend({agent.uid: 3}, None))[1] == []
        budget = Budget(per_minute=10, overall=100)
        set_at = world.clock.now()
        standing = await world.store.set_budget(agent.uid, budget, SYSTEM)
        assert (standing.budget, standing.changed, standing.overall) == (budget, set_at, 0)
        assert await world.happened(uid=agent.uid) == ["principal.registered", "budget.set"]
        await world.store.spend({agent.uid: 3, other.uid: 4}, None)
        now, (standing,) = await world.store.spend({agent.uid: 2}, world.clock.now() + SECOND)
        assert (standing.in_minute, standing.overall, standing.minute) == (5, 5, minute_of(now))
        world.clock.advance(MINUTE)
        (standing,) = (await world.store.spend({agent.uid: 1}, None))[1]
        assert (standing.in_minute, standing.overall) == (1, 6)
        await world.store.set_budget(agent.uid, budget, SYSTEM)
        (standing,) = (await world.store.spend({}, None))[1]
        assert standing.overall == 0, "set anew, it counts anew"

    async def test_who_has_a_budget_by_when_it_was_set(self, world: World) -> None:
        agent, other = [await world.person(name) for name in ("agent:a", "agent:b")]
        await world.store.set_budget(agent.uid, Budget(overall=1), SYSTEM)
        world.clock.advance(SECOND)
        since = world.clock.now()
        await world.store.set_budget(other.uid, Budget(per_minute=1), SYSTEM)
        assert {each.uid for each in (await world.store.spend({}, None))[1]} == {agent.uid, other.uid}
        assert {each.uid for each in (await world.store.spend({}, since))[1]} == {other.uid}
        world.clock.advance(SECOND)
        since = world.clock.now()
        await world.store.set_budget(other.uid, None, SYSTEM)
        (taken,) = (await world.store.spend({}, since))[1]
        assert (taken.uid, taken.budget) == (other.uid, None)
        assert {each.uid for each in (await world.store.spend({}, None))[1]} == {agent.uid}
        with pytest.raises(NotFound):
            await world.store.set_budget(new_id("prn"), Budget(overall=1), SYSTEM)

    async def test_calls_that_are_counted_at_once_are_all_counted(self, world: World, nodes: list[Node]) -> None:
        agent, other = [await world.person(name) for name in ("agent:a", "agent:b")]
        for each in (agent, other):
            await world.store.set_budget(each.uid, Budget(overall=1_000), SYSTEM)
        calls = {other.uid: 2, agent.uid: 1}
        await asyncio.gather(*(nodes[n % len(nodes)].store.spend(calls, None) for n in range(20)))
        found = {each.uid: each.overall for each in (await world.store.spend({}, None))[1]}
        assert found == {agent.uid: 20, other.uid: 40}
