"""Delegations and keys: who may hand what to whom, how deep, and how each of them ends."""

from __future__ import annotations

import asyncio

import pytest

from sessile import Authority, Conflict, Issued, LimitExceeded, NotFound, Reason, Refused, Requirement, SessionKind
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import (
    DAY,
    MINUTE,
    SECOND,
    TICK,
    active,
    cached,
    denied,
    events,
    happened,
    reason,
    rules,
)


@pytest.fixture
async def person(authority: Authority) -> Issued:
    return await authority.begin("alice")


@pytest.fixture
async def operator(authority: Authority) -> Issued:
    await authority.register("olga", scopes={"*", "operator"})
    return await authority.begin("olga")


async def test_a_delegation_is_who_for_whom(authority: Authority, person: Issued, clock: ManualClock) -> None:
    issued = await authority.delegate(
        person.active, to="agent:deploy", scopes={"deploy"}, lifetime=10 * MINUTE, label="release"
    )
    session = (await active(authority, issued.token)).session
    assert session.kind is SessionKind.DELEGATED
    assert session.principal == "agent:deploy"
    assert (session.parent, session.origin) == (person.active.session.id,) * 2
    assert [link.session for link in session.lineage] == [person.active.session.id]
    assert session.scopes == {"deploy"}
    assert session.label == "release"
    assert session.expires == clock.now() + 10 * MINUTE
    assert issued.token.startswith("sld_")
    agent = await authority.principal("agent:deploy")
    assert agent.owner == person.active.session.uid
    assert agent.scopes == frozenset()


async def test_a_key_has_an_origin_only(authority: Authority, person: Issued) -> None:
    issued = await authority.mint_key(person.active, owner="service:ci", scopes={"read"}, lifetime=30 * DAY)
    session = (await active(authority, issued.token)).session
    assert session.kind is SessionKind.KEY
    assert (session.parent, session.origin) == (None, person.active.session.id)
    assert issued.token.startswith("slk_")
    own = await authority.mint_key(person.active, owner="alice", scopes={"read"})
    assert own.active.session.principal == "alice"


@pytest.mark.requirement("NHI5")
async def test_no_wider_scopes_than_the_giver_has(authority: Authority) -> None:
    """Review 14: what is handed out is what the giver's session has, whatever its principal may do elsewhere."""
    narrow = await authority.begin("alice", scopes={"read", "deploy"})
    child = await authority.delegate(narrow.active, to="agent:a", scopes={"read"})
    for giver, scopes in ((narrow, {"read", "admin"}), (narrow, {"*"}), (child, {"deploy"}), (child, {"*"})):
        with pytest.raises(Refused) as refused:
            await authority.delegate(giver.active, to="agent:a", scopes=scopes)
        assert refused.value.denied.reason is Reason.OUT_OF_SCOPE
    with pytest.raises(Refused):
        await authority.mint_key(narrow.active, owner="service:ci", scopes={"admin"})


async def test_without_scopes_it_may_do_nothing(authority: Authority, person: Issued) -> None:
    issued = await authority.delegate(person.active, to="agent:a", scopes=())
    wanted = Requirement(scopes=frozenset({"read"}))
    assert await reason(authority, issued.token, requirement=wanted) is Reason.OUT_OF_SCOPE


@pytest.mark.parametrize("reserved", ["operator", "introspect"])
async def test_everything_does_not_give_the_reserved_scopes(
    authority: Authority, person: Issued, operator: Issued, reserved: str
) -> None:
    """Review 14: `*` is all that the application offers, and no right over Sessile itself."""
    assert person.active.session.scopes == {"*"}
    await authority.delegate(person.active, to="agent:a", scopes={"anything", "*"})
    for minted in (
        authority.delegate(person.active, to="agent:a", scopes={reserved}),
        authority.mint_key(person.active, owner="service:ci", scopes={reserved}),
    ):
        with pytest.raises(Refused):
            await minted
    with_all = await authority.delegate(person.active, to="agent:b", scopes={"*"})
    wanted = Requirement(scopes=frozenset({reserved}))
    assert await reason(authority, with_all.token, requirement=wanted) is Reason.OUT_OF_SCOPE
    held = await authority.delegate(operator.active, to="agent:c", scopes={"operator"})
    assert await reason(authority, held.token, requirement=Requirement(scopes=frozenset({"operator"}))) is None


async def test_never_to_a_person(authority: Authority, person: Issued, operator: Issued) -> None:
    """Review 14: a session for another person is impersonation."""
    for giver in (person, operator):
        for name in ("bob", "ALICE" if giver is operator else "olga", "nobody-yet"):
            with pytest.raises(Refused):
                await authority.delegate(giver.active, to=name, scopes={"read"})
            with pytest.raises(Refused):
                await authority.mint_key(giver.active, owner=name, scopes={"read"})
    with pytest.raises(Refused):
        await authority.delegate(person.active, to="alice", scopes={"read"})
    with pytest.raises(NotFound):
        await authority.principal("nobody-yet")


async def test_not_to_somebody_elses_agent(authority: Authority, person: Issued, operator: Issued) -> None:
    """Review 14: the giver receives a token of that agent's; it has to be one that it answers for."""
    mallory = await authority.begin("mallory")
    await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    await authority.register("service:root", owner="olga")
    for name in ("agent:deploy", "AGENT:Deploy", "service:root"):
        with pytest.raises(Refused):
            await authority.delegate(mallory.active, to=name, scopes={"deploy"})
        with pytest.raises(Refused):
            await authority.mint_key(mallory.active, owner=name, scopes={"deploy"})
        await authority.delegate(operator.active, to=name, scopes={"deploy"})


async def test_an_agent_hands_on_for_whoever_answers_for_it(authority: Authority, person: Issued) -> None:
    child = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy", "read"})
    grandchild = await authority.delegate(child.active, to="agent:helper", scopes={"read"})
    assert (await authority.principal("agent:helper")).owner == person.active.session.uid
    assert [link.session for link in grandchild.active.session.lineage] == [
        child.active.session.id,
        person.active.session.id,
    ]
    await authority.delegate(person.active, to="agent:helper", scopes={"read"})


@pytest.mark.parametrize(
    ("to", "scopes"),
    [
        ("agent:", {"x"}),
        ("robot:x", {"x"}),
        ("agent:a b", {"x"}),
        ("agent:a", {""}),
        ("agent:a", {'"'}),
        ("agent:a", "x"),
    ],
)
async def test_what_is_no_name_and_no_scope(
    authority: Authority, person: Issued, to: str, scopes: set[str] | str
) -> None:
    with pytest.raises(ValueError, match=r"name|scope|'robot'"):
        await authority.delegate(person.active, to=to, scopes=scopes)
    for lifetime in (0 * SECOND, -SECOND):
        with pytest.raises(ValueError, match="positive"):
            await authority.delegate(person.active, to="agent:a", scopes={"x"}, lifetime=lifetime)


async def test_a_chain_is_as_long_as_the_policy_says(authority: Authority, person: Issued) -> None:
    await rules(authority, max_depth=3)
    giver = person
    for depth in range(3):
        giver = await authority.delegate(giver.active, to=f"agent:d{depth}", scopes={"x"})
        await active(authority, giver.token)
    with pytest.raises(LimitExceeded):
        await authority.delegate(giver.active, to="agent:d3", scopes={"x"})


@pytest.mark.requirement("ASVS V7.5.3", "63B-4 5.1.2-a")
async def test_minting_needs_a_fresh_authentication(authority: Authority, person: Issued, clock: ManualClock) -> None:
    """Review 14: five minutes, and a key or a delegation is never fresh."""
    clock.advance(5 * MINUTE - TICK)
    await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    clock.advance(TICK)
    with pytest.raises(Refused) as refused:
        await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    assert refused.value.denied.reason is Reason.STALE_AUTHENTICATION
    again = await authority.elevate(person.active, method="password")
    key = await authority.mint_key(again.active, owner="service:ci", scopes={"x"})
    child = await authority.delegate(again.active, to="agent:a", scopes={"x"})
    for giver in (key, child):
        with pytest.raises(Refused):
            await authority.mint_key(giver.active, owner="service:ci", scopes={"x"})


async def test_what_was_handed_out_is_never_fresh(authority: Authority, person: Issued) -> None:
    """Review 14: its holder proved nothing."""
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    key = await authority.mint_key(person.active, owner="alice", scopes={"x"})
    for each in (child, key):
        await cached(authority, each.token)
        stale = await denied(authority, each.token, requirement=Requirement(fresh=3650 * DAY))
        assert stale.reason is Reason.STALE_AUTHENTICATION


async def test_assurance_is_the_givers_of_that_time(authority: Authority, person: Issued) -> None:
    """Review 14: no child rises with its parent's later step-up."""
    early = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    stepped_up = await authority.elevate(person.active, method="totp")
    late = await authority.delegate(stepped_up.active, to="agent:a", scopes={"x"})
    assert await reason(authority, early.token, requirement=Requirement(assurance=2)) is Reason.ASSURANCE
    assert await reason(authority, late.token, requirement=Requirement(assurance=2)) is None


async def test_a_proof_is_needed_and_not_a_listed_session(authority: Authority, person: Issued) -> None:
    """Review 15: what a list yields hands out nothing."""
    [listed] = await authority.sessions(principal="alice")
    for method in (
        lambda: authority.rotate(listed),  # type: ignore[arg-type]
        lambda: authority.elevate(listed, method="totp"),  # type: ignore[arg-type]
        lambda: authority.delegate(listed, to="agent:a", scopes={"x"}),  # type: ignore[arg-type]
        lambda: authority.mint_key(listed, owner="service:ci", scopes={"x"}),  # type: ignore[arg-type]
    ):
        with pytest.raises((AttributeError, TypeError)):
            await method()
    assert len(await authority.sessions(ended=True)) == 1


# -- endings -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("NHI1", "ASVS V7.4.2")
async def test_disabling_a_person_stops_their_agents_with_one_write(authority: Authority, person: Issued) -> None:
    chain = [person]
    for depth in range(3):
        chain.append(await authority.delegate(chain[-1].active, to=f"agent:d{depth}", scopes={"x"}))
    for each in chain:
        await cached(authority, each.token)
    before = [await authority.session(each.active.session.id) for each in chain]
    recorded = len(await events(authority))
    await authority.disable("alice", cause="offboarded")
    for each, was in zip(chain, before, strict=True):
        assert (await denied(authority, each.token)).reason is Reason.DISABLED
        now = await authority.session(each.active.session.id)
        assert (now.live, now.reason) == (False, Reason.DISABLED)
        # Nothing of the row was written: it is dead by what it hangs on.
        assert (now.ended, now.last_seen, now.expires) == (None, was.last_seen, was.expires)
    assert len(await events(authority)) == recorded + 1


async def test_disabling_the_agent_stops_it_and_not_the_person(authority: Authority, person: Issued) -> None:
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    grandchild = await authority.delegate(child.active, to="agent:b", scopes={"x"})
    await authority.disable("agent:a", cause="misbehaves")
    for each in (child, grandchild):
        assert (await denied(authority, each.token)).reason is Reason.DISABLED
    await active(authority, person.token)
    with pytest.raises(Conflict):
        await authority.delegate(person.active, to="agent:a", scopes={"x"})


async def test_revoking_a_delegation_leaves_its_giver(authority: Authority, person: Issued) -> None:
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    grandchild = await authority.delegate(child.active, to="agent:b", scopes={"x"})
    sibling = await authority.delegate(person.active, to="agent:c", scopes={"x"})
    receipt = await authority.revoke(session=child.active.session.id, cause="done")
    assert receipt.revoked == 2
    assert set(receipt.sessions) == {child.active.session.id, grandchild.active.session.id}
    for each in (child, grandchild):
        assert (await denied(authority, each.token)).reason is Reason.REVOKED
    for each in (person, sibling):
        await active(authority, each.token)


@pytest.mark.requirement("63B-4 5.3-a", "NHI2")
async def test_containment_ends_what_was_handed_out_by_whichever_tie(
    authority: Authority, person: Issued, clock: ManualClock
) -> None:
    before = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    clock.advance(MINUTE)
    since = clock.now()
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    below = await authority.delegate(key.active, to="agent:b", scopes={"x"})
    for each in (before, key, child, below):
        await cached(authority, each.token)
    await authority.end(End(session=person.active.session.id, cause="stolen", contain_since=since))
    for each in (person, key, child, below):
        assert (await denied(authority, each.token)).reason is Reason.REVOKED
    await active(authority, before.token)


async def test_containment_works_after_a_logout(authority: Authority, person: Issued, clock: ManualClock) -> None:
    """Review 11: the tombstone keeps the ties."""
    since = clock.now()
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    await authority.revoke(session=person.active.session.id, cause="logout")
    clock.advance(2 * DAY)
    await cached(authority, key.token)
    await authority.end(End(session=person.active.session.id, cause="stolen", contain_since=since))
    assert (await denied(authority, key.token)).reason is Reason.REVOKED


async def test_containing_a_principal(authority: Authority, person: Issued, clock: ManualClock) -> None:
    since = clock.now()
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    alice = await authority.principal("alice")
    await authority.end(End(uid=alice.uid, cause="stolen", contain_since=since))
    assert (await denied(authority, key.token)).reason is Reason.REVOKED
    clock.advance(MINUTE)
    later = await authority.mint_key((await authority.begin("alice")).active, owner="service:ci", scopes={"x"})
    await active(authority, later.token)


@pytest.mark.requirement("NHI1-b")
async def test_a_key_dies_with_its_owner_and_not_with_its_giver(authority: Authority, person: Issued) -> None:
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    own = await authority.mint_key(person.active, owner="alice", scopes={"x"})
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    await cached(authority, key.token)
    receipt = await authority.disable("alice", cause="offboarded")
    await active(authority, key.token)
    assert (await denied(authority, own.token)).reason is Reason.DISABLED
    # The receipt names what lives on, so that nobody forgets it.
    assert [each.id for each in receipt.handed_out] == [key.active.session.id]
    assert child.active.session.id not in {each.id for each in receipt.handed_out}
    await authority.disable("service:ci", cause="orphaned")
    assert (await denied(authority, key.token)).reason is Reason.DISABLED


async def test_nothing_is_handed_out_by_what_has_ended(authority: Authority, person: Issued) -> None:
    """Review 11. And no name is taken: what has ended, or may not give this, registers nobody."""
    narrow = await authority.begin("alice", scopes={"read"})
    for scopes in ({"admin"}, {"operator"}):
        with pytest.raises(Refused):
            await authority.delegate(narrow.active, to="agent:squat", scopes=scopes)
    await authority.revoke(session=person.active.session.id, cause="logout")
    for minted in (
        authority.delegate(person.active, to="agent:late", scopes={"x"}),
        authority.mint_key(person.active, owner="service:late", scopes={"x"}),
        authority.mint_key(person.active, owner="alice", scopes={"x"}),
    ):
        with pytest.raises(Conflict) as refused:
            await minted
        assert refused.value.denied is not None
        assert refused.value.denied.reason is Reason.REVOKED
    for name in ("agent:squat", "agent:late", "service:late"):
        with pytest.raises(NotFound):
            await authority.principal(name)
    assert "session.delegated" not in await happened(authority)


async def test_the_tree_is_listed_givers_first(authority: Authority, person: Issued) -> None:
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    grandchild = await authority.delegate(child.active, to="agent:b", scopes={"x"})
    tree = [each.id for each in await authority.sessions(tree=person.active.session.id)]
    assert tree[0] == person.active.session.id
    assert set(tree[1:3]) == {child.active.session.id, key.active.session.id}
    assert tree[3:] == [grandchild.active.session.id]
    assert [each.id for each in await authority.sessions(tree=grandchild.active.session.id)] == tree[3:]
    with pytest.raises(NotFound):
        await authority.sessions(tree="ses_" + "0" * 27)


async def test_a_new_agent_is_named_by_many_at_once(authority: Authority, person: Issued) -> None:
    """Of those who register the same name at once one does; the others hand to what it registered."""
    issued = await asyncio.gather(
        *(authority.delegate(person.active, to="agent:new", scopes={"read"}) for _ in range(10))
    )
    assert len({one.active.session.uid for one in issued}) == 1
    # Somebody else's stays somebody else's, whoever was first.
    other = await authority.begin("bob")
    with pytest.raises(Refused):
        await authority.delegate(other.active, to="agent:new", scopes={"read"})
