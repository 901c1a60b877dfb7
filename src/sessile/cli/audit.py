"""`sessile audit`: what happened."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import typer

from sessile.authority import Authority
from sessile.cli.common import BadUsage, Cli, command, count, group
from sessile.cli.show import event_json, event_line
from sessile.kernel.event import Event
from sessile.kernel.ids import check_session_id
from sessile.stores.protocol import Verified

app = group("The audit record: what happened, to whom, by whom.")

FOLLOW_SECONDS = 0.5
_PAGE = 500

Principal = Annotated[str | None, typer.Option(metavar="NAME", help="Only about this one.", show_default=False)]
Session = Annotated[str | None, typer.Option(metavar="ID", help="Only about this session.", show_default=False)]


@command(app, "tail")
async def tail(
    cli: Cli,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    n: Annotated[int, typer.Option("-n", min=0, max=100_000, help="How many of the latest.")] = 20,
    principal: Principal = None,
    session: Session = None,
) -> None:
    """Show the latest events, oldest first. In JSON, one object a line."""
    async with cli.authority() as authority:
        uid, session = await _about(authority, principal, session)
        # Newest first, in pages; what follows begins after the newest of the whole record.
        newest = await authority.store.events(latest=True, limit=1)
        last = newest[0].seq if newest else 0
        for event in await _latest(authority, n, uid, session):
            _say(cli, event)
        while follow:
            async for event in _after(authority, last, uid, session):
                _say(cli, event)
                last = max(last, event.seq)
            await asyncio.sleep(FOLLOW_SECONDS)


@command(app, "export")
async def export(
    cli: Cli,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only what came after this event.")] = 0,
    principal: Principal = None,
    session: Session = None,
) -> None:
    """Write the whole record as JSON, an event a line."""
    async with cli.authority() as authority:
        uid, session = await _about(authority, principal, session)
        async for event in _after(authority, after, uid, session):
            cli.emit(event_json(event))


@command(app, "verify")
async def verify(
    cli: Cli,
    since: Annotated[
        str | None,
        typer.Option(metavar="SEQ:CHAIN", help="As an earlier run said it, kept elsewhere.", show_default=False),
    ] = None,
) -> None:
    """Whether the whole record is as it was written. Status 1 if an event was changed, removed or added.

    Who may write to the database can also make the record anew from its first event on. So keep what this says
    where they cannot write, and give it to the next run as --since: what was there by then has to be there still.
    """
    known = Verified() if since is None else _kept(since)
    async with cli.authority() as authority:
        found = await authority.store.verify_events(Verified())
        while found.more and found.broken is None:
            found = await authority.store.verify_events(found)
        if found.broken is None and known.seq:
            # The record is whole in itself; whether it is still the same one is another question.
            kept = await authority.store.verify_events(known)
            found = msgspec.structs.replace(found, broken=kept.broken)
    checkpoint = f"{found.seq}:{found.chain.hex()}"
    if cli.json:
        ok = found.broken is None
        cli.emit({"ok": ok, "events": found.seq, "broken": found.broken, "since": checkpoint if ok else None})
    elif found.broken is None:
        cli.say(f"The record is whole: {count(found.seq, 'event')}. Keep this elsewhere, for the next run's --since:")
        print(checkpoint)
    else:
        cli.note(
            f"sessile: event {found.broken} is not as it was written, or not there: somebody changed the database past"
            " Sessile. Compare it with an export or a backup"
        )
    if found.broken is not None:
        raise typer.Exit(1)


def _kept(text: str) -> Verified:
    found = re.fullmatch(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", text)
    if found is None:
        raise BadUsage(f"{text[:100]!r} is not what an earlier run said: a number, a colon, 64 hexadecimal digits")
    return Verified(int(found[1]), bytes.fromhex(found[2]))


def _say(cli: Cli, event: Event) -> None:
    if cli.json:
        cli.emit(event_json(event))
    else:
        print(event_line(event), flush=True)


async def _about(
    authority: Authority, principal: str | None, session: str | None
) -> tuple[str | None, str | None]:  # fmt: skip
    uid = (await authority.principal(principal)).uid if principal is not None else None
    return uid, None if session is None else check_session_id(session)


async def _latest(authority: Authority, n: int, uid: str | None, session: str | None) -> list[Event]:
    if n == 0:
        return []
    return list(reversed(await authority.store.events(latest=True, limit=n, uid=uid, session=session)))


async def _after(authority: Authority, seq: int, uid: str | None, session: str | None) -> AsyncIterator[Event]:
    while True:
        page = await authority.store.events(after=seq, limit=_PAGE, uid=uid, session=session)
        for event in page:
            yield event
            seq = event.seq
        if len(page) < _PAGE:
            return
