"""`sessile user holdings | handover | offboard | budget`: who answers for what is no person, and how much it may do."""

from __future__ import annotations

from typing import Annotated

import typer

from sessile.cli.common import BadUsage, Cli, by, clean, confirm, local, minute
from sessile.cli.show import say_receipt, session_json
from sessile.cli.user import Name
from sessile.kernel.budget import Budget
from sessile.kernel.principal import canonical
from sessile.kernel.session import SessionInfo
from sessile.kernel.team import owner_name

To = Annotated[
    str | None, typer.Option("--to", metavar="NAME", help="Who answers for them from now on: a person, or team:NAME.")
]


async def holdings(cli: Cli, name: Name) -> None:
    """Show what a person would leave behind: agents and services that nobody else answers for, keys, leases, and the
    secrets that it saw. Of team:NAME: what the team owns.
    """
    async with cli.authority() as authority:
        found = await authority.holdings(name)
    if cli.json:
        cli.emit({
            "principals": [one.name for one in found.principals], "teams": list(found.teams),
            "handed_out": [session_json(one) for one in found.handed_out],
            "held": [session_json(one) for one in found.held],
            "seen": [{"session": session_json(one.session), "at": one.at, "how": one.how} for one in found.seen],
        })  # fmt: skip
        return
    cli.say(clean(f"Alone answers for: {' '.join(one.name for one in found.principals) or 'nobody'}"))
    if found.teams:
        cli.say(clean(f"Is in: {' '.join(found.teams)}"))
    for title, infos in (("Handed out", found.handed_out), ("Held by them", found.held)):
        _list(cli, title, infos)
    for one in found.seen:
        cli.say(clean(f"Saw the secret of {_shown(one.session)}, {one.how} {minute(one.at)}"))


async def handover(
    cli: Cli, name: Name,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who answers for them now: a person, or team:NAME.")],
    only: Annotated[list[str], typer.Option(metavar="NAME", help="Only these agents and services. Repeat it.")] = [],  # noqa: B006
) -> None:  # fmt: skip
    """Let another person, or a team, answer for the agents and services that nobody else answers for. Ends nothing."""
    async with cli.authority() as authority:
        done = await authority.hand_over(name, to=to, only=only or None, by=by())
    if cli.json:
        cli.emit({"principals": [one.name for one in done]})
    else:
        cli.say(clean(f"{owner_name(to)} answers for: {' '.join(one.name for one in done) or 'nobody more'}"))


async def offboard(
    cli: Cli, name: Name, to: To = None,
    end_keys: Annotated[bool, typer.Option("--end-keys", help="End the keys that it handed out or saw, too.")] = False,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "left",
    yes: Annotated[bool, typer.Option("--yes", help="Without --to: do not ask.")] = False,
) -> None:  # fmt: skip
    """Disable a person, and leave nothing of theirs without somebody who answers for it.

    Agents and services that nobody else answers for are handed over --to somebody, or, without it, disabled too. Keys
    that go on although the person handed them out or saw them are listed: rotate them.
    """
    if to is None:
        confirm(f"Disable {canonical(name)} and all agents and services that nobody else answers for?", yes=yes)
    async with cli.authority() as authority:
        done = await authority.offboard(name, to=to, end_keys=end_keys, cause=cause, by=by())
    if cli.json:
        cli.emit({
            "handed_over": list(done.handed_over), "disabled": list(done.disabled), "ended": list(done.ended),
            "rotate": [session_json(one) for one in done.rotate], "effective": done.receipt.effective,
        })  # fmt: skip
        return
    say_receipt(cli, done.receipt, canonical(name))
    if done.handed_over:
        cli.say(clean(f"{owner_name(to or '')} answers for: {' '.join(done.handed_over)}"))
    if done.disabled:
        cli.say(clean(f"Disabled too: {' '.join(done.disabled)}"))
    if done.ended:
        cli.say(clean(f"Ended: {' '.join(done.ended)}"))
    _list(cli, "To be rotated", done.rotate)


async def budget(
    cli: Cli, name: Name,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Calls in a minute.", show_default=False)] = None,
    overall: Annotated[int | None, typer.Option(min=1, help="Calls from now on.", show_default=False)] = None,
    none: Annotated[bool, typer.Option("--none", help="Take the budget away.")] = False,
) -> None:  # fmt: skip
    """Show, or set, how many calls an agent or a service may make, over all its sessions and what it hands on."""
    if none and (per_minute or overall):
        raise BadUsage("--none stands alone")
    async with cli.authority() as authority:
        if per_minute or overall:
            await authority.set_budget(name, Budget(per_minute=per_minute, overall=overall), by=by())
        elif none:
            await authority.set_budget(name, None, by=by())
        found = await authority.budget(name)
    limits = found.budget if found is not None else None
    if cli.json:
        cli.emit({
            "principal": canonical(name), "per_minute": limits.per_minute if limits else None,
            "overall": limits.overall if limits else None, "spent": found.overall if found else 0,
        })  # fmt: skip
    elif limits is None or found is None:
        cli.say(clean(f"{canonical(name)} has no budget."))
    else:
        cli.facts({
            "calls in a minute": limits.per_minute, "calls overall": limits.overall,
            "spent": found.overall, "set": local(found.changed),
        })  # fmt: skip


def _list(cli: Cli, title: str, infos: tuple[SessionInfo, ...]) -> None:
    for one in infos:
        cli.say(clean(f"{title}: {_shown(one)}, until {minute(one.expires)}"))


def _shown(one: SessionInfo) -> str:
    return f"{one.id}, {one.kind} of {one.principal or 'nobody'}{f' ({one.label})' if one.label else ''}"
