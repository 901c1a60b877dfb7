"""Denied requests, counted and once in a while written to the record: not one by one, which a stranger could flood."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final

from sessile.errors import SessileError
from sessile.kernel.event import Event, EventName
from sessile.kernel.reason import Reason
from sessile.stores.protocol import Directory

logger = logging.getLogger("sessile")

WRITE_SECONDS: Final = 300.0
_UNTOLD: Final = frozenset({"active", str(Reason.MISSING)})
"""Who was let in; and who sent nothing, which is everybody before signing in."""


class Denials:
    """What `checks` (requests by the outcome of their check, in this process) has counted and the record has not."""

    def __init__(self, checks: Mapping[str, int]) -> None:
        self._checks = checks
        self._written: Counter[str] = Counter()

    def pending(self) -> dict[str, int]:
        """By reason, since the last writing."""
        return {
            name: count - self._written[name]
            for name, count in self._checks.items()
            if name not in _UNTOLD and count > self._written[name]
        }

    async def write(self, record: Directory) -> None:
        """Raises StoreUnavailable, and then keeps them."""
        pending = self.pending()
        if pending:
            await record.record(Event(name=EventName.REQUESTS_DENIED, details=dict(sorted(pending.items()))))
            self._written.update(pending)

    async def write_forever(self, record: Directory) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write(record)
            except SessileError as error:
                logger.warning("denials not recorded, trying again in five minutes: %s", error)
