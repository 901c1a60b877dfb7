"""Conformance: what was over with something that ended, told afterwards."""

from __future__ import annotations

import asyncio

import msgspec

from sessile.kernel.event import Event, EventName
from sessile.kernel.principal import Status
from sessile.kernel.session import Tie
from sessile.nhi.walk import walk_all
from sessile.stores import Backend
from sessile.stores.protocol import End
from sessile.testing.world import MINUTE, TICK, Holder, Node, World


async def told(world: World, store: Backend | None = None) -> list[Event]:
    """All that the record says was over with something else, once every walk is done."""
    await walk_all(store or world.store, pause=0)
    assert list(await world.store.walks()) == []
    return list(await world.events(names={EventName.SESSION_OVER}))


def whose(events: list[Event]) -> set[str | None]:
    return {event.session for event in events}


class Walking:
    async def test_each_that_was_over_with_it_is_told_once_and_nothing_else(self, world: World) -> None:
        """Review 11: walked afterwards, for the events; a life of its own goes on."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top, other = await world.sign_in(alice), await world.sign_in(alice)
        child = await world.delegate(top, agent)
        below = await world.delegate(child, agent)
        gone, short = await world.delegate(top, agent), await world.delegate(top, agent, lifetime=MINUTE)
        key = await world.mint(child, ci)
        await world.delegate(other, agent)
        await world.end(gone, "misbehaved")
        world.clock.advance(MINUTE)
        await world.end(top, "logout")
        (ending,) = await world.events(session=top.id, names={EventName.SESSION_REVOKED})
        found = await told(world)
        assert [(event.session, event.cause) for event in found] == [(child.id, "logout"), (below.id, "logout")]
        assert short.id not in whose(found), "its time was over before"
        for event in found:
            assert (event.details["with"], event.details["ending"]) == (top.id, ending.seq)
            assert event.details["for"] == [alice.uid, *[agent.uid] * (1 + (event.session == below.id))]
            assert (event.details["correlation"], event.by.name) == (top.id, ending.by.name)
        await world.end(top, "again")
        assert len(await told(world)) == 2
        await world.end(top, "stolen", contain_since=top.session.created)
        assert whose((await told(world))[2:]) == {key.id}

    async def test_of_a_principal(self, world: World) -> None:
        """Also where others end before the walk: each is told of with what ended it first."""
        alice, agent = [await world.person(name) for name in ("alice", "agent:a")]
        top = await world.sign_in(alice)
        old = await world.delegate(top, agent)
        await world.store.end(End(uid=alice.uid, cause="first"))
        top = await world.sign_in(alice)
        child, key = await world.delegate(top, agent), await world.mint(top, agent)
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="left"))
        await world.store.end(End(uid=agent.uid, status=Status.DISABLED, cause="left with alice"))
        await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="back"))
        world.clock.advance(TICK)
        await world.end(child, "late")
        found = {event.session: (event.cause, event.details["with"]) for event in await told(world)}
        assert found == {
            old.id: ("first", alice.uid), child.id: ("left", alice.uid), key.id: ("left with alice", agent.uid),
        }  # fmt: skip

    async def test_what_makes_room_and_what_is_kept(self, world: World) -> None:
        await world.policy(max_sessions=1)
        alice, agent = [await world.person(name) for name in ("alice", "agent:a")]
        first = await world.sign_in(alice)
        one = await world.delegate(first, agent)
        second = await world.sign_in(alice)
        two = await world.delegate(second, agent)
        third = await world.sign_in(alice, replaces=second.id)
        three = await world.delegate(third, agent)
        await world.store.end(End(uid=alice.uid, cause="password", keep=third.id))
        assert [(event.session, event.cause) for event in await told(world)] == [
            (one.id, "limit"), (two.id, "replaced")
        ]  # fmt: skip
        assert await world.alive(three) == [True]

    async def test_it_goes_on_where_it_stopped_whoever_walks(self, world: World, nodes: list[Node]) -> None:
        """Whatever dies in between: nothing is told twice, and nothing is left out."""
        alice, agent = [await world.person(name) for name in ("alice", "agent:a")]
        top = await world.sign_in(alice)
        children = [await world.delegate(top, agent) for _ in range(120)]
        await world.end(top)
        (walk,) = await world.store.walks()
        page = await world.store.handed_out(root=top.id, limit=1_000)
        done = msgspec.structs.replace(walk, done=page.items[70].session.id)
        batch = [Event(name=EventName.SESSION_OVER, session=one.session.id) for one in page.items[1:71]]
        assert await world.store.walk_on(walk, done, batch)
        assert not await world.store.walk_on(walk, done, batch), "somebody else walked on"
        assert not await world.store.walk_on(walk, None, batch)
        await asyncio.gather(*(walk_all(node.store, pause=0) for node in (*nodes, *nodes)))
        found = [event.session for event in await told(world)]
        assert sorted(map(str, found)) == sorted(each.id for each in children)

    async def test_leases_and_what_hangs_on_a_key(self, world: World) -> None:
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top = await world.sign_in(alice)
        key = await world.mint(top, ci)
        held: list[Holder] = [
            await world.delegate(key, agent),
            await world.begin(world.key(key, ci, tie=Tie.PARENT)),
        ]
        await world.end(key, "found in the open")
        assert whose(await told(world)) == {each.id for each in held}
