"""The pieces by themselves: what the simulator needs a rare chance for, or takes as given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.errors import RevocationUncertain, StoreUnavailable
from sessile.follow import Follower
from sessile.near import NearCache
from sessile.settle import ATTEMPTS, acknowledged, settled
from sessile.trust import Delta, Facts, Mark, Trust, change_delta, settle

MS = 1_000_000
SECOND = 1_000 * MS


def facts(mark: int = 0, *, identity: str = "e.1", delta: int = 500 * MS, connection: str = "c") -> Facts:
    return Facts(identity, mark, delta, connection=connection)


def followed(*, quorum: bool = False) -> Follower:
    follower = Follower(NearCache(), quorum=quorum)
    assert follower.set_up(follower.known, facts())
    return follower


def pinged(follower: Follower, at: int, told: Facts) -> bool:
    return follower.pong(follower.ping(at), told)


@given(
    delta=st.integers(1, 3600 * SECOND),
    drift=st.floats(0, 0.1),
    node=st.floats(-1, 1),
    revoker=st.floats(-1, 1),
)
def test_the_wait_outlasts_every_trust(delta: int, drift: float, node: float, revoker: float) -> None:
    """Whatever two clocks within the bound do, the revoker's wait takes at least as long as the node's Δ."""
    trusted = delta / (1 + drift * node)
    waited = settle(delta, drift, margin=1) / (1 + drift * revoker)
    assert waited >= trusted * (1 - 1e-12)


def test_without_delta_nobody_waits() -> None:
    assert settle(0, 0.001) == 0


def test_trust_is_counted_from_the_sending_and_never_shrinks() -> None:
    follower = followed()
    late, soon = follower.ping(1_000), follower.ping(2_000)
    assert follower.pong(soon, facts())
    assert follower.trust.deadline == 2_000 + 500 * MS
    assert not follower.pong(late, facts())  # an answer that was given up: the connection is not in order


def test_a_process_may_trust_for_less_than_the_store_says_and_never_for_more() -> None:
    """Review 4."""
    for own, in_force in ((100 * MS, 100 * MS), (900 * MS, 500 * MS)):
        trust = Trust(NearCache(), own_delta=own)
        trust.connected(facts())
        assert trust.pong(trust.ping(0), facts())
        assert trust.deadline == in_force


@pytest.mark.parametrize("told", [facts(2), facts(3, identity="e.2"), facts(3, connection="d")])
def test_an_answer_from_elsewhere_or_from_before_ends_trust_and_reads(told: Facts) -> None:
    """Reviews 1 and 3."""
    follower = followed()
    follower.invalidated(["s:x"], Mark(3))
    asked = follower.asking(5)
    assert follower.admits(asked, "e.1", Mark(3))
    assert not pinged(follower, 10, told)
    assert follower.trust.deadline == 0
    assert not follower.admits(follower.asking(20), "e.1", Mark(3))


def test_an_engine_in_the_same_life_that_lost_something_is_not_read() -> None:
    """Review 1: FLUSHALL, a copy that was loaded in place."""
    follower = followed()
    follower.acknowledged(Mark(7))
    assert not follower.admits(follower.asking(0), "e.1", Mark(6))
    assert follower.admits(follower.asking(0), "e.1", Mark(7))


def test_an_engine_that_went_back_is_followed_again_once_it_has_caught_up() -> None:
    follower = followed()
    follower.acknowledged(Mark(7))
    assert not follower.set_up(follower.known, facts(6, identity="e.2"))
    assert not follower.admits(follower.asking(0), "e.2", Mark(7))
    assert not follower.set_up(follower.known, facts(7, identity="e.2"), journal=8)
    assert follower.set_up(follower.known, facts(8, identity="e.2"), journal=8)
    assert follower.admits(follower.asking(0), "e.2", Mark(8))


def test_an_engine_whose_journal_went_with_it_is_adopted() -> None:
    follower = followed()
    follower.acknowledged(Mark(7, "a"))
    assert not follower.set_up(follower.known, facts(9, identity="e.2"), "b")
    assert not follower.set_up(follower.known, facts(9, identity="e.2"), None)
    follower.adopt(facts(3, identity="e.2"))
    assert follower.known == Mark(3)
    assert follower.admits(follower.asking(0), "e.2", Mark(3))


def test_an_ending_that_was_not_announced_is_a_gap() -> None:
    """Review 7: a partition that was elsewhere for a while; an answer that is quicker than the announcement is none."""
    follower = Follower(NearCache(), gapless=True)
    assert follower.set_up(follower.known, facts())
    assert pinged(follower, 1, facts(1))
    assert follower.trust.deadline == 0
    follower.invalidated(["s:x"], Mark(1))
    assert pinged(follower, 2, facts(1))
    assert follower.trust.deadline == 2 + 500 * MS
    assert pinged(follower, 3, facts(2))
    assert follower.trust.deadline == 2 + 500 * MS
    assert not pinged(follower, 4, facts(2))
    assert follower.trust.deadline == 0
    assert follower.set_up(follower.known, facts(2))
    assert pinged(follower, 5, facts(2))
    follower.invalidated(["s:x"], Mark(4))
    assert follower.trust.deadline == 0


def test_with_a_quorum_a_read_counts_under_trust_only() -> None:
    """Review 2: and the next pong may be what it waits for."""
    follower = followed(quorum=True)
    asked = follower.asking(1_000)
    assert not follower.admits(asked, "e.1", Mark(0))
    assert pinged(follower, 2_000, facts())
    assert follower.admits(asked, "e.1", Mark(0))
    assert not follower.admits(follower.asking(2_000 + 500 * MS), "e.1", Mark(0))


def test_pings_leave_four_times_within_delta() -> None:
    follower = followed()
    assert follower.due(77) <= 77
    follower.ping(77)
    assert follower.due(78) == 77 + 125 * MS


def test_a_silent_connection_is_given_up() -> None:
    follower = followed()
    assert not follower.overdue(10 * SECOND)
    follower.ping(0)
    assert not follower.overdue(2 * SECOND)
    assert follower.overdue(2 * SECOND + 1)


def test_attempts_to_connect_get_rarer_and_start_anew_when_one_has_answered() -> None:
    follower = followed()
    pauses = [follower.backoff(1.0) for _ in range(8)]
    assert pauses[0] == 0.05
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert follower.backoff(0.0) == 0.5
    assert pinged(follower, 0, facts())
    assert follower.backoff(1.0) == 0.05


@given(
    st.builds(Delta, st.integers(0, SECOND), st.integers(0, SECOND)).filter(lambda d: d.trust <= d.wait),
    st.integers(0, SECOND),
)
def test_while_delta_changes_waits_are_the_longer_ones(now: Delta, to: int) -> None:
    first, second = change_delta(now, to)
    assert first.trust <= min(now.trust, to)
    assert first.wait >= max(now.wait, to)
    assert second == Delta(to, to)


class Sleeper:
    """A clock that passes when somebody sleeps."""

    now = 0

    def elapsed(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


async def test_an_unknown_outcome_is_repeated_until_it_is_acknowledged() -> None:
    """Review 8."""
    clock = Sleeper()
    answers: Iterator[StoreUnavailable | str] = iter([StoreUnavailable("cut"), StoreUnavailable("cut"), "done"])

    async def attempt() -> str:
        clock.now += MS
        answer = next(answers)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    result, since = await acknowledged(attempt, elapsed=clock.elapsed, sleep=clock.sleep)
    assert result == "done"
    assert since == clock.now
    await settled(since, 500 * MS, drift=0.001, elapsed=clock.elapsed, sleep=clock.sleep)
    assert clock.now - since >= settle(500 * MS, 0.001) - 1_000


async def test_without_an_acknowledgement_it_is_said_to_be_uncertain() -> None:
    """Review 8: by time, and with a clock that stands still by count."""
    clock, tried = Sleeper(), 0

    async def attempt() -> None:
        nonlocal tried
        tried += 1
        raise StoreUnavailable("away")

    with pytest.raises(RevocationUncertain):
        await acknowledged(attempt, elapsed=clock.elapsed, sleep=clock.sleep, patience=2 * SECOND)
    assert clock.now <= 2 * SECOND
    assert tried > 3
    tried = 0
    with pytest.raises(RevocationUncertain):
        await acknowledged(attempt, elapsed=lambda: 0, sleep=clock.sleep)
    assert tried == ATTEMPTS


def test_a_partition_has_not_every_number() -> None:
    """Review 7: with the number of the row before it, a row tells whether one is missing."""
    follower = Follower(NearCache(), gapless=True)
    assert follower.set_up(follower.known, facts(3))
    follower.invalidated(["s:x"], Mark(9), 3)
    assert pinged(follower, 1, facts(9))
    assert follower.followed
    follower.invalidated(["s:y"], Mark(20), 11)
    assert not follower.followed
    assert follower.trust.deadline == 0


def test_what_is_announced_while_an_engine_is_looked_at_is_no_gap() -> None:
    """It was subscribed to before it was asked: what it told may be older than what it has announced since."""
    follower = Follower(NearCache(), gapless=True)
    known = follower.known
    follower.invalidated(["s:x"], Mark(5), 3)
    assert follower.set_up(known, facts(3))
    follower.invalidated(["s:y"], Mark(6), 5)
    assert pinged(follower, 1, facts(6))
    assert follower.trust.deadline == 1 + 500 * MS


def test_a_partition_that_moved_is_not_read_where_it_was() -> None:
    """Review 7."""
    follower = followed()
    asked = follower.asking(0)
    assert follower.admits(asked, "e.1", Mark(0))
    follower.moved()
    assert not follower.admits(asked, "e.1", Mark(0))
    assert not follower.admits(follower.asking(1), "e.1", Mark(0))
    assert follower.set_up(follower.known, facts(identity="f.1"))
    assert follower.admits(follower.asking(2), "f.1", Mark(0))
