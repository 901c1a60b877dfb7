"""`/console/audit`: the record, filtered, and taken away as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from sessile.errors import NotFound
from sessile.kernel.event import Event, EventName
from sessile.kernel.ids import check_session_id
from sessile.server.access import Operator, Ours
from sessile.server.pages.console import CONSOLE, SPANS
from sessile.server.pages.overview import ENDINGS
from sessile.server.pages.render import page
from sessile.server.state import Server
from sessile.server.wording import TEXTS

AUDIT: Final = f"{CONSOLE}/audit"
router = APIRouter(prefix=AUDIT)

PAGE: Final = 50
_EXPORT_PAGE: Final = 500
_COLUMNS: Final = (
    "seq", "at", "event", "principal", "session", "by", "by_session", "ip", "client", "cause", "details",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

ABOUT: Final[dict[str, frozenset[EventName]]] = {
    "sign_ins": frozenset({EventName.SESSION_BEGUN, EventName.SESSION_ELEVATED, EventName.SIGN_IN_FAILED}),
    "endings": ENDINGS,
    "handed_out": frozenset({EventName.SESSION_DELEGATED, EventName.KEY_MINTED}),
    "threats": frozenset(
        {
            EventName.TOKEN_REPLAYED, EventName.SESSION_CONTAINED, EventName.PRINCIPAL_CONTAINED,
            EventName.CONTAINMENT_SETTLED, EventName.REQUESTS_DENIED, EventName.SIGN_IN_FAILED,
        }
    ),
    "accounts": frozenset(
        name for name in EventName if name.partition(".")[0] in ("principal", "team", "factor", "address")
    ),
    "rules": frozenset({EventName.POLICY_CHANGED, EventName.EVERYONE_REVOKED}),
}  # fmt: skip
"""What one may filter by."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, as it stands in the address."""

    about: str = ""
    principal: str = ""
    session: str = ""
    since: str = ""

    def query(self, **more: object) -> str:
        return urlencode({name: value for name, value in (msgspec.structs.asdict(self) | more).items() if value})

    async def asked(self, server: Server) -> dict[str, Any]:
        """For `Directory.events`. Raises NotFound: no such principal."""
        uid = (await server.authority.principal(self.principal)).uid if self.principal else None
        return {
            "uid": uid, "session": self.session or None, "names": ABOUT.get(self.about, frozenset()),
            "since": server.now() - SPANS[self.since] if self.since in SPANS else None,
        }  # fmt: skip


def _filter(
    about: Annotated[str, Query(max_length=20)] = "", principal: Annotated[str, Query(max_length=128)] = "",
    session: Annotated[str, Query(max_length=64)] = "", since: Annotated[str, Query(max_length=20)] = "",
) -> Filter:  # fmt: skip
    return Filter(about=about, principal=principal.strip().casefold(), session=session.strip(), since=since)


Asked = Annotated[Filter, Depends(_filter)]


@router.get("")
async def show(
    request: Request, server: Ours, _active: Operator, asked: Asked,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:  # fmt: skip
    events, error = await _events(server, asked, before)
    more = len(events) > PAGE
    return page(
        request, "audit.html", status=200 if error is None else 404, now=server.now(), asked=asked, error=error,
        events=events[:PAGE], about=ABOUT, spans=SPANS, before=before,
        next_href=f"{AUDIT}?{asked.query(before=events[PAGE - 1].seq)}" if more else None,
        newest_href=f"{AUDIT}?{asked.query()}", export_query=asked.query(),
    )  # fmt: skip


async def _events(server: Server, asked: Filter, before: int | None) -> tuple[Sequence[Event], str | None]:
    try:
        if asked.session:
            check_session_id(asked.session)
        query = await asked.asked(server)
    except ValueError:
        return [], TEXTS.audit.no_session
    except NotFound:
        return [], TEXTS.audit.no_principal.format(name=asked.principal)
    return await server.authority.store.events(**query, before=before, latest=True, limit=PAGE + 1), None


@router.get("/export")
async def export(
    server: Ours, _active: Operator, asked: Asked, form: Annotated[Literal["csv", "jsonl"], Query(alias="as")] = "csv"
) -> Response:
    """All that the filter shows, oldest first. Raises NotFound."""
    query = await asked.asked(server)
    write, kind = (_csv, "text/csv; charset=utf-8") if form == "csv" else (_jsonl, "application/jsonl")
    name = f"sessile-audit-{server.now():%Y%m%d-%H%M%S}.{form}"
    return StreamingResponse(
        _pages(server, query, write), media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


async def _pages(
    server: Server, query: dict[str, Any], write: Callable[[Sequence[Event], bool], str]
) -> AsyncIterator[str]:
    after: int | None = None
    while True:
        events = await server.authority.store.events(**query, after=after or 0, limit=_EXPORT_PAGE)
        yield write(events, after is None)
        if not events:
            break
        after = events[-1].seq


def _jsonl(events: Sequence[Event], _first: bool) -> str:
    return "".join(msgspec.json.encode(event).decode() + "\n" for event in events)


def _csv(events: Sequence[Event], first: bool) -> str:
    out = io.StringIO()
    rows = csv.writer(out)
    if first:
        rows.writerow(_COLUMNS)
    for e in events:
        rows.writerow(
            _cell(value)
            for value in (
                e.seq, e.at and TEXTS.iso(e.at), e.name.value, e.principal, e.session, e.by.name, e.by.session,
                e.by.client.ip, e.by.client.label, e.cause,
                msgspec.json.encode(e.details).decode() if e.details else "",
            )
        )  # fmt: skip
    return out.getvalue()


def _cell(value: object) -> str:
    """A spreadsheet takes what begins like a formula for one, and some of it comes from strangers."""
    said = "" if value is None else str(value)
    return f"'{said}" if said.startswith(_FORMULA) else said
