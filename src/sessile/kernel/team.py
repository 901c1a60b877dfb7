"""Who answers for an agent or a service: a person, or a team of people."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from sessile.kernel.ids import new_id
from sessile.kernel.principal import PrincipalKind, canonical, kind_of

PREFIX: Final = "team:"
MOST_MEMBERS: Final = 200
"""People of a team."""
_UID: Final = "team"


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of people, who answer together for agents and services. Nobody acts as a team: it is no principal,
    cannot sign in and has no rights of its own.

    `uid` is immutable and never used twice: `Principal.owner` is it.
    """

    uid: str
    name: str
    """`team:NAME`."""
    created: datetime


def new_team(name: str, *, now: datetime) -> Team:
    """A new team, of nobody yet. Raises ValueError: not a name."""
    return Team(uid=new_id(_UID), name=team_name(name), created=now)


def team_name(name: object) -> str:
    """`team:NAME` in the one form in which it is stored and looked up; the prefix may be left away.

    Raises:
        ValueError: not a name.
    """
    if not isinstance(name, str):
        raise ValueError("a team's name is a string")
    bare = name[len(PREFIX) :] if is_team_name(name) else name
    found = canonical(bare)
    if kind_of(found) is not PrincipalKind.HUMAN:
        raise ValueError("a team's name has no ':' but that of 'team:'")
    return PREFIX + found


def owner_name(name: object) -> str:
    """A person's name, or `team:NAME`, in the one form in which it is looked up. Raises ValueError: neither."""
    return team_name(name) if isinstance(name, str) and is_team_name(name) else canonical(name)


def is_team_name(name: str) -> bool:
    """Whether an owner that is named so is a team."""
    return name[: len(PREFIX)].casefold() == PREFIX


def is_team(uid: str | None) -> bool:
    """Whether an owner of that uid is a team."""
    return uid is not None and uid.startswith(f"{_UID}_")
