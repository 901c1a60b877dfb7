"""Idle and overall limits, as a person meets them: coalesced acts, children, a policy that changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessile import Authority, Conflict, Issued, Policy, Reason, Requirement
from sessile.kernel.decide import decide
from sessile.kernel.token import digest
from sessile.testing import ManualClock
from tests.authority.asking import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    TICK,
    active,
    cached,
    denied,
    in_one_loop,
    reason,
    rules,
)


async def settle(authority: Authority) -> None:
    """Have the acts written that were gathered."""
    await authority.close()
    await authority.open()


@pytest.mark.requirement("ASVS V7.3.1", "63B-4 2.2.3-b", "63B-4 5.1-i5", "63B-4 5.2-b")
async def test_the_inactivity_limit_to_the_tick(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    await active(authority, issued.token)
    clock.advance(HOUR - TICK)
    await active(authority, issued.token, touch=False)
    clock.advance(TICK)
    over = await denied(authority, issued.token)
    assert (over.reason, over.at) == (Reason.IDLE, clock.now())


@pytest.mark.requirement("ASVS V7.3.2", "63B-4 2.2.3-a", "63B-4 5.2-a", "63B-4 5.2-c")
async def test_the_overall_limit_however_active(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    for _ in range(48 - 1):
        clock.advance(30 * MINUTE)
        await authority.touch(await active(authority, issued.token))
    clock.advance(30 * MINUTE - TICK)
    await active(authority, issued.token)
    clock.advance(TICK)
    assert (await denied(authority, issued.token)).reason is Reason.EXPIRED


@pytest.mark.requirement("63B-4 2.3.3-a", "63B-4 2.3.3-b")
async def test_the_limits_of_aal3(url: str, clock: ManualClock) -> None:
    async with Authority(url, clock=clock, policy=Policy.aal3()) as authority:
        issued = await authority.begin("alice", method="hardware_key")
        for _ in range(12 * 6 - 1):
            clock.advance(10 * MINUTE)
            await authority.touch(await active(authority, issued.token))
        clock.advance(10 * MINUTE)
        assert (await denied(authority, issued.token)).reason is Reason.EXPIRED
        idle = await authority.begin("alice", method="hardware_key")
        clock.advance(15 * MINUTE)
        assert (await denied(authority, idle.token)).reason is Reason.IDLE


@pytest.mark.requirement("63B-4 2.1.3-a")
async def test_the_limits_of_aal1(url: str, clock: ManualClock) -> None:
    async with Authority(url, clock=clock, policy=Policy.aal1()) as authority:
        issued = await authority.begin("alice")
        clock.advance(30 * DAY - TICK)
        await active(authority, issued.token)
        clock.advance(TICK)
        assert (await denied(authority, issued.token)).reason is Reason.EXPIRED


@pytest.mark.requirement("63B-4 5.2-d", "63B-4 5.2-f")
async def test_reauthentication_starts_both_limits_anew(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    for _ in range(46):
        clock.advance(30 * MINUTE)
        await authority.touch(await active(authority, issued.token))
    again = await authority.elevate(await active(authority, issued.token), method="password")
    for _ in range(47):
        clock.advance(30 * MINUTE)
        await authority.touch(await active(authority, again.token))
    clock.advance(30 * MINUTE)
    assert (await denied(authority, again.token)).reason is Reason.EXPIRED


async def test_what_is_no_act_does_not_extend(authority: Authority, clock: ManualClock) -> None:
    """Polling, event streams and prefetches are checked, and the session idles out all the same."""
    issued = await authority.begin("alice")
    for _ in range(59):
        clock.advance(MINUTE)
        await active(authority, issued.token, touch=False)
    await settle(authority)
    await active(authority, issued.token, touch=False)
    clock.advance(MINUTE)
    assert (await denied(authority, issued.token)).reason is Reason.IDLE


async def test_checks_alone_keep_an_active_person_in(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    for _ in range(12):
        clock.advance(50 * MINUTE)
        await active(authority, issued.token)
        await settle(authority)
    assert (await authority.session(issued.active.session.id)).last_seen == clock.now()


async def test_an_act_in_the_last_moment_counts(authority: Authority, clock: ManualClock) -> None:
    """It is written before it is answered: gathered, it would come after the limit and revive nothing (review 13)."""
    issued = await authority.begin("alice")
    for _ in range(5):
        await cached(authority, issued.token, touch=False)
        clock.advance(HOUR - 3 * TICK)
        await active(authority, issued.token)
        clock.advance(2 * TICK)


async def test_acts_are_gathered(authority: Authority, clock: ManualClock) -> None:
    """A write for every request would be dear: within the touch interval nothing is written."""
    issued = await authority.begin("alice")
    begun = clock.now()
    clock.advance(Policy.aal2().touch_interval - TICK)
    await active(authority, issued.token)
    await settle(authority)
    assert (await authority.session(issued.active.session.id)).last_seen == begun


async def test_an_act_in_a_session_that_ended_meanwhile_revives_nothing(
    authority: Authority, clock: ManualClock
) -> None:
    """Review 13: a late flush of gathered acts."""
    issued = await authority.begin("alice")
    clock.advance(30 * MINUTE)
    proof = await active(authority, issued.token)
    await authority.revoke(session=proof.session.id, cause="logout")
    await settle(authority)
    await authority.touch(proof)
    assert (await denied(authority, issued.token)).reason is Reason.REVOKED
    assert not (await authority.session(proof.session.id)).live


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 30, 59, 60, 61, 300, 1799, 1800, 3540, 3599, 3600]),
        st.sampled_from(["act", "act", "poll", "settle"]),
    ),
    max_size=30,
)


def test_coalescing_may_end_a_session_a_little_early_and_never_late(url: str) -> None:
    def story(run: Any) -> None:
        clock = ManualClock()
        policy = Policy.aal2(overall=6 * HOUR, rotate_after=None)
        assert policy.idle is not None
        idle = policy.idle
        authority = run(Authority(url, clock=clock, policy=policy).open())

        @settings(max_examples=60)
        @given(STEPS)
        def any_life(steps: list[tuple[int, str]]) -> None:
            issued: Issued = run(authority.begin("alice"))
            begun = last_act = clock.now()
            for seconds, what in steps:
                clock.advance(seconds * SECOND)
                if what == "settle":
                    run(settle(authority))
                    continue
                says = run(reason(authority, issued.token, touch=what == "act"))
                now = clock.now()
                if now >= begun + policy.overall:
                    assert says in (Reason.EXPIRED, Reason.IDLE)
                    return
                if now >= last_act + idle:
                    assert says is Reason.IDLE
                    return
                if says is not None:
                    assert says is Reason.IDLE
                    assert now >= last_act + idle - policy.touch_interval
                    return
                if what == "act":
                    last_act = now
                    run(settle(authority))  # as upkeep does within a quarter of a second

        any_life()
        run(authority.close())

    in_one_loop(story)


# -- a child never outlives its parent -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["idle", "expiry", "logout", "disabled", "everyone"])
async def test_a_child_dies_with_its_parent(authority: Authority, clock: ManualClock, end: str) -> None:
    person = await authority.begin("alice")
    child = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    grandchild = await authority.delegate(child.active, to="agent:helper", scopes={"deploy"})
    for each in (child, grandchild):
        await cached(authority, each.token)
    match end:
        case "idle":
            clock.advance(HOUR - TICK)
            await active(authority, grandchild.token)
            clock.advance(TICK)
        case "expiry":
            for _ in range(48):
                await authority.touch(person.active)
                clock.advance(30 * MINUTE - TICK)
                await active(authority, grandchild.token)
                clock.advance(TICK)
        case "logout":
            await authority.revoke(session=person.active.session.id, cause="logout")
        case "disabled":
            await authority.disable("alice", cause="offboarded")
        case _:
            await authority.revoke(everyone=True, cause="incident")
    expected = {"idle": Reason.IDLE, "expiry": Reason.EXPIRED, "disabled": Reason.DISABLED}.get(end, Reason.REVOKED)
    for each in (person, child, grandchild):
        assert (await denied(authority, each.token)).reason is expected


async def test_a_child_lives_on_while_its_parent_is_used(authority: Authority, clock: ManualClock) -> None:
    """Review 13: it hangs on the parent's idle limit, and that moves with the parent's acts, not with its own."""
    person = await authority.begin("alice")
    child = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    for _ in range(10):
        clock.advance(50 * MINUTE)
        await active(authority, child.token)
        await authority.touch(person.active)
    await settle(authority)
    for _ in range(5):
        clock.advance(10 * MINUTE)
        await active(authority, child.token)
    await settle(authority)
    clock.advance(10 * MINUTE)
    assert (await denied(authority, child.token)).reason is Reason.IDLE


async def test_a_childs_own_lifetime_is_capped_by_its_parents(authority: Authority, clock: ManualClock) -> None:
    person = await authority.begin("alice")
    clock.advance(30 * MINUTE)
    short = await authority.delegate(person.active, to="agent:a", scopes={"read"}, lifetime=10 * MINUTE)
    longer = await authority.delegate(person.active, to="agent:b", scopes={"read"}, lifetime=100 * DAY)
    assert short.active.session.expires == clock.now() + 10 * MINUTE
    assert longer.active.session.expires == person.active.session.expires
    clock.advance(10 * MINUTE)
    assert (await denied(authority, short.token)).reason is Reason.EXPIRED
    await active(authority, longer.token)


async def test_a_key_survives_logout_and_ends_by_its_own_limit(authority: Authority, clock: ManualClock) -> None:
    person = await authority.begin("alice")
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"}, lifetime=30 * DAY)
    await authority.revoke(session=person.active.session.id, cause="logout")
    clock.advance(30 * DAY - TICK)
    await active(authority, key.token)
    clock.advance(TICK)
    assert (await denied(authority, key.token)).reason is Reason.EXPIRED


@pytest.mark.requirement("NHI7")
async def test_a_key_always_ends(authority: Authority, clock: ManualClock) -> None:
    person = await authority.begin("alice")
    at_most = clock.now() + Policy.aal2().key_lifetime
    for lifetime in (None, 3650 * DAY):
        key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"}, lifetime=lifetime)
        assert key.active.session.expires == at_most


async def test_an_anonymous_session_ends_within_a_day(url: str, clock: ManualClock) -> None:
    async with Authority(url, clock=clock, policy=Policy.aal1()) as authority:
        visitor = await authority.begin(None)
        clock.advance(DAY)
        assert (await denied(authority, visitor.token)).reason is Reason.EXPIRED


# -- a policy that changes -----------------------------------------------------------------------------------------


@pytest.mark.requirement("800-207 T4", "ASVS V8.3.2")
async def test_a_stricter_policy_bites_live_sessions_at_once(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    clock.advance(6 * MINUTE)
    await cached(authority, issued.token, touch=False)
    await rules(authority, idle=5 * MINUTE)
    assert (await denied(authority, issued.token)).reason is Reason.IDLE

    issued = await authority.begin("alice")
    await cached(authority, issued.token)
    await rules(authority, assurance=2)
    assert (await denied(authority, issued.token)).reason is Reason.ASSURANCE


async def test_a_stricter_policy_bites_under_a_delegation(authority: Authority, clock: ManualClock) -> None:
    person = await authority.begin("alice")
    child = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    clock.advance(6 * MINUTE)
    await cached(authority, child.token)
    await rules(authority, idle=5 * MINUTE)
    assert (await denied(authority, child.token)).reason is Reason.IDLE


async def test_loosening_revives_nothing(authority: Authority, clock: ManualClock) -> None:
    await rules(authority, idle=10 * MINUTE, overall=HOUR)
    idle, old = await authority.begin("alice"), await authority.begin("alice")
    clock.advance(10 * MINUTE)
    assert (await denied(authority, idle.token)).reason is Reason.IDLE
    await rules(authority, idle=HOUR, overall=24 * HOUR)
    assert (await denied(authority, idle.token)).reason is Reason.IDLE
    assert (await denied(authority, old.token)).reason is Reason.IDLE
    assert await reason(authority, (await authority.begin("alice")).token) is None


async def test_loosening_lengthens_no_session_that_was_issued(authority: Authority, clock: ManualClock) -> None:
    await rules(authority, idle=10 * MINUTE, overall=HOUR)
    issued = await authority.begin("alice")
    await rules(authority, idle=HOUR, overall=24 * HOUR)
    for _ in range(6):
        await authority.touch(await active(authority, issued.token))
        clock.advance(10 * MINUTE - TICK)
    clock.advance(6 * TICK)
    assert (await denied(authority, issued.token)).reason is Reason.EXPIRED


async def test_a_seed_that_differs_is_an_error(sqlite_url: str, clock: ManualClock) -> None:
    """Review 17: in a rolling deploy two nodes must not hold different rules."""
    async with Authority(sqlite_url, clock=clock, policy=Policy.aal2()) as first:
        issued = await first.begin("alice")
        clock.advance(20 * MINUTE)
        await cached(first, issued.token, touch=False)
        with pytest.raises(Conflict, match="version"):
            await Authority(sqlite_url, clock=clock, policy=Policy.aal3()).open()
        await active(first, issued.token, touch=False)
        async with Authority(sqlite_url, clock=clock, policy=Policy.aal2()), Authority(sqlite_url, clock=clock):
            pass
        async with Authority(sqlite_url, clock=clock, policy=Policy.aal3(version=2)):
            assert (await denied(first, issued.token)).reason is Reason.IDLE
        with pytest.raises(Conflict):
            await Authority(sqlite_url, clock=clock, policy=Policy.aal2()).open()
        assert (await first.store.policy("default")) == Policy.aal3(version=2)


async def test_an_authority_that_could_not_open_can_be_tried_again(sqlite_url: str, clock: ManualClock) -> None:
    async with Authority(sqlite_url, clock=clock):
        pass
    wrong = Authority(sqlite_url, clock=clock, policy=Policy.aal3())
    for _ in range(2):
        with pytest.raises(Conflict):
            await wrong.open()
        assert not wrong.is_open


async def test_an_older_version_of_a_policy_is_refused(authority: Authority) -> None:
    await rules(authority, idle=10 * MINUTE)
    with pytest.raises(Conflict):
        await authority.set_policy(Policy.aal2())


# -- the near cache agrees with the decision -----------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.1")
def test_what_is_cached_agrees_with_the_decision_at_every_instant(tmp_path: Path) -> None:
    """Review 29: an entry is a ready answer with one deadline; `decide` says the same at every instant it is given."""

    def story(run: Any) -> None:
        clock = ManualClock()
        numbers = iter(range(10**6))

        @settings(max_examples=60)
        @given(
            st.sampled_from(["memory:", "sqlite"]),
            st.integers(3, 200),
            st.integers(3, 200),
            st.integers(0, 3),
            st.lists(st.tuples(st.integers(0, 40_000), st.booleans(), st.booleans()), max_size=25),
        )
        def agrees(store: str, idle: int, more: int, depth: int, steps: list[tuple[int, bool, bool]]) -> None:
            url = store if store == "memory:" else f"sqlite:///{tmp_path}/{next(numbers)}.db"
            policy = Policy.aal2(idle=idle * SECOND, overall=(idle + more) * SECOND)
            authority = run(Authority(url, clock=clock, policy=policy).open())
            try:
                chain = [run(authority.begin("alice"))]
                for level in range(depth):
                    chain.append(run(authority.delegate(chain[-1].active, to=f"agent:d{level}", scopes={"x"})))
                for milliseconds, touch, check in steps:
                    clock.advance(timedelta(milliseconds=milliseconds))
                    for each in chain:
                        now = clock.now()
                        says = run(_decided(authority, each.token, now))
                        if authority.peek(each.token, touch=touch):
                            assert says is None
                        if check:
                            assert run(reason(authority, each.token, touch=touch)) is says
            finally:
                run(authority.close())

        agrees()

    in_one_loop(story)


async def _decided(authority: Authority, token: str, now: datetime) -> Reason | None:
    found = decide(await authority.store.read(digest(token)), now)
    return None if found is None else found.reason


async def test_freshness_is_decided_at_every_check(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    fresh = Requirement(fresh=5 * MINUTE)
    await cached(authority, issued.token, requirement=fresh)
    clock.advance(30 * SECOND)
    await cached(authority, issued.token, requirement=fresh)
    clock.advance(5 * MINUTE - 30 * SECOND - TICK)
    await active(authority, issued.token, requirement=fresh)
    clock.advance(TICK)
    assert (await denied(authority, issued.token, requirement=fresh)).reason is Reason.STALE_AUTHENTICATION
