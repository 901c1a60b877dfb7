"""What an operation on sessions reaches for: engine, directory, and what keeps the near cache true."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from sessile.errors import SessileError
from sessile.stores.protocol import End
from sessile.stores.redis.applying import Applying
from sessile.stores.redis.engine import Change, Elsewhere, Engine, Found, Outcome
from sessile.stores.redis.following import Following
from sessile.stores.redis.journal import (
    EndSession,
    Entry,
    Renew,
    SetDelta,
    SetEveryone,
    SetPolicy,
    SetPrincipal,
    SQLDirectory,
)  # fmt: skip
from sessile.stores.redis.layout import stored_of


class Unapplied(NamedTuple):
    """An ending that is journalled and whose application was not acknowledged."""

    end: End
    entries: list[Entry]
    revoked: int | None
    ids: list[str]


class Reach:
    def __init__(self, engine: Engine, directory: SQLDirectory, applying: Applying, following: Following) -> None:
        self.engine = engine
        self.directory = directory
        self.applying = applying
        self.following = following
        self.unapplied: deque[Unapplied] = deque(maxlen=100)

    async def look(self, partition: str, asked: Sequence[bytes | str] = ()) -> Found:
        """Rows that count: of an engine that is followed and has all that is known to be in force.

        Raises:
            StoreUnavailable: of another one, or none.
        """
        if not self.following.started.is_set():
            await self.following.start()
        since = 0.0
        while True:
            began = self.following.asking(partition)
            try:
                found = await self.engine.read(partition, asked)
                await self.following.admit(partition, began, found)
            except Elsewhere:
                since = since or asyncio.get_running_loop().time()
                if not await self.following.found(partition, since):
                    raise
            else:
                return found

    async def write(self, change: Change) -> Outcome:
        """Raises StoreUnavailable: it may or may not have been done."""
        outcome = await self.engine.write(change)
        if outcome.done and change.objects:
            self.following.applied(change.found.partition, tuple(change.objects), change.after)
        return outcome

    async def apply(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Put what was journalled in force, here and everywhere. Raises StoreUnavailable: it will be, later."""
        outcomes = []
        # In order within a partition, the partitions beside one another.
        for n in sorted({entry.n for entry in entries}):
            some = [entry for entry in entries if entry.n == n]
            outcomes += await self.applying.all(some)
            for entry in some:
                self.following.applied(entry.partition, (touched(entry),), entry.n)
        last = {entry.partition: entry.n for entry in entries}
        await asyncio.gather(*[self.following.told(partition, n) for partition, n in last.items()])
        return outcomes

    def settling(self, outcomes: Sequence[Outcome]) -> tuple[datetime, timedelta, Literal["engine", "quorum"]]:
        """The last acknowledgement, the longest Δ that one of them read, and what acknowledged: as in `Ended`."""
        at = max(outcome.at for outcome in outcomes if outcome.at is not None)
        wait = max(outcome.delta.wait for outcome in outcomes)
        return at, timedelta(microseconds=-(-wait // 1000)), "quorum" if self.engine.servers.members else "engine"

    async def remove(self, partition: str, session_id: str, digest: bytes) -> None:
        """Take back a session that nobody has got to know."""
        with contextlib.suppress(SessileError):
            change = Change(await self.engine.read(partition))
            change.deletions += [change.key(session_id), change.key(b"t" + digest)]
            await self.engine.write(change)


def touched(entry: Entry) -> str:
    """The object of an ending, as the near cache knows it."""
    match entry.op:
        case EndSession(id=session_id):
            return f"s:{session_id}"
        case Renew(row=row):
            return f"s:{stored_of(row).session.id}"
        case SetPrincipal(principal=principal):
            return f"p:{principal.uid}"
        case SetPolicy(policy=policy):
            return f"policy:{policy.name}"
        case SetDelta():
            return "delta"
        case SetEveryone():
            return "all"
