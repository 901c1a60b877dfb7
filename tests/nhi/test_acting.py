"""Who acts for whom: the chain of a delegation, and operators who act as somebody else (review 28)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessile import Authority, Conflict, NotFound, Reason, Refused, Requirement
from sessile.kernel.event import EventName
from sessile.kernel.token import TokenKind, kind_of
from sessile.testing import ManualClock
from tests.authority.asking import HOUR, MINUTE, active, cached, events, reason, reasons
from tests.engines_redis import binaries, binary, server


@pytest.mark.requirement("NHI10")
async def test_the_chain_names_who_acts_for_whom(authority: Authority) -> None:
    """RFC 8693, section 4.1: the one who acts now is outermost."""
    alice = await authority.begin("alice")
    one = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    two = await authority.delegate(one.active, to="agent:b", scopes={"x"})
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    under = await authority.delegate(key.active, to="agent:c", scopes={"x"})
    expected = {
        alice.token: ("alice", None),
        one.token: ("alice", {"sub": "agent:a"}),
        two.token: ("alice", {"sub": "agent:b", "act": {"sub": "agent:a"}}),
        # A key acts for its own principal, whoever minted it.
        key.token: ("service:ci", None),
        under.token: ("service:ci", {"sub": "agent:c"}),
    }
    for token, said in expected.items():
        read = await active(authority, token)
        near = await cached(authority, token)
        assert (read.subject, read.act) == (near.subject, near.act) == said
    assert (two.active.subject, two.active.act) == expected[two.token]
    assert (await authority.session(two.active.session.id)).chain == ("alice", "agent:a", "agent:b")


async def test_every_event_about_an_agent_says_for_whom_what_and_why(authority: Authority) -> None:
    alice = await authority.begin("alice")
    one = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    two = await authority.delegate(one.active, to="agent:b", scopes={"x"})
    two.active.touch_resource("tool:search", "call")
    assert await reason(authority, two.token, requirement=Requirement(scopes=frozenset({"deploy"}))) is (
        Reason.OUT_OF_SCOPE
    )
    await authority.traces.flush(authority.store)
    await authority.revoke(session=two.active.session.id, cause="misbehaves", by=alice.active)
    uids = [alice.active.session.uid, one.active.session.uid, two.active.session.uid]
    found = {event.name: event for event in await events(authority) if event.session == two.active.session.id}
    assert set(found) == {
        EventName.SESSION_DELEGATED, EventName.RESOURCE_TOUCHED, EventName.ACCESS_DENIED, EventName.SESSION_REVOKED,
    }  # fmt: skip
    for event in found.values():
        assert (event.principal, event.uid) == ("agent:b", uids[2])
        assert event.details["for"] == uids
        assert event.details["correlation"] == alice.active.session.id
        assert event.details["assurance"] == 1
        assert event.at is not None
        assert event.details["action"]
    told = {name: (event.details.get("resource"), event.details["decision"]) for name, event in found.items()}
    assert told[EventName.RESOURCE_TOUCHED] == ("tool:search", "allowed")
    assert told[EventName.ACCESS_DENIED] == ("scope:deploy", "out_of_scope")
    assert found[EventName.SESSION_REVOKED].cause == "misbehaves"
    assert not any("for" in event.details for event in await events(authority) if event.principal == "alice")


async def test_an_operator_acts_as_somebody_else_visibly(authority: Authority, clock: ManualClock) -> None:
    await authority.register("olga", scopes={"*", "operator"})
    await authority.register("alice", scopes={"read", "write"})
    olga = await authority.begin("olga")
    as_alice = await authority.impersonate(olga.active, "alice", cause="ticket 7")
    session = as_alice.active.session
    assert kind_of(as_alice.token) is TokenKind.BROWSER
    assert (session.principal, session.scopes, session.parent) == (
        "alice", {"read", "write"}, olga.active.session.id,
    )  # fmt: skip
    assert session.impersonation
    assert (as_alice.active.subject, as_alice.active.act) == ("alice", {"sub": "olga"})
    listed = [one for one in await authority.sessions(principal="alice") if one.chain == ("alice", "olga")]
    assert [(one.id, one.label) for one in listed] == [(session.id, "ticket 7")]
    begun = (await events(authority))[-1]
    assert (begun.name, begun.principal, begun.by.name, begun.cause) == (
        EventName.SESSION_IMPERSONATED, "alice", "olga", "ticket 7",
    )  # fmt: skip
    # It hands out nothing, is never fresh, and proves nothing more.
    for attempt in (
        authority.delegate(as_alice.active, to="agent:a", scopes={"read"}),
        authority.mint_key(as_alice.active, owner="service:s", scopes={"read"}),
        authority.elevate(as_alice.active, method="totp"),
        authority.impersonate(as_alice.active, "bob", cause="x"),
    ):
        with pytest.raises(Refused):
            await attempt
    assert session.authenticated is None
    clock.advance(15 * MINUTE)
    assert await reason(authority, as_alice.token) is Reason.EXPIRED
    await authority.elevate(olga.active, method="password")


async def test_acting_as_somebody_else_ends_with_either_of_both(authority: Authority) -> None:
    await authority.register("olga", scopes={"*", "operator"})
    await authority.register("alice")
    olga = await authority.begin("olga")
    one = await authority.impersonate(olga.active, "alice", cause="x")
    await cached(authority, one.token)
    await authority.revoke(principal="alice", cause="x")
    assert await reasons(authority, [one, olga]) == [Reason.REVOKED, None]
    two = await authority.impersonate(olga.active, "alice", cause="x")
    await cached(authority, two.token)
    await authority.revoke(session=olga.active.session.id, cause="logout")
    assert await reasons(authority, [two]) == [Reason.REVOKED]


async def test_who_may_act_as_whom(authority: Authority, clock: ManualClock) -> None:
    for name in ("olga", "otto"):
        await authority.register(name, scopes={"*", "operator"})
    await authority.register("ines", scopes={"operator"})
    for name in ("alice", "bob"):
        await authority.register(name)
    await authority.register("agent:a", owner="alice")
    olga, alice, ines = [await authority.begin(name) for name in ("olga", "alice", "ines")]
    for giver, name in ((alice, "bob"), (olga, "otto"), (olga, "olga"), (olga, "agent:a"), (ines, "alice")):
        with pytest.raises(Refused):
            await authority.impersonate(giver.active, name, cause="x")
    with pytest.raises(NotFound):
        await authority.impersonate(olga.active, "nobody", cause="x")
    with pytest.raises(ValueError, match="why"):
        await authority.impersonate(olga.active, "alice", cause="")
    await authority.disable("bob", cause="x")
    with pytest.raises(Conflict):
        await authority.impersonate(olga.active, "bob", cause="x")
    clock.advance(6 * MINUTE)
    with pytest.raises(Refused) as stale:
        await authority.impersonate(olga.active, "alice", cause="x")
    assert stale.value.denied.reason is Reason.STALE_AUTHENTICATION
    assert clock.now() < olga.active.session.created + HOUR


async def test_on_an_engine_what_ends_the_person_ends_who_acts_as_them(tmp_path: Path) -> None:
    """Sessions of a person lie in one partition; those of operators who act as them in the operators'."""
    with server(binary(binaries()[0]), tmp_path / "engine") as engine:
        async with Authority(f"{engine.url}/0", directory=f"sqlite:///{tmp_path}/sessile.db") as authority:
            await authority.register("alice")
            for number in range(4):
                await authority.register(f"olga{number}", scopes={"*", "operator"})
            acting = []
            for number in range(4):
                olga = await authority.begin(f"olga{number}")
                acting.append(await authority.impersonate(olga.active, "alice", cause="x"))
            own = await authority.begin("alice")
            assert len({one.active.session.partition for one in (*acting, own)}) > 1
            for one in acting:
                await cached(authority, one.token)
            assert len(await authority.sessions(principal="alice")) == 5
            await authority.revoke(principal="alice", cause="x")
            assert await reasons(authority, [*acting, own]) == [Reason.REVOKED] * 5
            olga = await authority.begin("olga0")
            again = await authority.impersonate(olga.active, "alice", cause="x")
            await authority.disable("alice", cause="left")
            assert await reasons(authority, [again]) == [Reason.DISABLED]
            with pytest.raises(Conflict):
                await authority.impersonate(olga.active, "alice", cause="x")
