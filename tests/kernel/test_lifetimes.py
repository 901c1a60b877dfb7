"""Every lifetime, to the microsecond: allowed until the limit, denied at it, never late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState, decide, expires_at, horizon, idle_expires_at, info, is_live
from sessile.kernel.issue import ANONYMOUS_OVERALL, elevate
from sessile.kernel.policy import Policy
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind, Tie
from tests.kernel.tree import DAY, HOUR, MINUTE, START, TICK, Tree, around, lifetimes, policies, shares, spans, trees


def shorter(*limits: timedelta | None) -> timedelta:
    return min(limit for limit in limits if limit is not None)


@pytest.mark.requirement("ASVS V7.3.2", "63B-4 5.1-i5", "63B-4 5.2-a", "63B-4 5.2-b", "63B-4 5.1-f")
@given(policy=policies(), lifetime=lifetimes, late=spans(), ip=st.sampled_from([None, "192.0.2.1"]))
def test_overall_however_active(policy: Policy, lifetime: timedelta | None, late: timedelta, ip: str | None) -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy), lifetime=lifetime)
    end = START + shorter(policy.overall, lifetime)
    tree.change(session, last_seen=end - TICK)
    assert tree.alive(session, end - TICK)
    for at in (end, end + late):
        tree.change(session, last_seen=at)
        denied = tree.decide(session, at)
        assert denied is not None
        assert (denied.reason, denied.at) == (Reason.EXPIRED, end)


@pytest.mark.requirement("ASVS V7.3.1", "63B-4 5.2-b", "63B-4 5.2-c")
@given(policy=policies(idle=True), share=shares, late=spans())
def test_idle_to_the_microsecond(policy: Policy, share: float, late: timedelta) -> None:
    assert policy.idle is not None
    if policy.idle == policy.overall:
        return
    seen = (policy.overall - policy.idle - TICK) * share
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy))
    tree.change(session, last_seen=START + seen)
    end = START + seen + policy.idle
    before, at, after = [tree.decide(session, at) for at in around(end)]
    assert before is None
    assert at is not None
    assert (at.reason, at.at) == (Reason.IDLE, end)
    assert after is not None
    much_later = tree.decide(session, end + late)
    assert much_later is not None
    assert much_later.reason in (Reason.IDLE, Reason.EXPIRED)


@given(policy=policies(idle=False), seen=spans())
def test_no_idle_limit_where_the_policy_has_none(policy: Policy, seen: timedelta) -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy))
    assert idle_expires_at(tree.sessions[session], policy) is None
    assert tree.alive(session, START + policy.overall - TICK)


@pytest.mark.requirement("63B-4 5.2-c")
@given(policy=policies(idle=True), seen=spans())
def test_activity_moves_the_idle_limit_only(policy: Policy, seen: timedelta) -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy))
    before = tree.sessions[session]
    tree.change(session, last_seen=START + seen)
    after = tree.sessions[session]
    assert expires_at(after, policy) == expires_at(before, policy)
    assert idle_expires_at(after, policy) == START + seen + (policy.idle or DAY)


@pytest.mark.requirement("63B-4 5.2-d", "63B-4 5.1-c")
@given(policy=policies(), lifetime=lifetimes, after=spans())
def test_reauthentication_resets_both_limits(policy: Policy, lifetime: timedelta | None, after: timedelta) -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy), lifetime=lifetime)
    tree.now += after
    changed = elevate(tree.sessions[session], Method.PASSWORD, policy=policy, now=tree.now)
    assert expires_at(changed, policy) == tree.now + shorter(policy.overall, lifetime)
    assert idle_expires_at(changed, policy) == (tree.now + policy.idle if policy.idle else None)
    assert changed.generation == 1
    assert changed.rotated == changed.authenticated == tree.now


@given(policy=policies(), lifetime=lifetimes, after=spans())
def test_a_privilege_change_moves_no_overall_limit(
    policy: Policy, lifetime: timedelta | None, after: timedelta
) -> None:
    tree = Tree()
    session = tree.sessions[tree.sign_in(tree.person(policy=policy), lifetime=lifetime)]
    changed = elevate(session, None, policy=policy, now=START + after)
    assert expires_at(changed, policy) == expires_at(session, policy)
    assert changed.authentications == session.authentications


@given(policy=policies(), lifetime=lifetimes)
def test_keys(policy: Policy, lifetime: timedelta | None) -> None:
    tree = Tree()
    ci = tree.person("service:ci", policy=policy)
    key = tree.hand_out(tree.sign_in(), ci, Tie.ORIGIN, lifetime=lifetime)
    end = START + shorter(policy.key_lifetime, lifetime)
    before, at, after = [tree.decide(key, at) for at in around(end)]
    assert before is None
    assert at is not None
    assert after is not None
    assert at.reason is after.reason is Reason.EXPIRED


@given(policy=policies(), lifetime=lifetimes)
def test_anonymous_sessions(policy: Policy, lifetime: timedelta | None) -> None:
    tree = Tree()
    session = tree.visit(policy, lifetime=lifetime)
    end = START + shorter(policy.overall, policy.idle, ANONYMOUS_OVERALL, lifetime)
    before, at, _ = [tree.decide(session, at) for at in around(end)]
    assert before is None
    assert at is not None
    assert at.reason in (Reason.EXPIRED, Reason.IDLE)


@given(tree=trees())
def test_no_session_is_begun_that_is_over(tree: tuple[Tree, str]) -> None:
    """It may be by the idleness of its parent; its own limits lie ahead."""
    world, session = tree
    found = world.sessions[session]
    assert expires_at(found, world.policies[found.uid or ""]) > found.created


# --- the policy of now -----------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.1.1", "63B-4 5.1-i5")
@given(issued=policies(), now=policies(), lifetime=lifetimes, seen=spans(), after=spans())
def test_limits_are_the_stricter_of_as_issued_and_as_in_force(
    issued: Policy, now: Policy, lifetime: timedelta | None, seen: timedelta, after: timedelta
) -> None:
    """Review 17: a stricter policy bites live sessions at once; a looser one never revives."""
    tree = Tree()
    alice = tree.person(policy=issued)
    session = tree.sign_in(alice, lifetime=lifetime)
    tree.change(session, last_seen=START + seen)
    tree.policies[alice.uid] = now
    overall = START + shorter(issued.overall, now.overall, lifetime)
    idles = [limit for limit in (issued.idle, now.idle) if limit is not None]
    idle = START + seen + min(idles) if idles else None
    ends = [overall] if idle is None else [overall, idle]
    for at in (*around(min(ends)), START + after):
        denied = tree.decide(session, at)
        assert (denied is None) == (at < min(ends))
        if denied is not None:
            assert denied.reason is (Reason.EXPIRED if at >= overall else Reason.IDLE)


@given(kind=st.sampled_from(Tie), issued=policies(), now=policies(), lifetime=lifetimes)
def test_a_stricter_policy_bites_what_was_handed_out(
    kind: Tie, issued: Policy, now: Policy, lifetime: timedelta | None
) -> None:
    tree = Tree()
    ci = tree.person("service:ci", policy=issued)
    tree.policies[ci.uid] = issued
    held = tree.sign_in(tree.person(policy=Policy(overall=1000 * DAY, idle=None)))
    child = tree.hand_out(held, ci, kind, lifetime=lifetime)
    tree.policies[ci.uid] = now
    if kind is Tie.PARENT:
        end = START + shorter(issued.overall, now.overall, lifetime)
    else:
        end = START + shorter(issued.key_lifetime, now.key_lifetime, lifetime)
    assert [tree.alive(child, at) for at in around(end)] == [True, False, False]


@given(tree=trees(), after=spans(), more=spans())
def test_no_policy_revives_what_a_limit_as_issued_has_ended(
    tree: tuple[Tree, str], after: timedelta, more: timedelta
) -> None:
    """Review 17: loosening never revives."""
    world, session = tree
    at = world.now + after
    if world.decide(session, at) is not None:
        for uid, policy in world.policies.items():
            world.policies[uid] = Policy(
                overall=policy.overall + more, idle=None, key_lifetime=policy.key_lifetime + more, grace=policy.grace
            )
        assert world.decide(session, at) is not None


# --- the horizon -----------------------------------------------------------------------------------------------


@given(tree=trees(), share=shares, late=spans())
def test_horizon_agrees_with_decide(tree: tuple[Tree, str], share: float, late: timedelta) -> None:
    """Review 29: an entry and `decide` agree at every instant."""
    world, session = tree
    snapshot = world.snapshot(session)
    if decide(snapshot, world.now) is not None:
        return
    end = horizon(snapshot)
    assert end > world.now
    for at in (world.now, world.now + (end - world.now) * share, end - TICK):
        if at < end:
            assert decide(snapshot, at) is None
    for at in (end, end + TICK, end + late):
        assert decide(snapshot, at) is not None


@given(tree=trees(), since=spans(HOUR), state=st.sampled_from([TokenState.PREDECESSOR, TokenState.SUCCESSOR]))
def test_horizon_of_tokens_beside_the_current_one(tree: tuple[Tree, str], since: timedelta, state: TokenState) -> None:
    world, session = tree
    snapshot = world.snapshot(session, token_state=state, token_since=world.now - since)
    if decide(snapshot, world.now) is not None:
        return
    end = horizon(snapshot)
    assert [decide(snapshot, at) is None for at in around(end)] == [True, False, False]


@given(tree=trees(), first=spans(), later=spans())
def test_time_alone_revives_nothing(tree: tuple[Tree, str], first: timedelta, later: timedelta) -> None:
    world, session = tree
    if world.decide(session, world.now + first) is not None:
        assert world.decide(session, world.now + first + later) is not None


@given(tree=trees(), after=spans())
def test_a_list_shows_what_a_check_says(tree: tuple[Tree, str], after: timedelta) -> None:
    world, session = tree
    snapshot, at = world.snapshot(session), world.now + after
    shown, denied = info(snapshot, at), decide(snapshot, at)
    assert shown.live == is_live(snapshot, at) == (denied is None)
    if denied is not None and denied.at is not None and not world.sessions[session].lineage:
        assert denied.at == {Reason.IDLE: shown.idle_expires, Reason.EXPIRED: shown.expires}[denied.reason]


# --- the presets -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 2.1.3-a")
def test_aal1() -> None:
    policy = Policy.aal1()
    assert (policy.overall, policy.idle) == (30 * DAY, None)
    for nothing in (None, timedelta(0), -DAY):
        with pytest.raises((TypeError, ValueError)):
            Policy.aal1(overall=nothing)


@pytest.mark.requirement("63B-4 2.2.3-a", "63B-4 2.2.3-b")
def test_aal2() -> None:
    policy = Policy.aal2()
    assert (policy.overall, policy.idle) == (24 * HOUR, HOUR)


@pytest.mark.requirement("63B-4 2.3.3-a", "63B-4 2.3.3-b")
def test_aal3() -> None:
    policy = Policy.aal3()
    assert (policy.overall, policy.idle) == (12 * HOUR, 15 * MINUTE)
    for longer in (Policy.aal3, lambda **changes: Policy(assurance=3, **changes)):
        assert longer(overall=12 * HOUR).overall == 12 * HOUR
        with pytest.raises(ValueError, match="12 hours"):
            longer(overall=12 * HOUR + TICK)


def test_operator() -> None:
    policy = Policy.operator()
    assert (policy.overall, policy.idle, policy.assurance) == (8 * HOUR, 15 * MINUTE, 2)


@pytest.mark.requirement("63B-4 5.2-a", "63B-4 5.1-i5", "63B-4 2.1.3-a", "63B-4 2.2.3-a", "63B-4 2.3.3-a")
@pytest.mark.parametrize("preset", ["aal1", "aal2", "aal3", "operator"])
def test_every_preset_leads_to_reauthentication_under_constant_use(preset: str) -> None:
    policy: Policy = getattr(Policy, preset)()
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy), methods=(Method.HARDWARE_KEY,))
    at = START
    while tree.alive(session, at):
        tree.change(session, last_seen=at)
        at += MINUTE * 5
    denied = tree.decide(session, at)
    assert denied is not None
    assert (denied.reason, at) == (Reason.EXPIRED, START + policy.overall)


@pytest.mark.requirement("63B-4 2.2.3-b", "63B-4 2.3.3-b", "ASVS V7.3.1")
@pytest.mark.parametrize("preset", ["aal2", "aal3", "operator"])
def test_every_preset_ends_who_is_away(preset: str) -> None:
    policy: Policy = getattr(Policy, preset)()
    tree = Tree()
    session = tree.sign_in(tree.person(policy=policy), methods=(Method.HARDWARE_KEY,))
    assert policy.idle is not None
    reasons = [tree.decide(session, at) for at in around(START + policy.idle)]
    assert reasons[0] is None
    assert [denied.reason for denied in reasons if denied is not None] == [Reason.IDLE] * 2


@given(policy=policies())
def test_coalescing_costs_little_of_the_idle_time(policy: Policy) -> None:
    """Last-seen writes are coalesced: at the worst a session ends this much early, and never late."""
    interval = policy.touch_interval
    assert timedelta(0) <= interval <= 5 * MINUTE
    if policy.idle is not None:
        assert interval <= policy.idle / 10


@pytest.mark.parametrize("kind", [SessionKind.DELEGATED, SessionKind.KEY])
def test_only_what_a_person_sits_before_can_be_idle_or_elevated(kind: SessionKind) -> None:
    tree = Tree()
    tie = Tie.PARENT if kind is SessionKind.DELEGATED else Tie.ORIGIN
    child = tree.sessions[tree.hand_out(tree.sign_in(), tie=tie)]
    assert idle_expires_at(child, Policy.aal3()) is None
    with pytest.raises(ValueError, match="browser"):
        elevate(child, Method.TOTP, policy=Policy(), now=START)
