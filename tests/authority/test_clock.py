"""Review 9d: where the monotonic clock stands still during sleep, the wall clock beside it tells."""

from __future__ import annotations

from sessile.clock import Steady, SystemClock

SECOND = 1_000_000_000


class Machine:
    """Two clocks as a machine has them."""

    def __init__(self) -> None:
        self.monotonic = 5 * SECOND
        self.wall = 1_000 * SECOND

    def run(self, nanoseconds: int) -> None:
        self.monotonic += nanoseconds
        self.wall += nanoseconds


def test_time_asleep_counts() -> None:
    machine = Machine()
    steady = Steady(lambda: machine.monotonic, lambda: machine.wall)
    before = steady.elapsed()
    machine.run(SECOND)
    assert steady.elapsed() - before == SECOND
    machine.wall += 60 * SECOND  # asleep: only the wall clock went on
    assert steady.elapsed() - before == 61 * SECOND
    machine.run(SECOND)
    assert steady.elapsed() - before == 62 * SECOND


def test_a_wall_clock_that_is_set_back_takes_no_time_away() -> None:
    machine = Machine()
    steady = Steady(lambda: machine.monotonic, lambda: machine.wall)
    before = steady.elapsed()
    machine.wall -= 600 * SECOND
    machine.run(SECOND)
    assert steady.elapsed() - before == SECOND
    machine.wall += 30 * SECOND
    assert steady.elapsed() - before == 31 * SECOND


def test_the_system_clock_never_goes_back() -> None:
    clock = SystemClock()
    seen = [clock.elapsed() for _ in range(1_000)]
    assert seen == sorted(seen)
