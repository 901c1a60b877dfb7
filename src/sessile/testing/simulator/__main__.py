"""`python -m sessile.testing.simulator --seeds 100000 --from 0 --workers 2`: run many schedules, say how far it is."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from sessile.testing.simulator.run import run, shrink

BATCH = 250


class Tally(NamedTuple):
    """What came of some seeds."""

    seeds: int = 0
    checks: int = 0
    cached: int = 0
    accepted: int = 0
    revocations: int = 0
    broken: tuple[int, ...] = ()

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.seeds + other.seeds,
            self.checks + other.checks,
            self.cached + other.cached,
            self.accepted + other.accepted,
            self.revocations + other.revocations,
            self.broken + other.broken,
        )

    def __str__(self) -> str:
        return (
            f"{self.seeds:,} schedules, {self.revocations:,} revocations, {self.checks:,} checks"
            f" ({self.cached:,} from the cache, {self.accepted:,} accepted), {len(self.broken)} broken"
        )


def batch(first: int, seeds: int) -> Tally:
    """Run `seeds` schedules from seed `first` on."""
    tally = Tally()
    for seed in range(first, first + seeds):
        one = run(seed)
        broken = (seed,) if one.broken else ()
        tally = tally.plus(Tally(1, one.checks, one.checks - one.reads, one.accepted, one.revocations, broken))
    return tally


def batches(first: int, seeds: int, workers: int) -> Iterator[Tally]:
    starts = range(first, first + seeds, BATCH)
    sizes = [min(BATCH, first + seeds - start) for start in starts]
    if workers == 1:
        yield from map(batch, starts, sizes)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(batch, starts, sizes)


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sessile.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many schedules (10,000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one for each core)")
    parser.add_argument("--show", type=int, help="run this seed only, and print its trace, made small if it is broken")
    asked = parser.parse_args()
    if asked.show is not None:
        outcome = run(asked.show, tracing=True)
        say(shrink(outcome) if outcome.broken else outcome)
        return 1 if outcome.broken else 0
    began, tally = time.monotonic(), Tally()
    for part in batches(asked.first, asked.seeds, max(1, asked.workers)):
        tally = tally.plus(part)
        rate = tally.seeds / (time.monotonic() - began)
        sys.stderr.write(f"\r{tally}, {rate:,.0f} a second ")
        sys.stderr.flush()
        if tally.broken:
            break
    sys.stderr.write("\n")
    say(tally)
    for seed in tally.broken[:1]:
        say(shrink(run(seed)))
        say(f"\nagain: python -m sessile.testing.simulator --show {seed}")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
