"""Every service and agent has an owner, a person or a team, through every door; and teams of people who answer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sessile import Authority, Conflict, Issued, NotFound, Reason, Refused
from sessile.kernel.principal import Status
from sessile.stores.sqlite import schema
from tests.authority.asking import reason, reasons
from tests.server.conftest import MINUTE, World, is_problem, opened


async def people(authority: Authority, *names: str) -> list[Issued]:
    for name in names:
        await authority.register(name, scopes={"*", "operator"} if name == "olga" else None)
    return [await authority.begin(name) for name in names]


async def ownerless(authority: Authority) -> set[str]:
    """Agents and services that act and that nobody answers for, by the inventory."""
    return {
        one.principal
        for one in await authority.inventory()
        for found in one.findings
        if found.risk == "NHI1" and ("answers for it" in found.says)
    }


@pytest.mark.requirement("NHI1")
async def test_no_service_without_an_owner(authority: Authority) -> None:
    alice, _, olga = await people(authority, "alice", "bob", "olga")
    for by in (None, olga.active):
        with pytest.raises(ValueError, match="people answer for themselves"):
            await authority.register("carol", owner="alice", by=by)
    with pytest.raises(ValueError, match="name a person or a team"):
        await authority.register("service:x")
    made = await authority.register("service:ci", by=olga.active)
    assert made.owner == olga.active.session.uid, "whoever makes it answers for it"
    await authority.register("agent:a", owner="alice", purpose="helps")
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    made = await authority.register("agent:b", by=agent.active)
    assert made.owner == alice.active.session.uid, "and for an agent, whoever answers for that"
    await authority.delegate(agent.active, to="agent:c", scopes={"x"}, label="reads the mail")
    made = await authority.principal("agent:c")
    assert (made.owner, made.purpose) == (alice.active.session.uid, "reads the mail")
    for owner in ("service:ci", "agent:a"):
        with pytest.raises(Conflict, match="a person who is active, or a team"):
            await authority.register("agent:d", owner=owner)
    await authority.disable("bob", cause="left")
    for name in ("alice", "service:ci"):
        with pytest.raises(Conflict):
            await authority.describe(name, owner="bob")
    for unknown in ("nobody", "team:nobody"):
        with pytest.raises(NotFound):
            await authority.describe("service:ci", owner=unknown)
    assert await authority.store.principal(name="agent:d") is None
    # What nobody answers for is not let in again.
    await authority.disable("agent:a", cause="x")
    await authority.disable("alice", cause="x")
    with pytest.raises(Conflict):
        await authority.enable("agent:a")
    await authority.describe("agent:a", owner="olga")
    await authority.enable("agent:a")


async def test_what_was_there_without_an_owner_is_kept_and_found(tmp_path: Path) -> None:
    file = tmp_path / "sessile.db"
    steps = schema.migrations()
    before = next(n for n, sql in enumerate(steps) if "CREATE TABLE team (" in sql)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: steps[:before])
        schema.prepare(file, create=True)
    with sqlite3.connect(file) as db:
        db.execute(
            "INSERT INTO principal (uid, name, kind, created, status, epoch, policy, scopes, owner, purpose)"
            " VALUES ('prn_old', 'service:old', 'service', 0, 'active', x'00', 'default', '[]', NULL, '')"
        )
    async with Authority(f"sqlite:///{file}") as authority:
        (olga,) = await people(authority, "olga")
        assert await ownerless(authority) == {"service:old"}
        key = await authority.mint_key(olga.active, owner="service:old", scopes={"x"})
        with pytest.raises(Refused, match="nobody answers for service:old"):
            await authority.delegate(key.active, to="agent:new", scopes={"x"})
        assert (await authority.describe("service:old", purpose="prints")).owner is None
        await authority.disable("service:old", cause="x")
        with pytest.raises(Conflict):
            await authority.enable("service:old")
        await authority.describe("service:old", owner="olga")
        await authority.enable("service:old")
        assert await ownerless(authority) == set()
    with sqlite3.connect(file) as db:  # the file itself refuses what no code of ours asks for
        for sql in (
            "UPDATE principal SET owner = NULL WHERE name = 'service:old'",
            (
                "INSERT INTO principal SELECT 'prn_new', 'agent:new', 'agent', created, status, epoch, policy, scopes,"
                " NULL, purpose, NULL, NULL FROM principal WHERE name = 'service:old'"
            ),
        ):
            with pytest.raises(sqlite3.IntegrityError, match="has an owner"):
                db.execute(sql)


@pytest.mark.requirement("NHI1", "NHI5")
async def test_what_an_owner_may_do_every_active_member_of_the_team_may(authority: Authority) -> None:
    """Review 14: `to` and `owner` are ones that the giver answers for."""
    alice, bob, mallory = await people(authority, "alice", "bob", "mallory")
    team = await authority.add_team("Platform", members=["alice", "bob"])
    assert team.name == "team:platform"
    made = await authority.register("service:ci", owner="team:Platform", purpose="builds")
    assert made.owner == team.uid
    for giver in (alice, bob):
        key = await authority.mint_key(giver.active, owner="service:ci", scopes={"x"})
        await authority.rotate_key(giver.active, key.active.session.id)
        await authority.delegate(giver.active, to="service:ci", scopes={"x"})
    # What it makes itself is the team's, too.
    helper = await authority.delegate(key.active, to="agent:helper", scopes={"x"})
    assert (await authority.principal("agent:helper")).owner == team.uid
    await authority.delegate(alice.active, to="agent:helper", scopes={"x"})
    own = await authority.delegate(alice.active, to="agent:own", scopes={"x"})
    with pytest.raises(Refused):  # an agent of a member's is no member
        await authority.delegate(own.active, to="service:ci", scopes={"x"})
    with pytest.raises(Refused):
        await authority.delegate(mallory.active, to="service:ci", scopes={"x"})
    await authority.leave_team("platform", "bob")
    with pytest.raises(Refused):
        await authority.mint_key(bob.active, owner="service:ci", scopes={"x"})
    assert await reason(authority, helper.token) is None, "what was handed out goes on"
    await authority.join_team("platform", "mallory")
    await authority.mint_key(mallory.active, owner="service:ci", scopes={"x"})
    for name in ("service:ci", "agent:own"):
        with pytest.raises(Conflict):
            await authority.join_team("platform", name)
    with pytest.raises(ValueError, match="name"):
        await authority.begin("team:platform")


async def test_nobody_of_the_team_approves_what_its_agent_asks(authority: Authority) -> None:
    """Four eyes: whoever answers for an agent is behind what it asks."""
    alice, bob, _carol = await people(authority, "alice", "bob", "carol")
    await authority.add_team("platform", members=["alice", "bob"])
    await authority.register("agent:a", owner="team:platform")
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"pay"})
    asked = await authority.ask_approval(agent.active, "pay", {"sum": 7}, scope="pay")
    assert {alice.active.session.uid, bob.active.session.uid} <= asked.behind


@pytest.mark.requirement("NHI1-b")
@pytest.mark.parametrize("to", ["carol", "team:others", None])
async def test_the_last_of_a_team_leaves_nothing_without_an_owner(authority: Authority, to: str | None) -> None:
    _, bob, carol, _ = await people(authority, "alice", "bob", "carol", "dora")
    for name, members in (("platform", ["alice", "bob"]), ("shared", ["alice", "carol"]), ("others", ["dora"])):
        await authority.add_team(name, members=members)
    for name, owner in (("service:ci", "team:platform"), ("agent:own", "alice"), ("service:s", "team:shared")):
        await authority.register(name, owner=owner, purpose="works")
    ci = await authority.mint_key(bob.active, owner="service:ci", scopes={"x"})
    shared = await authority.mint_key(carol.active, owner="service:s", scopes={"x"})
    assert (await authority.holdings("bob")).principals == ()
    assert (await authority.holdings("bob")).teams == ("team:platform",)
    receipt = await authority.disable("bob", cause="left")
    assert receipt.answers_for == (), "alice is still there"
    assert await ownerless(authority) == set()

    left = await authority.holdings("alice")
    assert [one.name for one in left.principals] == ["agent:own", "service:ci"]
    assert [one.id for one in left.held] == [ci.active.session.id]
    with pytest.raises(Conflict):
        await authority.leave_team("platform", "alice")
    for nobody in ("team:platform", "alice", "bob"):
        with pytest.raises(Conflict):
            await authority.offboard("alice", to=nobody, cause="left")
    assert (await authority.principal("alice")).status is Status.ACTIVE, "judged before anything is ended"

    done = await authority.offboard("alice", to=to, cause="left")
    assert set(done.receipt.answers_for) == {"agent:own", "service:ci"}
    assert await ownerless(authority) == set()
    after = {name: await authority.principal(name) for name in ("agent:own", "service:ci", "service:s")}
    if to is not None:
        assert set(done.handed_over) == {"agent:own", "service:ci"}
        heir = await authority.owner_uid(to)
        assert {one.owner for name, one in after.items() if name != "service:s"} == {heir}
        assert await reasons(authority, [ci, shared]) == [None, None]
        await authority.leave_team("platform", "alice")
        await authority.delete_team("platform")
    else:
        assert set(done.disabled) == {"agent:own", "service:ci"}
        assert await reasons(authority, [ci, shared]) == [Reason.DISABLED, None]
        with pytest.raises(Conflict):
            await authority.delete_team("platform")
        with pytest.raises(Conflict):
            await authority.enable("service:ci")


async def test_disabling_the_last_of_a_team_says_so_and_the_inventory_does(authority: Authority) -> None:
    await people(authority, "alice", "bob")
    await authority.add_team("platform", members=["alice"])
    await authority.register("service:ci", owner="team:platform", purpose="builds")
    receipt = await authority.disable("alice", cause="left")
    assert receipt.answers_for == ("service:ci",)
    (item,) = await authority.inventory(owner="team:platform")
    (found, *_) = item.findings
    assert (found.risk, found.says) == ("NHI1", "who answers for it, team:platform, has no member who is active")
    assert "sessile team join team:platform NAME" in found.cure
    await authority.join_team("platform", "bob")
    assert await ownerless(authority) == set()
    gone = await authority.delete("bob", cause="left")
    assert gone.answers_for == ("service:ci",)
    assert await ownerless(authority) == {"service:ci"}
    await authority.register("carol")
    (handed,) = await authority.hand_over("team:platform", to="carol")
    assert handed.name == "service:ci"
    await authority.delete_team("platform")
    with pytest.raises(NotFound):
        await authority.team("platform")


async def test_whoever_leaves_while_something_is_handed_to_them(authority: Authority) -> None:
    """Raced: whatever comes first, nothing that acts is left without an owner."""
    await people(authority, "olga")
    for n in range(10):
        await people(authority, f"alice{n}", f"keeper{n}")
        giver = await authority.begin(f"alice{n}")
        await authority.add_team(f"t{n}", members=[f"alice{n}"])
        for kind in ("service", "agent"):
            await authority.register(f"{kind}:{n}", owner=f"keeper{n}", purpose="x")

        async def tried(coroutine: object) -> None:
            with contextlib.suppress(Conflict, Refused):
                await coroutine  # type: ignore[misc]

        await asyncio.gather(
            authority.offboard(f"alice{n}", to="olga" if n % 2 else None, cause="left"),
            tried(authority.describe(f"service:{n}", owner=f"team:t{n}")),
            tried(authority.describe(f"agent:{n}", owner=f"alice{n}")),
            tried(authority.delegate(giver.active, to=f"agent:new{n}", scopes={"x"})),
            tried(authority.register(f"service:new{n}", owner=f"team:t{n}")),
        )
        assert await ownerless(authority) == set()


async def test_over_http(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        await world.person("olivia", operator=True)
        await over_http(world)
        olivia = await world.signed_in("olivia")
        made = await olivia.post("/api/v1/principals", json={"id": "service:ci", "kind": "service"})
        assert (made.status_code, made.json()["owner"]) == (201, "olivia"), "the contract: whoever asks answers for it"
        changed = await olivia.patch(
            "/api/v1/principals/service:ci", json={"owner": "Team:Platform", "purpose": "builds"}
        )
        assert (changed.json()["owner"], changed.json()["purpose"]) == ("team:platform", "builds")
        for body, status in (
            ({"id": "agent:a", "kind": "agent", "owner": "service:ci"}, 409),
            ({"id": "agent:a", "kind": "agent", "owner": "team:none"}, 404),
            ({"id": "dora", "kind": "human", "owner": "alice"}, 422),
            ({"id": "team:x", "kind": "human"}, 422),
        ):
            is_problem(await olivia.post("/api/v1/principals", json=body), status)
        stock = (await olivia.get("/api/v1/inventory", params={"owner": "team:platform"})).json()["items"]
        assert [(one["principal"], one["owner"]) for one in stock] == [("service:ci", "team:platform")]
        held = (await olivia.get("/api/v1/teams/team:platform/holdings")).json()
        assert held["principals"] == ["service:ci"]
        # A member uses what its team owns.
        bob = await world.signed_in("bob")
        key = await bob.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["x"]})
        assert key.status_code == 201, key.text
        alice = await world.signed_in("alice")
        assert (await alice.put("/api/v1/principals/service:ci/budget", json={"overall": 9})).status_code == 200
        assert (await alice.delete(f"/api/v1/keys/{key.json()['id']}")).status_code == 200
        carol = await world.signed_in("carol")
        is_problem(await carol.put("/api/v1/principals/service:ci/budget", json={"overall": 9}), 403)
        is_problem(await olivia.delete("/api/v1/teams/team:platform"), 409)
        gone = await olivia.patch("/api/v1/principals/bob", json={"status": "disabled", "cause": "left"})
        assert gone.json()["receipt"]["answers_for"] == []
        is_problem(await olivia.delete("/api/v1/teams/platform/members/alice"), 409)
        gone = await olivia.patch("/api/v1/principals/alice", json={"status": "disabled", "cause": "left"})
        assert gone.json()["receipt"]["answers_for"] == ["service:ci"]
        done = await olivia.post("/api/v1/teams/platform/handover", json={"to": "carol"})
        assert done.json() == {"principals": ["service:ci"]}
        assert (await olivia.delete("/api/v1/teams/platform")).status_code == 204
        is_problem(await olivia.get("/api/v1/teams/platform"), 404)


async def over_http(world: World) -> None:
    """A team is made, and people join and leave it."""
    olivia = await world.signed_in("olivia")
    for name in ("alice", "bob", "carol"):
        await world.person(name)
    made = await olivia.post("/api/v1/teams", json={"id": "platform", "members": ["alice"]})
    assert made.status_code == 201, made.text
    assert (made.json()["id"], made.json()["members"]) == ("team:platform", [{"id": "alice", "status": "active"}])
    is_problem(await olivia.post("/api/v1/teams", json={"id": "platform"}), 409)
    for name in ("bob", "carol", "bob"):
        joined = await olivia.post("/api/v1/teams/team:platform/members", json={"principal": name})
    assert [one["id"] for one in joined.json()["members"]] == ["alice", "bob", "carol"]
    left = await olivia.delete("/api/v1/teams/team:platform/members/carol")
    assert [one["id"] for one in left.json()["members"]] == ["alice", "bob"]
    listed = (await olivia.get("/api/v1/teams", params={"member": "bob"})).json()
    assert [one["id"] for one in listed["items"]] == ["team:platform"]
    assert (await olivia.get("/api/v1/teams", params={"member": "carol"})).json()["items"] == []
    carol = await world.signed_in("carol")
    for method, path, body in (
        ("GET", "/api/v1/teams", None), ("GET", "/api/v1/teams/platform", None), ("POST", "/api/v1/teams", {"id": "x"}),
        ("POST", "/api/v1/teams/platform/members", {"principal": "carol"}),
        ("DELETE", "/api/v1/teams/platform/members/bob", None), ("DELETE", "/api/v1/teams/platform", None),
        ("GET", "/api/v1/teams/platform/holdings", None), ("POST", "/api/v1/teams/platform/handover", {"to": "carol"}),
    ):  # fmt: skip
        is_problem(await carol.request(method, path, json=body), 403, "out_of_scope")
    world.clock.advance(6 * MINUTE)
    for method, path, body in (
        ("POST", "/api/v1/teams", {"id": "x"}), ("POST", "/api/v1/teams/platform/members", {"principal": "carol"}),
        ("DELETE", "/api/v1/teams/platform/members/bob", None), ("DELETE", "/api/v1/teams/platform", None),
        ("POST", "/api/v1/teams/platform/handover", {"to": "carol"}),
    ):  # fmt: skip
        is_problem(await olivia.request(method, path, json=body), 401, "stale_authentication", "step_up")
    happened = [one["name"] for one in (await olivia.get("/api/v1/events?limit=100")).json()["items"]]
    assert [happened.count(f"team.{what}") for what in ("created", "joined", "left")] == [1, 3, 1]
