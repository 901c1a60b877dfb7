"""`sessile contain`: after a compromise, end all that was handed out, and show what that was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from sessile.cli.common import NOT_STATED, BadUsage, Cli, bold, by, clean, count, duration, exactly, faint, minute
from sessile.cli.lease import opened
from sessile.kernel.containment import Fate, Reached
from sessile.kernel.trace import ALLOWED
from sessile.nhi.blast import Living, Touched
from sessile.nhi.contain import Containment

_NOUN = {"browser": "session", "delegated": "delegation", "key": "key", "lease": "lease", "anonymous": "session"}
_RESOURCES = 20
"""So many are shown to people."""
_WOULD = {Fate.ENDS: "would end", Fate.STAYS: "stays", Fate.OVER: "over before"}
_DID = {Fate.ENDS: "ended", Fate.STAYS: "stays", Fate.OVER: "over before"}


async def contain(
    cli: Cli,
    session: Annotated[str | None, typer.Option(metavar="ID", help="One, alive or over.", show_default=False)] = None,
    principal: Annotated[str | None, typer.Option(metavar="NAME", help="All of one.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keys handed out since: 2026-01-31T09:00:00Z, or 2h ago; else all.",
                     show_default=False),
    ] = None,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the report and the record.")] = NOT_STATED,
    disable: Annotated[bool, typer.Option("--disable", help="With --principal: no sign-in any more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, show what would end.")] = False,
    report: Annotated[
        str | None, typer.Option(metavar="ID", help="Show an earlier report: con_…", show_default=False)
    ] = None,
) -> None:  # fmt: skip
    """End what a stolen session, or all of a principal's, handed out: delegations, and keys too.

    The root is cut first; nothing below is accepted or can be minted from then on. The tree shows what that reached.
    """
    if (session is not None) + (principal is not None) + (report is not None) != 1:
        raise BadUsage("say exactly one of --session ID, --principal NAME and --report ID")
    if disable and principal is None:
        raise BadUsage("--disable goes with --principal")
    if report is not None and (since or dry_run):
        raise BadUsage("--report only shows: --since and --dry-run go with --session or --principal")
    from_ = _since(since) if since else None
    async with cli.authority() as authority:
        if report is not None:
            found = await authority.containment(report)
        else:
            found = await authority.contain(
                session=session, principal=principal, since=from_, cause=cause, by=by(), disable=disable,
                dry_run=dry_run,
            )  # fmt: skip
            if found.id is not None and found.living and cli.connectors is not None:
                # A server would do it within a second; nobody knows here whether one runs.
                async with opened(cli, authority) as leases:
                    await leases.work()
                found = await authority.containment(found.id)
    say_containment(cli, found)


def say_containment(cli: Cli, report: Containment) -> None:
    """A report, as a tree for people, or in JSON."""
    if cli.json:
        cli.emit(msgspec.to_builtins(report))
        return
    radius, dry = report.radius, report.id is None
    subject = report.session or report.principal or ""
    if radius is None:
        cli.say(bold(clean(f"{subject} is cut off; what hung below is being counted.")))
    else:
        ends = _counts(radius.ends) or "Nothing alive"
        cli.say(bold(clean(f"{ends} of {subject} {'would end' if dry else 'ended'}.")))
        _tree(cli, radius.sessions, _WOULD if dry else _DID)
        if radius.more:
            cli.say(faint(f"and {count(radius.more, 'session')} more"))
        _touched(cli, radius.touched)
        cli.say()
    receipt = report.receipt
    cli.facts({
        "report": report.id,
        "state": report.state,
        "accepted nowhere since": exactly(receipt.effective) if receipt is not None else None,
        "of": ", ".join(radius.principals) if radius is not None else None,
        "goes on": _counts(radius.stays) if radius is not None else None,
        "cause": None if dry else report.cause,
        "by": receipt.by if receipt is not None else None,
    })  # fmt: skip
    for one in report.living:
        cli.say(clean(f"Still alive: {_living(one)}"))
    for lease in report.leases:
        if lease.successor:
            cli.say(clean(f"Rotated: {lease.shown} of {lease.connector}; its new secret waits to be taken"))


def _living(one: Living) -> str:
    said = [f"{one.id}, {one.kind} of {one.principal}"]
    if one.connector is not None:
        said.append(f"{one.shown} in {one.connector}")
    said.append(f"until {minute(one.until)}" if one.until is not None else "until it is ended there")
    if one.error:
        said.append(f"last error: {one.error}")
    if one.next_try is not None:
        said.append(f"next try {minute(one.next_try)}")
    if one.by_hand:
        said.append(f"by hand: {one.by_hand}")
    return "; ".join(said)


def _tree(cli: Cli, sessions: tuple[Reached, ...], said: Mapping[Fate, str]) -> None:
    ids = {one.id for one in sessions}
    below: dict[str | None, list[Reached]] = {}
    for one in sessions:
        below.setdefault(one.origin if one.origin in ids else None, []).append(one)

    def branch(one: Reached, first: str, rest: str) -> None:
        what = f"{one.id}  {one.principal or '-'}  {one.kind}  {one.label}".rstrip()
        scopes = f"  {' '.join(one.scopes)}" if one.scopes and one.kind != "browser" else ""
        cli.say(first + clean(f"{said[one.fate]:<11}  {what}") + faint(clean(f"{scopes}  since {minute(one.created)}")))
        children = below.get(one.id, [])
        for n, child in enumerate(children):
            last = n == len(children) - 1
            branch(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    for root in below.get(None, []):
        branch(root, "", "")


def _touched(cli: Cli, touched: tuple[Touched, ...]) -> None:
    if touched:
        cli.say()
        cli.say(bold(f"Touched: {count(len(touched), 'resource')}"))
    for one in touched[:_RESOURCES]:
        denied = "" if one.decision == ALLOWED else f"  denied: {one.decision}"
        said = f"{one.resource}  {one.action}{denied}  by {one.principal or 'nobody'}".replace("   ", "  ")
        cli.say(clean(said) + faint(clean(f"  {count(one.times, 'time')}, last {minute(one.last)}, {one.session}")))
    if len(touched) > _RESOURCES:
        cli.say(faint(f"and {len(touched) - _RESOURCES} more: --json lists them"))


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(count(n, _NOUN[kind]) for kind, n in kinds.items() if n)


def _since(text: str) -> datetime:
    """An instant, or a length of time before now. Raises BadUsage."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - duration(text)
    return at if at.tzinfo is not None else at.astimezone()
