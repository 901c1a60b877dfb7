"""The tree: what is handed out, what hangs on what, and containment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.assurance import Method
from sessile.kernel.issue import Draft, TooDeep, Wider
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Status, covers
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind, Tie
from tests.kernel.tree import DAY, HOUR, MINUTE, START, TICK, Tree, policies, spans, trees

SCOPES = st.frozensets(st.sampled_from(["a", "b", "c", "*", "operator", "introspect"]))


def chain(tree: Tree, ties: list[Tie], step: timedelta = MINUTE) -> list[str]:
    sessions = [tree.sign_in()]
    for number, tie in enumerate(ties):
        tree.now += step
        sessions.append(tree.hand_out(sessions[-1], tree.person(f"agent:{number}"), tie))
    tree.now += step
    return sessions


ties = st.lists(st.sampled_from(Tie), min_size=1, max_size=8)


# --- a child and its parent --------------------------------------------------------------------------------------


@given(tree=trees(), after=spans())
def test_a_child_never_outlives_its_parent(tree: tuple[Tree, str], after: timedelta) -> None:
    world, session = tree
    at = world.now + after
    while (parent := world.sessions[session].parent) is not None:
        if world.alive(session, at):
            assert world.alive(parent, at)
        session = parent


@given(giver=policies(), to=policies(), lifetime=st.none() | spans(), begun=st.none() | spans())
def test_a_child_is_issued_no_longer_than_its_parent(
    giver: Policy, to: Policy, lifetime: timedelta | None, begun: timedelta | None
) -> None:
    tree = Tree()
    parent = tree.sign_in(tree.person(policy=giver), lifetime=begun)
    child = tree.hand_out(parent, tree.person("agent:a", policy=to), lifetime=lifetime)
    assert tree.sessions[child].expires <= tree.sessions[parent].expires
    assert tree.sessions[child].expires <= START + to.overall


ENDINGS = ["ended", "idle", "expired", "disabled", "epoch", "everyone", "policy"]


@given(ties=ties, data=st.data(), how=st.sampled_from(ENDINGS))
def test_an_ending_reaches_all_below_by_parent_and_nothing_else(ties: list[Tie], data: st.DataObject, how: str) -> None:
    """Review 11: liveness is derived upward, at any depth, whatever ended it."""
    tree = Tree()
    sessions = chain(tree, ties)
    at = data.draw(st.integers(0, len(sessions) - 1))
    ended = tree.sessions[sessions[at]]
    match how:
        case "ended":
            tree.change(ended.id, ended=tree.now, cause="logout")
        case "idle":
            at = 0
            tree.change(sessions[0], last_seen=tree.now - HOUR)
        case "expired":
            tree.change(ended.id, expires=tree.now)
        case "disabled":
            tree.change_principal(ended.uid, status=Status.DISABLED)
        case "epoch":
            tree.change_principal(ended.uid, epoch=b"new")
        case "everyone":
            at = 0
            tree.everyone = {**tree.everyone, SessionKind.BROWSER: b"new"}
        case _:
            del tree.policies[ended.uid or ""]
    cut = next((n for n in range(at, len(ties)) if ties[n] is Tie.ORIGIN), len(ties))
    alive = [tree.alive(session) for session in sessions]
    assert alive == [not at <= number <= cut for number in range(len(sessions))]


def test_the_reason_of_a_child_is_its_parents() -> None:
    tree = Tree()
    top = tree.sign_in()
    child = tree.hand_out(top)
    denied = tree.decide(child, START + HOUR)
    assert denied is not None
    assert (denied.reason, denied.session) == (Reason.IDLE, child)
    tree.change(top, ended=START, cause="stolen", ended_by="bob")
    denied = tree.decide(child)
    assert denied is not None
    assert (denied.reason, denied.at, denied.cause, denied.by) == (Reason.REVOKED, START, "stolen", "bob")


# --- containment -------------------------------------------------------------------------------------------------


@given(ties=ties, data=st.data(), offset=st.sampled_from([-TICK, timedelta(0), TICK]))
def test_containing_a_session_ends_what_it_handed_out_since(
    ties: list[Tie], data: st.DataObject, offset: timedelta
) -> None:
    """By whichever tie, to the microsecond, and all below it."""
    tree = Tree()
    sessions = chain(tree, ties)
    at = data.draw(st.integers(0, len(ties) - 1))
    since = tree.sessions[sessions[at + 1]].created + offset
    tree.change(sessions[at], contained_since=since)
    reached = offset <= timedelta(0)
    alive = [tree.alive(session) for session in sessions]
    assert alive == [number <= at or not reached for number in range(len(sessions))]


@given(ties=ties, data=st.data(), offset=st.sampled_from([-TICK, timedelta(0), TICK]), until=st.booleans())
def test_containing_a_principal_ends_what_it_handed_out_meanwhile(
    ties: list[Tie], data: st.DataObject, offset: timedelta, until: bool
) -> None:
    """From an instant until the containment: what it hands out after it was enabled again is another matter."""
    tree = Tree()
    sessions = chain(tree, ties)
    at = data.draw(st.integers(0, len(ties) - 1))
    handed_out = tree.sessions[sessions[at + 1]].created
    uid = tree.sessions[sessions[at]].uid
    if until:
        tree.change_principal(uid, contained_since=START - DAY, contained_at=handed_out + offset)
        reached = offset >= timedelta(0)
    else:
        tree.change_principal(uid, contained_since=handed_out + offset, contained_at=tree.now)
        reached = offset <= timedelta(0)
    alive = [tree.alive(session) for session in sessions]
    assert alive == [number <= at or not reached for number in range(len(sessions))]


# --- handing out -------------------------------------------------------------------------------------------------


@given(held=SCOPES, wanted=SCOPES, tie=st.sampled_from(Tie))
def test_nobody_hands_out_more_than_it_has(held: frozenset[str], wanted: frozenset[str], tie: Tie) -> None:
    """Review 14."""
    tree = Tree()
    top = tree.sign_in(tree.person(scopes=held))
    if covers(held, wanted):
        assert tree.sessions[tree.hand_out(top, tie=tie, scopes=wanted)].scopes == wanted
    else:
        with pytest.raises(Wider):
            tree.hand_out(top, tie=tie, scopes=wanted)
    assert tree.sessions[tree.hand_out(top, tie=tie)].scopes == frozenset(), "None is not 'all'"


@given(held=SCOPES, wanted=st.none() | SCOPES)
def test_nobody_signs_in_with_more_than_it_has(held: frozenset[str], wanted: frozenset[str] | None) -> None:
    tree = Tree()
    alice = tree.person(scopes=held)
    if wanted is None or covers(held, wanted):
        assert tree.sessions[tree.sign_in(alice, scopes=wanted)].scopes == (held if wanted is None else wanted)
    else:
        with pytest.raises(Wider):
            tree.sign_in(alice, scopes=wanted)


@given(limit=st.integers(1, 8), ties=st.lists(st.sampled_from(Tie), min_size=8, max_size=8))
def test_no_chain_is_longer_than_the_policy_of_the_giver_allows(limit: int, ties: list[Tie]) -> None:
    """Review 11."""
    tree = Tree()
    policy = Policy(max_depth=limit)
    session = tree.sign_in(tree.person(policy=policy))
    for number in range(limit):
        session = tree.hand_out(session, tree.person("agent:a", policy=policy), ties[number])
    assert len(tree.sessions[session].lineage) == limit
    for tie in Tie:
        with pytest.raises(TooDeep):
            tree.hand_out(session, tie=tie)


@pytest.mark.requirement("63B-4 5.1-h")
@given(methods=st.sets(st.sampled_from(Method), min_size=1).map(tuple), tie=st.sampled_from(Tie), own=st.booleans())
def test_a_child_has_the_assurance_of_its_giver(methods: tuple[Method, ...], tie: Tie, own: bool) -> None:
    """Whatever events the draft claims: they are the giver's, of that time."""
    tree = Tree()
    top = tree.sign_in(methods=methods)
    child = tree.hand_out(top, tie=tie, methods=(Method.HARDWARE_KEY,) if own else ())
    assert tree.sessions[child].authentications == tree.sessions[top].authentications
    assert tree.sessions[child].assurance == tree.sessions[top].assurance
    assert tree.sessions[child].authenticated is None


@given(ties=ties)
def test_the_lineage_is_the_way_up(ties: list[Tie]) -> None:
    tree = Tree()
    sessions = chain(tree, ties)
    for depth, session in enumerate(sessions):
        found = tree.sessions[session]
        links = found.lineage
        assert [link.session for link in links] == sessions[:depth][::-1]
        assert [link.uid for link in links] == [tree.sessions[above].uid for above in sessions[:depth][::-1]]
        # What led here was handed out when the next one down began.
        assert [link.since for link in links] == [
            tree.sessions[below].created for below in sessions[1 : depth + 1][::-1]
        ]
        # `parent` if every tie on the way up is one.
        way = ties[:depth][::-1]
        assert [link.tie for link in links] == [
            Tie.PARENT if Tie.ORIGIN not in way[: place + 1] else Tie.ORIGIN for place in range(depth)
        ]
        assert found.origin == (sessions[depth - 1] if depth else None)
        assert found.parent == (sessions[depth - 1] if depth and ties[depth - 1] is Tie.PARENT else None)


@pytest.mark.parametrize("half", [{"giver": b"d"}, {"tie": Tie.PARENT}, {"tie": Tie.ORIGIN}])
def test_a_draft_has_a_giver_and_a_tie_or_neither(half: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="giver"):
        Draft(id="ses_x", digest=b"", kind=SessionKind.KEY, **half)  # type: ignore[arg-type]
