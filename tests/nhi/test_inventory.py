"""Offboarding and the inventory: nothing without an owner, who saw what, and what is wrong with the rest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Conflict, NotFound, Reason
from sessile.kernel.principal import Status
from sessile.kernel.trace import Trace, TraceKind
from sessile.nhi.inventory import Item
from sessile.stores.noticing import Noticed
from sessile.testing import ManualClock
from tests.authority.asking import DAY, HOUR, reason, reasons
from tests.program import Program
from tests.server.conftest import is_problem, opened


async def items(authority: Authority, **ask: Any) -> dict[str, Item]:
    found: dict[str, Item] = {}
    after: str | None = None
    while True:
        page = await authority.inventory(after=after, limit=2, **ask)
        found |= {one.principal: one for one in page}
        after = page.next
        if after is None:
            return found


@pytest.mark.requirement("NHI1-b", "NHI1-c")
@pytest.mark.parametrize("to", ["bob", None])
async def test_a_leaver_leaves_nothing_without_an_owner_and_every_secret_it_saw_is_named(
    authority: Authority, to: str | None
) -> None:
    for name in ("alice", "bob"):
        await authority.register(name)
    await authority.register("olga", scopes={"*", "operator"})
    for name, owner in (("service:ci", "alice"), ("agent:a", "alice"), ("service:bobs", "bob")):
        await authority.register(name, owner=owner, purpose="builds")
    alice, bob, olga = [await authority.begin(name) for name in ("alice", "bob", "olga")]
    own = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    by_olga = await authority.mint_key(olga.active, owner="service:ci", scopes={"x"})
    bobs = await authority.mint_key(bob.active, owner="service:bobs", scopes={"x"})
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    # She was shown one that is somebody else's, too.
    await authority.show_secret(bobs.active.session.id, to=alice.active, how="revealed")

    found = await authority.holdings("alice")
    assert [one.name for one in found.principals] == ["agent:a", "service:ci"]
    assert [one.id for one in found.handed_out] == [own.active.session.id]
    assert [one.id for one in found.held] == [by_olga.active.session.id]
    assert {(one.session.id, one.how) for one in found.seen} == {
        (own.active.session.id, "minted"), (bobs.active.session.id, "revealed"),
    }  # fmt: skip

    done = await authority.offboard("alice", to=to, cause="left", by=olga.active)
    assert await reason(authority, agent.token) is Reason.DISABLED
    after = {name: await authority.principal(name) for name in ("service:ci", "agent:a")}
    if to is not None:
        assert set(done.handed_over) == set(after)
        assert {one.owner for one in after.values()} == {bob.active.session.uid}
        assert await reasons(authority, [own, by_olga, bobs]) == [None] * 3
        assert {one.id for one in done.rotate} == {own.active.session.id, bobs.active.session.id}
    else:
        assert set(done.disabled) == set(after)
        assert {one.status for one in after.values()} == {Status.DISABLED}
        assert await reasons(authority, [own, by_olga, bobs]) == [Reason.DISABLED, Reason.DISABLED, None]
        assert {one.id for one in done.rotate} == {bobs.active.session.id}
    said = await items(authority)
    assert not any("answers" in one.says for item in said.values() for one in item.findings)
    left = [one for item in said.values() for one in item.findings if "has left" in one.says]
    assert {one.session for one in left} == {one.id for one in done.rotate}


async def test_a_leavers_keys_can_end_too(authority: Authority) -> None:
    await authority.register("bob")
    alice = await authority.begin("alice")
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    for to in ("alice", "service:ci"):
        with pytest.raises(Conflict):
            await authority.offboard("alice", to=to, cause="left")
    assert (await authority.principal("alice")).status is Status.ACTIVE, "judged before anything is ended"
    done = await authority.offboard("alice", to="bob", end_keys=True, cause="left")
    assert (done.ended, done.rotate) == ((key.active.session.id,), ())
    assert await reason(authority, key.token) is Reason.REVOKED
    assert (await authority.principal("service:ci")).status is Status.ACTIVE


async def test_handing_over(authority: Authority) -> None:
    for name in ("alice", "bob"):
        await authority.register(name)
    for name in ("agent:a", "agent:b"):
        await authority.register(name, owner="alice")
    (done,) = await authority.hand_over("alice", to="bob", only=["agent:a"])
    assert done.name == "agent:a"
    assert {one.name for one in (await authority.holdings("bob")).principals} == {"agent:a"}
    with pytest.raises(NotFound):
        await authority.hand_over("alice", to="bob", only=["agent:a"])
    await authority.disable("bob", cause="x")
    with pytest.raises(Conflict):
        await authority.hand_over("alice", to="bob")


@pytest.mark.requirement("NHI1", "NHI5", "NHI7")
async def test_what_is_wrong_and_what_cures_it(authority: Authority, clock: ManualClock) -> None:
    await authority.register("olga", scopes={"*", "operator"})
    for name in ("alice", "gone"):
        await authority.register(name)
    await authority.register("service:good", owner="alice", purpose="serves")
    olga = await authority.begin("olga")
    elevated = await authority.elevate(olga.active, method="totp")
    minted = {
        "service:good": await authority.mint_key(elevated.active, owner="service:good", scopes={"prod:read"}),
        "service:ci": await authority.mint_key(
            elevated.active, owner="service:ci", scopes={"*", "prod:write", "staging:write"}, lifetime=60 * DAY
        ),
    }
    await authority.register("agent:idle", owner="gone")
    await authority.disable("gone", cause="left")
    assert set(await items(authority)) == {"agent:idle", "service:ci", "service:good"}
    assert (await items(authority))["service:good"].findings == ()
    clock.advance(41 * DAY)
    key = minted["service:ci"].active.session.id

    async def used(id: str, ip: str, how: str, ago: timedelta, times: int = 5, lasting: timedelta = HOUR) -> None:
        first = clock.now() - ago
        trace = Trace(subject=id, kind=TraceKind.USE, what=ip, how=how, first=first, last=first + lasting, times=times)
        await authority.store.notice([Noticed(trace)])

    await used(minted["service:good"].active.session.id, "192.0.2.1", "curl", 40 * DAY, lasting=40 * DAY)
    await used(key, "192.0.2.1", "curl", 40 * DAY, lasting=40 * DAY)
    await used(key, "198.51.100.7", "Firefox on Linux", 2 * HOUR)
    now = clock.now()
    leak = Trace(subject=key, kind=TraceKind.LEAKED, what="https://example.org/x", how="GitHub", first=now, last=now)
    await authority.store.notice([Noticed(leak)])
    said = await items(authority)
    assert said["service:good"].findings == ()
    wrong = {(one.risk, one.session) for one in said["service:ci"].findings}
    assert wrong == {
        ("NHI1", None), ("NHI2", key), ("NHI3", key), ("NHI5", key), ("NHI6", key), ("NHI7", key), ("NHI8", None),
        ("NHI9", key), ("NHI10", key),
    }  # fmt: skip
    risks = [one.risk for one in said["service:ci"].findings]
    assert risks == sorted(risks, key=lambda risk: int(risk[3:]))
    assert all(one.cure for item in said.values() for one in item.findings)
    idle = {one.says for one in said["agent:idle"].findings}
    assert {"who answers for it, gone, is disabled", "it holds nothing that lives", "it has no purpose"} == idle
    held = said["service:ci"].held[0]
    assert (held.handed_out_by, held.seen_by, held.origin) == ("olga", ("olga",), olga.active.session.id)
    assert held.last_used_from in ("198.51.100.7", "192.0.2.1")
    clock.advance(10 * DAY)
    assert await authority.disable("alice", cause="left")
    after = (await items(authority))["service:good"]
    assert any("who answers for it, alice, is disabled" in one.says for one in after.findings)
    clock.advance(25 * DAY)
    good = (await items(authority))["service:good"]
    assert any("not used for" in one.says for one in good.findings)
    single = await authority.begin("olga")
    plain = await authority.mint_key(single.active, owner="service:plain", scopes={"x"})
    assert ("NHI4", plain.active.session.id) in {
        (one.risk, one.session) for one in (await items(authority))["service:plain"].findings
    }


async def test_over_http_and_on_the_command_line(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        olivia = await world.signed_in("olivia", operator=True)
        await world.person("bob")
        alice = await world.authority.begin("alice")
        made = await olivia.post("/api/v1/principals", json={"id": "service:new", "kind": "service"})
        assert made.json()["owner"] == "olivia", "whoever registers answers for it"
        key = await world.authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
        stock = (await olivia.get("/api/v1/inventory", params={"owner": "alice"})).json()
        assert [one["principal"] for one in stock["items"]] == ["service:ci"]
        assert stock["items"][0]["held"][0]["id"] == key.active.session.id
        assert {one["risk"] for one in stock["items"][0]["findings"]} == {"NHI1", "NHI4", "NHI6"}
        held = (await olivia.get("/api/v1/principals/alice/holdings")).json()
        assert [one["session"]["id"] for one in held["seen"]] == [key.active.session.id]
        done = await olivia.post("/api/v1/principals/alice/handover", json={"to": "bob"})
        assert done.json() == {"principals": ["service:ci"]}
        gone = (await olivia.post("/api/v1/principals/alice/offboarding", json={"cause": "left", "to": "bob"})).json()
        assert [one["id"] for one in gone["rotate"]] == [key.active.session.id]
        for path in ("/api/v1/inventory", "/api/v1/principals/alice/holdings"):
            is_problem(await (await world.signed_in("bob")).get(path), 403, "out_of_scope")
    program = Program(tmp_path)
    listed = await asyncio.to_thread(program.items, "inventory", "--owner", "bob")
    assert [one["principal"] for one in listed] == ["service:ci"]
    said = await asyncio.to_thread(program.ok, "inventory", "--findings")
    assert "NHI1  service:ci: it has no purpose" in said
    assert "cure: sessile user change service:ci --purpose TEXT" in said
