"""What the API takes and gives of teams, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from sessile.kernel.principal import Principal, Status
from sessile.kernel.team import MOST_MEMBERS, Team, team_name
from sessile.server.models import Input, Name, Output

TeamName = Annotated[str, Field(min_length=1, max_length=133), AfterValidator(team_name)]
"""`team:NAME`; the prefix may be left away."""


class NewTeam(Input):
    id: TeamName
    members: Annotated[tuple[Name, ...], Field(max_length=MOST_MEMBERS, strict=False)] = ()


class NewMember(Input):
    principal: Name


class MemberOut(Output):
    id: str
    status: Status


class TeamOut(Output):
    """People who answer together for agents and services."""

    id: str
    uid: str
    created: datetime
    members: list[MemberOut]
    """By name. Only those who are active answer for anything."""

    @classmethod
    def of(cls, team: Team, members: Sequence[Principal]) -> Self:
        return cls(
            id=team.name, uid=team.uid, created=team.created,
            members=[MemberOut(id=one.name, status=one.status) for one in members],
        )  # fmt: skip
