"""`sessile key`: the long-lived keys of services and agents."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sessile.authority import Authority
from sessile.cli.common import NOT_STATED, BadUsage, Cli, by, clean, command, duration, every, group, local, utc
from sessile.cli.show import SESSION_COLUMNS, say_receipt, session_json, session_row
from sessile.cli.user import PasswordStdin, ask_once
from sessile.errors import NotFound
from sessile.factors.password import Passwords
from sessile.kernel.decide import Active
from sessile.kernel.session import Client, SessionInfo, SessionKind
from sessile.kernel.trace import Trace
from sessile.nhi.scan import Find, Holding, holding, scan_file, scan_tree
from sessile.receipt import Issued

app = group("API keys of services and agents.")


@contextlib.asynccontextmanager
async def signed_in(authority: Authority, name: str, what: str, *, stdin: bool) -> AsyncIterator[Active]:
    """A session of a person who gives its password, for one act on the command line."""
    password = ask_once(name, stdin=stdin)
    here = Client(label=f"{what} on {socket.gethostname()}"[:100])
    active = (await Passwords(authority).sign_in(name, password, client=here)).active
    try:
        yield active
    finally:
        await authority.revoke(session=active.session.id, cause="logout", by=active)


def _minted_json(key: Issued) -> dict[str, object]:
    session = key.active.session
    return {
        "token": str(key.token), "id": session.id, "owner": session.principal, "scopes": sorted(session.scopes),
        "expires": utc(session.expires), "origin": session.origin, "label": session.label,
    }  # fmt: skip


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
    async with (
        cli.authority() as authority,
        signed_in(authority, by_, "sessile key mint", stdin=password_stdin) as active,
    ):
        key = await authority.mint_key(active, owner=owner, scopes=scopes, lifetime=length, label=label)
    session = key.active.session
    if cli.json:
        cli.emit(_minted_json(key))
        return
    print(key.token)
    cli.note(
        f"{session.id}, a key of {session.principal}, until {local(session.expires)}. The line above is shown this"
        " once; send it as `Authorization: Bearer …`"
    )


@command(app, "rotate")
async def rotate(
    cli: Cli,
    key: Annotated[str, typer.Argument(metavar="ID", help="ses_…, from `sessile key list`", show_default=False)],
    by_: Annotated[str, typer.Option("--by", metavar="YOU", help="The person who answers for it, or an operator.")],
    overlap: Annotated[str, typer.Option(metavar="1d", help="For how long the old key counts, too; 0: none.")] = "1d",
    lifetime: Annotated[
        str | None, typer.Option(metavar="30d", help="Of the new one; else as the old one's.", show_default=False)
    ] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Mint a key that takes the place of another, with its owner and scopes. It is shown once.

    Both count for the overlap. A use of the old one after that is a sign of theft: it ends what that key handed out.
    """
    length = duration(lifetime) if lifetime else None
    both = timedelta(0) if overlap == "0" else duration(overlap)
    async with cli.authority() as authority:
        async with signed_in(authority, by_, "sessile key rotate", stdin=password_stdin) as active:
            new = await authority.rotate_key(active, key, overlap=both, lifetime=length)
        old = await authority.session(key)
        session = new.active.session
    if cli.json:
        cli.emit(_minted_json(new) | {"replaces": key, "old_expires": utc(old.ended or old.expires)})
        return
    print(new.token)
    until = "is over" if old.ended else f"counts until {local(old.expires)}"
    cli.note(
        f"{session.id}, a key of {session.principal}, until {local(session.expires)}; {key} {until}. The line above is"
        " shown this once"
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
        uses = await authority.last_uses([one.id for one in found])
    if cli.json:
        cli.emit({"items": [_key_json(one, uses.get(one.id)) for one in found], "next": None})
    else:
        cli.table(
            (*SESSION_COLUMNS, "LAST FROM", "SCOPES"),
            ((*session_row(one), _last_from(uses.get(one.id)), " ".join(sorted(one.scopes)) or "-") for one in found),
        )


def _key_json(key: SessionInfo, use: Trace | None) -> dict[str, object]:
    return session_json(key) | {
        "rotated_out": key.rotated_out, "last_used": utc(use.last) if use else None,
        "last_used_from": (use.what or None) if use else None, "last_used_by": (use.how or None) if use else None,
    }  # fmt: skip


def _last_from(use: Trace | None) -> str:
    return "never used" if use is None else " ".join(part for part in (use.what, use.how) if part) or "-"


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


@command(app, "leaks")
async def leaks(
    cli: Cli, since: Annotated[str, typer.Option(metavar="30d", help="Reported in so long.")] = "30d"
) -> None:
    """List tokens that were found in the open: all have ended. What handed each out may be in the wrong hands, too."""
    async with cli.authority() as authority:
        found = await authority.leaks(since=authority.clock.now() - duration(since))
    if cli.json:
        cli.emit({"items": [msgspec.to_builtins(one) for one in found], "next": None})
        return
    for one in found:
        what = f"{one.kind} of {one.principal or 'nobody'}" if one.kind is not None else "over for long"
        cli.say(clean(f"{local(one.at)}  {one.session}, {what}: {one.where}, by {one.reporter}"))
        if one.origin is not None:
            cli.say(f"  if it was not lost by accident: sessile contain --session {one.origin} --dry-run")


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
