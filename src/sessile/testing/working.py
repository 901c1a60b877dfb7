"""Work that waits: kept within its bounds, taken once, destroyed by endings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from sessile.errors import LimitExceeded
from sessile.kernel.containment import EVER
from sessile.kernel.event import Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.principal import Status
from sessile.kernel.session import SessionKind
from sessile.kernel.work import Work, WorkKind, WorkState
from sessile.stores.protocol import Credential, End
from sessile.testing.world import HOUR, SECOND, Holder, Node, World

WORKED = Event(name=EventName.WORK_PARKED)


async def add(world: World, held: Holder, kind: WorkKind = WorkKind.PARKED, **changes: Any) -> Work:
    values: dict[str, Any] = {
        "id": new_id("wrk"), "kind": kind, "uid": held.session.uid, "session": held.id, "name": "transfer",
        "type": "Transfer", "body": b'{"to":"bob"}', "begun": world.clock.now(), "until": world.clock.now() + HOUR,
    }  # fmt: skip
    work = Work(**{**values, **changes})
    await world.store.add_work(work, 10, WORKED)
    return work


async def given(world: World, work: Work, held: Holder) -> Work:
    after = msgspec.structs.replace(
        work, state=WorkState.GIVEN, giver=held.session.uid, giver_session=held.id, given=world.clock.now()
    )
    assert await world.store.give_work(after, WORKED)
    return after


class Working:
    """Part of `StoreConformance`."""

    async def test_work_waits_for_its_time(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        first = await add(world, held)
        world.clock.advance(SECOND)
        second = await add(world, held, WorkKind.APPROVAL)
        assert await world.store.work(first.id) == first
        assert list(await world.store.works(WorkKind.PARKED)) == [first]
        assert list(await world.store.works(WorkKind.APPROVAL, uid=held.session.uid)) == [second]
        assert not await world.store.works(WorkKind.PARKED, uid="prn_other")
        world.clock.advance(HOUR - SECOND)
        assert await world.store.work(first.id) is None
        assert await world.store.take_work(first.id, WorkState.WAITING, WORKED) is None
        assert await world.store.work(second.id) == second
        await world.store.sweep()
        assert list(await world.store.works(WorkKind.APPROVAL)) == [second]

    async def test_no_more_of_it_waits_than_the_bound(self, nodes: Sequence[Node], world: World) -> None:
        """Also of any number at once, on all nodes."""
        held = await world.sign_in(await world.person())

        async def one(n: int) -> bool:
            work = Work(
                id=new_id("wrk"), kind=WorkKind.PARKED, uid=held.session.uid or "", session=held.id, name="x", type="x",
                body=b"1", begun=world.clock.now(), until=world.clock.now() + HOUR,
            )  # fmt: skip
            try:
                await nodes[n % len(nodes)].store.add_work(work, 10, WORKED)
            except LimitExceeded:
                return False
            return True

        assert sum(await asyncio.gather(*map(one, range(20)))) == 10
        assert len(await world.store.works(WorkKind.PARKED)) == 10
        await add(world, held, WorkKind.APPROVAL)

    async def test_of_two_that_take_it_at_once_one_gets_it(self, nodes: Sequence[Node], world: World) -> None:
        """100 races: nothing is used twice."""
        held = await world.sign_in(await world.person())
        for _ in range(100):
            work = await add(world, held)
            done = await asyncio.gather(
                *[nodes[n % len(nodes)].store.take_work(work.id, WorkState.WAITING, WORKED) for n in range(3)]
            )
            assert sorted(one is None for one in done) == [False, True, True]
            assert next(one for one in done if one is not None) == work

    @pytest.mark.requirement("ASVS V2.3.5")
    async def test_of_two_that_approve_at_once_one_does(self, nodes: Sequence[Node], world: World) -> None:
        """100 races: an approval is given once, and used once."""
        asker = await world.sign_in(await world.person())
        givers = [await world.sign_in(await world.person(name)) for name in ("bob", "carol")]
        for _ in range(100):
            work = await add(world, asker, WorkKind.APPROVAL)
            ways = [
                msgspec.structs.replace(work, state=WorkState.GIVEN, giver=one.session.uid, giver_session=one.id)
                for one in givers
            ]
            done = await asyncio.gather(
                *[nodes[n % len(nodes)].store.give_work(way, WORKED) for n, way in enumerate(ways)],
            )
            assert sorted(done) == [False, True]
            assert await world.store.work(work.id) == ways[done.index(True)]
            assert await world.store.take_work(work.id, WorkState.WAITING, WORKED) is None
            used = await asyncio.gather(
                *[nodes[n % len(nodes)].store.take_work(work.id, WorkState.GIVEN, WORKED) for n in range(2)]
            )
            assert sorted(one is None for one in used) == [False, True]

    @pytest.mark.parametrize("how", ["session", "principal", "disable", "delete", "contain", "everyone"])
    async def test_an_ending_destroys_what_hangs_on_it(self, world: World, how: str) -> None:
        alice, bob = await world.person(), await world.person("bob")
        held, other, giver = await world.sign_in(alice), await world.sign_in(bob), await world.sign_in(bob)
        parked = await add(world, held)
        asked = await add(world, held, WorkKind.APPROVAL)
        approved = await given(world, await add(world, held, WorkKind.APPROVAL), giver)
        stays = await add(world, other)
        ends = {
            "session": End(session=held.id, cause="x"),
            "principal": End(uid=alice.uid, cause="x"),
            "disable": End(uid=alice.uid, cause="x", status=Status.DISABLED),
            "delete": End(uid=alice.uid, cause="x", status=Status.DELETED),
            "contain": End(session=held.id, cause="x", contain_since=EVER, containment="con_1"),
            "everyone": End(everyone=frozenset({SessionKind.BROWSER}), cause="x"),
        }
        await world.store.end(ends[how])
        assert [await world.store.work(one.id) for one in (parked, asked, approved)] == [None] * 3
        assert (await world.store.work(stays.id) is None) == (how == "everyone")
        assert "work.destroyed" in await world.happened()

    async def test_an_approval_dies_with_the_session_that_gave_it(self, world: World) -> None:
        held, giver = await world.sign_in(await world.person()), await world.sign_in(bob := await world.person("bob"))
        first = await given(world, await add(world, held, WorkKind.APPROVAL), giver)
        second = await given(world, await add(world, held, WorkKind.APPROVAL), await world.sign_in(bob))
        await world.end(giver)
        assert await world.store.work(first.id) is None
        assert await world.store.work(second.id) == second
        await world.store.end(End(uid=bob.uid, cause="x"))
        assert await world.store.work(second.id) is None
        assert await world.alive(held) == [True]

    async def test_work_of_the_session_that_goes_on_stays(self, world: World) -> None:
        """A changed password ends the others."""
        alice = await world.person()
        held, other = await world.sign_in(alice), await world.sign_in(alice)
        kept, gone = await add(world, held), await add(world, other)
        new = Credential(uid=alice.uid, kind="password", value=b"x")
        await world.store.end(End(uid=alice.uid, keep=held.id, credential=new, cause="password"))
        assert await world.store.work(kept.id) == kept
        assert await world.store.work(gone.id) is None

    async def test_a_limit_or_a_sign_in_destroys_nothing(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        work = await add(world, held)
        await world.sign_in(alice, replaces=held.id)
        assert await world.alive(held) == [False]
        assert await world.store.work(work.id) == work

    async def test_of_an_ending_and_an_approval_at_once_the_ending_wins(self, world: World) -> None:
        """100 races: whatever the order, nothing of a session that was ended is left to be used."""
        alice, bob = await world.person(), await world.person("bob")
        for _ in range(100):
            held, giver = await world.sign_in(alice), await world.sign_in(bob)
            work = await add(world, held, WorkKind.APPROVAL)
            after = msgspec.structs.replace(work, state=WorkState.GIVEN, giver=bob.uid, giver_session=giver.id)
            await asyncio.gather(
                world.store.give_work(after, WORKED),
                world.store.end(End(session=held.id, cause="x")),
            )
            assert await world.store.work(work.id) is None
