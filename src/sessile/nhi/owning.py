"""Who answers for agents and services: a person, or a team of people. Here, and nowhere else, it is decided who may do
with them what an owner may."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from sessile.checks import Checks
from sessile.errors import NotFound
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.principal import Principal, PrincipalKind, Status, canonical, kind_of, ownerless
from sessile.kernel.team import Team, is_team, is_team_name, new_team, team_name
from sessile.stores.owning import can_answer
from sessile.stores.protocol import Page

T = TypeVar("T")

LONGEST_PURPOSE = 500
"""Characters."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for something, to show."""

    name: str
    """A person's, or `team:NAME`."""
    gone: str = ""
    """Why it does not answer for anything any more, in a few words; empty: it does."""


class Owning(Checks):
    """What `Authority` can do about owners and teams."""

    @abc.abstractmethod
    async def principal(self, name: str) -> Principal: ...

    async def add_team(self, name: str, *, members: Iterable[str] = (), by: Active | Actor | None = None) -> Team:
        """A new team of these people, who answer together for agents and services. It is no principal and has no
        rights; what an owner may do, each of its members who is active may.

        Raises:
            Conflict: the name is taken; or a member is no person who is active. NotFound: a member. ValueError: not a
            name. LimitExceeded: more than 200 members.
        """
        await self.open()
        team = new_team(name, now=self.clock.now())
        uids = [(await self.principal(one)).uid for one in members]
        await self.store.add_team(team, uids, actor_of(by))
        return team

    async def team(self, name: str) -> Team:
        """The team of that name, with or without `team:`. Raises NotFound, ValueError."""
        await self.open()
        found = await self.store.team(name=team_name(name))
        if found is None:
            raise NotFound(f"no team is named {team_name(name)}")
        return found

    async def teams(
        self, *, member: str | None = None, search: str = "", after: str | None = None, limit: int = 100
    ) -> Page[Team]:
        """A page of teams by name: all, or those that a person is a member of. Raises NotFound: the person."""
        await self.open()
        uid = (await self.principal(member)).uid if member is not None else None
        return await self.store.teams(member=uid, search=search, after=after, limit=limit)

    async def members(self, team: str) -> Sequence[Principal]:
        """The people of a team, by name, those who are disabled included. Raises NotFound."""
        return await self.store.members((await self.team(team)).uid)

    async def join_team(self, team: str, name: str, *, by: Active | Actor | None = None) -> bool:
        """Let a person be a member. Returns whether it is new there.

        Raises NotFound; Conflict: no person who is active; LimitExceeded: it has 200 members.
        """
        return await self.store.join_team((await self.team(team)).uid, (await self.principal(name)).uid, actor_of(by))

    async def leave_team(self, team: str, name: str, *, by: Active | Actor | None = None) -> bool:
        """Let a person be a member no more. Returns whether it was one. Keys that it minted for what the team owns go
        on: `holdings` names those whose secret it saw.

        Raises NotFound; Conflict: the team owns something, and nobody else who is active is a member.
        """
        return await self.store.leave_team((await self.team(team)).uid, (await self.principal(name)).uid, actor_of(by))

    async def delete_team(self, name: str, *, by: Active | Actor | None = None) -> None:
        """Raises NotFound; Conflict: it answers for something, which is to be handed over first (`hand_over`)."""
        await self.store.delete_team((await self.team(name)).uid, actor_of(by))

    async def describe(
        self, name: str, *, owner: str | None = None, purpose: str | None = None, by: Active | Actor | None = None
    ) -> Principal:
        """Change who answers for an agent or a service (a person, or `team:NAME`), and what it is for; None: as it is.
        Ends nothing.

        Raises:
            NotFound: no such principal or owner. Conflict: `owner` is no person who is active, and no team with a
            member who is; or this is a person, who has no owner. ValueError: not a name.
        """
        one = await self.principal(name)
        return await self.store.describe(
            one.uid, owner=one.owner if owner is None else await self.owner_uid(owner),
            purpose=one.purpose if purpose is None else purpose[:LONGEST_PURPOSE], by=actor_of(by),
        )  # fmt: skip

    async def owner(self, principal: Principal) -> Owner | None:
        """Who answers for an agent or a service, and whether it still does; None: nobody, or a person, who has none."""
        return None if principal.owner is None else await self.owner_named(principal.owner)

    async def owner_named(self, uid: str) -> Owner:
        """The same by its uid."""
        if is_team(uid):
            team = await self.store.team(uid=uid)
            if team is None:
                return Owner(name=uid, gone="is deleted")
            alive = any(can_answer(one) for one in await self.store.members(uid))
            return Owner(name=team.name, gone="" if alive else "has no member who is active")
        found = await self.store.principal(uid=uid)
        if found is None:
            return Owner(name=uid, gone="is not there")
        if found.kind is not PrincipalKind.HUMAN:
            return Owner(name=found.name, gone="is no person")
        return Owner(name=found.name, gone="" if found.status is Status.ACTIVE else f"is {found.status}")

    async def owner_uid(self, name: str) -> str:
        """The uid of an owner by name: of a person or, with `team:`, of a team. Whether it can be one is decided by the
        store. Raises NotFound, ValueError."""
        return (await self.team(name)).uid if is_team_name(name) else (await self.principal(name)).uid

    async def answers(self, uid: str | None, principal: Principal) -> bool:
        """Whether a person answers for an agent or a service: it owns it, or is an active member of the team that
        does. What an owner may do with it, and nobody else but operators, is decided by this."""
        if uid is None or principal.owner is None:
            return False
        if principal.owner == uid:
            return True
        if not is_team(principal.owner):
            return False
        return any(one.uid == uid and can_answer(one) for one in await self.store.members(principal.owner))

    async def answering(self, principal: Principal) -> frozenset[str]:
        """The uids of all who answer for it now."""
        if principal.owner is None:
            return frozenset()
        if not is_team(principal.owner):
            return frozenset({principal.owner})
        return frozenset(one.uid for one in await self.store.members(principal.owner))

    async def owned_alone(self, uid: str) -> list[Principal]:
        """Agents and services that have nobody who answers for them but this person, by name: its own, and those of
        teams in which nobody else is active."""
        found = await self.owned(uid)
        async for team in every(lambda after: self.store.teams(member=uid, after=after)):
            if not any(can_answer(one) and one.uid != uid for one in await self.store.members(team.uid)):
                found += await self.owned(team.uid)
        return sorted(found, key=lambda one: one.name)

    async def owned(self, owner: str) -> list[Principal]:
        """What a person or a team owns itself, by name."""
        return [one async for one in every(lambda after: self.store.principals(owner=owner, after=after))]

    async def new_owner(self, name: str, owner: str | None, by: Active | Actor | None) -> str | None:
        """Who shall answer for one that is registered: the named one, or else whoever makes it; for an agent that makes
        it, whoever answers for that one.

        Raises NotFound: the owner. ValueError: it has none, or is a person, who has none.
        """
        kind = kind_of(canonical(name))
        uid = None if owner is None else await self.owner_uid(owner)
        if uid is None and kind is not PrincipalKind.HUMAN and isinstance(by, Active):
            maker = await self.store.principal(uid=by.session.uid) if by.session.uid is not None else None
            uid = None if maker is None else maker.uid if maker.kind is PrincipalKind.HUMAN else maker.owner
        if wrong := ownerless(kind, uid):
            raise ValueError(f"{canonical(name)}: {wrong}")
        return uid


async def every(fetch: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    """All of a list that comes in pages."""
    after: str | None = None
    while True:
        page = await fetch(after)
        for one in page:
            yield one
        after = page.next
        if after is None:
            return
