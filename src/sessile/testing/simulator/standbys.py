"""Simulated PostgreSQL with synchronous standbys: a change is seen, announced and acknowledged once a standby has it on
disk, never before; changes follow one another, as those do that append to the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sessile.checks import run_now
from sessile.errors import SessileError
from sessile.kernel.issue import Draft
from sessile.stores.protocol import Begun, End
from sessile.testing.simulator.engine import EVERYBODY, Acknowledged, Behind, Engine, Partition, Replica
from sessile.testing.simulator.loop import MS, between
from sessile.trust import Facts

Change = Callable[[Partition], Callable[[], None]]
"""What is done to the data; what it returns is called when that has become visible."""


class SyncEngine(Engine):
    """A primary. Without a standby that answers it goes on reading, and changes nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._changes: deque[tuple[str, Change]] = deque()
        self._changing = False
        self._written = dict(self.partitions)
        """With what is in the log and not yet visible."""

    def end(self, partition: str, end: End, number: int | None, reply: Callable[[Acknowledged | Behind], None]) -> None:
        def change(part: Partition) -> Callable[[], None]:
            objects = self._commit(part, end, f"{self.random.getrandbits(32):08x}")
            done = Acknowledged(part.mark, self.identity, part.delta.wait, part.times[-1])
            return lambda: self._announce(partition, objects, done.mark, lambda: reply(done))

        self._change(partition, change)

    def begin(self, partition: str, draft: Draft, reply: Callable[[Begun | SessileError], None]) -> None:
        def change(part: Partition) -> Callable[[], None]:
            answer: Begun | SessileError
            try:
                answer = run_now(part.data.begin(draft))
            except SessileError as error:
                answer = error
            return lambda: reply(answer)

        self._change(partition, change)

    def touch(self, partition: str, session: str, at: datetime) -> None:
        def change(part: Partition) -> Callable[[], None]:
            run_now(part.data.touch({session: at}))
            return lambda: None

        self._change(partition, change)

    def raise_everyone(self, partition: str, reply: Callable[[Facts], None]) -> None:
        def change(part: Partition) -> Callable[[], None]:
            objects: tuple[str, ...] = ()
            if part.raised != self.identity:
                part.raised = self.identity
                head = f"{self.random.getrandbits(32):08x}"
                objects = self._commit(part, End(everyone=EVERYBODY, cause="went back"), head)
            return lambda: self._announce(partition, objects, part.mark, lambda: reply(self.facts(partition, "")))

        self._change(partition, change)

    def _change(self, partition: str, change: Change) -> None:
        self._changes.append((partition, change))
        if not self._changing:
            self._next()

    def _next(self) -> None:
        if not self._changes:
            return
        partition, change = self._changes.popleft()
        self._changing = True
        part = self.partitions[partition].copy()
        then = change(part)
        self._written = {**self.partitions, partition: part}

        def visible() -> None:
            self.partitions[partition] = part
            self._changing = False
            then()
            self._next()

        self._replicated(visible)

    def _replicated(self, visible: Callable[[], None]) -> None:
        """`visible`, when a standby has all that was written."""
        self._backed(visible)

    def _mutated(self) -> None:
        for name, part in self.partitions.items():
            self.histories[self.identity, name] = part.heads

    def _backed(self, then: Callable[[], None]) -> None:
        self._version += 1
        self._waiting.append((self._version, then))
        for replica in self.replicas or ():
            replica.receive(self, self._version, self._written)

    def restart(self, partitions: dict[str, Partition]) -> None:
        super().restart(partitions)
        self._written = dict(partitions)


class Standby(Replica):
    """Has in a crash what it had on disk, and acknowledges no more than that."""

    version = 0
    """Of what is on disk."""

    def _arrived(self, primary: Engine, version: int, image: dict[str, Partition]) -> None:
        if self.primary is primary and self._up(primary.name, self.name):
            self._last_flush = max(self._last_flush, self.loop.now + self.flush_time())
            self.loop.at(self._last_flush, self._flushed, primary, version, image)

    _last_flush = 0

    def flush_time(self) -> int:
        return between(self._random, MS // 10, 2 * MS)

    def _flushed(self, primary: Engine, version: int, image: dict[str, Partition]) -> None:
        if self.primary is primary:
            self.image, self.version = image, version
            self.acknowledge(primary, version)

    def acknowledge(self, primary: Engine, version: int) -> None:
        self.loop.after(between(self._random, MS // 10, 2 * MS), self._answer, primary, version)

    def follow(self, primary: Engine) -> None:
        super().follow(primary)
        self.version = 0
