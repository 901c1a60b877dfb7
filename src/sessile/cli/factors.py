"""`sessile user factors`: the second factors of a person who lost them, or whose are off."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sessile.authority import Authority
from sessile.cli.common import NOT_STATED, BadUsage, Cli, by, confirm, count, local, minute, utc
from sessile.cli.counting import counting
from sessile.cli.show import say_receipt
from sessile.cli.user import Name
from sessile.factors.enrolled import Factors
from sessile.factors.recovery import RecoveryCodes
from sessile.factors.sealing import Seal
from sessile.kernel.principal import PrincipalKind


class Verb(StrEnum):
    LIST = "list"
    RESET = "reset"


async def factors(
    cli: Cli, name: Name, verb: Annotated[Verb, typer.Argument(metavar="list|reset")] = Verb.LIST,
    id: Annotated[str | None, typer.Option("--id", metavar="fct_…", help="With reset: only this one.")] = None,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = NOT_STATED,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:  # fmt: skip
    """List a person's second factors, or take them away: all, with the recovery codes, or one.

    For whoever lost them, or tried them too often: what was counted against them is forgotten, and every session of
    the person ends. Make sure that it is the person who asks: what is left is the password.
    """
    if id is not None and verb is Verb.LIST:
        raise BadUsage("--id goes with reset")
    async with cli.authority() as authority:
        person = await authority.principal(name)
        if person.kind is not PrincipalKind.HUMAN:
            raise BadUsage("services and agents have no factors: people hand them keys and delegations")
        # Nothing sealed is opened here: listing and taking away needs no key.
        own = Factors(authority, Seal((bytes(32),)), await counting(cli, authority))
        if verb is Verb.LIST:
            await _list(cli, authority, own, person.uid)
            return
        confirm(f"Take {id or 'all second factors'} of {person.name} away?", yes=yes)
        removed, receipt = await own.reset(person.name, by=by(), cause=cause, id=id)
        cli.say(f"{count(len(removed), 'factor')} of {person.name} removed.")
        say_receipt(cli, receipt, person.name)


async def _list(cli: Cli, authority: Authority, own: Factors, uid: str) -> None:
    found, codes = await own.of(uid), await RecoveryCodes(own).of(uid)
    if cli.json:
        items = [
            {
                "id": one.id, "method": one.method, "name": one.name, "added": utc(one.added), "used": utc(one.used),
                "proves": one.proves, "backed_up": one.backed_up,
            }
            for one in found
        ]  # fmt: skip
        cli.emit({"items": items, "recovery_codes": None if codes is None else utc(codes.made), "next": None})
        return
    rows = ((one.id, one.proves, one.name, minute(one.added), minute(one.used) or "never") for one in found)
    cli.table(("ID", "KIND", "NAME", "ADDED", "LAST USED"), rows)
    cli.say(f"recovery codes: {'none' if codes is None else 'made ' + local(codes.made)}")
