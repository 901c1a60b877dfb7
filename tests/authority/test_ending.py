"""Revoke, disable, delete, everyone: what each of them ends, at once, and what the receipt says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessile import (
    Active,
    Authority,
    Conflict,
    Issued,
    Method,
    NotFound,
    Reason,
    Requirement,
    SessileError,
    SessionKind,
)
from sessile.kernel.event import Actor
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import (
    LAPTOP,
    MINUTE,
    SECOND,
    TICK,
    active,
    cached,
    denied,
    events,
    happened,
    in_one_loop,
    password,
    reason,
    reasons,
)


@pytest.mark.requirement("ASVS V7.4.1", "63B-4 5.1-i3")
async def test_a_revoked_session_is_over_at_the_next_check(authority: Authority) -> None:
    issued, other = await authority.begin("alice"), await authority.begin("alice")
    await cached(authority, issued.token)
    await cached(authority, other.token)
    await authority.revoke(session=issued.active.session.id, cause="logout")
    over = await denied(authority, issued.token)
    assert (over.reason, over.cause, over.by) == (Reason.REVOKED, "logout", "system")
    await active(authority, other.token)


@pytest.mark.requirement("ASVS V7.4.5")
async def test_revoking_a_principal_ends_all_of_its_sessions(authority: Authority) -> None:
    mine = [await authority.begin("alice", client=LAPTOP) for _ in range(3)]
    bobs = await authority.begin("bob")
    for each in (*mine, bobs):
        await cached(authority, each.token)
    receipt = await authority.revoke(principal="Alice", cause="lost laptop")
    assert receipt.revoked == 3
    assert set(receipt.sessions) == {each.active.session.id for each in mine}
    assert await reasons(authority, mine) == [Reason.REVOKED] * 3
    await active(authority, bobs.token)
    await active(authority, (await authority.begin("alice")).token)


async def test_the_receipt(authority: Authority, clock: ManualClock) -> None:
    operator = await authority.begin("olga")
    issued = await authority.begin("alice")
    clock.advance(MINUTE)
    receipt = await authority.revoke(session=issued.active.session.id, cause="stolen", by=operator.active)
    assert (receipt.revoked, receipt.cause, receipt.by) == (1, "stolen", "olga")
    # Both stores are strict: no node has a cache to wait for.
    assert receipt.at == receipt.effective == clock.now()
    assert receipt.effective.utcoffset() is not None
    assert receipt.reach == "engine"
    assert receipt.sessions == (issued.active.session.id,)
    assert receipt.handed_out == ()
    by_cli = await authority.revoke(principal="alice", cause="again", by=Actor(name="cli"))
    assert (by_cli.revoked, by_cli.by) == (0, "cli")


async def test_the_receipt_names_at_most_a_hundred(authority: Authority) -> None:
    await authority.register("alice")
    await asyncio.gather(*[authority.begin("alice") for _ in range(120)])
    receipt = await authority.revoke(principal="alice", cause="many")
    assert receipt.revoked == 120
    assert len(receipt.sessions) == 100


async def test_ending_twice_keeps_the_first_cause(authority: Authority, clock: ManualClock) -> None:
    issued = await authority.begin("alice")
    first = await authority.revoke(session=issued.active.session.id, cause="logout")
    clock.advance(MINUTE)
    second = await authority.revoke(session=issued.active.session.id, cause="stolen")
    assert (first.revoked, second.revoked, second.sessions) == (1, 0, ())
    over = await denied(authority, issued.token)
    assert (over.cause, over.at) == ("logout", first.at)


async def test_no_wait_is_the_same_where_there_is_nothing_to_wait_for(authority: Authority) -> None:
    issued = await authority.begin("alice")
    await cached(authority, issued.token)
    await authority.revoke(session=issued.active.session.id, cause="logout", wait=False)
    assert (await denied(authority, issued.token)).reason is Reason.REVOKED


@pytest.mark.parametrize(
    "name", ["alice", "", "ses_", "ses_" + "0" * 26, "ses_" + "i" * 27, "SES_" + "0" * 27, "ses_" + "0" * 27 + "\n"]
)
async def test_a_name_where_an_id_belongs(authority: Authority, name: str) -> None:
    """Review 15: `revoke(session="alice")` that returned 0 would look like success."""
    await authority.begin("alice")
    with pytest.raises(ValueError, match="session id"):
        await authority.revoke(session=name, cause="x")
    with pytest.raises(ValueError, match="session id"):
        await authority.session(name)
    assert len(await authority.sessions(principal="alice")) == 1


@pytest.mark.parametrize("name", ["alcie", "service:alice", "agent:x"])
async def test_an_unknown_principal_is_not_found(authority: Authority, name: str) -> None:
    """Review 15: a typing error must not look like success."""
    await authority.begin("alice")
    asked: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: authority.revoke(principal=name, cause="x"),
        lambda: authority.disable(name, cause="x"),
        lambda: authority.enable(name),
        lambda: authority.delete(name, cause="x"),
        lambda: authority.sessions(principal=name),
        lambda: authority.principal(name),
    ]
    for ask in asked:
        with pytest.raises(NotFound):
            await ask()
    with pytest.raises(NotFound):
        await authority.revoke(session="ses_" + "0" * 27, cause="x")
    with pytest.raises(NotFound):
        await authority.session("ses_" + "0" * 27)
    assert await happened(authority) == ["policy.changed", "principal.registered", "session.begun"]


async def test_exactly_one_selector(authority: Authority) -> None:
    issued = await authority.begin("alice")
    session = issued.active.session.id
    for selectors in (
        {},
        {"session": session, "principal": "alice"},
        {"session": session, "everyone": True},
        {"principal": "alice", "everyone": True},
        {"session": session, "principal": "alice", "everyone": True},
        {"session": session, "keys": True},
        {"principal": "alice", "lock_sign_in": MINUTE},
        {"everyone": False},
    ):
        with pytest.raises(ValueError, match="everyone"):
            await authority.revoke(cause="x", **selectors)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await authority.revoke(session, cause="x")  # type: ignore[misc]
    await active(authority, issued.token)


@pytest.mark.parametrize("cause", ["", "x" * 201])
async def test_a_cause_is_said_and_bounded(authority: Authority, cause: str) -> None:
    issued = await authority.begin("alice")
    with pytest.raises(ValueError, match="cause"):
        await authority.revoke(session=issued.active.session.id, cause=cause)
    await active(authority, issued.token)


# -- disable, enable, delete ---------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.2", "63B-4 4.5-a")
async def test_disabled_is_over_and_stays_over(authority: Authority) -> None:
    """Review 10: an epoch never comes back; enabling again resurrects nothing."""
    old = [await authority.begin("alice") for _ in range(3)]
    key = await authority.mint_key(old[0].active, owner="alice", scopes={"x"})
    pending = await authority.rotate(old[1].active)
    for each in (*old, key):
        await cached(authority, each.token)
    receipt = await authority.disable("alice", cause="offboarded")
    assert receipt.revoked == 4
    assert await reasons(authority, [*old, key, pending]) == [Reason.DISABLED] * 5
    for _ in range(3):
        await authority.enable("alice")
        assert await reasons(authority, [*old, key, pending]) == [Reason.REVOKED] * 5
        await active(authority, (await authority.begin("alice")).token)
        await authority.disable("alice", cause="again")
    assert len(await authority.sessions(principal="alice")) == 0


@pytest.mark.requirement("ASVS V10.5.2", "63C-4 4.9-c")
async def test_a_name_that_is_taken_again_is_another_principal(authority: Authority) -> None:
    """Review 10, ABA: the first alice's tokens must not open the second's account."""
    first = await authority.begin("alice")
    key = await authority.mint_key(first.active, owner="alice", scopes={"x"})
    child = await authority.delegate(first.active, to="agent:a", scopes={"x"})
    proof = await cached(authority, first.token)
    for _ in range(3):
        await authority.delete("alice", cause="left")
        second = await authority.begin("alice")
        assert second.active.session.uid != first.active.session.uid
        assert None not in await reasons(authority, [first, key, child])
        assert [each.id for each in await authority.sessions(principal="alice")] == [second.active.session.id]
        with pytest.raises(Conflict):
            await authority.delegate(proof, to="agent:a", scopes={"x"})
        with pytest.raises(Conflict):
            await authority.elevate(proof, method="totp")


async def test_a_deleted_principal_is_not_found(authority: Authority) -> None:
    await authority.begin("alice")
    await authority.delete("alice", cause="left")
    for ask in (
        authority.principal("alice"),
        authority.enable("alice"),
        authority.revoke(principal="alice", cause="x"),
    ):
        with pytest.raises(NotFound):
            await ask


# -- everyone ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.5")
@pytest.mark.parametrize("keys", [False, True])
async def test_everyone_with_and_without_keys(authority: Authority, keys: bool) -> None:
    """Review 16: by default the pipelines go on."""
    person = await authority.begin("alice")
    visitor = await authority.begin(None)
    child = await authority.delegate(person.active, to="agent:a", scopes={"x"})
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"x"})
    for each in (person, visitor, child, key):
        await cached(authority, each.token)
    receipt = await authority.revoke(everyone=True, cause="incident", keys=keys)
    assert receipt.revoked is None
    assert await reasons(authority, [person, visitor, child]) == [Reason.REVOKED] * 3
    assert await reason(authority, key.token) is (Reason.REVOKED if keys else None)
    assert (await denied(authority, person.token)).cause == "everyone"
    await active(authority, (await authority.begin("bob")).token)


async def test_everyone_ends_the_operator_too_who_signs_in_anew(authority: Authority) -> None:
    await authority.register("olga", scopes={"*", "operator"})
    operator = await authority.begin("olga")
    receipt = await authority.revoke(everyone=True, cause="incident", by=operator.active)
    assert receipt.by == "olga"
    assert (await denied(authority, operator.token)).reason is Reason.REVOKED


async def test_a_lock_on_signing_in_exempts_operators(authority: Authority, clock: ManualClock) -> None:
    """Review 16: else whoever has a password signs in again a second later."""
    await authority.register("olga", scopes={"*", "operator"})
    await authority.register("alice")
    await authority.revoke(everyone=True, cause="incident", lock_sign_in=10 * MINUTE)
    for name in ("alice", "nobody-yet"):
        with pytest.raises(Conflict, match="locked"):
            await authority.begin(name)
    operator = await authority.begin("olga")
    key = await authority.mint_key(operator.active, owner="service:ci", scopes={"x"})
    await active(authority, key.token)
    clock.advance(10 * MINUTE - TICK)
    with pytest.raises(Conflict, match="locked"):
        await authority.begin("alice")
    clock.advance(TICK)
    await active(authority, (await authority.begin("alice")).token)
    with pytest.raises(ValueError, match="positive"):
        await authority.revoke(everyone=True, cause="x", lock_sign_in=0 * SECOND)


# -- changing the password -----------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.3", "63B-4 4.3-a")
async def test_a_password_change_keeps_the_one_that_made_it(authority: Authority, clock: ManualClock) -> None:
    """Review 16: the session goes on under the new epoch with a new token, and what hangs on it with it."""
    here = await authority.begin("alice", client=LAPTOP)
    elsewhere = [await authority.begin("alice") for _ in range(2)]
    child = await authority.delegate(here.active, to="agent:a", scopes={"x"})
    own_key = await authority.mint_key(here.active, owner="alice", scopes={"x"})
    pending = await authority.rotate(here.active)
    for each in (here, *elsewhere, child, own_key):
        await cached(authority, each.token)
    clock.advance(10 * MINUTE)
    session = here.active.session
    token = new_token(TokenKind.BROWSER, session.partition)
    assert session.uid is not None
    end = End(
        uid=session.uid, cause="password", keep=session.id, keep_digest=digest(token), keep_method=Method.PASSWORD,
        credential=await password(authority, "alice", b"new"),
    )  # fmt: skip
    receipt = await authority.end(end, by=here.active)
    assert receipt.revoked == 3
    assert session.id not in receipt.sessions
    kept = (await active(authority, token, requirement=Requirement(fresh=5 * MINUTE))).session
    assert (kept.id, kept.client) == (session.id, LAPTOP)
    await active(authority, child.token)
    assert await reasons(authority, [here, pending]) == [Reason.SUPERSEDED] * 2
    assert await reasons(authority, [*elsewhere, own_key]) == [Reason.REVOKED] * 3
    stored = await authority.store.credential(session.uid, "password")
    assert stored is not None
    assert stored.value == b"new"
    assert (await happened(authority))[-1] == "principal.password_set"


async def test_of_two_password_changes_from_two_sessions_the_first_wins(authority: Authority) -> None:
    here, there = await authority.begin("alice"), await authority.begin("alice")
    uid = here.active.session.uid
    assert uid is not None

    def change(by: Issued, value: bytes, token: str) -> End:
        return End(
            uid=uid, cause="password", keep=by.active.session.id, keep_digest=digest(token),
            keep_method=Method.PASSWORD, credential=credentials[value],
        )  # fmt: skip

    credentials = {value: await password(authority, "alice", value) for value in (b"one", b"two")}
    one, two = (new_token(TokenKind.BROWSER, each.active.session.partition) for each in (here, there))
    await authority.end(change(here, b"one", one))
    before = await events(authority)
    with pytest.raises(Conflict):
        await authority.end(change(there, b"two", two))
    stored = await authority.store.credential(uid, "password")
    assert stored is not None
    assert stored.value == b"one"
    assert await reason(authority, one) is None
    assert await reason(authority, two) is Reason.UNKNOWN
    assert await events(authority) == before


# -- a caller that goes away ---------------------------------------------------------------------------------------


async def test_cancelling_a_revocation_does_not_undo_it(url: str, clock: ManualClock) -> None:
    """Review 8. Cancelled after any number of turns of the loop: it was either not begun, or it is done."""
    async with Authority(url, clock=clock) as authority:
        for turns in range(8):
            issued = await authority.begin("alice")
            await cached(authority, issued.token)
            revoking = asyncio.create_task(authority.revoke(session=issued.active.session.id, cause="logout"))
            for _ in range(turns):
                await asyncio.sleep(0)
            revoking.cancel()
            await asyncio.wait([revoking])
            await authority.close()  # what was accepted is finished
            await authority.open()
            says = await reason(authority, issued.token)
            assert says is (None if turns == 0 else Reason.REVOKED)


def test_nothing_that_follows_an_ending_brings_a_token_back(url: str) -> None:
    """Every order of a few operations: a token that was once denied for good is never accepted again."""
    final = {Reason.REVOKED, Reason.DISABLED, Reason.EXPIRED, Reason.IDLE, Reason.SUPERSEDED, Reason.REPLAYED}
    operations = st.lists(
        st.tuples(
            st.sampled_from(
                ["begin", "check", "touch", "rotate", "elevate", "delegate", "key", "revoke", "disable", "enable",
                 "everyone", "principal", "wait", "long wait"]
            ),
            st.integers(0, 7),
        ),
        max_size=30,
    )  # fmt: skip

    def story(run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        clock = ManualClock()
        authority = run(Authority(url, clock=clock).open())
        names = iter(f"person{number}" for number in range(10**6))

        @settings(max_examples=100)
        @given(operations)
        def never(steps: list[tuple[str, int]]) -> None:
            name = next(names)
            held = [run(authority.begin(name))]
            dead: set[str] = set()
            for operation, which in steps:
                one = held[which % len(held)]
                issued = run(_attempt(authority, clock, operation, name, one))
                if isinstance(issued, Issued):
                    held.append(issued)
                for each in held:
                    says = run(reason(authority, each.token, touch=False))
                    assert not (each.token in dead and says is None), f"{operation} brought a session back"
                    if says in final:
                        dead.add(each.token)

        never()
        run(authority.close())

    in_one_loop(story)


async def _attempt(authority: Authority, clock: ManualClock, operation: str, name: str, one: Issued) -> object:
    try:
        match operation:
            case "begin":
                return await authority.begin(name)
            case "check":
                return isinstance(await authority.check(one.token), Active)
            case "touch":
                return await authority.touch(one.active)
            case "rotate":
                return await authority.rotate(one.active)
            case "elevate":
                return await authority.elevate(one.active, method="totp")
            case "delegate":
                return await authority.delegate(one.active, to=f"agent:{name}", scopes={"x"})
            case "key":
                return await authority.mint_key(one.active, owner=name, scopes={"x"})
            case "revoke":
                return await authority.revoke(session=one.active.session.id, cause="logout")
            case "disable":
                return await authority.disable(name, cause="leave")
            case "enable":
                return await authority.enable(name)
            case "everyone":
                return await authority.revoke(everyone=True, cause="incident", keys=True)
            case "principal":
                return await authority.revoke(principal=name, cause="lost")
            case _:
                return clock.advance(MINUTE if operation == "wait" else 61 * MINUTE)
    except SessileError as refused:
        return refused


async def test_lists_show_sessions_and_no_capability(authority: Authority) -> None:
    """Review 15."""
    issued = await authority.begin("alice", client=LAPTOP)
    [listed] = await authority.sessions(principal="alice")
    assert (listed.id, listed.kind, listed.live, listed.client) == (
        issued.active.session.id,
        SessionKind.BROWSER,
        True,
        LAPTOP,
    )
    assert not isinstance(listed, Active)
    await authority.revoke(session=listed.id, cause="logout")
    assert len(await authority.sessions(principal="alice")) == 0
    [ended] = await authority.sessions(principal="alice", ended=True)
    assert (ended.live, ended.cause, ended.reason) == (False, "logout", Reason.REVOKED)


async def test_lists_come_in_pages_newest_first(authority: Authority, clock: ManualClock) -> None:
    ids = []
    for _ in range(7):
        ids.append((await authority.begin("alice")).active.session.id)
        clock.advance(SECOND)
    seen: list[str] = []
    after = None
    while True:
        page = await authority.sessions(principal="alice", after=after, limit=3)
        seen += [each.id for each in page]
        after = page.next
        if after is None:
            break
        assert len(page) == 3
    assert seen == ids[::-1]
