"""Who answers for agents and services stands beside the accounts: in the directory."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.event import Actor
from sessile.kernel.principal import Principal
from sessile.kernel.team import Team
from sessile.stores.protocol import PAGE, Credential, Page
from sessile.stores.redis.journal import SQLDirectory


class RedisOwning:
    """`Owning` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def register(self, principal: Principal, by: Actor, credential: Credential | None = None) -> None:
        await self.directory.register(principal, by, credential)

    async def describe(self, uid: str, *, owner: str | None, purpose: str, by: Actor) -> Principal:
        return await self.directory.describe(uid, owner=owner, purpose=purpose, by=by)

    async def add_team(self, team: Team, members: Sequence[str], by: Actor) -> None:
        await self.directory.add_team(team, members, by)

    async def team(self, *, name: str | None = None, uid: str | None = None) -> Team | None:
        return await self.directory.team(name=name, uid=uid)

    async def teams(
        self, *, member: str | None = None, search: str = "", after: str | None = None, limit: int = PAGE
    ) -> Page[Team]:
        return await self.directory.teams(member=member, search=search, after=after, limit=limit)

    async def members(self, team: str) -> Sequence[Principal]:
        return await self.directory.members(team)

    async def join_team(self, team: str, member: str, by: Actor) -> bool:
        return await self.directory.join_team(team, member, by)

    async def leave_team(self, team: str, member: str, by: Actor) -> bool:
        return await self.directory.leave_team(team, member, by)

    async def delete_team(self, team: str, by: Actor) -> None:
        await self.directory.delete_team(team, by)
