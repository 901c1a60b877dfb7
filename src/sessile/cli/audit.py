"""`sessile audit`: what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from sessile.authority import Authority
from sessile.cli.common import Cli, command, group
from sessile.cli.show import event_json, event_line
from sessile.kernel.event import Event
from sessile.kernel.ids import check_session_id

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
