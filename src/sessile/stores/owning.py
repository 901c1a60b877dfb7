"""The contract for who answers for agents and services: a part of the directory.

An owner is a person who is active, or a team with a member who is. The store looks at it when an agent or a service is
registered, is given another owner or is enabled, in that transaction, and holds it until the commit. So whoever
disables somebody and looks afterwards at what has no owner now misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sessile.kernel.event import Actor
from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.kernel.team import Team
from sessile.stores.protocol import PAGE, Page


class Owning(Protocol):
    """See the rules of `stores.protocol`. Events are `team.*`; nothing of it is announced: no check reads it."""

    async def add_team(self, team: Team, members: Sequence[str], by: Actor) -> None:
        """A new team of those people, by uid. Raises Conflict: the name is taken, or one cannot be a member; NotFound;
        LimitExceeded: more than `MOST_MEMBERS`."""

    async def team(self, *, name: str | None = None, uid: str | None = None) -> Team | None: ...

    async def teams(
        self, *, member: str | None = None, search: str = "", after: str | None = None, limit: int = PAGE
    ) -> Page[Team]:
        """By name, ascending: all, or those that a person, by uid, is a member of; `search` is a part of the name."""

    async def members(self, team: str) -> Sequence[Principal]:
        """The people of a team, by name: active or disabled, without those who were deleted."""

    async def join_team(self, team: str, member: str, by: Actor) -> bool:
        """Whether it is new there. Raises NotFound; Conflict: no person who is active; LimitExceeded."""

    async def leave_team(self, team: str, member: str, by: Actor) -> bool:
        """Whether it was a member. Raises NotFound; Conflict: the team owns something, and nobody else who is active is
        a member."""

    async def delete_team(self, team: str, by: Actor) -> None:
        """Raises NotFound; Conflict: it owns something."""


def can_answer(owner: Principal | None) -> bool:
    """Whether a person can answer for something, or be counted upon in a team."""
    return owner is not None and owner.kind is PrincipalKind.HUMAN and owner.status is Status.ACTIVE


NO_OWNER = "an owner is a person who is active, or a team with a member who is"
"""What is said where somebody else was named."""
STILL_OWNS = "{name} answers for agents or services: hand them over first (sessile user handover {name} --to NAME)"
LAST = "{name} answers for agents or services, and nobody else who is active is in it: let somebody join, or hand over"
