"""A key that another takes the place of, as every store decides on it."""

from __future__ import annotations

from datetime import datetime

from sessile.errors import Conflict
from sessile.kernel.decide import Snapshot, is_live
from sessile.kernel.issue import retire
from sessile.kernel.session import Session


def retired(snapshot: Snapshot, until: datetime, now: datetime) -> Session:
    """The key's new value. Raises Conflict: it is over, no key, or was rotated out before."""
    if not is_live(snapshot, now):
        raise Conflict("this key is over: mint another")
    try:
        return retire(snapshot.session, until, now)
    except ValueError as error:
        raise Conflict(str(error)) from None
