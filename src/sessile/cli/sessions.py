"""`sessile sessions`: what is alive, what hangs on what, and ending one."""

from __future__ import annotations

from typing import Annotated

import typer

from sessile.cli.common import NOT_STATED, Cli, by, clean, command, every, faint, group
from sessile.cli.show import (
    SESSION_COLUMNS,
    client,
    say_receipt,
    session_facts,
    session_json,
    session_row,
    state,
    until,
    waiting_json,
    waiting_row,
)
from sessile.kernel.session import SessionInfo
from sessile.kernel.work import WorkKind

app = group("Sessions: what is alive, what hangs on what.")

Id = Annotated[str, typer.Argument(metavar="ID", help="ses_…", show_default=False)]
Cause = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record and for the person.")]


@command(app, "list")
async def list_(
    cli: Cli,
    principal: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over too, as far as they are kept.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 200,
) -> None:
    """List sessions, newest first."""
    found: list[SessionInfo] = []
    more = False
    async with cli.authority() as authority:
        async for one in every(lambda after: authority.sessions(principal=principal, ended=ended, after=after)):
            if len(found) == limit:
                more = True
                break
            found.append(one)
    if cli.json:
        cli.emit({"items": [session_json(one) for one in found], "next": None, "more": more})
        return
    cli.table(SESSION_COLUMNS, map(session_row, found))
    if more:
        cli.note(f"and more: --limit above {limit} shows them, --principal NAME only one's")


@command(app, "waiting")
async def waiting(
    cli: Cli, principal: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None
) -> None:
    """List what waits: approvals that somebody asked for, and work that was parked when a session timed out."""
    async with cli.authority() as authority:
        uid = (await authority.principal(principal)).uid if principal is not None else None
        asked = await authority.approvals(principal=principal)
        found = [*asked, *await authority.store.works(WorkKind.PARKED, uid=uid)]
        people = {uid for work in found for uid in (work.uid, work.giver) if uid is not None}
        names = {one: person.name for one in people if (person := await authority.store.principal(uid=one)) is not None}
    if cli.json:
        cli.emit({"items": [waiting_json(one, names) for one in found], "next": None})
    else:
        cli.table(
            ("ID", "KIND", "PRINCIPAL", "WHAT", "SINCE", "UNTIL", "STATE"), (waiting_row(one, names) for one in found)
        )


@command(app, "show")
async def show(cli: Cli, session: Id) -> None:
    """Show all of one session, alive or over."""
    async with cli.authority() as authority:
        found = await authority.session(session)
    if cli.json:
        cli.emit(session_json(found))
    else:
        cli.facts(session_facts(found))


@command(app, "tree")
async def tree(cli: Cli, session: Id) -> None:
    """Show a session and what it handed out, by both ties; what is over as well."""
    async with cli.authority() as authority:
        found: list[SessionInfo] = [
            one async for one in every(lambda after: authority.sessions(tree=session, ended=True, after=after))
        ]
    if cli.json:
        cli.emit({"items": [session_json(one) for one in found], "next": None})
        return
    below: dict[str | None, list[SessionInfo]] = {}
    for one in found[1:]:
        below.setdefault(one.origin or one.parent, []).append(one)
    _branch(cli, found[0], below, "", "")


def _branch(
    cli: Cli, one: SessionInfo, below: dict[str | None, list[SessionInfo]], first: str, rest: str
) -> None:  # fmt: skip
    tie = ", outlives the one above" if first and not one.parent else ""
    said = f"  {state(one)}{f', until {until(one)}' if one.live else ''}"
    cli.say(first + clean(f"{one.id}  {one.principal or '-'}  {one.kind}{tie}  {client(one)}") + faint(clean(said)))
    children = below.get(one.id, [])
    for n, child in enumerate(children):
        last = n == len(children) - 1
        _branch(cli, child, below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


@command(app, "revoke")
async def revoke(cli: Cli, session: Id, cause: Cause = NOT_STATED) -> None:
    """End a session and all whose life hangs on it. The same as `sessile revoke --session ID`."""
    async with cli.authority() as authority:
        receipt = await authority.revoke(session=session, cause=cause, by=by())
    say_receipt(cli, receipt, session)
