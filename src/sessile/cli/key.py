"""`sessile key`: the long-lived keys of services and agents."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from sessile.cli.common import NOT_STATED, BadUsage, Cli, by, clean, command, duration, every, group, local, utc
from sessile.cli.show import SESSION_COLUMNS, say_receipt, session_json, session_row
from sessile.cli.user import PasswordStdin, ask_once
from sessile.errors import NotFound
from sessile.factors.password import Passwords
from sessile.kernel.session import Client, SessionInfo, SessionKind
from sessile.nhi.scan import Find, Holding, holding, scan_file, scan_tree

app = group("API keys of services and agents.")


@command(app, "mint")
async def mint(
    cli: Cli,
    owner: Annotated[str, typer.Option(metavar="NAME", help="Whose key: service:ci, agent:deploy.")],
    by_: Annotated[str, typer.Option("--by", metavar="YOU", help="The person who answers for it, or an operator.")],
    scopes: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="What it may. Repeat it.")],
    lifetime: Annotated[
        str | None, typer.Option(metavar="30d", help="At most the policy's.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option(metavar="TEXT", help="What to call it.")] = "",
    password_stdin: PasswordStdin = False,
) -> None:
    """Mint a key. It is shown once.

    A key names the session that handed it out, so that it ends if that person turns out to be compromised. So a
    person signs in for it: --by, with the password; the session is over as soon as the key is minted.
    """
    length = duration(lifetime) if lifetime else None
    async with cli.authority() as authority:
        password = ask_once(by_, stdin=password_stdin)
        here = Client(label=f"sessile key mint on {socket.gethostname()}"[:100])
        signed_in = await Passwords(authority).sign_in(by_, password, client=here)
        try:
            key = await authority.mint_key(signed_in.active, owner=owner, scopes=scopes, lifetime=length, label=label)
        finally:
            await authority.revoke(session=signed_in.active.session.id, cause="logout", by=signed_in.active)
        session = key.active.session
    if cli.json:
        cli.emit({
            "token": str(key.token), "id": session.id, "owner": session.principal, "scopes": sorted(session.scopes),
            "expires": utc(session.expires), "origin": session.origin, "label": session.label,
        })  # fmt: skip
        return
    print(key.token)
    cli.note(
        f"{session.id}, a key of {session.principal}, until {local(session.expires)}. The line above is shown this"
        " once; send it as `Authorization: Bearer …`"
    )


@command(app, "list")
async def list_(
    cli: Cli,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one's.")] = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over too.")] = False,
) -> None:
    """List keys, newest first."""
    async with cli.authority() as authority:
        found: list[SessionInfo] = [
            one
            async for one in every(lambda after: authority.sessions(principal=owner, ended=ended, after=after))
            if one.kind is SessionKind.KEY
        ]
    if cli.json:
        cli.emit({"items": [session_json(one) for one in found], "next": None})
    else:
        cli.table(
            (*SESSION_COLUMNS, "SCOPES"), ((*session_row(one), " ".join(sorted(one.scopes)) or "-") for one in found)
        )


@command(app, "scan")
async def scan(
    cli: Cli,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Files, folders, or - for standard input.", show_default=False)
    ],
) -> None:
    """Find tokens that leaked into files, by their prefix and checksum. Status 1 if there are any.

    Where there is a database, says which of them live. The tokens themselves are not shown. For a pre-commit hook:
    `git diff --cached | sessile key scan -`.
    """
    if missing := [str(path) for path in paths if path != Path("-") and not path.exists()]:
        raise BadUsage(f"there is no {', '.join(missing)}")
    found: list[Find] = []
    for path in paths:
        found += scan_file(sys.stdin.buffer, "-") if path == Path("-") else scan_tree([path], cli.note)
    held: dict[str, Holding] = {}
    if found and (cli.on_engine or cli.path.is_file()):
        async with cli.authority() as authority:
            held = {one.token: await holding(authority.store, one.token) for one in found}
    if cli.json:
        cli.emit({"items": [_found_json(one, held.get(one.token)) for one in found], "next": None})
    for one in found:
        cli.say(clean(f"{one.where}:{one.line}: {one.token[:4]}…  {_worth(held.get(one.token))}"))
    if found:
        if any(one.live for one in held.values()):
            cli.note("end a living one with: sessile contain --session ID")
        raise typer.Exit(1)


def _found_json(found: Find, held: Holding | None) -> dict[str, object]:
    return {
        "path": found.where, "line": found.line, "prefix": found.token[:4], "live": None if held is None else held.live,
        "session": held.session if held else None, "principal": held.principal if held else None,
        "kind": held.kind if held else None,
    }  # fmt: skip


def _worth(held: Holding | None) -> str:
    if held is None:
        return "a token: there is no database here to ask about it"
    if held.session is None:
        return "a token that this database does not know"
    return f"{'LIVE' if held.live else 'over'}: {held.session}, {held.kind} of {held.principal or 'nobody'}"


@command(app, "revoke")
async def revoke(
    cli: Cli,
    key: Annotated[str, typer.Argument(metavar="ID", help="ses_…, from `sessile key list`", show_default=False)],
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = NOT_STATED,
) -> None:
    """End a key and all that was delegated from it."""
    if key.startswith("slk_"):
        raise BadUsage("that is the key itself, which belongs in no command line: give its id, from `sessile key list`")
    async with cli.authority() as authority:
        session = await authority.session(key)
        if session.kind is not SessionKind.KEY:
            raise NotFound(f"{key} is no key: `sessile sessions revoke` ends any session")
        receipt = await authority.revoke(session=key, cause=cause, by=by())
    say_receipt(cli, receipt, key)
