"""Revokers: each drives the shipped `acknowledged` and `settled` against the simulated engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sessile.errors import RevocationUncertain, StoreUnavailable
from sessile.settle import acknowledged, settled
from sessile.stores.protocol import End
from sessile.testing.simulator.engine import Acknowledged, Behind, Engine
from sessile.trust import Mark, change_delta, settle

if TYPE_CHECKING:
    from sessile.testing.simulator.node import Process
    from sessile.testing.simulator.world import Held, World

DRIFT = 0.03
"""How far a simulated clock's rate may be from 1: thirty times what the authority allows for, so that it shows."""
MARGIN = 1_000
"""Nanoseconds: rounding only."""


class Revocation:
    """One ending, from its call to its return."""

    def __init__(self, world: World, process: Process, end: End, target: str, partitions: tuple[str, ...]) -> None:
        self.world = world
        self.process = process
        self.end = end
        self.target = target
        self.partitions = partitions
        self.name = f"{process.name}'s revocation of {target}"
        self.at: dict[str, int] = {}
        """When it was put in force, by partition, in the engine that acknowledged it."""
        self.row = Mark(0)
        self.life = ""
        """Of the engine that acknowledged it."""
        self.returned: int | None = None

    async def run(self) -> None:
        process = self.process
        process.say(f"revokes {self.target}")
        since, delta = process.clock.elapsed(), 0
        try:
            for partition in self.partitions:
                done, since = await self.settle_one(partition)
                delta = max(delta, done.delta)
        except RevocationUncertain:
            process.say(f"{self.name} is uncertain")
            return
        process.say(f"{self.name} was acknowledged")
        await self.wait(since, delta)
        self.returned = self.world.loop.now
        process.say(f"{self.name} returns")
        self.world.probe(self)

    async def settle_one(self, partition: str) -> tuple[Acknowledged, int]:
        """In one partition: to its acknowledgement."""
        process, journal = self.process, self.world.journal
        number = None
        if journal is not None:
            await process.sleep(0.001)
            journal[partition].append(self.end)
            number = len(journal[partition])
            process.say(f"journal row {partition}{number}: {self.target}")

        async def attempt() -> Acknowledged:
            return await self.apply(partition, number)

        done, since = await acknowledged(attempt, elapsed=process.clock.elapsed, sleep=process.sleep)
        self.row, self.life = done.mark, done.identity
        self.at[partition] = done.at
        return done, since

    async def apply(self, partition: str, number: int | None) -> Acknowledged:
        """Ask an engine to put it in force; what it lacks of the journal first. Raises StoreUnavailable."""
        process, journal = self.process, self.world.journal
        engine = process.target(partition)
        if engine is None:
            raise StoreUnavailable("no engine can be reached")
        asked, end = number, self.end
        for _ in range(20):
            answer = await process.ask(partition, _putting(partition, end, asked), engine)
            if isinstance(answer, Behind):
                asked = answer.mark + 1
            elif asked == number:
                assert isinstance(answer, Acknowledged)
                return answer
            else:
                assert asked is not None
                asked += 1
            if journal is not None and asked is not None:
                end = journal[partition][asked - 1]
        raise StoreUnavailable("the engine keeps going back")

    async def wait(self, since: int, delta: int) -> None:
        clock = self.process.clock
        await settled(since, delta, drift=DRIFT, elapsed=clock.elapsed, sleep=self.process.sleep, margin=MARGIN)

    def covers(self, held: Held) -> bool:
        """Whether it ended this session: also one whose sign-in had begun before, and was acknowledged after."""
        if held.partition not in self.partitions or held.fenced >= self.at[held.partition]:
            return False
        if self.end.session is not None:
            return self.end.session in (held.id, held.parent)
        return self.end.uid is None or self.end.uid in held.uids


def _putting(partition: str, end: End, number: int | None) -> Callable[[Engine, Callable[[Any], None]], None]:
    return lambda engine, reply: engine.end(partition, end, number, reply)


async def change(world: World, process: Process, to: int) -> None:
    """Change Δ, in its two writes."""
    for partition in world.partitions:
        engine = process.target(partition)
        if engine is None or engine.partitions[partition].delta.trust == to:
            continue
        part = engine.partitions[partition]
        first, second = change_delta(part.delta, to)
        process.say(f"Δ of {partition}: {part.delta} to {first}")
        part.delta = first
        await process.sleep(settle(first.wait, DRIFT, MARGIN) / 1e9)
        if part.delta == first and part is engine.partitions.get(partition):
            part.delta = second
            process.say(f"Δ of {partition}: {second}")
