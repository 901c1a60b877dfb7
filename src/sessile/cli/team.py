"""`sessile team`: people who answer together for agents and services."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sessile.authority import Authority
from sessile.cli.common import Cli, by, clean, command, every, group, local, utc
from sessile.kernel.team import Team, team_name

app = group("Teams: people who answer together for agents and services.")

TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="platform, or team:platform", show_default=False)]
People = Annotated[list[str], typer.Argument(metavar="NAME…", help="People.", show_default=False)]


@command(app, "add")
async def add(
    cli: Cli, team: TeamName,
    members: Annotated[list[str], typer.Option("--member", metavar="NAME", help="Who is in it. Repeat it.")] = [],  # noqa: B006 - typer copies it
) -> None:  # fmt: skip
    """Make a team. Then it may own: sessile user add service:ci --owner team:platform --purpose …

    A team is no principal: it cannot sign in and has no rights. What an owner may do, each of its members who is active
    may.
    """
    async with cli.authority() as authority:
        made = await authority.add_team(team, members=members, by=by())
        found = await _json(authority, made)
    if cli.json:
        cli.emit(found)
    else:
        cli.say(clean(f"{made.name} is there, with {' '.join(_names(found)) or 'nobody in it'}."))


@command(app, "list")
async def list_(
    cli: Cli, member: Annotated[str | None, typer.Option(metavar="NAME", help="Only those this person is in.")] = None
) -> None:
    """List teams by name."""
    async with cli.authority() as authority:
        found = [
            await _json(authority, one)
            async for one in every(lambda after: authority.teams(member=member, after=after))
        ]
    if cli.json:
        cli.emit({"items": found, "next": None})
    else:
        cli.table(
            ("TEAM", "MEMBERS", "ANSWERS FOR"),
            ((one["id"], " ".join(_names(one)) or "-", " ".join(one["answers_for"]) or "-") for one in found),
        )


@command(app, "show")
async def show(cli: Cli, team: TeamName) -> None:
    """Show who is in a team and what it answers for."""
    async with cli.authority() as authority:
        one = await authority.team(team)
        found = await _json(authority, one)
    if cli.json:
        cli.emit(found)
    else:
        cli.facts({
            "team": one.name, "since": local(one.created), "members": " ".join(_names(found)) or "nobody",
            "answers for": " ".join(found["answers_for"]),
        })  # fmt: skip


@command(app, "join")
async def join(cli: Cli, team: TeamName, people: People) -> None:
    """Let people be members. From now on each may do what an owner may."""
    async with cli.authority() as authority:
        for one in people:
            await authority.join_team(team, one, by=by())
        found = await _json(authority, await authority.team(team))
    _said(cli, team, found)


@command(app, "leave")
async def leave(cli: Cli, team: TeamName, people: People) -> None:
    """Let people be members no more. The last one who is active stays while the team owns something."""
    async with cli.authority() as authority:
        for one in people:
            await authority.leave_team(team, one, by=by())
        found = await _json(authority, await authority.team(team))
    _said(cli, team, found)


@command(app, "delete")
async def delete(cli: Cli, team: TeamName) -> None:
    """Delete a team that owns nothing. Hand over first: sessile user handover team:NAME --to NAME"""
    async with cli.authority() as authority:
        await authority.delete_team(team, by=by())
    cli.say(clean(f"{team_name(team)} is deleted."))


def _said(cli: Cli, team: str, found: dict[str, Any]) -> None:
    if cli.json:
        cli.emit(found)
    else:
        cli.say(clean(f"In {team_name(team)}: {' '.join(_names(found)) or 'nobody'}"))


def _names(found: dict[str, Any]) -> list[str]:
    return [one["id"] if one["status"] == "active" else f"{one['id']} ({one['status']})" for one in found["members"]]


async def _json(authority: Authority, team: Team) -> dict[str, Any]:
    members = await authority.store.members(team.uid)
    return {
        "id": team.name, "uid": team.uid, "created": utc(team.created),
        "members": [{"id": one.name, "status": one.status.value} for one in members],
        "answers_for": [one.name for one in await authority.owned(team.uid)],
    }  # fmt: skip
