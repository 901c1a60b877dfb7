"""`sessile revoke`: end access now, and say since when."""

from __future__ import annotations

from typing import Annotated

import typer

from sessile.cli.common import NOT_STATED, BadUsage, Cli, by, confirm, duration
from sessile.cli.show import say_receipt
from sessile.kernel.principal import canonical


async def revoke(
    cli: Cli,
    principal: Annotated[
        str | None, typer.Option(metavar="NAME", help="All sessions of one.", show_default=False)
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="One session, and what hangs on it.", show_default=False)
    ] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="All people, and every delegation.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="With --everyone: API keys and leases too.")] = False,
    lock_sign_in: Annotated[
        str | None,
        typer.Option(metavar="15m", help="With --everyone: for so long only operators sign in.", show_default=False),
    ] = None,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record and for the person.")] = NOT_STATED,
    yes: Annotated[bool, typer.Option("--yes", help="With --everyone: do not ask.")] = False,
) -> None:
    """End sessions now: one's, one, or everybody's.

    When the command returns, no process on the database accepts them any more; the receipt says since when.
    """
    if (principal is not None) + (session is not None) + everyone != 1:
        raise BadUsage("say exactly one of --principal NAME, --session ID and --everyone")
    if (keys or lock_sign_in or yes) and not everyone:
        raise BadUsage("--keys, --lock-sign-in and --yes go with --everyone")
    lock = duration(lock_sign_in) if lock_sign_in else None
    async with cli.authority() as authority:
        if principal is not None:
            receipt = await authority.revoke(principal=principal, cause=cause, by=by())
            say_receipt(cli, receipt, canonical(principal))
        elif session is not None:
            say_receipt(cli, await authority.revoke(session=session, cause=cause, by=by()), session)
        else:
            confirm(f"Sign everybody out{' and end every key' if keys else ''}?", yes=yes)
            receipt = await authority.revoke(everyone=True, keys=keys, lock_sign_in=lock, cause=cause, by=by())
            say_receipt(cli, receipt, "everybody")
            if lock_sign_in:
                cli.say(f"For {lock_sign_in} only operators can sign in.")
