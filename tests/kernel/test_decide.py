"""`decide`: who gets in, who does not, and which reason is given."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.assurance import Method
from sessile.kernel.decide import (
    Active,
    Denied,
    Requirement,
    TokenState,
    binding,
    decide,
    demand,
    differs,
    holds,
    horizon,
    rebound,
    shows,
)
from sessile.kernel.issue import bound
from sessile.kernel.policy import Mismatch, Policy, Trait
from sessile.kernel.principal import OPERATOR, Status, new_epoch
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.session import Client, SessionKind, Tie
from tests.kernel.tree import HOUR, MINUTE, SECOND, START, TICK, Tree, around, spans, trees


def reason(denied: Denied | None) -> Reason | None:
    return None if denied is None else denied.reason


# --- answers that nobody can misread -----------------------------------------------------------------------------


@pytest.mark.parametrize("why", list(Reason))
def test_a_denial_is_falsy_and_has_a_cure(why: Reason) -> None:
    """Review 27: `if check(token):` lets nobody in who was denied."""
    denied = Denied(reason=why)
    assert not denied
    assert isinstance(denied.cure, Cure)
    assert Reason(why.value) is why


def test_cures() -> None:
    cures = {reason.value: reason.cure.value for reason in Reason}
    assert cures == {
        "missing": "sign_in", "malformed": "sign_in", "unknown": "sign_in", "idle": "sign_in",
        "expired": "sign_in", "revoked": "sign_in", "disabled": "none", "superseded": "retry",
        "replayed": "sign_in", "unbound": "sign_in", "assurance": "step_up",
        "stale_authentication": "step_up", "out_of_scope": "none", "over_budget": "retry", "unavailable": "retry",
    }  # fmt: skip


def test_an_active_is_truthy_and_says_nothing_secret() -> None:
    tree = Tree()
    session = tree.sessions[tree.sign_in()]
    active = Active(session, digest=b"\x11" * 32, seed=b"\x22" * 32, token_state=TokenState.CURRENT, rotate_at=None)
    assert active
    assert repr(active) == f"Active('alice', {session.id})"


@pytest.mark.requirement("63B-4 5.1-a", "ASVS V7.2.1")
def test_without_a_session_nobody_gets_in() -> None:
    for client in (None, Client(ip="127.0.0.1", user_agent="curl", device_key="k")):
        assert reason(decide(None, START, client=client)) is Reason.UNKNOWN
    assert reason(holds(None, START)) is Reason.UNKNOWN
    assert reason(holds(None, START, stepping_up=True)) is Reason.UNKNOWN


# --- endings -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.1")
@given(tree=trees(), after=spans())
def test_what_was_ended_is_over_for_good(tree: tuple[Tree, str], after: timedelta) -> None:
    world, session = tree
    world.change(session, ended=world.now, cause="logout", ended_by="alice")
    for at in (world.now, world.now + after, world.now - after):
        denied = world.decide(session, at)
        assert denied is not None
        assert (denied.reason, denied.at, denied.cause, denied.by) == (
            Reason.REVOKED, world.now, "logout", "alice"
        )  # fmt: skip


@pytest.mark.requirement("ASVS V7.4.2")
@pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED])
def test_who_is_disabled_or_deleted_is_out(status: Status) -> None:
    tree = Tree()
    alice = tree.person()
    session = tree.sign_in(alice)
    child = tree.hand_out(session)
    tree.change_principal(alice.uid, status=status)
    assert reason(tree.decide(session)) is reason(tree.decide(child)) is Reason.DISABLED


@given(epoch=st.binary(max_size=32))
def test_an_epoch_is_compared_for_equality(epoch: bytes) -> None:
    """Review 10: neither greater nor longer nor empty nor missing counts."""
    tree = Tree()
    alice = tree.person()
    session = tree.sign_in(alice)
    tree.change_principal(alice.uid, epoch=epoch)
    assert reason(tree.decide(session)) is (None if epoch == alice.epoch else Reason.REVOKED)


@given(kind=st.sampled_from(SessionKind), epoch=st.binary(max_size=32))
def test_the_epoch_of_everybody_is_compared_by_kind(kind: SessionKind, epoch: bytes) -> None:
    tree = Tree()
    sessions = {SessionKind.BROWSER: tree.sign_in(), SessionKind.ANONYMOUS: tree.visit(Policy())}
    sessions[SessionKind.DELEGATED] = tree.hand_out(sessions[SessionKind.BROWSER])
    sessions[SessionKind.KEY] = tree.hand_out(sessions[SessionKind.BROWSER], tie=Tie.ORIGIN)
    tree.everyone = {**tree.everyone, kind: epoch}
    over = {kind, SessionKind.DELEGATED} if kind is SessionKind.BROWSER else {kind}
    for each, session in sessions.items():
        assert reason(tree.decide(session)) is (Reason.REVOKED if each in over else None)
    tree.everyone = {other: value for other, value in tree.everyone.items() if other is not kind}
    for each, session in sessions.items():
        assert reason(tree.decide(session)) is (Reason.REVOKED if each in over else None), "missing is denied"


@given(tree=trees(), what=st.sampled_from(["principal", "policy", "ancestors"]))
def test_missing_is_denied_never_a_default(tree: tuple[Tree, str], what: str) -> None:
    world, session = tree
    if what == "ancestors":
        found = world.snapshot(session).ancestors
        for lost in range(len(found)):
            assert decide(world.snapshot(session, ancestors=found[:lost] + found[lost + 1 :]), world.now) is not None
    else:
        snapshot = world.snapshot(session, **{what: None})
        assert reason(decide(snapshot, world.now)) is Reason.REVOKED


@given(tree=trees(), data=st.data())
def test_a_lost_ancestor_is_a_dead_one(tree: tuple[Tree, str], data: st.DataObject) -> None:
    """By whichever tie: its tombstone is kept until everything it handed out is over."""
    world, session = tree
    if lineage := world.sessions[session].lineage:
        lost = data.draw(st.sampled_from(lineage))
        if data.draw(st.booleans()):
            del world.sessions[lost.session]
        else:
            del world.principals[lost.uid or ""]
        assert not world.alive(session)


def test_a_new_epoch_is_never_an_old_one() -> None:
    epochs = {new_epoch() for _ in range(1000)}
    assert len(epochs) == 1000
    assert {len(epoch) for epoch in epochs} == {16}


# --- tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.2.4")
def test_a_superseded_token_is_over_at_once() -> None:
    tree = Tree()
    session = tree.sign_in()
    found = tree.snapshot(session, token_state=TokenState.SUPERSEDED, token_since=START)
    denied = decide(found, START)
    assert denied is not None
    assert (denied.reason, denied.cure, denied.at) == (Reason.SUPERSEDED, Cure.RETRY, START)


@pytest.mark.requirement("63B-4 5.3-a")
@given(grace=spans(10 * MINUTE) | st.just(timedelta(0)))
def test_a_predecessor_counts_for_its_grace(grace: timedelta) -> None:
    """Review 18: afterwards it is a sign of theft."""
    tree = Tree()
    session = tree.sign_in(tree.person(policy=Policy(grace=grace)))
    used = START + MINUTE
    found = tree.snapshot(session, token_state=TokenState.PREDECESSOR, token_since=used)
    assert [reason(decide(found, at)) for at in around(used + grace)] == [
        None, Reason.REPLAYED, Reason.REPLAYED
    ]  # fmt: skip
    never_used = tree.snapshot(session, token_state=TokenState.PREDECESSOR, token_since=None)
    assert reason(decide(never_used, START)) is Reason.REPLAYED


@pytest.mark.parametrize("state", [TokenState.CURRENT, TokenState.SUCCESSOR])
def test_current_and_successor_count(state: TokenState) -> None:
    tree = Tree()
    session = tree.sign_in()
    found = tree.snapshot(session, token_state=state)
    assert decide(found, START) is None
    assert horizon(found) == START + HOUR


@pytest.mark.parametrize("state", list(TokenState))
def test_no_token_opens_what_is_over(state: TokenState) -> None:
    """And an old token of an ended session is no theft: the session is what is said to be over."""
    tree = Tree()
    session = tree.sign_in()
    tree.change(session, ended=START)
    found = tree.snapshot(session, token_state=state, token_since=START)
    assert reason(decide(found, START)) is Reason.REVOKED
    assert reason(holds(found, START, stepping_up=True)) is Reason.REVOKED


@given(since=spans(10 * MINUTE))
def test_the_second_of_two_replacements_may_hold_a_superseded_token(since: timedelta) -> None:
    """Review 18: within the grace, and only to step up."""
    tree = Tree()
    session = tree.sign_in()
    found = tree.snapshot(session, token_state=TokenState.SUPERSEDED, token_since=START)
    assert reason(holds(found, START + since)) is Reason.SUPERSEDED
    assert (holds(found, START + since, stepping_up=True) is None) == (since < MINUTE)


@given(tree=trees(), after=spans(), state=st.sampled_from(TokenState))
def test_what_holds_in_a_transaction_is_what_a_check_decides(
    tree: tuple[Tree, str], after: timedelta, state: TokenState
) -> None:
    world, session = tree
    found = world.snapshot(session, token_state=state, token_since=world.now)
    assert holds(found, world.now + after) == decide(found, world.now + after)


# --- what a route and a policy demand ----------------------------------------------------------------------------

METHODS = {
    0: (), 1: (Method.PASSWORD,), 2: (Method.PASSWORD, Method.TOTP), 3: (Method.HARDWARE_KEY,)
}  # fmt: skip


@pytest.mark.requirement("63B-4 5.1-h")
@pytest.mark.parametrize("has", [1, 2, 3])
@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_assurance_by_route_and_by_policy(has: int, wanted: int) -> None:
    tree = Tree()
    alice = tree.person()
    session = tree.sign_in(alice, methods=METHODS[has])
    expected = None if has >= wanted else Reason.ASSURANCE
    assert reason(tree.decide(session, requirement=Requirement(assurance=wanted))) is expected
    tree.policies[alice.uid] = Policy(assurance=wanted, overall=12 * HOUR)
    assert reason(tree.decide(session)) is expected
    assert reason(holds(tree.snapshot(session), START)) is expected
    assert tree.decide(session, requirement=Requirement(below_policy=True)) is None, "the step-up itself"
    assert holds(tree.snapshot(session), START, stepping_up=True) is None


def test_a_policy_demands_no_assurance_of_nobody() -> None:
    tree = Tree()
    session = tree.visit(Policy(assurance=2))
    assert tree.decide(session) is None
    assert reason(tree.decide(session, requirement=Requirement(assurance=1))) is Reason.ASSURANCE


@pytest.mark.requirement("ASVS V7.5.3")
@given(fresh=spans(HOUR))
def test_fresh_to_the_microsecond(fresh: timedelta) -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(policy=Policy.aal1()))
    wanted = Requirement(fresh=fresh)
    answers = [tree.decide(session, at, requirement=wanted) for at in around(START + fresh)]
    assert [reason(answer) for answer in answers] == [None, *[Reason.STALE_AUTHENTICATION] * 2]
    assert answers[1] is not None
    assert (answers[1].cure, answers[1].at) == (Cure.STEP_UP, START)


@pytest.mark.requirement("63B-4 5.1.2-a")
@pytest.mark.parametrize("tie", list(Tie))
@given(fresh=spans())
def test_what_was_handed_out_is_never_fresh(tie: Tie, fresh: timedelta) -> None:
    """Review 14: its holder did not prove itself, its giver did. Nor does it prove presence."""
    tree = Tree()
    child = tree.hand_out(tree.sign_in(methods=METHODS[3]), tie=tie)
    assert tree.alive(child)
    denied = tree.decide(child, requirement=Requirement(fresh=fresh))
    assert reason(denied) is Reason.STALE_AUTHENTICATION


def test_nobody_is_never_fresh() -> None:
    tree = Tree()
    session = tree.visit(Policy())
    assert reason(tree.decide(session, requirement=Requirement(fresh=HOUR))) is Reason.STALE_AUTHENTICATION


def test_scopes() -> None:
    tree = Tree()
    session = tree.sign_in(tree.person(scopes=frozenset({"read", "write"})))
    assert tree.decide(session, requirement=Requirement(scopes=frozenset({"read"}))) is None
    for wanted in ({"admin"}, {"read", "admin"}, {"*"}, {OPERATOR}):
        denied = tree.decide(session, requirement=Requirement(scopes=frozenset(wanted)))
        assert reason(denied) is Reason.OUT_OF_SCOPE
    everything = tree.sign_in(tree.person("bob"))
    assert tree.decide(everything, requirement=Requirement(scopes=frozenset({"admin"}))) is None
    denied = tree.decide(everything, requirement=Requirement(scopes=frozenset({OPERATOR})))
    assert reason(denied) is Reason.OUT_OF_SCOPE


def test_the_first_reason_counts() -> None:
    """The session, its principal, its ancestors, the token, the client, the requirement."""
    tree = Tree()
    alice = tree.person(policy=Policy(binding=frozenset({Trait.IP})))
    session = tree.sign_in(alice, client=Client(ip="192.0.2.1"))
    impossible = Requirement(assurance=3, fresh=TICK, scopes=frozenset({OPERATOR}))
    at, stranger = START + SECOND, Client(ip="192.0.2.2")

    def asked(**changes: object) -> Reason | None:
        found = tree.snapshot(session, **changes)
        return reason(decide(found, at, client=stranger, requirement=impossible))

    assert asked() is Reason.UNBOUND
    assert asked(token_state=TokenState.SUPERSEDED) is Reason.SUPERSEDED
    tree.change(session, last_seen=START - HOUR)
    assert asked(token_state=TokenState.SUPERSEDED) is Reason.IDLE
    tree.change(session, expires=at)
    assert asked() is Reason.EXPIRED
    tree.change_principal(alice.uid, epoch=b"another")
    assert asked() is Reason.REVOKED
    tree.change_principal(alice.uid, status=Status.DISABLED)
    assert asked() is Reason.DISABLED


@given(tree=trees(), after=spans())
def test_demanding_more_lets_in_nobody_else(tree: tuple[Tree, str], after: timedelta) -> None:
    world, session = tree
    at = world.now + after
    for requirement in (Requirement(assurance=2), Requirement(fresh=HOUR), Requirement(below_policy=True)):
        if (without := world.decide(session, at)) is not None:
            assert world.decide(session, at, requirement=requirement) == without
        else:
            assert world.decide(session, at, requirement=requirement) == demand(
                world.sessions[session], requirement, at
            )


# --- the client --------------------------------------------------------------------------------------------------

clients = st.none() | st.builds(
    Client,
    ip=st.sampled_from([None, "192.0.2.1", "192.0.2.2"]),
    user_agent=st.sampled_from([None, "a", "b"]),
    device_key=st.sampled_from([None, "key", "other"]),
)


@pytest.mark.requirement("63B-4 5.1-c")
@given(own=clients, shown=clients, traits=st.frozensets(st.sampled_from(Trait)))
def test_binding(own: Client | None, shown: Client | None, traits: frozenset[Trait]) -> None:
    """The policy decides what a change of address or user agent means; what was unknown at the start binds nothing."""
    tree = Tree()
    own = own or Client()
    session = tree.sign_in(tree.person(policy=Policy(binding=traits)), client=own)
    assert tree.sessions[session].client.device_key is None, "the key of another session binds none that begins"
    tree.change(session, client=own)
    shown_or_none = shown or Client()
    same = (Trait.IP not in traits or own.ip in (None, shown_or_none.ip)) and (
        Trait.USER_AGENT not in traits or own.user_agent in (None, shown_or_none.user_agent)
    )
    same = same and (Trait.DEVICE not in traits or own.device_key in (None, shown_or_none.device_key))
    same = same and (Trait.NETWORK not in traits or own.ip is None or shown_or_none.ip is not None)  # both of one /24
    assert reason(tree.decide(session, client=shown)) is (None if same else Reason.UNBOUND)
    must = binding(tree.sessions[session], Policy(binding=traits))
    assert shows(shown, must) == (must is None or not differs(shown, must))
    known = {
        Trait.IP: own.ip,
        Trait.NETWORK: own.ip,
        Trait.USER_AGENT: own.user_agent,
        Trait.DEVICE: own.device_key,
    }
    assert (must is None) == all(known[trait] is None for trait in traits), "what is bound to nothing pays nothing"
    assert shows(shown, must) == same


def test_a_session_is_bound_to_the_first_key_while_it_is_alive() -> None:
    tree = Tree()
    strict = Policy(binding=frozenset({Trait.DEVICE}))
    session = tree.sign_in(tree.person(policy=strict), client=Client(ip="192.0.2.1", user_agent="a"))
    assert tree.decide(session) is None, "not bound yet"
    first = bound(tree.snapshot(session), "key", START)
    assert first is not None
    assert first.client == Client(ip="192.0.2.1", user_agent="a", device_key="key")
    tree.change(session, client=first.client)
    assert bound(tree.snapshot(session), "key", START) == tree.sessions[session]
    assert bound(tree.snapshot(session), "other", START) is None
    for shown, allowed in ((None, False), (Client(), False), (Client(device_key="other"), False), (first.client, True)):
        assert reason(tree.decide(session, client=shown)) is (None if allowed else Reason.UNBOUND)
        assert differs(shown, (None, None, None, "key")) == (() if allowed else (Trait.DEVICE,))
    tree.change(session, client=Client())
    for late, alive in ((START + HOUR - TICK, True), (START + HOUR, False), (tree.sessions[session].expires, False)):
        assert (bound(tree.snapshot(session), "key", late) is not None) is alive


def test_a_proof_takes_the_client_and_no_other_key_than_was_bound() -> None:
    tree = Tree()
    begun = tree.sessions[tree.sign_in(client=Client(ip="192.0.2.1"))]
    here, there = Client(ip="192.0.2.1", device_key="key"), Client(ip="192.0.2.2")
    bound = msgspec.structs.replace(begun, client=here)
    keyed, other = (msgspec.structs.replace(there, device_key=key) for key in ("key", "other"))
    for mismatch in Mismatch:
        policy = Policy(binding=frozenset({Trait.DEVICE}), mismatch=mismatch)
        for session, proved, then in (
            (begun, there, there), (begun, keyed, there), (bound, there, there), (bound, other, there),
            (bound, keyed, keyed),
        ):  # fmt: skip
            assert rebound(session, policy, proved).client == (then if mismatch is Mismatch.STEP_UP else session.client)


def test_only_browsers_are_bound() -> None:
    """A pipeline's key may come from anywhere."""
    tree = Tree()
    strict = Policy(binding=frozenset(Trait))
    giver = tree.sign_in(client=Client(ip="192.0.2.1", user_agent="a"))
    for tie in Tie:
        child = tree.hand_out(giver, tree.person("agent:a", policy=strict), tie, client=Client(ip="192.0.2.1"))
        assert tree.decide(child, client=Client(ip="192.0.2.9")) is None
