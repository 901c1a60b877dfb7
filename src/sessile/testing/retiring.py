"""Conformance: keys that another takes the place of."""

from __future__ import annotations

import asyncio

import pytest

from sessile.errors import Conflict, NotFound
from sessile.kernel.event import SYSTEM, Actor, EventName
from sessile.kernel.ids import new_session_id
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.kernel.trace import TraceKind
from sessile.testing.races import together
from sessile.testing.world import DAY, HOUR, MINUTE, TICK, Node, World

RACES = 20


class Retiring:
    async def test_a_retired_key_counts_until_the_overlap_ends_and_is_a_replay_then(self, world: World) -> None:
        alice, ci, agent = [await world.person(name) for name in ("alice", "service:ci", "agent:a")]
        top = await world.sign_in(alice)
        key, sibling = await world.mint(top, ci), await world.mint(top, ci)
        child = await world.delegate(key, agent)
        assert await world.keep(key)
        world.clock.advance(MINUTE)
        until = world.clock.now() + HOUR
        retired = await world.store.retire(key.id, until, sibling.id, Actor(name="alice"))
        assert (retired.expires, retired.generation, retired.rotated_out) == (until, 1, True)
        assert await world.current()
        assert not world.kept(key), "a yes that will be a no earlier than it was thought"
        assert (await world.snapshot(key)).session == retired
        event = (await world.events(session=key.id))[-1]
        assert (event.name, event.by.name) == (EventName.KEY_ROTATED, "alice")
        assert event.details["successor"] == sibling.id
        world.clock.advance(HOUR - TICK)
        assert await world.alive(key, child, sibling) == [True] * 3
        world.clock.advance(TICK)
        assert await world.reason(key) is Reason.REPLAYED
        assert [await world.reason(each) for each in (child, sibling)] == [Reason.EXPIRED, None]
        assert not (await world.info(key)).live

    async def test_a_key_is_retired_once_and_only_alive(self, world: World) -> None:
        alice, ci = [await world.person(name) for name in ("alice", "service:ci")]
        top = await world.sign_in(alice)
        key, gone, late = [await world.mint(top, ci) for _ in range(3)]
        until = world.clock.now() + 3 * DAY
        await world.end(gone)
        await world.store.retire(key.id, until, late.id, SYSTEM)
        before = await world.everything(key, gone, top)
        for each in (key, gone, top):
            with pytest.raises(Conflict):
                await world.store.retire(each.id, until, late.id, SYSTEM)
        with pytest.raises(NotFound):
            await world.store.retire(new_session_id("0"), until, late.id, SYSTEM)
        assert await world.everything(key, gone, top) == before

    async def test_no_overlap_lengthens_a_life(self, world: World) -> None:
        alice, ci = [await world.person(name) for name in ("alice", "service:ci")]
        key = await world.mint(await world.sign_in(alice), ci, lifetime=HOUR)
        retired = await world.store.retire(key.id, world.clock.now() + DAY, key.id, SYSTEM)
        assert retired.expires == key.session.expires
        past = await world.mint(await world.sign_in(alice), ci)
        assert (await world.store.retire(past.id, world.clock.now() - DAY, key.id, SYSTEM)).expires == world.clock.now()
        assert await world.reason(past) is Reason.REPLAYED

    async def test_of_many_that_retire_a_key_one_does_and_revocation_wins(
        self, world: World, nodes: list[Node]
    ) -> None:
        alice, ci = [await world.person(name) for name in ("alice", "service:ci")]
        top = await world.sign_in(alice)
        keys = await asyncio.gather(*(world.mint(top, ci) for _ in range(RACES)))
        until = world.clock.now() + DAY
        both = await together(
            *(nodes[n % len(nodes)].store.retire(keys[n // 2].id, until, top.id, SYSTEM) for n in range(2 * RACES))
        )
        assert sum(isinstance(each, Session) for each in both) == RACES
        for n in range(RACES):
            assert sum(isinstance(each, Session) for each in both[2 * n : 2 * n + 2]) == 1
        keys = await asyncio.gather(*(world.mint(top, ci) for _ in range(RACES)))
        await together(
            *(nodes[-1].store.retire(key.id, until, top.id, SYSTEM) for key in keys), *(world.end(key) for key in keys)
        )
        assert [await world.reason(key) for key in keys] == [Reason.REVOKED] * RACES

    async def test_whoever_minted_was_shown_the_secret(self, world: World) -> None:
        alice, ci, agent = [await world.person(name) for name in ("alice", "service:ci", "agent:a")]
        top = await world.sign_in(alice)
        key = await world.mint(top, ci)
        await world.delegate(top, agent)
        (trace,) = await world.store.traces(kind=TraceKind.SHOWN)
        assert (trace.subject, trace.what, trace.how) == (alice.uid, key.id, "minted")
        assert trace.first == trace.last == key.session.created
