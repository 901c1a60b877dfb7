"""Conformance: containments, and what was handed out."""

from __future__ import annotations

import msgspec
import pytest

from sessile.errors import NotFound
from sessile.kernel.containment import Cut, Fate, fate
from sessile.kernel.event import SYSTEM, Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.principal import Status
from sessile.stores.protocol import ContainmentState, End
from sessile.testing.world import MINUTE, SECOND, TICK, World, pages


class Containing:
    async def test_the_cut_is_written_with_the_ending(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        world.clock.advance(SECOND)
        since = held.session.created
        id = new_id("con")
        end = End(session=held.id, cause="stolen", contain_since=since, containment=id)
        ended = await world.store.end(end)
        assert (ended.revoked, ended.sessions) == (None, ()), "nothing is counted: the cut does not wait for a walk"
        found = await world.store.containment(id)
        assert found is not None
        assert (found.state, found.report) == (ContainmentState.UNKNOWN, None)
        cut = found.cut
        assert (cut.id, cut.session, cut.uid, cut.principal) == (id, held.id, None, "alice")
        assert (cut.since, cut.cause, cut.by) == (since, "stolen", SYSTEM.name)
        assert cut.at == (await world.info(held)).ended
        assert cut.before is not None
        assert (cut.before.ended, cut.before.contained_since) == (None, None)
        assert (await world.events(session=held.id))[-1].details["containment"] == id
        await world.store.end(end)
        assert (await world.store.containment(id)) == found, "of a repeated ending the first cut is kept"
        assert await world.store.containment(new_id("con")) is None

    async def test_the_cut_of_a_principal_keeps_what_it_changed(self, world: World) -> None:
        alice = await world.person()
        id = new_id("con")
        await world.store.end(
            End(uid=alice.uid, cause="x", status=Status.DISABLED, contain_since=alice.created, containment=id)
        )
        found = await world.store.containment(id)
        assert found is not None
        assert found.cut.before is not None
        assert (found.cut.uid, found.cut.principal) == (alice.uid, "alice")
        assert (found.cut.before.status, found.cut.before.epoch) == (Status.ACTIVE, alice.epoch)

    async def test_a_containment_is_settled_once(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        one, two = [
            (await self._cut(world, End(session=held.id, cause="x", contain_since=held.session.created))).id
            for _ in range(2)
        ]
        assert set(await world.store.open_containments()) == {one, two}
        event = Event(name=EventName.CONTAINMENT_SETTLED, session=held.id)
        before = len(await world.events())
        await world.store.settle_containment(one, ContainmentState.PARTIAL, b'{"n":1}', event)
        await world.store.settle_containment(one, ContainmentState.PARTIAL, b'{"n":2}', event)
        assert set(await world.store.open_containments()) == {one, two}
        assert len(await world.events()) == before + 1, "an event where the state changes"
        await world.store.settle_containment(one, ContainmentState.CLOSED, b'{"n":3}', event)
        await world.store.settle_containment(one, ContainmentState.PARTIAL, b'{"n":4}', event)
        found = await world.store.containment(one)
        assert found is not None
        assert (found.state, found.report) == (ContainmentState.CLOSED, b'{"n":3}')
        assert len(await world.events()) == before + 2
        assert list(await world.store.open_containments()) == [two]
        with pytest.raises(NotFound):
            await world.store.settle_containment(new_id("con"), ContainmentState.CLOSED, b"{}", event)

    async def test_what_was_handed_out_in_pages_givers_first(self, world: World) -> None:
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top, other = await world.sign_in(alice), await world.sign_in(alice)
        expected = [top]
        for _ in range(3):
            world.clock.advance(TICK)
            expected.append(await world.mint(top, ci))
        expected += [await world.delegate(each, agent) for each in expected[1:]]
        await world.end(expected[1])
        await world.mint(await world.sign_in(await world.person("bob")), ci)

        async def walked(**ask: str) -> list[str]:
            found = await pages(lambda after: world.store.handed_out(**ask, after=after, limit=2))
            return [snapshot.session.id for snapshot in found]

        below = await walked(root=top.id)
        assert below[0] == top.id
        assert set(below) == {each.id for each in expected}, "those that are over too"
        depths = [len(each.session.lineage) for id in below for each in expected if each.id == id]
        assert depths == sorted(depths)
        assert set(await walked(uid=alice.uid)) == {each.id for each in (*expected, other)}
        assert len(below) == len(expected)
        assert await walked(root=expected[1].id) == [expected[1].id, expected[4].id]

    async def test_who_would_be_alive_without_the_cut(self, world: World) -> None:
        """Found by what is stored, after it: by whoever comes, at any time."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top = await world.sign_in(alice)
        early = await world.mint(top, ci)
        world.clock.advance(MINUTE)
        child, gone = await world.delegate(top, agent), await world.delegate(top, agent)
        late = await world.mint(child, ci)
        await world.end(gone)
        world.clock.advance(MINUTE)
        ids = {top.id: Fate.ENDS, early.id: Fate.STAYS, child.id: Fate.ENDS, gone.id: Fate.OVER, late.id: Fate.ENDS}
        since = child.session.created
        first = await self._cut(world, End(session=top.id, cause="x", contain_since=since))
        world.clock.advance(MINUTE)
        await world.end(late, "later")
        assert await self._fates(world, first) == ids
        again = await self._cut(world, End(session=top.id, cause="x", contain_since=since))
        assert await self._fates(world, again) == dict.fromkeys(ids, Fate.OVER) | {early.id: Fate.STAYS}
        all_of_hers = await self._cut(world, End(uid=alice.uid, cause="x", contain_since=top.session.created))
        assert await self._fates(world, all_of_hers) == dict.fromkeys(ids, Fate.OVER) | {early.id: Fate.ENDS}

    async def _cut(self, world: World, end: End) -> Cut:
        id = new_id("con")
        await world.store.end(msgspec.structs.replace(end, containment=id))
        found = await world.store.containment(id)
        assert found is not None
        return found.cut

    async def _fates(self, world: World, cut: Cut) -> dict[str, Fate]:
        found = await pages(lambda after: world.store.handed_out(root=cut.session, uid=cut.uid, after=after))
        return {snapshot.session.id: fate(snapshot, cut) for snapshot in found}
