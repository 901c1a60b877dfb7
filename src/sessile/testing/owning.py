"""Conformance: who answers for agents and services, and teams of people who do."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from sessile.errors import Conflict, LimitExceeded, NotFound, SessileError
from sessile.kernel.event import SYSTEM, Actor
from sessile.kernel.ids import new_id
from sessile.kernel.principal import Principal, Status, new_principal
from sessile.kernel.team import MOST_MEMBERS, Team, new_team
from sessile.stores.protocol import End
from sessile.testing.world import Node, World, pages

_TIMES = 5


class Owning:
    async def _team(self, world: World, *people: Principal, name: str = "platform") -> Team:
        team = new_team(name, now=world.clock.now())
        await world.store.add_team(team, [one.uid for one in people], Actor(name="olga"))
        return team

    async def test_no_agent_and_no_service_without_somebody_who_answers(self, world: World) -> None:
        alice, gone = await world.person(), await world.person("gone")
        ci = await world.person("service:ci", owner=alice.uid)
        await world.store.end(End(uid=gone.uid, status=Status.DISABLED, cause="left"))
        nobody = await self._team(world, name="nobody")
        of_gone = await self._team(world, alice, name="gone")
        await world.store.join_team(of_gone.uid, (bob := await world.person("bob")).uid, SYSTEM)
        await world.store.leave_team(of_gone.uid, alice.uid, SYSTEM)
        await world.store.end(End(uid=bob.uid, status=Status.DISABLED, cause="left"))
        before = await world.everything()
        agent = new_principal("agent:a", now=world.clock.now(), owner=alice.uid)
        for owner, error in (
            (None, Conflict), (gone.uid, Conflict), (ci.uid, Conflict), (nobody.uid, Conflict), (of_gone.uid, Conflict),
            (new_id("prn"), NotFound), (new_id("team"), NotFound),
        ):  # fmt: skip
            with pytest.raises(error):
                await world.store.register(msgspec.structs.replace(agent, owner=owner), SYSTEM)
            with pytest.raises(error):
                await world.store.describe(ci.uid, owner=owner, purpose="", by=SYSTEM)
        with pytest.raises(Conflict):
            await world.store.describe(alice.uid, owner=bob.uid, purpose="", by=SYSTEM)
        assert await world.everything() == before
        await world.store.register(agent, SYSTEM)
        (event,) = await world.events(uid=agent.uid)
        assert event.details["owner"] == alice.uid

    async def test_what_is_enabled_has_somebody_who_answers(self, world: World) -> None:
        alice = await world.person()
        ci = await world.person("service:ci", owner=alice.uid)
        for one in (ci, alice):
            await world.store.end(End(uid=one.uid, status=Status.DISABLED, cause="left"))
        with pytest.raises(Conflict):
            await world.store.end(End(uid=ci.uid, status=Status.ACTIVE, cause="back"))
        # What it is for can be said all the same.
        assert (await world.store.describe(ci.uid, owner=alice.uid, purpose="builds", by=SYSTEM)).purpose == "builds"
        team = await self._team(world, await world.person("bob"))
        await world.store.describe(ci.uid, owner=team.uid, purpose="builds", by=SYSTEM)
        event = (await world.events(uid=ci.uid, latest=True))[0]
        assert (event.details["owner"], event.details["owner_before"]) == (team.uid, alice.uid)
        await world.store.end(End(uid=ci.uid, status=Status.ACTIVE, cause="back"))
        found = await world.store.principal(uid=ci.uid)
        assert found is not None
        assert (found.status, found.owner) == (Status.ACTIVE, team.uid)

    async def test_teams(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        agent = await world.person("agent:a", owner=alice.uid)
        team = await self._team(world, bob, alice)
        assert await world.store.team(name="team:platform") == team == await world.store.team(uid=team.uid)
        assert await world.store.team(name="team:other") is None
        assert [one.name for one in await world.store.members(team.uid)] == ["alice", "bob"]
        before = await world.everything()
        for member, error in ((agent.uid, Conflict), (new_id("prn"), NotFound)):
            with pytest.raises(error):
                await world.store.join_team(team.uid, member, SYSTEM)
            with pytest.raises(error):
                await self._team(world, msgspec.structs.replace(alice, uid=member), name="other")
        with pytest.raises(Conflict):
            await self._team(world, alice)
        for unknown in (new_id("team"), alice.uid):
            for asked in (
                world.store.join_team(unknown, bob.uid, SYSTEM), world.store.leave_team(unknown, bob.uid, SYSTEM),
                world.store.delete_team(unknown, SYSTEM),
            ):  # fmt: skip
                with pytest.raises(NotFound):
                    await asked
        assert await world.store.join_team(team.uid, bob.uid, SYSTEM) is False
        assert await world.everything() == before
        assert await world.store.leave_team(team.uid, bob.uid, Actor(name="olga")) is True
        assert await world.store.leave_team(team.uid, bob.uid, SYSTEM) is False
        assert [(str(one.name), one.principal, one.details["team"]) for one in await world.events() if "team" in
                one.details] == [
            ("team.created", None, "team:platform"), ("team.joined", "bob", "team:platform"),
            ("team.joined", "alice", "team:platform"), ("team.left", "bob", "team:platform"),
        ]  # fmt: skip

    async def test_teams_by_name_and_by_member(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        for name in ("c", "a", "b", "ab"):
            await self._team(world, *([alice, bob] if name == "ab" else [bob]), name=name)

        async def names(**query: object) -> list[str]:
            return [one.name for one in await pages(lambda after: world.store.teams(**query, after=after))]  # type: ignore[arg-type]

        assert await names() == ["team:a", "team:ab", "team:b", "team:c"] == await names(limit=1)
        assert await names(member=alice.uid) == ["team:ab"]
        assert await names(search=":a", limit=1) == ["team:a", "team:ab"]
        assert await names(search="%") == []

    async def test_a_team_that_owns_keeps_a_member_who_is_active(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        team = await self._team(world, alice, bob)
        ci = await world.person("service:ci", owner=team.uid)
        assert [one.name for one in (await world.store.principals(owner=team.uid))] == ["service:ci"]
        await world.store.end(End(uid=bob.uid, status=Status.DISABLED, cause="left"))
        with pytest.raises(Conflict):
            await world.store.leave_team(team.uid, alice.uid, SYSTEM)
        with pytest.raises(Conflict):
            await world.store.delete_team(team.uid, SYSTEM)
        assert await world.store.leave_team(team.uid, bob.uid, SYSTEM) is True, "who has left counts for nothing"
        await world.store.describe(ci.uid, owner=alice.uid, purpose="", by=SYSTEM)
        assert await world.store.leave_team(team.uid, alice.uid, SYSTEM) is True
        await world.store.delete_team(team.uid, SYSTEM)
        assert await world.store.team(uid=team.uid) is None
        assert (await world.store.teams()).items == type((await world.store.teams()).items)()
        again = await self._team(world)
        assert again.uid != team.uid
        assert await world.store.members(again.uid) == type(await world.store.members(again.uid))()

    async def test_who_is_deleted_is_in_no_team(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        team = await self._team(world, alice, bob)
        await world.store.end(End(uid=bob.uid, status=Status.DELETED, cause="left"))
        assert [one.name for one in await world.store.members(team.uid)] == ["alice"]
        with pytest.raises(NotFound):
            await world.store.join_team(team.uid, bob.uid, SYSTEM)
        await world.person("bob")
        assert [one.name for one in await world.store.members(team.uid)] == ["alice"], "another of that name"

    async def test_a_team_is_bounded(self, world: World) -> None:
        alice = await world.person()
        people = [await world.person(f"p{n}") for n in range(MOST_MEMBERS)]
        team = await self._team(world, *people)
        with pytest.raises(LimitExceeded):
            await world.store.join_team(team.uid, alice.uid, SYSTEM)
        with pytest.raises(LimitExceeded):
            await self._team(world, alice, *people, name="other")

    async def test_nothing_is_handed_to_who_has_just_left(self, world: World, nodes: list[Node]) -> None:
        """Whoever disables the last who answers, and looks afterwards at what has no owner, misses nothing; and of two
        who leave a team at once one stays."""
        here, there = nodes[0].store, nodes[-1].store
        for n in range(_TIMES):
            alice, bob = await world.person(f"alice{n}"), await world.person(f"bob{n}")
            team, pair = await self._team(world, alice, name=f"t{n}"), await self._team(world, alice, bob, name=f"u{n}")
            keeper = await world.person(f"keeper{n}")
            ci, cd = [await world.person(f"service:{one}{n}", owner=keeper.uid) for one in ("ci", "cd")]
            await world.store.describe(cd.uid, owner=pair.uid, purpose="", by=SYSTEM)
            agent = new_principal(f"agent:a{n}", now=world.clock.now(), owner=team.uid)

            async def leave(team: Team = team, alice: Principal = alice) -> list[str]:
                await here.end(End(uid=alice.uid, status=Status.DISABLED, cause="left"))
                return [one.name for one in await here.principals(owner=team.uid)]

            async def tried(coroutine: object) -> object:
                try:
                    return await coroutine  # type: ignore[misc]
                except SessileError as error:
                    return error

            left = await asyncio.gather(
                tried(there.leave_team(pair.uid, alice.uid, SYSTEM)), tried(here.leave_team(pair.uid, bob.uid, SYSTEM))
            )
            assert sorted(isinstance(one, Conflict) for one in left) == [False, True]
            owned, *_ = await asyncio.gather(
                leave(),
                tried(there.describe(ci.uid, owner=team.uid, purpose="", by=SYSTEM)),
                tried(there.register(agent, SYSTEM)),
            )
            assert sorted(owned) == [one.name for one in await here.principals(owner=team.uid)]
