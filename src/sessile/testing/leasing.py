"""Conformance: leases, and the work that their end means outside."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sessile.errors import NotFound
from sessile.kernel.event import Event, EventName
from sessile.kernel.ids import new_session_id
from sessile.kernel.lease import OVERDUE, Lease, Outcome
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, Status
from sessile.kernel.session import SessionKind, Tie
from sessile.stores.leasing import Claimed
from sessile.stores.protocol import End
from sessile.testing.world import MINUTE, SECOND, Holder, Node, World, pages

HOLD = timedelta(minutes=2)


class Leasing:
    async def _lease(self, world: World, giver: Holder, owner: Principal, **changes: Any) -> Holder:
        lease = Lease(session="", connector="vault", shown="lease 1", handle=b"sealed")
        return await world.mint(giver, owner, **{"kind": SessionKind.LEASE, "lease": lease, **changes})

    async def _claim(self, node: Node, limit: int = 10) -> dict[str, Claimed]:
        return {one.lease.session: one for one in await node.store.claim_leases(limit=limit, hold=HOLD)}

    async def _looked_at(self, world: World, *, due: timedelta = timedelta(hours=1)) -> None:
        """Every lease was found to live, and is looked at later."""
        for one in (await self._claim(world)).values():
            assert await world.store.settle_lease(one, one.lease, world.clock.now() + due, None)

    async def test_a_lease_begins_with_its_session_and_is_looked_at(self, world: World) -> None:
        alice, ci = await world.person(), await world.person("service:ci")
        held = await self._lease(world, await world.sign_in(alice), ci, label="database")
        found = await world.store.lease(held.id)
        assert found is not None
        assert (found.session, found.connector, found.handle) == (held.id, "vault", b"sealed")
        assert found.due == world.clock.now()
        assert "sealed" not in repr(found)
        info = await world.info(held)
        assert (info.kind, info.principal, info.live) == (SessionKind.LEASE, "service:ci", True)
        (event,) = await world.events(session=held.id)
        assert (event.name, event.details["resource"]) == (EventName.LEASE_BEGUN, "vault:lease 1")
        assert await world.store.lease(new_session_id()) is None
        assert await world.alive(held) == [True]

    async def test_whatever_a_lease_hangs_on_makes_it_due(self, world: World) -> None:
        """In the transaction that ends it: what is read next has it (NHI: outbox)."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top = await world.sign_in(alice)
        below = await world.delegate(top, agent)
        held = await self._lease(world, below, ci)
        other = await self._lease(world, await world.sign_in(await world.person("bob")), await world.person("agent:b"))
        endings = [
            End(session=top.id, cause="x"), End(session=below.id, cause="x"), End(uid=alice.uid, cause="x"),
            End(uid=agent.uid, cause="x"), End(uid=ci.uid, status=Status.DISABLED, cause="x"),
            End(session=top.id, cause="x", contain_since=top.session.created), End(session=held.id, cause="x"),
        ]  # fmt: skip
        for end in endings:
            await self._looked_at(world)
            world.clock.advance(SECOND)
            await world.store.end(end)
            due = [one.session for one in await world.store.leases(pending=True)]
            assert due == [held.id], end
        for everybody in (End(everyone=frozenset({SessionKind.LEASE}), cause="x"), Policy.aal2(version=9)):
            await self._looked_at(world)
            world.clock.advance(SECOND)
            if isinstance(everybody, End):
                await world.store.end(everybody)
            else:
                await world.policy(version=9)
            assert {one.session for one in await world.store.leases(pending=True)} == {held.id, other.id}

    async def test_each_is_one_workers_for_a_while(self, world: World, nodes: list[Node]) -> None:
        giver = await world.sign_in(await world.person())
        ci = await world.person("service:ci")
        ids = {(await self._lease(world, giver, ci)).id for _ in range(6)}
        assert not await nodes[0].store.claim_leases(limit=9, hold=HOLD, without=("idp", "vault"))
        shares = await asyncio.gather(*(self._claim(node, 3) for node in nodes for _ in range(3)))
        claimed = [id for share in shares for id in share]
        assert len(claimed) == len(set(claimed)), "nobody gets what somebody has"
        rest = await self._claim(world)
        assert {*claimed, *rest} == ids
        assert await self._claim(nodes[-1]) == {}
        world.clock.advance(HOLD)
        again = await self._claim(nodes[-1])
        assert set(again) == ids, "its worker died"
        first = {id: one for share in shares for id, one in share.items()} | rest
        some = next(iter(ids))
        assert not await world.store.settle_lease(first[some], first[some].lease, None, None), "too late"
        assert (await self._claim(world)) == {}
        assert await world.store.settle_lease(again[some], again[some].lease, world.clock.now() + MINUTE, None)

    async def test_an_ending_between_the_look_and_its_result_is_not_lost(self, world: World) -> None:
        giver = await world.sign_in(await world.person())
        held = await self._lease(world, giver, await world.person("service:ci"))
        claimed = (await self._claim(world))[held.id]
        await world.end(giver)
        event = Event(name=EventName.LEASE_ENDED, session=held.id)
        assert not await world.store.settle_lease(claimed, claimed.lease, world.clock.now() + MINUTE, event)
        assert EventName.LEASE_ENDED not in [one.name for one in await world.events()]
        assert set(await self._claim(world)) == {held.id}, "due at once, and nobody's"

    async def test_how_an_end_is_confirmed(self, world: World) -> None:
        giver = await world.sign_in(await world.person())
        held = await self._lease(world, giver, await world.person("service:ci"))
        now = world.clock.now()
        one = (await self._claim(world))[held.id]
        over = msgspec.structs.replace(one.lease, over=now, tries=1, error="is down")
        assert await world.store.settle_lease(one, over, now + MINUTE, None)
        found = await world.store.lease(held.id)
        assert found == msgspec.structs.replace(over, due=now + MINUTE)
        await world.end(giver)
        assert (await world.store.lease(held.id)) == found, "it is known to be over: nothing new"
        assert [lease.session for lease in await world.store.leases(pending=True)] == [held.id]
        counts = await world.store.statistics()
        assert (counts["leases"], counts["leases_pending"], counts["leases_overdue"]) == (1, 1, 0)
        world.clock.advance(OVERDUE)
        assert (await world.store.statistics())["leases_overdue"] == 1
        one = (await self._claim(world))[held.id]
        done = msgspec.structs.replace(over, confirmed=now, outcome=Outcome.ENDED, handle=b"")
        event = Event(name=EventName.LEASE_ENDED, session=held.id)
        assert await world.store.settle_lease(one, done, None, event)
        assert (await world.events())[-1].name is EventName.LEASE_ENDED
        assert (await world.store.lease(held.id)) == msgspec.structs.replace(done, due=None)
        assert not len(await world.store.leases())
        assert [lease.session for lease in await world.store.leases(sessions=[held.id])] == [held.id]
        await world.end(held)
        await world.policy(version=7)
        assert await self._claim(world) == {}
        assert (await world.store.statistics())["leases"] == 0

    async def test_what_was_made_meanwhile_is_looked_at_again(self, world: World) -> None:
        """Revocation wins: a worker that did not find it yet has not ended it."""
        giver = await world.sign_in(await world.person())
        held = await self._lease(world, giver, await world.person("service:ci"))
        await world.end(giver)
        one = (await self._claim(world))[held.id]
        gone = msgspec.structs.replace(one.lease, confirmed=world.clock.now(), outcome=Outcome.ENDED, over=None)
        assert await world.store.settle_lease(one, gone, None, None)
        until = world.clock.now() + MINUTE
        await world.store.found_lease(held.id, handle=b"known", shown="role", until=until)
        found = await world.store.lease(held.id)
        assert found is not None
        assert (found.handle, found.shown, found.until, found.confirmed) == (b"known", "role", until, None)
        claimed = (await self._claim(world))[held.id]
        await world.store.found_lease(held.id, handle=b"other", shown="role", until=until)
        assert not await world.store.settle_lease(claimed, gone, None, None)
        with pytest.raises(NotFound):
            await world.store.found_lease(new_session_id(), handle=b"x", shown="", until=None)

    async def test_a_person_closes_what_is_as_it_was_read(self, world: World) -> None:
        giver = await world.sign_in(await world.person())
        held = await self._lease(world, giver, await world.person("service:ci"))
        read = await world.store.lease(held.id)
        assert read is not None
        one = (await self._claim(world))[held.id]
        assert await world.store.settle_lease(one, one.lease, world.clock.now() + MINUTE, None)
        closed = msgspec.structs.replace(read, confirmed=world.clock.now(), outcome=Outcome.BY_HAND, successor=b"new")
        event = Event(name=EventName.LEASE_ENDED, session=held.id)
        assert not await world.store.close_lease(read, closed, event)
        read = await world.store.lease(held.id)
        assert read is not None
        assert await world.store.close_lease(read, closed, event)
        read = await world.store.lease(held.id)
        assert read == msgspec.structs.replace(closed, due=None)
        taken = msgspec.structs.replace(read, successor=b"")
        at_once = await asyncio.gather(*(world.store.close_lease(read, taken, event) for _ in range(4)))
        assert sorted(at_once) == [False, False, False, True], "a successor is taken once"
        assert len([one for one in await world.events() if one.name is EventName.LEASE_ENDED]) == 2

    async def test_leases_in_pages(self, world: World) -> None:
        giver = await world.sign_in(await world.person())
        ci = await world.person("service:ci")
        ids = sorted([(await self._lease(world, giver, ci)).id for _ in range(5)])
        found = await pages(lambda after: world.store.leases(after=after, limit=2))
        assert [lease.session for lease in found] == ids
        assert [lease.session for lease in await world.store.leases(sessions=ids[:2])] == ids[:2]
        assert not len(await world.store.leases(sessions=[]))

    async def test_one_that_dies_with_its_giver(self, world: World) -> None:
        giver = await world.sign_in(await world.person(), lifetime=MINUTE)
        held = await self._lease(world, giver, await world.person("service:ci"), tie=Tie.PARENT)
        assert held.session.expires == giver.session.expires
        await world.end(giver)
        assert await world.alive(held) == [False]
