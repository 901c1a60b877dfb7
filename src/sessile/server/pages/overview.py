"""`/console/overview`: what happened in the last day, in numbers and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from sessile.kernel.event import Event, EventName
from sessile.server.access import Operator, Ours
from sessile.server.pages.console import CONSOLE
from sessile.server.pages.render import page
from sessile.server.picture import chart
from sessile.server.wording import TEXTS
from sessile.stores.protocol import Tally

router = APIRouter(prefix=CONSOLE)

HOURS: Final = 24
_LATEST: Final = 8
_DENIED_LINES: Final = 1_000
ENDINGS: Final = frozenset(
    {
        EventName.SESSION_REVOKED, EventName.SESSION_CONTAINED, EventName.PRINCIPAL_REVOKED,
        EventName.PRINCIPAL_CONTAINED, EventName.PRINCIPAL_DISABLED, EventName.PRINCIPAL_DELETED,
        EventName.EVERYONE_REVOKED,
    }
)  # fmt: skip
_BY_OTHERS: Final = ENDINGS - {EventName.SESSION_REVOKED}


@router.get("/overview")
async def show(request: Request, server: Ours, _active: Operator) -> Response:
    store, now = server.authority.store, server.now()
    since = now - timedelta(hours=HOURS - 1)
    tallies = await store.tallies(since)
    counts = await server.counts()
    return page(
        request, "overview.html", now=now,
        sign_ins=chart(
            now, HOURS,
            {"accent": _hours(tallies, {EventName.SESSION_BEGUN}), "warn": _hours(tallies, {EventName.SIGN_IN_FAILED})},
        ),
        endings=chart(now, HOURS, {"danger": _hours(tallies, ENDINGS)}),
        denied=_denied(
            await store.events(names={EventName.REQUESTS_DENIED}, since=since, latest=True, limit=_DENIED_LINES),
            server.denials.pending(),
        ),
        living=[(label, counts.get(f"sessions_{kind}", 0)) for kind, label in TEXTS.overview.living.items()],
        counted=server.counted, principals=counts.get("principals", 0),
        effective=server.authority.settling(store.delta),
        latest=await store.events(names=_BY_OTHERS, latest=True, limit=_LATEST),
        open_containments=len(await store.open_containments()),
    )  # fmt: skip


def _hours(tallies: Iterable[Tally], names: Iterable[EventName]) -> dict[datetime, int]:
    found: Counter[datetime] = Counter()
    for one in tallies:
        if one.name in names:
            found[one.hour] += one.count
    return found


def _denied(lines: Sequence[Event], pending: dict[str, int]) -> list[tuple[str, int]]:
    """Denials by reason, the most frequent first: the record's, and those of this process that are not in it yet."""
    found = Counter(pending)
    for line in lines:
        found.update({reason: count for reason, count in line.details.items() if isinstance(count, int)})
    return found.most_common()
