"""`sessile lease`: credentials in other systems, and how far their end has got there."""

from __future__ import annotations

import contextlib
import getpass
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from sessile.cli.common import (
    NOT_STATED,
    BadUsage,
    Cli,
    by,
    clean,
    command,
    count,
    duration,
    every,
    group,
    local,
    minute,
    refuse,
)
from sessile.cli.show import say_receipt
from sessile.cli.user import PasswordStdin, ask_once
from sessile.errors import Conflict, NotFound
from sessile.factors.password import Passwords
from sessile.kernel.lease import EndsBy
from sessile.kernel.session import Client, SessionKind

if TYPE_CHECKING:
    from sessile.authority import Authority
    from sessile.nhi.leases import LeaseInfo, Leases

app = group("Credentials in other systems, which end with what they hang on.")

_COLUMNS = ("LEASE", "CONNECTOR", "OUTSIDE", "OF", "STATE", "UNTIL", "LAST ERROR")
LeaseId = Annotated[str, typer.Argument(metavar="ID", help="ses_…, from `sessile lease list`", show_default=False)]


@contextlib.asynccontextmanager
async def opened(cli: Cli, authority: Authority, *, working: bool = True) -> AsyncIterator[Leases]:
    """The leases, with the connectors that are configured here. Without `working`: only to look at them.

    Raises:
        NotConfigured, KeyUnusable: the message names the cure. Conflict: there is no key yet.
    """
    # Only here: connectors bring libraries that no other command needs.
    from sessile.factors.sealing import Seal
    from sessile.nhi.connectors import load
    from sessile.nhi.leases import Leases
    from sessile.server.key import open_keys
    from sessile.server.settings import Settings

    if not working:
        yield Leases(authority, _Unsealed(), {})
        return
    if await authority.store.fact("key_check") is None:
        raise Conflict("there is no secret key yet, which seals what is leased: start `sessile serve` once")
    keys = await open_keys(authority.store, Settings(database=cli.url).key_path)
    leases = Leases(authority, Seal(keys), load(cli.connectors))
    try:
        yield leases
    finally:
        await leases.close()


class _Unsealed:
    """In the place of a seal, where nothing is opened."""

    def seal(self, secret: bytes, *place: str) -> bytes:
        raise AssertionError("who only lists opens and seals nothing")

    def open(self, sealed: bytes, *place: str) -> bytes:
        raise AssertionError("who only lists opens and seals nothing")


@command(app, "list")
async def list_(cli: Cli) -> None:
    """List leases whose end is not confirmed."""
    await _say_all(cli, pending=False)


@command(app, "pending")
async def pending(cli: Cli) -> None:
    """List leases that should be over and are not confirmed. Status 1 if one of them is overdue."""
    if await _say_all(cli, pending=True):
        cli.note("some are overdue: mend what the errors say; what was ended by hand: sessile lease confirm ID")
        raise typer.Exit(1)


async def _say_all(cli: Cli, *, pending: bool) -> bool:
    async with cli.authority() as authority, opened(cli, authority, working=False) as leases:
        found = [one async for one in every(lambda after: leases.all(pending=pending, after=after))]
    if cli.json:
        cli.emit({"items": [msgspec.to_builtins(one) for one in found], "next": None})
    else:
        cli.table(_COLUMNS, map(_row, found))
    return any(one.overdue for one in found)


@command(app, "show")
async def show(cli: Cli, lease: LeaseId) -> None:
    """Show one lease."""
    async with cli.authority() as authority, opened(cli, authority, working=False) as leases:
        _say(cli, await leases.show(lease))


@command(app, "register")
async def register(
    cli: Cli,
    connector: Annotated[str, typer.Option(metavar="NAME", help="As SESSILE_CONNECTORS names it.")],
    by_: Annotated[str, typer.Option("--by", metavar="YOU", help="The person who answers for it, or an operator.")],
    handle_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Where the handle is; else it is asked for.", show_default=False),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who has it: service:ci; else you.", show_default=False)
    ] = None,
    lifetime: Annotated[
        str | None, typer.Option(metavar="30d", help="At most the policy's for keys.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option(metavar="TEXT", help="What to call it.")] = "",
    rotate: Annotated[bool, typer.Option("--rotate", help="Others need it too: replace it, do not end it.")] = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Lease a credential that is there already: it ends with what it hangs on.

    The handle is what the connector knows it by; docs/leases.md says what that is. It may be a secret, so it is no part
    of the command. A person signs in for it, as for a key: --by, with the password.
    """
    length = duration(lifetime) if lifetime else None
    handle = _handle(handle_file)
    async with cli.authority() as authority, opened(cli, authority) as leases:
        password = ask_once(by_, stdin=password_stdin)
        here = Client(label=f"sessile lease register on {socket.gethostname()}"[:100])
        signed_in = await Passwords(authority).sign_in(by_, password, client=here)
        try:
            leased = await leases.register(
                signed_in.active, connector=connector, handle=handle, owner=owner, lifetime=length, label=label,
                ends_by=EndsBy.ROTATE if rotate else EndsBy.REVOKE,
            )  # fmt: skip
        except ValueError as error:
            refuse(str(error))
        finally:
            await authority.revoke(session=signed_in.active.session.id, cause="logout", by=signed_in.active)
    _say(cli, leased.info)


def _handle(path: Path | None) -> str:
    if path is None:
        if not sys.stdin.isatty():
            raise BadUsage("there is no terminal to ask for the handle at: give --handle-file PATH")
        return getpass.getpass("Handle: ").strip()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise BadUsage(f"{path} cannot be read") from None


@command(app, "revoke")
async def revoke(
    cli: Cli,
    lease: LeaseId,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = NOT_STATED,
) -> None:
    """End a lease. It is ended in the other system by a server, or by `sessile lease work`."""
    async with cli.authority() as authority:
        session = await authority.session(lease)
        if session.kind is not SessionKind.LEASE:
            raise NotFound(f"{lease} is no lease: `sessile sessions revoke` ends any session")
        receipt = await authority.revoke(session=lease, cause=cause, by=by())
    say_receipt(cli, receipt, lease)


@command(app, "work")
async def work(cli: Cli) -> None:
    """Do what is due in other systems, once. A server with connectors does it by itself, all the time.

    Status 1 if something that should be over is not confirmed.
    """
    if cli.connectors is None:
        raise BadUsage("no connectors are configured here: set SESSILE_CONNECTORS to the file that names them")
    async with cli.authority() as authority, opened(cli, authority) as leases:
        done = await leases.work()
        left = [one async for one in every(lambda after: leases.all(pending=True, after=after))]
    if cli.json:
        cli.emit({"confirmed": done, "pending": [msgspec.to_builtins(one) for one in left]})
    else:
        cli.say(f"{count(done, 'lease')} confirmed to be over, {count(len(left), 'lease')} not.")
        if left:
            cli.table(_COLUMNS, map(_row, left))
    if left:
        raise typer.Exit(1)


@command(app, "confirm")
async def confirm(
    cli: Cli, lease: LeaseId, cause: Annotated[str, typer.Option(metavar="TEXT", help="What was done.")] = NOT_STATED
) -> None:  # fmt: skip
    """Say that a lease was ended by hand in the other system: nobody tries any more."""
    async with cli.authority() as authority, opened(cli, authority, working=False) as leases:
        _say(cli, await leases.confirm(lease, cause=cause, by=by()))


@command(app, "connectors")
async def connectors(cli: Cli) -> None:
    """Try every connector that is configured. Status 1 if one fails."""
    from sessile.nhi.connectors import load
    from sessile.nhi.leases import probe

    found = await probe(load(cli.connectors))
    if cli.json:
        cli.emit({"items": [{"name": name, "error": error} for name, error in found.items()], "next": None})
    else:
        cli.table(("CONNECTOR", "STATE"), ((name, error or "ok") for name, error in found.items()))
    if any(found.values()):
        raise typer.Exit(1)


def _row(one: LeaseInfo) -> tuple[str, ...]:
    state = f"{one.state}, overdue" if one.overdue else one.state
    until = one.until if one.state != "living" else one.expires
    return (one.id, one.connector, one.shown, one.principal or "-", state, minute(until) or "-", one.error or "-")


def _say(cli: Cli, one: LeaseInfo) -> None:
    if cli.json:
        cli.emit(msgspec.to_builtins(one))
        return
    facts: Mapping[str, Any] = {
        "lease": one.id,
        "state": f"{one.state}, overdue" if one.overdue else one.state,
        "connector": one.connector,
        "outside": one.shown,
        "of": one.principal,
        "label": one.label,
        "origin": one.origin,
        "until": local(one.expires),
        "ends by": one.ends_by,
        "outside until": local(one.until),
        "by hand": clean(one.by_hand),
        "last error": one.error,
        "tries": one.tries or None,
        "next try": local(one.next_try),
        "confirmed": local(one.confirmed),
        "outcome": one.outcome,
        "new secret": "waits to be taken: POST /api/v1/leases/{id}/successor" if one.successor else None,
    }
    cli.facts(facts)
