"""`sessile inventory`: every agent and service, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from sessile.cli.common import Cli, bold, clean, count, every, faint, minute
from sessile.nhi.inventory import Item


async def inventory(
    cli: Cli,
    owner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only those of this person, or team:NAME.", show_default=False),
    ] = None,
    findings: Annotated[bool, typer.Option("--findings", help="Only those with something wrong.")] = False,
) -> None:
    """List agents and services: whose they are, what they hold, and what is wrong, with the cure.

    Findings are by OWASP's Non-Human Identities Top 10 (NHI1 to NHI10).
    """
    async with cli.authority() as authority:
        found: list[Item] = [
            one
            async for one in every(lambda after: authority.inventory(owner=owner, after=after))
            if one.findings or not findings
        ]
    if cli.json:
        cli.emit({"items": [msgspec.to_builtins(one) for one in found], "next": None})
        return
    for item in found:
        _say(cli, item)
    wrong = sum(len(item.findings) for item in found)
    what = "agent or service" if len(found) == 1 else "agents and services"
    cli.say(bold(f"{len(found):,} {what}, {count(wrong, 'finding')}"))


def _say(cli: Cli, item: Item) -> None:
    cli.say(bold(clean(item.principal)) + clean(f"  {item.status}, of {item.owner or 'nobody'}: {item.purpose or '-'}"))
    used = "never used" if item.last_used is None else f"last used {minute(item.last_used)}"
    cli.say(faint(clean(
        f"  since {minute(item.created)}, {used}, {count(item.delegations, 'delegation')},"
        f" scopes {' '.join(item.scopes) or 'none'}"
    )))  # fmt: skip
    for held in item.held:
        use = "never used" if held.last_used is None else f"used {minute(held.last_used)}"
        place = f" from {held.last_used_from}" if held.last_used_from else ""
        cli.say(clean(
            f"  {held.kind}  {held.id}  {held.label or '-'}  {' '.join(held.scopes) or '-'}  {use}{place}"
            f"  rotate by {minute(held.rotation_due)}, by {held.handed_out_by or 'nobody'}"
        ))  # fmt: skip
    for one in item.findings:
        cli.say(clean(f"  {one.risk}  {one.session or item.principal}: {one.says}"))
        cli.say(faint(clean(f"        cure: {one.cure}")))
    cli.say()
