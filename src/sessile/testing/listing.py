"""Conformance: `sessions`, `session`, application data and `sweep`."""

from __future__ import annotations

import pytest

from sessile.kernel.ids import new_session_id
from sessile.kernel.principal import Status
from sessile.kernel.session import SessionKind, Tie
from sessile.stores.protocol import End
from sessile.testing.world import DAY, HOUR, MINUTE, SECOND, Holder, World, new_digest


class Listing:
    async def _tree(self, world: World) -> dict[str, Holder]:
        """alice: top, with child, below and key under it, a delegation under the key, and a session beside."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        held: dict[str, Holder] = {}
        held["top"] = await world.sign_in(alice)
        world.clock.advance(SECOND)
        held["child"] = await world.delegate(held["top"], agent)
        world.clock.advance(SECOND)
        held["beside"] = await world.sign_in(alice)
        world.clock.advance(SECOND)
        held["below"] = await world.delegate(held["child"], agent)
        world.clock.advance(SECOND)
        held["key"] = await world.mint(held["top"], ci)
        world.clock.advance(SECOND)
        held["under"] = await world.delegate(held["key"], agent)
        return held

    async def test_sessions_of_a_principal_newest_first(self, world: World) -> None:
        held = await self._tree(world)
        assert await world.listed(uid=held["top"].session.uid) == [held["beside"].id, held["top"].id]
        assert await world.listed(uid=held["child"].session.uid) == [
            held[name].id for name in ("under", "below", "child")
        ]
        assert await world.listed(uid="prn_" + "0" * 26) == []

    async def test_sessions_that_a_principal_handed_out(self, world: World) -> None:
        held = await self._tree(world)
        assert await world.listed(giver=held["top"].session.uid) == [held["key"].id, held["child"].id]
        assert await world.listed(giver=held["key"].session.uid) == [held["under"].id]

    async def test_sessions_of_a_tree_givers_first(self, world: World) -> None:
        held = await self._tree(world)
        listed = await world.listed(root=held["top"].id)
        assert set(listed) == {held[name].id for name in ("top", "child", "below", "key", "under")}
        infos = {each.id: await world.info(each) for each in held.values()}
        for place, one in enumerate(listed[1:], 1):
            assert infos[one].origin in listed[:place]
        assert listed[0] == held["top"].id
        assert set(await world.listed(root=held["key"].id)) == {held["key"].id, held["under"].id}
        assert await world.listed(root=held["below"].id) == [held["below"].id]

    async def test_sessions_of_all(self, world: World) -> None:
        held = await self._tree(world)
        await world.visit()
        assert await world.listed() == [held[name].id for name in ("under", "key", "below", "beside", "child", "top")]

    @pytest.mark.parametrize("how", ["ended", "idle", "principal", "everyone", "disabled"])
    async def test_sessions_alive_or_all(self, world: World, how: str) -> None:
        held = await self._tree(world)
        uid = held["top"].session.uid
        match how:
            case "ended":
                await world.end(held["top"])
                await world.end(held["beside"])
            case "idle":
                world.clock.advance(HOUR)
            case "principal":
                await world.store.end(End(uid=uid, cause="password"))
            case "disabled":
                await world.store.end(End(uid=uid, status=Status.DISABLED, cause="off"))
            case _:
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
        assert await world.listed() == [held["under"].id, held["key"].id]
        assert await world.listed(uid=uid) == []
        assert set(await world.listed(root=held["top"].id)) == {held["key"].id, held["under"].id}
        assert await world.listed(uid=uid, ended=True) == [held["beside"].id, held["top"].id]
        assert len(await world.listed(root=held["top"].id, ended=True)) == 5
        assert len(await world.listed(ended=True)) == 6
        page = await world.store.sessions(ended=True)
        assert {info.id for info in page if info.live} == {held["key"].id, held["under"].id}

    @pytest.mark.parametrize("limit", [1, 2, 5])
    async def test_pages(self, world: World, limit: int) -> None:
        """Each once, whatever the page's size, also where many began at one instant."""
        alice = await world.person()
        agent = await world.person("agent:a")
        top = await world.sign_in(alice)
        expected = {top.id} | {(await world.delegate(top, agent)).id for _ in range(6)}
        for query in ({}, {"root": top.id}, {"ended": True}):
            first = await world.store.sessions(**query, limit=limit)
            assert len(first) <= limit
            listed = await world.listed(**query, limit=limit)
            assert len(listed) == len(expected), "none twice"
            assert set(listed) == expected

    async def test_pages_while_sessions_come_and_go(self, world: World) -> None:
        """Keyed, not counted: what was there all the time is in exactly one page."""
        alice = await world.person()
        held = []
        for _ in range(6):
            held.append(await world.sign_in(alice))
            world.clock.advance(SECOND)
        first = await world.store.sessions(uid=alice.uid, limit=3)
        await world.sign_in(alice)
        await world.sign_in(alice)
        await world.end(held[5])
        assert first.next is not None
        second = await world.store.sessions(uid=alice.uid, limit=3, after=first.next)
        listed = [info.id for info in (*first, *second)]
        assert listed == [each.id for each in reversed(held)]

    async def test_session(self, world: World) -> None:
        held = await self._tree(world)
        assert await world.store.session(new_session_id()) is None
        assert await world.store.session("alice") is None
        info = await world.info(held["key"])
        assert (info.kind, info.parent, info.origin) == (SessionKind.KEY, None, held["top"].id)
        assert (info.principal, info.live, info.idle_expires) == ("service:ci", True, None)
        await world.end(held["key"], "leaked")
        info = await world.info(held["key"])
        assert (info.live, info.cause, info.ended) == (False, "leaked", world.clock.now())

    # --- application data -----------------------------------------------------------------------------------

    async def test_data_by_compare_and_set(self, world: World) -> None:
        """Review 24: a row of its own, with a version."""
        held = await world.sign_in(await world.person())
        assert await world.store.read_data(held.id) == (0, b"")
        assert await world.store.write_data(held.id, 0, b"one")
        first, data = await world.store.read_data(held.id)
        assert data == b"one"
        assert first != 0
        assert not await world.store.write_data(held.id, 0, b"lost update")
        assert not await world.store.write_data(held.id, first + 1, b"from the future")
        assert await world.store.write_data(held.id, first, b"\x00\xff" * 1000)
        second, data = await world.store.read_data(held.id)
        assert data == b"\x00\xff" * 1000
        assert second not in (0, first)
        assert await world.store.write_data(held.id, second, b"")
        assert not await world.store.write_data(held.id, second, b"late")
        assert (await world.store.read_data(held.id))[1] == b""

    @pytest.mark.parametrize("how", ["ended", "principal", "everyone", "disabled"])
    async def test_data_of_what_has_ended_stays(self, world: World, how: str) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        assert await world.store.write_data(held.id, 0, b"one")
        version, _ = await world.store.read_data(held.id)
        match how:
            case "ended":
                await world.end(held)
            case "principal":
                await world.store.end(End(uid=alice.uid, cause="password"))
            case "disabled":
                await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
            case _:
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
        assert not await world.store.write_data(held.id, version, b"two")
        assert (await world.store.read_data(held.id))[1] != b"two"

    async def test_data_writes_no_event(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        before = await world.events()
        await world.store.write_data(held.id, 0, b"one")
        assert await world.events() == before

    # --- sweep ----------------------------------------------------------------------------------------------

    async def _sweep(self, world: World, limit: int = 500) -> int:
        total = 0
        while swept := await world.store.sweep(limit):
            assert swept <= limit
            total += swept
        return total

    async def test_sweep_leaves_the_living(self, world: World) -> None:
        held = await self._tree(world)
        cart = await world.visit()
        assert await self._sweep(world) == 0
        before = await world.everything(*held.values())
        world.clock.advance(30 * MINUTE)
        await world.store.touch({held["top"].id: world.clock.now(), held["beside"].id: world.clock.now()})
        await self._sweep(world)
        assert await world.alive(*held.values(), cart) == [True] * 7
        assert before != await world.everything(*held.values()), "the clock went on"

    async def test_sweep_deletes_what_is_over_for_good(self, world: World) -> None:
        alice = await world.person()
        logout, idle = await world.sign_in(alice), await world.sign_in(alice)
        cart, token = await world.visit(), await world.rotate(idle)
        await world.store.write_data(idle.id, 0, b"data")
        await world.end(logout)
        world.clock.advance(1000 * DAY)
        assert await world.store.sweep(limit=2) <= 2
        await self._sweep(world, limit=2)
        assert await world.listed(ended=True) == []
        for held in (logout, idle, cart):
            assert await world.store.read(held.digest) is None
            assert await world.store.session(held.id) is None
        assert await world.store.read(token.digest) is None
        assert await world.store.read_data(idle.id) == (0, b"")
        assert "session.begun" in await world.happened(session=idle.id), "the audit record is not swept"
        assert await self._sweep(world) == 0

    async def test_sweep_deletes_with_the_count(self, world: World) -> None:
        alice = await world.person()
        for _ in range(7):
            await world.sign_in(alice)
        world.clock.advance(1000 * DAY)
        assert await self._sweep(world, limit=3) == 7

    @pytest.mark.parametrize("tie", list(Tie))
    async def test_sweep_keeps_the_tombstone_that_somebody_needs(self, world: World, tie: Tie) -> None:
        """Missing is dead: an ancestor stays until everything it handed out is over."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent, tie=tie)
        key = await world.mint(child, ci, lifetime=60 * DAY)
        below = await world.mint(key, ci, lifetime=80 * DAY)
        await world.end(top)
        for _ in range(5):
            world.clock.advance(10 * DAY)
            await self._sweep(world)
        assert await world.alive(key, below) == [True, True]
        assert await world.store.session(top.id) is not None
        world.clock.advance(10 * DAY)
        await self._sweep(world)
        assert await world.alive(key, below) == [False, True], "the middle of a chain is kept as well"
        assert await world.store.session(key.id) is not None
        await world.end(top, "stolen", contain_since=top.session.created)
        assert await world.alive(below) == [False], "and can still be contained"
        world.clock.advance(1000 * DAY)
        await self._sweep(world)
        assert await world.listed(ended=True) == []

    async def test_sweep_of_a_loosened_policy_revives_nothing(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(DAY)
        await world.policy(overall=30 * DAY, idle=None)
        assert await world.alive(held) == [False]
        await self._sweep(world)
        digest = new_digest()
        assert await world.store.offer(held.digest, digest, digest) is None
        assert await world.alive(held) == [False]
