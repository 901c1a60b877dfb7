"""`/devices`: browsers on which I signed in before."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from sessile.server.access import Ours, Person
from sessile.server.device import shown_device
from sessile.server.models import Output, PageOut

router = APIRouter(tags=["Devices"])

DevicePath = Annotated[str, Path(pattern=r"^dev_[0-9abcdefghjkmnpqrstvwxyz]{26}$", description="The id of a device.")]


class DeviceOut(Output):
    id: str
    label: str
    ip: str | None
    """Where it was at its last sign-in."""
    added: datetime
    used: datetime
    """Its last sign-in."""
    current: bool


@router.get("/devices", summary="List my known devices")
async def list_own(request: Request, server: Ours, active: Person) -> PageOut[DeviceOut]:
    """The last used first, at most 20. A known device replaces no proof: it is a way in while strangers guess, and a
    sign-in on it is not told by mail.
    """
    uid = active.session.uid or ""
    this = await server.devices.known(shown_device(request, server), uid)
    items = [
        DeviceOut(id=one.id, label=one.label, ip=one.ip, added=one.added, used=one.used, current=one.id == this)
        for one in await server.devices.of(uid)
    ]
    return PageOut(items=items, next=None)


@router.delete("/devices/{id}", status_code=204, response_class=Response, summary="Forget a device")
async def forget(id: DevicePath, server: Ours, active: Person) -> None:
    """From now on it is a stranger. Its sessions go on: end them by themselves."""
    await server.devices.forget(active, id)
