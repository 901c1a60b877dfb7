"""`/events`: the audit record. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from sessile.server.access import Limit, Operator, Ours
from sessile.server.models import EventOut, PageOut

router = APIRouter(tags=["Events"])

LARGEST = 2**63 - 1


@router.get("/events", summary="Read the audit record")
async def read(
    server: Ours, _active: Operator, limit: Limit = 100,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="The number of the last event that one has.")] = 0,
) -> PageOut[EventOut]:  # fmt: skip
    """In order, after the event of that number. To follow it, ask again with the last `seq`."""
    events = await server.authority.store.events(after=after, limit=limit)
    return PageOut(
        items=[EventOut.of(event) for event in events], next=str(events[-1].seq) if len(events) == limit else None
    )
