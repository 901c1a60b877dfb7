"""Run one seed; make a failing schedule small; say it in a way that can be read."""

from __future__ import annotations

from typing import NamedTuple

from sessile.testing.simulator.loop import MS, Loop
from sessile.testing.simulator.schedule import Action, Schedule, draw
from sessile.testing.simulator.world import Parts, World

SHIPPED = Parts()


class Outcome(NamedTuple):
    """What came of one seed."""

    seed: int
    schedule: Schedule
    broken: tuple[str, ...]
    checks: int
    accepted: int
    reads: int
    """How many of the checks asked the engine."""
    revocations: int
    """That returned."""
    trace: tuple[str, ...]

    def __str__(self) -> str:
        schedule = self.schedule
        journal = "beside" if schedule.beside else "inside"
        head = (
            f"seed {self.seed}: {schedule.kind}, Δ {schedule.delta // MS} ms, {schedule.nodes} nodes, journal {journal}"
        )
        return "\n".join((head, *(f"  {what}" for what in self.broken), "", *self.trace))


def run(
    seed: int, parts: Parts = SHIPPED, *, tracing: bool = False, actions: tuple[Action, ...] | None = None
) -> Outcome:
    """One schedule. `actions`: these of it only."""
    schedule = draw(seed, parts.kinds)
    loop = Loop(seed, tracing=tracing)
    world = World(loop, parts, kind=schedule.kind, delta=schedule.delta, nodes=schedule.nodes, beside=schedule.beside)
    for action in schedule.actions if actions is None else actions:
        loop.at(action.at, getattr(world, action.name), *action.args)
    loop.run(schedule.length + 2 * schedule.delta)
    if schedule.recovers:
        _recover(world)
    oracle = world.oracle
    returned = sum(revocation.returned is not None for revocation in oracle.revocations)
    return Outcome(
        seed, schedule, tuple(oracle.broken), oracle.checks, oracle.accepted, world.reads, returned, tuple(loop.trace)
    )  # fmt: skip


def _recover(world: World) -> None:
    """Long after all is well again, every node answers."""
    loop = world.loop
    world.network.calm = True
    loop.run(loop.now + 7_000 * MS)
    world.calm = True
    world.went_back = True
    for node in world.nodes:
        for held in world.held[:4]:
            node.check(held, touch=False)
    loop.run(loop.now + 1_000 * MS)


def shrink(outcome: Outcome, parts: Parts = SHIPPED) -> Outcome:
    """The same seed with as few actions as still break something, with its trace."""
    actions = list(outcome.schedule.actions)
    step = max(1, len(actions) // 2)
    while step:
        start = 0
        while start < len(actions):
            fewer = actions[:start] + actions[start + step :]
            if run(outcome.seed, parts, actions=tuple(fewer)).broken:
                actions = fewer
            else:
                start += step
        step //= 2
    return run(outcome.seed, parts, tracing=True, actions=tuple(actions))
