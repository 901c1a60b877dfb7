"""Beginning a session: the fence around a sign-in, names, the limit on concurrent sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from sessile import (
    Active,
    AtLimit,
    Authority,
    Conflict,
    LimitExceeded,
    Method,
    NotFound,
    Reason,
    Refused,
    Requirement,
    SessionKind,
)
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import DAY, HOUR, LAPTOP, MINUTE, SECOND, active, denied, happened, password, reasons, rules

Meanwhile = Callable[[Authority], Awaitable[object]]


async def _password_changed(authority: Authority) -> None:
    alice = await authority.principal("alice")
    await authority.end(End(uid=alice.uid, cause="password", credential=await password(authority, "alice")))


async def _disabled_and_enabled(authority: Authority) -> None:
    await authority.disable("alice", cause="leave")
    await authority.enable("alice")


async def _signed_out_everywhere(authority: Authority) -> None:
    await authority.revoke(principal="alice", cause="lost laptop")


async def _everyone(authority: Authority) -> None:
    await authority.revoke(everyone=True, cause="incident")


async def _deleted(authority: Authority) -> None:
    await authority.delete("alice", cause="left")


async def _deleted_and_taken_again(authority: Authority) -> None:
    await authority.delete("alice", cause="left")
    await authority.register("alice")


@pytest.mark.parametrize(
    "meanwhile",
    [
        _password_changed,
        _disabled_and_enabled,
        _signed_out_everywhere,
        _everyone,
        _deleted,
        _deleted_and_taken_again,
    ],
)
async def test_what_changes_during_the_attempt_refuses_it(authority: Authority, meanwhile: Meanwhile) -> None:
    """Review 10: the old password was looked at before the change; its session must not survive it."""
    await authority.register("alice")
    async with authority.sign_in("alice") as attempt:
        await meanwhile(authority)
        with pytest.raises(Conflict):
            await attempt.begin(method="password")
    assert len(await authority.sessions(ended=True)) == 0


@pytest.mark.requirement("ASVS V7.4.2")
async def test_a_disabled_principal_cannot_begin(authority: Authority) -> None:
    await authority.register("alice")
    await authority.disable("alice", cause="offboarded")
    async with authority.sign_in("alice") as attempt:
        with pytest.raises(Conflict) as refused:
            await attempt.begin(method="password")
    assert refused.value.denied is not None
    assert refused.value.denied.reason is Reason.DISABLED
    with pytest.raises(Conflict):
        await authority.begin("alice")


async def test_disabling_during_the_attempt_says_so(authority: Authority) -> None:
    await authority.register("alice")
    async with authority.sign_in("alice") as attempt:
        await authority.disable("alice", cause="offboarded")
        with pytest.raises(Conflict) as refused:
            await attempt.begin(method="password")
    assert refused.value.denied is not None
    assert refused.value.denied.reason is Reason.DISABLED


@pytest.mark.requirement("63B-4 5.1-i1")
async def test_without_an_authentication_there_is_nobody_s_session_only(authority: Authority) -> None:
    """What begins a person's session has to say how it was proved; the rest are handed out by such a one."""
    async with authority.sign_in("alice") as attempt:
        with pytest.raises(TypeError, match="method"):
            await attempt.begin()  # type: ignore[call-arg]
    nobody = (await authority.begin(None)).active.session
    assert (nobody.principal, nobody.assurance, nobody.authentications) == (None, 0, ())
    issued = await authority.begin("alice", method=Method.TOTP)
    (event,) = issued.active.session.authentications
    assert (event.method, event.at) == (Method.TOTP, issued.active.session.created)


async def test_an_undisturbed_attempt_begins(authority: Authority) -> None:
    known = await authority.register("alice")
    async with authority.sign_in("ALICE") as attempt:
        assert attempt.principal == known
        issued = await attempt.begin(method="password", client=LAPTOP)
    session = (await active(authority, issued.token)).session
    assert (session.principal, session.uid, session.client) == ("alice", known.uid, LAPTOP)
    assert session.kind is SessionKind.BROWSER
    assert [event.method for event in session.authentications] == [Method.PASSWORD]


async def test_begin_registers_a_name_that_is_new(authority: Authority) -> None:
    issued = await authority.begin("alice", method="password", client=LAPTOP)
    assert (await authority.principal("alice")).uid == issued.active.session.uid
    again = await authority.begin("Alice")
    assert again.active.session.uid == issued.active.session.uid
    assert again.active.session.id != issued.active.session.id


async def test_an_attempt_that_fails_registers_nobody(authority: Authority) -> None:
    async with authority.sign_in("mallory") as attempt:
        assert attempt.principal is None
        await attempt.failed("wrong password", client=LAPTOP)
    with pytest.raises(NotFound):
        await authority.principal("mallory")
    assert await happened(authority) == ["policy.changed", "sign_in.failed"]


async def test_a_new_name_that_somebody_took_meanwhile(authority: Authority) -> None:
    async with authority.sign_in("alice") as attempt:
        await authority.register("alice", scopes={"operator"})
        with pytest.raises(Conflict):
            await attempt.begin(method="password")
    assert len(await authority.sessions(principal="alice", ended=True)) == 0


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "a\\b", "root:x", "a\x00", "x" * 200, "a\u202eb", "\ud800"])
async def test_what_is_no_name(authority: Authority, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        await authority.begin(name)


async def test_an_unknown_method_is_an_error(authority: Authority) -> None:
    with pytest.raises(ValueError, match="telepathy"):
        await authority.begin("alice", method="telepathy")


async def test_no_more_scopes_than_the_principal(authority: Authority) -> None:
    await authority.register("alice", scopes={"read", "write"})
    assert (await authority.begin("alice", scopes={"read"})).active.session.scopes == {"read"}
    with pytest.raises(Refused):
        await authority.begin("alice", scopes={"read", "admin"})


@pytest.mark.requirement("63B-4 5.1-h")
async def test_everything_does_not_cover_the_reserved_scopes(authority: Authority) -> None:
    await authority.register("alice")
    with pytest.raises(Refused):
        await authority.begin("alice", scopes={"operator"})


async def test_a_session_may_be_shorter_than_the_policy_and_never_longer(
    authority: Authority, clock: ManualClock
) -> None:
    short = await authority.begin("alice", lifetime=10 * MINUTE)
    longer = await authority.begin("alice", lifetime=365 * DAY)
    assert short.active.session.expires == clock.now() + 10 * MINUTE
    assert longer.active.session.expires == clock.now() + 24 * HOUR
    with pytest.raises(ValueError, match="positive"):
        await authority.begin("alice", lifetime=0 * SECOND)


@pytest.mark.requirement("ASVS V7.2.4", "ASVS V7.2.3")
async def test_signing_in_over_a_session_ends_it(authority: Authority) -> None:
    """Review 23: else the first one dangles, unseen by the browser that held it."""
    first = await authority.begin("alice")
    second = await authority.begin("alice", replaces=first.active)
    assert second.token != first.token
    over = await denied(authority, first.token)
    assert (over.reason, over.cause) == (Reason.REVOKED, "replaced")
    await active(authority, second.token)


async def test_an_anonymous_session_becomes_a_persons(authority: Authority) -> None:
    """Review 28: a cart before sign-in. It opens nothing that asks for a person, and hands out nothing."""
    visitor = await authority.begin(None)
    seen = (await active(authority, visitor.token)).session
    assert (seen.kind, seen.principal, seen.assurance) == (SessionKind.ANONYMOUS, None, 0)
    with pytest.raises(Refused):
        await authority.delegate(visitor.active, to="agent:cart", scopes=set())
    basket = authority.session_data(visitor.active)
    basket["cart"] = ["apples"]
    await basket.save(authority.store, seen.id)

    person = await authority.begin("alice", replaces=visitor.active)
    assert dict(authority.session_data(person.active)) == {"cart": ["apples"]}
    assert (await denied(authority, visitor.token)).reason is Reason.REVOKED


# -- concurrent sessions ------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.1.2")
async def test_the_limit_refuses_the_new_one(authority: Authority) -> None:
    await rules(authority, max_sessions=2, at_limit=AtLimit.REFUSE)
    first, second = await authority.begin("alice"), await authority.begin("alice")
    with pytest.raises(LimitExceeded):
        await authority.begin("alice")
    await authority.begin("bob")
    await authority.revoke(session=first.active.session.id, cause="logout")
    third = await authority.begin("alice")
    assert await reasons(authority, [first, second, third]) == [Reason.REVOKED, None, None]


@pytest.mark.requirement("ASVS V7.1.2")
async def test_the_limit_ends_the_least_recently_seen(authority: Authority, clock: ManualClock) -> None:
    await rules(authority, max_sessions=2, at_limit=AtLimit.END_OLDEST)
    first = await authority.begin("alice")
    clock.advance(MINUTE)
    second = await authority.begin("alice")
    clock.advance(MINUTE)
    await authority.touch(first.active)
    await active(authority, second.token, touch=False)
    third = await authority.begin("alice")
    assert await reasons(authority, [first, second, third]) == [None, Reason.REVOKED, None]
    assert (await denied(authority, second.token)).cause == "limit"


@pytest.mark.parametrize("at_limit", [AtLimit.REFUSE, AtLimit.END_OLDEST])
@pytest.mark.requirement("ASVS V7.1.2", "ASVS V15.4.2")
async def test_the_limit_holds_for_fifty_at_once(authority: Authority, at_limit: AtLimit) -> None:
    await rules(authority, max_sessions=3, at_limit=at_limit)
    await authority.register("alice")
    answers = await asyncio.gather(*[authority.begin("alice") for _ in range(50)], return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    issued = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert all(isinstance(each, LimitExceeded) for each in refused)
    assert len(refused) == (47 if at_limit is AtLimit.REFUSE else 0)
    alive = [each for each in issued if await authority.check(each.token)]
    assert len(alive) == 3
    assert len(await authority.sessions(principal="alice")) == 3


async def test_delegations_and_keys_do_not_count_towards_the_limit(authority: Authority) -> None:
    await rules(authority, max_sessions=1, at_limit=AtLimit.REFUSE)
    issued = await authority.begin("alice")
    for number in range(3):
        await authority.delegate(issued.active, to=f"agent:a{number}", scopes={"read"})
        await authority.mint_key(issued.active, owner="alice", scopes={"read"})
    with pytest.raises(LimitExceeded):
        await authority.begin("alice")


async def test_a_proof_from_before_counts_from_then(authority: Authority, clock: ManualClock) -> None:
    """An import invents no authentication event: freshness and the overall limit go by the one there was."""

    async def begun(ago: timedelta) -> str:
        async with authority.sign_in("alice") as attempt:
            return (await attempt.begin(method="password", proved=clock.now() - ago)).token

    earlier = await begun(HOUR)
    found = await authority.check(earlier, requirement=Requirement(assurance=1))
    assert isinstance(found, Active)
    assert found.session.authenticated == clock.now() - HOUR
    assert found.session.created == clock.now()
    refused = await authority.check(earlier, requirement=Requirement(fresh=HOUR))
    assert not refused
    assert refused.reason is Reason.STALE_AUTHENTICATION
    assert not await authority.check(await begun(timedelta(days=31)))
    # Not from what is yet to come.
    found = await authority.check(await begun(-HOUR))
    assert isinstance(found, Active)
    assert found.session.authenticated == clock.now()
    async with authority.sign_in("alice") as attempt:
        with pytest.raises(ValueError, match="aware"):
            await attempt.begin(method="password", proved=datetime(2026, 1, 1))  # noqa: DTZ001 - the point
