"""Teams, in the memory store."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.kernel.event import Actor, EventName, team_event
from sessile.kernel.principal import Principal, Status
from sessile.kernel.team import MOST_MEMBERS, Team
from sessile.stores.memory_directory import MemoryDirectory, page
from sessile.stores.owning import LAST, STILL_OWNS, can_answer
from sessile.stores.protocol import PAGE, Page


class MemoryOwning(MemoryDirectory):
    """`Owning` in dictionaries."""

    async def add_team(self, team: Team, members: Sequence[str], by: Actor) -> None:
        if await self.team(name=team.name) is not None:
            raise Conflict(f"a team is named {team.name} already")
        if len(set(members)) > MOST_MEMBERS:
            raise LimitExceeded(f"a team has at most {MOST_MEMBERS} people")
        people = [self._person(uid) for uid in dict.fromkeys(members)]
        self._teams[team.uid] = team
        self._members[team.uid] = {one.uid for one in people}
        now = self._clock.now()
        self._append(team_event(EventName.TEAM_CREATED, team, by), now)
        for one in people:
            self._append(team_event(EventName.TEAM_JOINED, team, by, one), now)

    async def team(self, *, name: str | None = None, uid: str | None = None) -> Team | None:
        if name is not None:
            return next((one for one in self._teams.values() if one.name == name), None)
        return self._teams.get(uid or "")

    async def teams(
        self, *, member: str | None = None, search: str = "", after: str | None = None, limit: int = PAGE
    ) -> Page[Team]:
        found = {
            one.name: one
            for one in self._teams.values()
            if search in one.name and (member is None or member in self._members[one.uid])
        }
        shown = page(found, after, limit)
        return Page(shown.items, shown.items[-1].name if shown.next is not None else None)

    async def members(self, team: str) -> Sequence[Principal]:
        found = [self._principals[uid] for uid in self._members.get(team, ())]
        return sorted((one for one in found if one.status is not Status.DELETED), key=lambda one: one.name)

    async def join_team(self, team: str, member: str, by: Actor) -> bool:
        found, person = self._team(team), self._person(member)
        there = await self.members(team)
        if person in there:
            return False
        if len(there) >= MOST_MEMBERS:
            raise LimitExceeded(f"a team has at most {MOST_MEMBERS} people")
        self._members[team].add(member)
        self._append(team_event(EventName.TEAM_JOINED, found, by, person), self._clock.now())
        return True

    async def leave_team(self, team: str, member: str, by: Actor) -> bool:
        found, person = self._team(team), self._principals.get(member)
        if person is None:
            raise NotFound("no such principal")
        there = await self.members(team)
        if person not in there:
            return False
        if self._owns(team) and not any(can_answer(one) and one.uid != member for one in there):
            raise Conflict(LAST.format(name=found.name))
        self._members[team].discard(member)
        self._append(team_event(EventName.TEAM_LEFT, found, by, person), self._clock.now())
        return True

    async def delete_team(self, team: str, by: Actor) -> None:
        found = self._team(team)
        if self._owns(team):
            raise Conflict(STILL_OWNS.format(name=found.name))
        del self._teams[team], self._members[team]
        self._append(team_event(EventName.TEAM_DELETED, found, by), self._clock.now())

    def _team(self, uid: str) -> Team:
        if uid not in self._teams:
            raise NotFound("no such team")
        return self._teams[uid]

    def _person(self, uid: str) -> Principal:
        found = self._principals.get(uid)
        if found is None or found.status is Status.DELETED:
            raise NotFound("no such principal")
        if not can_answer(found):
            raise Conflict(f"{found.name} cannot be in a team: its members are people who are active")
        return found

    def _owns(self, uid: str) -> bool:
        return any(one.owner == uid and one.status is not Status.DELETED for one in self._principals.values())
