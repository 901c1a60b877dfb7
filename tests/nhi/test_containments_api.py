"""`/containments` and `sessile contain`: the same containment through the other doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest

from sessile import Authority
from tests.program import OPERATOR_PASSWORD, Program
from tests.server.conftest import MINUTE, World, is_problem, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack)


async def test_an_operator_contains_a_session(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    root = (await alice.get("/api/v1/session")).json()["id"]
    key = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"]})).json()
    body = {"session": root, "cause": "laptop stolen"}
    shown = await olivia.post("/api/v1/containments", json={**body, "dry_run": True})
    assert shown.status_code == 200
    assert (shown.json()["id"], shown.json()["state"], shown.json()["receipt"]) == (None, None, None)
    assert (await (await world.bearing(key["token"])).get("/api/v1/session")).status_code == 200
    answer = await olivia.post("/api/v1/containments", json=body)
    assert answer.status_code == 201
    report = answer.json()
    assert report["radius"] == shown.json()["radius"]
    assert (report["state"], report["session"], report["principal"]) == ("closed", root, "alice")
    assert (report["receipt"]["cause"], report["receipt"]["by"]) == ("laptop stolen", "olivia")
    assert report["receipt"]["revoked"] == 2
    assert [(one["id"], one["origin"], one["fate"]) for one in report["radius"]["sessions"]] == [
        (root, None, "ends"), (key["id"], root, "ends"),
    ]  # fmt: skip
    assert report["radius"]["ends"] == {"browser": 1, "key": 1}
    assert (await (await world.bearing(key["token"])).get("/api/v1/session")).status_code == 401
    assert (await olivia.get(f"/api/v1/containments/{report['id']}")).json() == report
    is_problem(await olivia.get("/api/v1/containments/con_" + "0" * 26), 404)


async def test_all_of_a_principal_since_an_instant(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    early = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["x"]})).json()
    world.clock.advance(MINUTE)
    body = {"principal": "alice", "cause": "x", "since": world.clock.now().isoformat(), "disable": True}
    late = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["x"]})).json()
    report = (await olivia.post("/api/v1/containments", json=body)).json()
    assert {one["id"]: one["fate"] for one in report["radius"]["sessions"]}[early["id"]] == "stays"
    assert (report["radius"]["ends"], report["radius"]["stays"]) == ({"browser": 1, "key": 1}, {"key": 1})
    alive = [(await (await world.bearing(one["token"])).get("/api/v1/session")).status_code for one in (early, late)]
    assert alive == [200, 401]
    assert (await olivia.get("/api/v1/principals/alice")).json()["status"] == "disabled"


async def test_only_operators_who_proved_it_lately_contain(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    body = {"principal": "alice", "cause": "x"}
    is_problem(await alice.post("/api/v1/containments", json=body), 403, "out_of_scope")
    is_problem(await (await world.client()).post("/api/v1/containments", json=body), 401)
    for bad in (
        {"cause": "x"}, {"principal": "alice"}, {**body, "session": "ses_" + "0" * 27}, {**body, "since": "yesterday"},
        {**body, "since": "2026-01-01T00:00:00"}, {"session": "ses_" + "0" * 27, "cause": "x", "disable": True},
        {**body, "since": "9999-12-31T23:59:59-12:00"},
    ):  # fmt: skip
        is_problem(await olivia.post("/api/v1/containments", json=bad), 422)
    is_problem(await olivia.post("/api/v1/containments", json={**body, "principal": "alcie"}), 404)
    world.clock.advance(6 * MINUTE)
    is_problem(await olivia.post("/api/v1/containments", json=body), 401, "stale_authentication", "step_up")
    assert (await olivia.post("/api/v1/containments", json={**body, "dry_run": True})).status_code == 200
    assert (await alice.get("/api/v1/session")).status_code == 200


async def test_the_command_shows_a_tree_and_then_ends_it(tmp_path: Path) -> None:
    sessile = Program(tmp_path)
    sessile.add("olga", OPERATOR_PASSWORD, "--role", "operator")
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        alice = await authority.begin("alice")
        root = alice.active.session.id
        key = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"}, label="pipeline")
        agent = await authority.delegate(key.active, to="agent:a", scopes={"build"})
        await authority.revoke(session=root, cause="logout")
        shown = sessile.ok("contain", "--session", root, "--dry-run")
        assert await authority.check(key.token)
        assert shown.splitlines()[0] == f"1 delegation, 1 key of {root} would end."
        assert [line.partition("ses_")[0].rstrip() for line in shown.splitlines()[1:4]] == [
            "over before", "└─ would end", "   └─ would end",
        ]  # fmt: skip
        assert key.active.session.id in shown
        report = sessile.json("contain", "--session", root, "--cause", "stolen")
        assert not await authority.check(key.token)
        assert not await authority.check(agent.token)
        assert (report["state"], report["receipt"]["by"]) == ("closed", "cli")
        assert report["radius"]["ends"] == {"delegated": 1, "key": 1}
        assert datetime.fromisoformat(report["settled"]).tzinfo is not None
        assert sessile.json("contain", "--report", report["id"]) == report
        said = sessile.ok("contain", "--report", report["id"])
        assert "1 delegation, 1 key" in said
        assert "agent:a, service:ci" in said
    assert "Nothing alive of alice" in sessile.ok("contain", "--principal", "alice", "--since", "2h", "--disable")
    for bad in (
        (), ("--session", root, "--principal", "alice"), ("--session", root, "--disable"),
        ("--session", root, "--since", "yesterday"), ("--report", "con_x", "--dry-run"),
    ):  # fmt: skip
        sessile.fails(2, "contain", *bad)
    sessile.fails(1, "contain", "--principal", "alcie")
    sessile.fails(1, "contain", "--report", "con_x")
