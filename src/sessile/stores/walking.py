"""The contract for what is told of an ending afterwards; a part of what a directory does.

An ending is one small write, whatever hangs below. What was over with it is walked later, by whoever comes first, and
told in the record, once each. So that none is forgotten, the ending's own transaction writes that there is a walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from sessile.kernel.containment import Cut
from sessile.kernel.event import Event


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """A walk to do, and how far it has come."""

    n: int
    """The number of the ending's event in the audit record."""
    cut: Cut
    after: str = ""
    """The page that it is on, as `Store.handed_out` names it; empty: the first."""
    done: str = ""
    """The last session on that page that was told of; empty: none."""


class Walks(Protocol):
    """See the rules of `stores.protocol`."""

    async def walks(self, limit: int = 1_000) -> Sequence[Walk]:
        """Those that are not at their end, in the order of the endings. An ending below which there is nothing may
        leave none."""

    async def walk_on(self, walk: Walk, to: Walk | None, events: Sequence[Event]) -> bool:
        """Record the events and write how far a walk has come (None: to its end). False, and nothing is written, if it
        is not at `walk` any more: somebody else walked on."""
