"""Conformance: the journal and the near cache; several nodes on one store; opening and closing."""

from __future__ import annotations

import contextlib

import pytest

from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.decide import horizon
from sessile.kernel.event import SYSTEM
from sessile.kernel.policy import AtLimit
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind
from sessile.stores.protocol import End
from sessile.testing.world import HOUR, MINUTE, SECOND, Holder, MakeStore, Node, World, entry, new_digest

ENDINGS = [
    "end", "end child", "contain", "principal", "disable", "enable", "agent", "everyone", "keep",
    "confirm", "replace", "rotate", "policy", "limit", "replaces",
]  # fmt: skip


class Nearness:
    async def test_what_was_read_now_is_kept(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        assert await world.current()
        assert await world.keep(held)
        assert await world.current()
        assert world.kept(held)

    @pytest.mark.parametrize("how", ENDINGS)
    async def test_an_ending_drops_exactly_what_it_touched(self, world: World, how: str) -> None:
        """Of each session that cannot be said yes to any more the entry is gone; the others' stay."""
        await world.policy(name="agents", max_depth=8)
        alice, bob, agent = [await world.person(name) for name in ("alice", "bob", "agent:a")]
        await world.store.end(End(uid=agent.uid, policy="agents", cause="moved"))
        held = {"top": await world.sign_in(alice)}
        held["child"] = await world.delegate(held["top"], agent)
        held["key"] = await world.mint(held["top"], await world.person("service:ci"))
        world.clock.advance(SECOND)
        held["beside"] = await world.sign_in(alice)
        held["bob"] = await world.sign_in(bob)
        if how == "policy":
            await world.store.end(End(uid=bob.uid, policy="agents", cause="moved"))
            held["bob"] = await world.sign_in(bob)
        if how == "limit":
            await world.policy(max_sessions=2)
        pending = new_digest()
        assert await world.store.offer(held["top"].digest, new_digest(), pending)
        assert await world.current()
        for each in held.values():
            assert await world.keep(each)
        top = held["top"].id
        # What loses its entry: what the object that was touched is in the lineage of.
        gone = {"top", "child", "key"}
        match how:
            case "end":
                done = await world.store.end(End(session=top, cause="logout"))
                assert done.mark > 0
            case "end child":
                await world.end(held["child"])
                gone = {"child"}
            case "contain":
                since = held["top"].session.created
                await world.store.end(End(session=top, cause="stolen", contain_since=since))
            case "principal":
                await world.store.end(End(uid=alice.uid, cause="password"))
                gone |= {"beside"}
            case "keep":
                await world.store.end(End(uid=alice.uid, cause="password", keep=top))
                gone |= {"beside"}
            case "disable" | "enable":
                status = Status.DISABLED if how == "disable" else Status.ACTIVE
                await world.store.end(End(uid=alice.uid, cause=how, status=status))
                gone |= {"beside"}
            case "agent":
                await world.store.end(End(uid=agent.uid, cause="off", status=Status.DISABLED))
                gone = {"child"}
            case "everyone":
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
                gone = set(held)
            case "confirm":
                await world.store.confirm(pending)
            case "replace":
                await world.replace(held["top"])
            case "rotate":
                await world.replace(held["top"], None)
            case "policy":
                await world.policy(name="agents", idle=MINUTE)
                gone = {"child", "bob"}
            case "limit":
                assert (await world.store.begin(world.draft(alice.uid))).ended == (top,)
            case _:
                await world.sign_in(bob, replaces=top)
        assert await world.current()
        assert {name for name, each in held.items() if not world.kept(each)} == gone

    async def test_nothing_else_is_announced(self, world: World) -> None:
        """Review 24: only what can turn a yes into a no; announcements stay rare."""
        alice, agent = await world.person(), await world.person("agent:a")
        held, ended = await world.sign_in(alice), await world.sign_in(alice)
        await world.end(ended)
        assert await world.current()
        assert await world.keep(held)
        mark = world.near.mark
        world.clock.advance(SECOND)
        await world.person("carol")
        await world.sign_in(alice)
        await world.delegate(held, agent)
        await world.visit()
        assert await world.store.offer(held.digest, new_digest(), new_digest())
        await world.store.touch({held.id: world.clock.now(), ended.id: world.clock.now()})
        await world.store.write_data(held.id, 0, b"data")
        await world.store.describe(agent.uid, owner=alice.uid, purpose="", by=SYSTEM)
        await world.store.set_fact("fact", b"1")
        assert await world.current()
        assert (world.near.mark, world.kept(held)) == (mark, True)
        assert (await world.snapshot(held)).mark == mark

    async def test_a_refused_mutation_is_not_announced(self, world: World) -> None:
        await world.policy(max_sessions=1, at_limit=AtLimit.REFUSE)
        alice = await world.person()
        held, cart = await world.sign_in(alice), await world.visit()
        assert await world.current()
        assert await world.keep(cart)
        with pytest.raises(SessileError):
            await world.sign_in(alice, replaces=cart.id)
        with pytest.raises(SessileError):
            await world.store.replace(new_digest(), new_digest(), None, SYSTEM)
        assert await world.current()
        assert world.kept(cart)
        assert await world.alive(held, cart) == [True, True]

    async def test_marks_only_grow(self, world: World) -> None:
        alice = await world.person()
        marks = []
        for _ in range(3):
            held = await world.sign_in(alice)
            done = await world.end(held)
            assert await world.current()
            assert world.near.mark >= done.mark
            assert (await world.snapshot(held)).mark >= done.mark
            marks.append(done.mark)
        marks.append((await world.store.end(End(uid=alice.uid, cause="x"))).mark)
        marks.append((await world.policy(idle=MINUTE)).mark)
        assert marks == sorted(set(marks))

    @pytest.mark.parametrize("told", [True, False], ids=["told", "not told yet"])
    async def test_a_read_that_raced_with_an_ending_is_never_kept(self, world: World, told: bool) -> None:
        """Neither when it is put after the near cache was told, nor just before."""
        alice, bob, agent = [await world.person(name) for name in ("alice", "bob", "agent:a")]
        one, two = await world.sign_in(alice), await world.sign_in(bob)
        child = await world.delegate(one, agent)
        held = (one, child, two)
        assert await world.current()  # as at the beginning of a check: what came before is no race
        with world.near.reading() as reading:
            read = [await world.snapshot(each) for each in held]
            await world.end(one)
            if told:
                assert await world.current()
            put = [
                world.near.put(each.digest, entry(each.digest, found, world.clock), reading)
                for each, found in zip(held, read, strict=True)
            ]
        assert put[2]
        if told:
            assert put == [False, False, True]
        assert await world.current()
        assert [world.kept(each) for each in held] == [False, False, True]

    async def test_the_cached_answer_ends_when_the_stores_does(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        found = await world.snapshot(held)
        assert horizon(found) == world.clock.now() + HOUR
        assert await world.keep(held)
        world.clock.advance(HOUR)
        cached = world.near.get(held.digest)
        assert cached is not None
        assert cached.good_until == world.clock.elapsed()
        assert await world.reason(held) is Reason.IDLE

    async def test_an_entry_that_was_invalidated_says_so(self, world: World) -> None:
        """To a check that had looked it up already."""
        held = await world.sign_in(await world.person())
        assert await world.keep(held)
        looked_up = world.near.get(held.digest)
        assert looked_up is not None
        await world.end(held)
        assert await world.current()
        assert looked_up.good_until == 0

    async def test_a_step_of_the_wall_clock_revives_nothing_that_was_ended(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        await world.end(held)
        world.clock.step_wall(-HOUR)
        assert await world.denied(held) is not None
        world.clock.step_wall(2 * HOUR)
        assert await world.denied(held) is not None

    # --- several nodes --------------------------------------------------------------------------------------

    async def test_another_node_sees_what_the_first_acknowledged(self, world: World, nodes: list[Node]) -> None:
        other = nodes[-1]
        alice, bob = await world.person(), await world.person("bob")
        held, bobs = await world.sign_in(alice), await world.sign_in(bob)
        assert await other.denied(held) is None
        for each in (held, bobs):
            await other.current()
            assert await other.keep(each)
        await world.end(held)
        world.clock.advance(world.store.delta)
        assert not (await other.current() and other.kept(held))
        assert await other.denied(held) is not None
        assert other.kept(bobs) or not await other.current()
        if not world.store.delta:
            assert (await other.current(), other.kept(bobs)) == (True, True)

    async def test_each_node_ends_what_the_other_began(self, world: World, nodes: list[Node]) -> None:
        other = nodes[-1]
        alice = await world.person()
        for one, two in ((world, other), (other, world)):
            held = await world.sign_in(alice)
            await one.current()
            assert await one.keep(held)
            await two.store.end(End(uid=alice.uid, cause="cli"))
            world.clock.advance(world.store.delta)
            assert not (await one.current() and one.kept(held))
            assert await one.denied(held) is not None

    # --- opening and closing --------------------------------------------------------------------------------

    async def test_close_is_idempotent(self, world: World) -> None:
        """Afterwards a store answers or is unavailable; no error of a driver passes through."""
        held = await world.sign_in(await world.person())
        await world.store.close()
        await world.store.close()
        await world.current()
        for asked in (
            world.store.read(held.digest),
            world.store.begin(world.draft(None)),
            world.store.end(End(session=held.id, cause="logout")),
            world.store.principal(name="alice"),
            world.store.sweep(),
        ):
            with contextlib.suppress(StoreUnavailable):
                await asked

    async def test_what_was_acknowledged_is_there_after_reopening(
        self, world: World, nodes: list[Node], make_store: MakeStore
    ) -> None:
        if len(nodes) == 1:
            pytest.skip("the store keeps nothing beyond its process")
        alice, agent = await world.person(), await world.person("agent:a")
        held: list[Holder] = [await world.sign_in(alice) for _ in range(3)]
        child = await world.delegate(held[0], agent)
        await world.store.write_data(held[0].id, 0, b"data")
        await world.end(held[1])
        before = await world.everything(*held, child)
        for node in nodes:
            await node.store.close()
        again = World(make_store("one", world.clock), world.clock)
        await again.open()
        try:
            assert await again.everything(*held, child) == before
            assert await again.alive(*held, child) == [True, False, True, True]
            assert await again.current()
            assert await again.keep(held[0])
            await again.end(held[0])
            assert await again.current()
            assert not again.kept(held[0])
        finally:
            await again.store.close()
