"""Rotation: by age nobody is signed out by it, by an event the old token is over at once, a replay is theft."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessile import Active, Authority, Client, Conflict, Cure, Issued, Policy, Reason, Refused
from sessile.kernel.token import TokenKind, kind_of
from sessile.stores.protocol import PREDECESSORS
from sessile.testing import ManualClock
from tests.authority.asking import (
    DAY,
    LAPTOP,
    MINUTE,
    PHONE,
    SECOND,
    TICK,
    active,
    denied,
    happened,
    in_one_loop,
    reason,
    rules,
)

GRACE = Policy.aal2().grace
ROTATE_AFTER = Policy.aal2().rotate_after or timedelta()


async def rotated(authority: Authority, token: str) -> Issued:
    """A successor that was offered and presented."""
    issued = await authority.rotate(await active(authority, token))
    await active(authority, issued.token)
    return issued


async def test_a_lost_answer_signs_nobody_out(authority: Authority, clock: ManualClock) -> None:
    """The client goes on with its old token for as long as its successor was not presented."""
    issued = await authority.begin("alice")
    lost = await authority.rotate(issued.active)
    for _ in range(5):
        clock.advance(30 * MINUTE)
        await active(authority, issued.token)
        await authority.touch(await active(authority, issued.token))
    again = await authority.rotate(await active(authority, issued.token))
    assert again.token == lost.token


async def test_every_holder_gets_the_same_successor(authority: Authority) -> None:
    """Review 18b: two tabs cannot part ways, and a slow answer cannot write another token over the newer one."""
    issued = await authority.begin("alice")
    successors = await asyncio.gather(*[authority.rotate(issued.active) for _ in range(10)])
    assert len({each.token for each in successors}) == 1
    assert successors[0].token != issued.token
    await active(authority, successors[0].token)
    with pytest.raises(Conflict):
        await authority.rotate(issued.active)


@pytest.mark.requirement("ASVS V7.2.3")
async def test_successors_differ_from_session_to_session_and_from_turn_to_turn(authority: Authority) -> None:
    one, two = await authority.begin("alice"), await authority.begin("alice")
    tokens = {one.token, two.token}
    for each in (one, two):
        for _ in range(3):
            each = await rotated(authority, each.token)
            tokens.add(each.token)
    assert len(tokens) == 8


async def test_the_old_token_counts_for_the_grace_and_no_longer(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    successor = await authority.rotate(issued.active)
    clock.advance(10 * MINUTE)  # the grace runs from the first use, not from the offer
    await active(authority, issued.token)
    await active(authority, successor.token)
    await active(authority, issued.token)
    clock.advance(GRACE - TICK)
    await active(authority, issued.token)  # from the store or the cache: the same instant
    await active(authority, issued.token)
    clock.advance(timedelta(microseconds=1))
    replayed = await denied(authority, issued.token)
    assert (replayed.reason, replayed.cure) == (Reason.REPLAYED, Cure.SIGN_IN)


@pytest.mark.requirement("63B-4 5.3-a", "ASVS V16.3.3")
async def test_a_replay_ends_the_session(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice", client=LAPTOP)
    child = await authority.delegate(issued.active, to="agent:deploy", scopes={"deploy"})
    newer = await rotated(authority, issued.token)
    clock.advance(GRACE)
    assert (await denied(authority, issued.token, client=LAPTOP)).reason is Reason.REPLAYED
    over = await denied(authority, newer.token, client=LAPTOP)
    assert (over.reason, over.cause) == (Reason.REVOKED, "replayed")
    assert (await denied(authority, child.token)).reason is Reason.REVOKED
    assert (await happened(authority))[-1] == "session.revoked"
    assert (await denied(authority, issued.token, client=LAPTOP)).reason is Reason.REVOKED


async def test_a_replay_only_ends_the_token_for_the_same_client_where_the_policy_is_lenient(
    authority: Authority, clock: ManualClock
) -> None:
    """Review 18c: a browser that crashed brings back the predecessor of a token that was used."""
    await rules(authority, strict_replay=False)
    issued = await authority.begin("alice", client=LAPTOP)
    newer = await rotated(authority, issued.token)
    clock.advance(GRACE)
    assert (await denied(authority, issued.token, client=LAPTOP)).reason is Reason.REPLAYED
    await active(authority, newer.token, client=LAPTOP)
    assert "session.replayed" in await happened(authority)


@pytest.mark.parametrize("client", [PHONE, None, Client(ip=LAPTOP.ip)])
async def test_a_replay_by_another_client_ends_the_session_even_then(
    authority: Authority, clock: ManualClock, client: Client | None
) -> None:
    """Review 18c: a client that differs, or does not say who it is."""
    await rules(authority, strict_replay=False)
    issued = await authority.begin("alice", client=LAPTOP)
    newer = await rotated(authority, issued.token)
    clock.advance(GRACE)
    assert (await denied(authority, issued.token, client=client)).reason is Reason.REPLAYED
    assert (await denied(authority, newer.token, client=LAPTOP)).cause == "replayed"


async def test_a_passive_thief_is_bounded_by_the_limits_alone(authority: Authority, clock: ManualClock) -> None:
    """Review 18a, a limit that is documented (decision 3): rotation by age detects theft when both are active. A
    thief who presents only the old token, when its owner does not come back, lives until the overall limit."""
    stolen = await authority.begin("alice")
    for _ in range(47):
        clock.advance(30 * MINUTE)
        thief = await active(authority, stolen.token)
        await authority.touch(thief)
        await authority.rotate(thief)  # and throws the answer away
    clock.advance(30 * MINUTE)
    assert (await denied(authority, stolen.token)).reason is Reason.EXPIRED


async def test_an_active_thief_is_found_out_when_the_owner_comes_back(authority: Authority, clock: ManualClock) -> None:
    """Review 18a, the other half: whoever of the two takes the successor, the other's token gives the theft away."""
    issued = await authority.begin("alice")
    thief = await rotated(authority, issued.token)
    clock.advance(GRACE)
    assert (await denied(authority, issued.token)).reason is Reason.REPLAYED
    assert (await denied(authority, thief.token)).reason is Reason.REVOKED


async def test_older_predecessors_are_unknown(authority: Authority, clock: ManualClock) -> None:
    """Review 18: a bounded memory; what is older ends nothing."""
    tokens = [await authority.begin("alice")]
    for _ in range(PREDECESSORS + 2):
        clock.advance(SECOND)
        tokens.append(await rotated(authority, tokens[-1].token))
    clock.advance(GRACE)
    for forgotten in tokens[:2]:
        assert await reason(authority, forgotten.token) is Reason.UNKNOWN
    await active(authority, tokens[-1].token)
    assert await reason(authority, tokens[2].token) is Reason.REPLAYED
    assert await reason(authority, tokens[-1].token) is Reason.REVOKED


async def test_by_when_a_token_is_due(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    found = await active(authority, issued.token)
    assert (found.rotate_at, found.due) == (clock.now() + ROTATE_AFTER, False)
    clock.advance(ROTATE_AFTER - timedelta(microseconds=1))
    assert not (await active(authority, issued.token)).due
    clock.advance(timedelta(microseconds=1))
    assert authority.peek(issued.token) is None  # what was cached did not know it
    assert (await active(authority, issued.token)).due
    newer = await rotated(authority, issued.token)
    assert (await active(authority, newer.token)).rotate_at == clock.now() + ROTATE_AFTER
    assert (await active(authority, issued.token)).rotate_at is None  # in its grace: it has its successor
    await rules(authority, rotate_after=None)
    assert (await active(authority, newer.token)).rotate_at is None


async def test_only_a_browsers_token_rotates(authority: Authority) -> None:
    """A key or a delegation that rotated into a browser's token would count as a cookie."""
    person = await authority.begin("alice")
    agent = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"})
    for each in (agent, key):
        with pytest.raises(Refused):
            await authority.rotate(each.active)
        await active(authority, each.token)
    visitor = await authority.begin(None)
    assert kind_of((await rotated(authority, visitor.token)).token) is TokenKind.BROWSER


# -- by an event ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CS-SESS-2", "ASVS V7.2.4", "63B-4 5.2-d")
async def test_an_event_supersedes_at_once(authority: Authority, clock: ManualClock) -> None:
    """Review 18e: the browser holds the new token by then, so the cure is to ask again."""
    issued = await authority.begin("alice")
    clock.advance(40 * MINUTE)
    elevated = await authority.elevate(await active(authority, issued.token), method="totp")
    old = await denied(authority, issued.token)
    assert (old.reason, old.cure) == (Reason.SUPERSEDED, Cure.RETRY)
    session = (await active(authority, elevated.token)).session
    assert session.id == issued.active.session.id
    assert session.assurance == 2
    assert [event.method for event in session.authentications] == ["password", "totp"]
    clock.advance(10 * MINUTE)  # and it ends nothing, however late it comes
    assert (await denied(authority, issued.token)).reason is Reason.SUPERSEDED
    await active(authority, elevated.token)


async def test_grace_never_crosses_an_event(authority: Authority) -> None:
    """Review 18: predecessor and pending successor alike."""
    first = await authority.begin("alice")
    second = await rotated(authority, first.token)
    pending = await authority.rotate(await active(authority, second.token))
    await active(authority, first.token)
    elevated = await authority.elevate(second.active, method="totp")
    for each in (first, second, pending):
        assert (await denied(authority, each.token)).reason is Reason.SUPERSEDED
    await active(authority, elevated.token)


async def test_of_two_racing_events_the_second_wins(authority: Authority) -> None:
    """Review 18: the first one's token is superseded; nobody is signed out."""
    issued = await authority.begin("alice")
    answers = await asyncio.gather(*[authority.elevate(issued.active, method="totp") for _ in range(2)])
    says = [await reason(authority, each.token) for each in answers]
    assert sorted(says, key=str) == [None, Reason.SUPERSEDED]
    assert (await authority.session(issued.active.session.id)).live


async def test_a_superseded_proof_steps_up_within_the_grace_only(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    await authority.elevate(issued.active, method="totp")
    clock.advance(GRACE)
    with pytest.raises(Conflict) as refused:
        await authority.elevate(issued.active, method="totp")
    assert refused.value.denied is not None
    assert refused.value.denied.reason is Reason.SUPERSEDED


@pytest.mark.requirement("CS-SESS-2")
async def test_a_change_of_privilege_changes_the_token_alone(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    clock.advance(10 * MINUTE)
    changed = await authority.elevate(issued.active, method=None)
    session = (await active(authority, changed.token)).session
    assert session.authentications == issued.active.session.authentications
    assert session.expires == issued.active.session.expires
    assert (await denied(authority, issued.token)).reason is Reason.SUPERSEDED


async def test_only_a_person_steps_up(authority: Authority) -> None:
    person = await authority.begin("alice")
    agent = await authority.delegate(person.active, to="agent:deploy", scopes={"deploy"})
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"})
    for each in (agent, key, await authority.begin(None)):
        with pytest.raises(Refused):
            await authority.elevate(each.active, method="totp")


@pytest.mark.requirement("ASVS V7.4.1")
async def test_nothing_rotates_what_has_ended(authority: Authority) -> None:
    issued = await authority.begin("alice")
    pending = await authority.rotate(issued.active)
    await authority.revoke(session=issued.active.session.id, cause="logout")
    with pytest.raises(Conflict):
        await authority.rotate(issued.active)
    with pytest.raises(Conflict) as refused:
        await authority.elevate(issued.active, method="totp")
    assert refused.value.denied is not None
    assert refused.value.denied.reason is Reason.REVOKED
    assert (await denied(authority, pending.token)).reason is Reason.REVOKED


# -- all orders ----------------------------------------------------------------------------------------------------


class Browser:
    """One cookie jar, any number of tabs. Answers are under way until they arrive or are lost."""

    def __init__(self, authority: Authority, clock: ManualClock, token: str) -> None:
        self.authority = authority
        self.clock = clock
        self.jar = token
        self.past: list[str] = []
        self.answers: list[tuple[Any, str]] = []

    async def request(self) -> None:
        """A tab asks, as the middleware serves it: check, and a successor where the token is due."""
        seen = await self.authority.check(self.jar)
        assert isinstance(seen, Active), f"signed out: {seen}"
        if seen.rotate_at is not None and self.clock.now() >= seen.rotate_at:
            issued = await self.authority.rotate(seen)
            self.answers.append((self.clock.now(), issued.token))

    def arrive(self, which: int) -> None:
        if self.answers:
            _, token = self.answers.pop(which % len(self.answers))
            if token != self.jar:
                self.past.append(self.jar)
                self.jar = token

    def lose(self, which: int) -> None:
        if self.answers:
            self.answers.pop(which % len(self.answers))

    def wait(self, by: timedelta) -> None:
        """Time passes. An answer that takes longer than the grace is one that was lost."""
        self.clock.advance(by)
        self.answers = [(sent, token) for sent, token in self.answers if self.clock.now() - sent < GRACE]


STEPS = st.one_of(
    st.just(("request", 0)),
    st.just(("request", 0)),
    st.tuples(st.sampled_from(["arrive", "lose"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([1, 29, 59, 60, 61, 899, 900, 901, 1800])),
)


def test_no_order_of_requests_and_answers_signs_anybody_out(url: str) -> None:
    """Two tabs, answers that overtake one another or never arrive, any pauses. And whatever
    happened: a token that was rotated out and comes after the grace ends the session."""

    def story(run: Any) -> None:
        clock = ManualClock()
        authority = run(Authority(url, clock=clock, policy=Policy.aal2(overall=3650 * DAY, idle=None)).open())

        @settings(max_examples=150)
        @given(st.lists(STEPS, min_size=2, max_size=40))
        def any_order(steps: list[tuple[str, int]]) -> None:
            issued = run(authority.begin("alice"))
            browser = Browser(authority, clock, issued.token)
            for name, value in steps:
                if name == "request":
                    run(browser.request())
                elif name == "wait":
                    browser.wait(value * SECOND)
                elif name == "arrive":
                    browser.arrive(value)
                else:
                    browser.lose(value)
            run(browser.request())  # whatever the jar holds is good, and current or becomes so
            stale = [token for token in browser.past[-PREDECESSORS:] if token != browser.jar]
            if not stale:
                return
            clock.advance(GRACE)
            assert run(reason(authority, browser.jar)) is None
            assert run(reason(authority, stale[-1])) is Reason.REPLAYED
            assert run(reason(authority, browser.jar)) is Reason.REVOKED

        any_order()
        run(authority.close())

    in_one_loop(story)
