"""The check: what it answers, that its truth cannot be mistaken, and that nothing makes it raise."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessile import Active, Authority, Client, Cure, Denied, Reason, Requirement, Trait
from sessile.kernel.token import TOKEN_LENGTH, TokenKind, digest, new_token
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import (
    HOUR,
    LAPTOP,
    MINUTE,
    PHONE,
    SECOND,
    active,
    cached,
    denied,
    in_one_loop,
    reason,
    rules,
)


async def test_active_is_true_and_denied_is_false(authority: Authority) -> None:
    """Review 27: `if await authority.check(token):` lets in whom it should, and nobody else."""
    issued = await authority.begin("alice")
    let_in = False
    if await authority.check(issued.token):
        let_in = True
    assert let_in
    if await authority.check(str(new_token(TokenKind.BROWSER, "0"))):
        pytest.fail("a denial was taken for a yes")
    assert not Denied(reason=Reason.UNKNOWN)
    assert not (await authority.check(""))


async def test_the_truth_of_a_forgotten_await_is_an_error(authority: Authority) -> None:
    """Review 27: a coroutine would be true, and everybody in."""
    issued = await authority.begin("alice")
    for token in (issued.token, "wrong", ""):
        with pytest.raises(TypeError, match="await"):
            bool(authority.check(token))
        with pytest.raises(TypeError, match="await"):
            assert not authority.check(token)


async def test_a_check_that_nobody_awaits_leaves_nothing_behind(authority: Authority) -> None:
    issued = await authority.begin("alice")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        authority.check(issued.token)
        authority.check("unknown")
        gc.collect()


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", Reason.MISSING),
        ("x", Reason.MALFORMED),
        ("slb_", Reason.MALFORMED),
        ("\x00" * TOKEN_LENGTH, Reason.MALFORMED),
        ("\ud800" * TOKEN_LENGTH, Reason.MALFORMED),
        ("slb_0" + "é" * (TOKEN_LENGTH - 5), Reason.MALFORMED),
        ("slb_0" + "٣" * (TOKEN_LENGTH - 5), Reason.MALFORMED),
        ("s" * 2**20, Reason.MALFORMED),
        ("\ud800" * 2**20, Reason.MALFORMED),
        ("b'slb_0'", Reason.MALFORMED),
    ],
)
async def test_what_is_no_token(authority: Authority, token: str, expected: Reason) -> None:
    answer = await denied(authority, token)
    assert (answer.reason, answer.cure, answer.session) == (expected, Cure.SIGN_IN, None)


@pytest.mark.parametrize("token", [5, 0.5, True, ["slb_"], {"a": 1}, b"s" * TOKEN_LENGTH, ["s"] * TOKEN_LENGTH])
async def test_what_is_no_text(authority: Authority, token: Any) -> None:
    """As a program may find it in JSON: a check never raises."""
    assert await reason(authority, token) is Reason.MALFORMED
    assert authority.peek(token) is None


async def test_no_token_at_all(authority: Authority) -> None:
    """What `cookies.get(name)` gives when there is no cookie."""
    missing: Any = None
    assert authority.peek(missing) is None
    answer = await authority.check(missing)
    assert isinstance(answer, Denied)
    assert answer.reason is Reason.MISSING


@pytest.mark.parametrize("kind", list(TokenKind))
async def test_a_token_that_was_never_issued(authority: Authority, kind: TokenKind) -> None:
    assert (await denied(authority, new_token(kind, "7"))).reason is Reason.UNKNOWN


async def test_a_mistyped_token_is_told_from_an_unknown_one(authority: Authority) -> None:
    """The checksum saves the look-up, and tells a person that something was cut off."""
    token = (await authority.begin("alice")).token
    for place in range(TOKEN_LENGTH):
        other = "0" if token[place] != "0" else "1"
        assert await reason(authority, token[:place] + other + token[place + 1 :]) is Reason.MALFORMED
    for cut in (token[:-1], token[1:], token + "0", " " + token, token + "\n", token.swapcase()):
        assert await reason(authority, cut) is Reason.MALFORMED
    await active(authority, token)


@pytest.mark.requirement("ASVS V16.5.3")
def test_no_input_makes_a_check_raise(url: str) -> None:
    """Any text at all, and any change to a token that is good."""

    def story(run: Any) -> None:
        authority = run(Authority(url).open())
        token = str(run(authority.begin("alice")).token)
        characters = st.characters(codec=None, exclude_categories=())
        edits = st.tuples(st.integers(0, TOKEN_LENGTH), st.integers(0, TOKEN_LENGTH), st.text(characters, max_size=9))
        edited = edits.map(lambda edit: token[: edit[0]] + edit[2] + token[edit[1] :])
        binary = st.binary(max_size=99).map(lambda raw: raw.decode("latin-1"))
        clients = st.none() | st.builds(Client, ip=st.none() | st.text(), user_agent=st.none() | st.text())

        @settings(max_examples=300)
        @given(
            st.text(characters) | st.text(characters, min_size=TOKEN_LENGTH, max_size=TOKEN_LENGTH) | edited | binary,
            clients,
            st.booleans(),
        )
        def never_raises(text: str, client: Client | None, touch: bool) -> None:
            peeked = authority.peek(text, client=client, touch=touch)
            answer = run(_ask(authority, text, client, touch))
            assert isinstance(answer, Active if text == token else Denied)
            assert peeked is None or text == token
            if isinstance(answer, Denied):
                assert answer.reason in (Reason.MISSING, Reason.MALFORMED, Reason.UNKNOWN)

        never_raises()
        run(authority.close())

    in_one_loop(story)


async def _ask(authority: Authority, token: str, client: Client | None, touch: bool) -> Active | Denied:
    return await authority.check(token, client=client, touch=touch)


async def test_peek_answers_what_was_checked_and_nothing_else(authority: Authority) -> None:
    issued = await authority.begin("alice")
    assert authority.peek(issued.token) is None
    checked = await cached(authority, issued.token)
    assert authority.peek(issued.token) is checked
    assert await authority.check(issued.token) is checked
    assert authority.peek(new_token(TokenKind.BROWSER, "0")) is None
    assert authority.peek("") is None


async def test_a_digest_is_no_token(authority: Authority) -> None:
    """Who has read the store has nothing to present."""
    issued = await authority.begin("alice")
    for stolen in (digest(issued.token).hex(), digest(issued.token).decode("latin-1"), issued.active.session.id):
        assert await reason(authority, stolen) is Reason.MALFORMED


async def test_a_check_opens_the_authority(url: str, clock: ManualClock) -> None:
    """Review 28: made at import, without I/O; the first request opens it."""
    authority = Authority(url, clock=clock)
    assert not authority.is_open
    assert authority.peek(new_token(TokenKind.BROWSER, "0")) is None
    assert await reason(authority, new_token(TokenKind.BROWSER, "0")) is Reason.UNKNOWN
    assert authority.is_open
    await authority.close()
    assert not authority.is_open


async def test_opening_at_once_and_twice_is_opening(url: str, clock: ManualClock) -> None:
    authority = Authority(url, clock=clock)
    token = new_token(TokenKind.BROWSER, "0")
    answers = await asyncio.gather(*[reason(authority, token) for _ in range(20)], authority.begin("alice"))
    assert set(answers[:20]) == {Reason.UNKNOWN}
    assert await authority.open() is authority
    await authority.close()
    await authority.close()


@pytest.mark.parametrize(
    "wrong", ["mysql://x", "sqlite://", "sqlite:///", "memory:x", "", "sqlite:/x", "http://h:pw@x"]
)
def test_what_is_no_store(wrong: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///") as refused:
        Authority(wrong)
    assert "pw" not in str(refused.value)


# -- what a route demands -----------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.5.3", "800-207 T6")
async def test_a_route_demands_more(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice", scopes={"read"})
    fresh, strong = Requirement(fresh=5 * MINUTE), Requirement(assurance=2)
    read, write = Requirement(scopes=frozenset({"read"})), Requirement(scopes=frozenset({"write"}))
    for _ in range(2):  # by the store, then from the cache
        await active(authority, issued.token)
        await active(authority, issued.token, requirement=fresh)
        await active(authority, issued.token, requirement=read)
        weak = await denied(authority, issued.token, requirement=strong)
        assert (weak.reason, weak.cure) == (Reason.ASSURANCE, Cure.STEP_UP)
        outside = await denied(authority, issued.token, requirement=write)
        assert (outside.reason, outside.cure) == (Reason.OUT_OF_SCOPE, Cure.NONE)
    clock.advance(5 * MINUTE)
    await active(authority, issued.token)
    stale = await denied(authority, issued.token, requirement=fresh)
    assert (stale.reason, stale.cure) == (Reason.STALE_AUTHENTICATION, Cure.STEP_UP)

    stepped_up = await authority.elevate(issued.active, method="totp")
    await active(authority, stepped_up.token, requirement=Requirement(assurance=2, fresh=5 * MINUTE))
    await active(authority, stepped_up.token, requirement=Requirement(assurance=2, fresh=5 * MINUTE))


async def test_a_session_bound_to_its_client(authority: Authority) -> None:
    await rules(authority, binding=frozenset({Trait.USER_AGENT}))
    issued = await authority.begin("alice", client=LAPTOP)
    moved = Client(ip="203.0.113.9", user_agent=LAPTOP.user_agent)
    for _ in range(2):  # by the store, then from the cache
        await active(authority, issued.token, client=LAPTOP)
        await active(authority, issued.token, client=moved)
        for other in (PHONE, None):
            assert (await denied(authority, issued.token, client=other)).reason is Reason.UNBOUND
    await active(authority, issued.token, client=LAPTOP)


async def test_below_the_policys_assurance_only_the_step_up_is_open(authority: Authority) -> None:
    await rules(authority, assurance=2)
    issued = await authority.begin("alice")
    assert (await denied(authority, issued.token)).cure is Cure.STEP_UP
    proof = await active(authority, issued.token, requirement=Requirement(below_policy=True))
    stepped_up = await authority.elevate(proof, method="totp")
    await active(authority, stepped_up.token)
    assert (await denied(authority, issued.token)).reason is Reason.SUPERSEDED


async def test_a_denial_says_when_why_and_by_whom(authority: Authority, clock: ManualClock) -> None:
    operator = await authority.begin("olga")
    issued = await authority.begin("alice")
    clock.advance(7 * SECOND)
    at = clock.now()
    await authority.revoke(session=issued.active.session.id, cause="stolen laptop", by=operator.active)
    clock.advance(HOUR)
    over = await denied(authority, issued.token)
    assert over == Denied(
        reason=Reason.REVOKED, session=issued.active.session.id, at=at, cause="stolen laptop", by="olga"
    )


async def test_a_stale_yes_in_the_cache_never_shuts_out(authority: Authority, clock: ManualClock) -> None:
    """Review 13: only `Active` is answered from the cache; a no is the store's."""
    issued = await authority.begin("alice")
    await cached(authority, issued.token, touch=False)
    clock.advance(50 * MINUTE)
    await authority.touch(issued.active)  # as another node would: nothing is announced
    clock.advance(50 * MINUTE)
    await active(authority, issued.token, touch=False)


async def test_everything_ended_under_an_entry_at_any_depth(authority: Authority) -> None:
    """Review 29: an entry is registered under every object of its lineage."""
    person = await authority.begin("alice")
    chain = [person]
    for depth in range(3):
        chain.append(await authority.delegate(chain[-1].active, to=f"agent:d{depth}", scopes={"read"}))
    for each in chain:
        await cached(authority, each.token)
    alice = await authority.principal("alice")
    await authority.end(End(uid=alice.uid, cause="reset"))
    for each in chain:
        assert authority.peek(each.token) is None
        assert (await denied(authority, each.token)).reason is Reason.REVOKED
