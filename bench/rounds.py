"""Measuring on a machine that does other things too: everything in turn, many short rounds, the ratio in each round.

What does not wait is measured by this thread's processor time: what other programs take of the machine is not in it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Work = Callable[[int], Awaitable[object]]
"""Do it so many times."""

ROUND_SECONDS = 0.02
BREATH_SECONDS = 0.002


@dataclass
class Figure:
    """One contender's cost in seconds for one piece of work, round by round."""

    name: str
    work: Work
    seconds: list[float] = field(default_factory=list)
    times: int = 1

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """A contender's cost in units of the yardstick's."""

    least: float
    """The best round of the one to the best round of the other."""
    median: float
    """The median over the rounds of the ratio within the round: what both suffered cancels out."""


def ratio(figure: Figure, to: Figure) -> Ratio:
    return Ratio(
        figure.least / to.least,
        statistics.median(one / other for one, other in zip(figure.seconds, to.seconds, strict=True)),
    )


def work(each: Callable[[int], object]) -> Work:
    """Work without await."""

    async def run(times: int) -> None:
        each(times)

    return run


Clock = Callable[[], float]
PROCESSOR: Clock = time.thread_time
WALL: Clock = time.perf_counter
"""For what waits: for the disk, for another thread."""


async def measure(
    figures: list[Figure], rounds: int, *, clock: Clock = PROCESSOR, seconds: float = ROUND_SECONDS
) -> None:
    """Every contender once in each round, in an order that turns, for about `seconds` each."""
    for figure in figures:
        figure.times = await _calibrate(figure.work, seconds, clock)
    for number in range(rounds):
        turn = number % len(figures)
        for figure in figures[turn:] + figures[:turn]:
            figure.seconds.append(await _time(figure.work, figure.times, clock) / figure.times)


async def _calibrate(work: Work, seconds: float, clock: Clock) -> int:
    await work(2)  # what is opened at the first use is open by then
    times = 1
    while (took := await _time(work, times, clock)) < seconds / 4:
        times *= 2
    return max(1, round(times * seconds / took))


async def _time(work: Work, times: int, clock: Clock) -> float:
    # Cached checks never wait: between them what keeps the near cache trusted gets its turn, as it does in a server.
    await asyncio.sleep(BREATH_SECONDS)
    before = clock()
    await work(times)
    return clock() - before
