"""What operators do: principals, revocations, trees, the audit record."""

from __future__ import annotations

from typing import Any

import pytest

from sessile.stores.protocol import Verified
from tests.server.conftest import MINUTE, Client, World, is_problem

OPERATOR_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/v1/principals", None),
    ("POST", "/api/v1/principals", {"id": "service:ci", "kind": "service"}),
    ("GET", "/api/v1/principals/alice", None),
    ("PATCH", "/api/v1/principals/alice", {"status": "disabled"}),
    ("GET", "/api/v1/principals/alice/sessions", None),
    ("GET", "/api/v1/sessions/ses_000000000000000000000000000/tree", None),
    ("POST", "/api/v1/revocations", {"everyone": True, "cause": "test"}),
    ("POST", "/api/v1/revocations", {"principal": "alice", "cause": "test"}),
    ("GET", "/api/v1/events", None),
    ("DELETE", "/api/v1/principals/alice", None),
    ("POST", "/api/v1/erasures", {"uid": "prn_00000000000000000000000000", "cause": "test"}),
]


async def is_in(client: Client) -> bool:
    return (await client.get("/api/v1/session")).status_code == 200


@pytest.mark.requirement("ASVS V8.2.1", "ASVS V8.3.1", "ASVS V7.4.5")
@pytest.mark.parametrize(("method", "path", "body"), OPERATOR_ROUTES)
async def test_operators_only(world: World, method: str, path: str, body: Any) -> None:
    alice = await world.signed_in("alice")
    key = (await alice.post("/api/v1/keys", json={"owner": "service:x", "scopes": ["read"]})).json()["token"]
    before = len(await world.authority.store.events())
    is_problem(await alice.request(method, path, json=body), 403, "out_of_scope", "none")
    is_problem(await (await world.bearing(key)).request(method, path, json=body), 403, "out_of_scope")
    is_problem(await (await world.client()).request(method, path, json=body), 401, "missing", "sign_in")
    assert len(await world.authority.store.events()) == before


async def test_nobody_delegates_the_role_it_lacks(world: World) -> None:
    """Review 14: everything (`*`) does not cover the reserved scopes."""
    alice = await world.signed_in("alice")
    for scope in ("operator", "introspect"):
        answer = await alice.post("/api/v1/delegations", json={"to": "agent:bot", "scopes": [scope]})
        is_problem(answer, 403, "out_of_scope")


async def test_principals(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    made = await olivia.post(
        "/api/v1/principals",
        json={"id": "service:CI", "kind": "service", "owner": "olivia", "purpose": "builds", "scopes": ["build"]},
    )
    assert made.status_code == 201
    found = made.json()
    assert (found["id"], found["kind"], found["status"], found["owner"], found["purpose"], found["scopes"]) == (
        "service:ci", "service", "active", "olivia", "builds", ["build"],
    )  # fmt: skip
    assert (await olivia.get("/api/v1/principals/service:ci")).json() == found
    assert (await olivia.get("/api/v1/principals/service%3Aci")).json() == found
    is_problem(await olivia.post("/api/v1/principals", json={"id": "service:ci", "kind": "service"}), 409)
    is_problem(await olivia.post("/api/v1/principals", json={"id": "agent:x", "kind": "agent", "owner": "nobody"}), 404)
    is_problem(await olivia.post("/api/v1/principals", json={"id": "x", "kind": "human", "owner": "olivia"}), 422)
    is_problem(await olivia.post("/api/v1/principals", json={"id": "service:a", "kind": "agent"}), 422)
    is_problem(await olivia.get("/api/v1/principals/nobody"), 404)
    for query, names in [
        ({}, ["olivia", "service:ci"]), ({"kind": "service"}, ["service:ci"]), ({"search": "LIV"}, ["olivia"]),
        ({"search": "zz"}, []),
    ]:  # fmt: skip
        page = (await olivia.get("/api/v1/principals", params=query)).json()
        assert [one["id"] for one in page["items"]] == names
    first = (await olivia.get("/api/v1/principals", params={"limit": 1})).json()
    second = (await olivia.get("/api/v1/principals", params={"limit": 1, "after": first["next"]})).json()
    assert [one["id"] for one in first["items"] + second["items"]] == ["olivia", "service:ci"]


@pytest.mark.requirement("ASVS V6.4.6", "ASVS V8.2.3")
async def test_nobody_sets_what_is_not_theirs_to_set(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    for extra in ("password", "epoch", "uid", "status", "policy"):
        body = {"id": "bob", "kind": "human", extra: "x"}
        is_problem(await olivia.post("/api/v1/principals", json=body), 422)
    for extra in ("password", "scopes", "assurance"):
        is_problem(await olivia.patch("/api/v1/principals/olivia", json={"status": "active", extra: "x"}), 422)


@pytest.mark.requirement("ASVS V7.4.2")
async def test_disabling_and_enabling(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    key = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"]})).json()
    answer = await olivia.patch("/api/v1/principals/alice", json={"status": "disabled", "cause": "left"})
    assert answer.status_code == 200
    found = answer.json()
    assert found["status"] == "disabled"
    assert (found["receipt"]["revoked"], found["receipt"]["cause"], found["receipt"]["by"]) == (1, "left", "olivia")
    assert [one["id"] for one in found["receipt"]["handed_out"]] == [key["id"]]
    is_problem(await alice.get("/api/v1/session"), 401, "disabled", "none")
    enabled = await olivia.patch("/api/v1/principals/alice", json={"status": "active"})
    assert enabled.json()["status"] == "active"
    is_problem(await alice.get("/api/v1/session"), 401, "revoked")
    is_problem(await olivia.patch("/api/v1/principals/nobody", json={"status": "disabled"}), 404)


@pytest.mark.requirement("ASVS V7.5.3", "ASVS V8.4.2")
async def test_the_dangerous_needs_five_minutes_freshness(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    world.clock.advance(5 * MINUTE)
    for method, path, body in [
        ("PATCH", "/api/v1/principals/alice", {"status": "disabled"}),
        ("PATCH", "/api/v1/principals/alice", {"status": "active"}),
        ("POST", "/api/v1/revocations", {"everyone": True, "cause": "test"}),
        ("POST", "/api/v1/keys", {"owner": "service:ci", "scopes": ["build"]}),
        ("POST", "/api/v1/principals", {"id": "bob", "kind": "human", "scopes": ["operator"]}),
    ]:
        is_problem(await olivia.request(method, path, json=body), 401, "stale_authentication", "step_up")
    assert await is_in(alice)
    answer = await olivia.post("/api/v1/revocations", json={"principal": "alice", "cause": "test"})
    assert answer.status_code == 201


@pytest.mark.requirement("ASVS V7.4.5")
async def test_revocations(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    alice, alices, bob = [await world.signed_in(name) for name in ("alice", "alice", "bob")]
    session = (await alice.get("/api/v1/session")).json()["id"]
    answer = await olivia.post("/api/v1/revocations", json={"session": session, "cause": "laptop stolen"})
    assert answer.status_code == 201
    receipt = answer.json()
    assert (receipt["revoked"], receipt["cause"], receipt["by"]) == (1, "laptop stolen", "olivia")
    assert receipt["sessions"] == [session]
    assert receipt["effective"] == "2026-01-01T00:00:00Z"
    assert [await is_in(client) for client in (alice, alices, bob)] == [False, True, True]
    answer = await olivia.post("/api/v1/revocations", json={"principal": "alice", "cause": "again"})
    assert answer.json()["revoked"] == 1
    assert [await is_in(client) for client in (alices, bob, olivia)] == [False, True, True]
    answer = await olivia.post("/api/v1/revocations", json={"everyone": True, "cause": "incident"})
    assert (answer.status_code, answer.json()["revoked"]) == (201, None)
    assert [await is_in(client) for client in (bob, olivia)] == [False, False]


async def test_a_typo_is_no_success(world: World) -> None:
    """Review 15: an unknown name or id is an error, not a receipt of nothing."""
    olivia = await world.signed_in("olivia", operator=True)
    is_problem(await olivia.post("/api/v1/revocations", json={"principal": "olivai", "cause": "x"}), 404)
    is_problem(await olivia.post("/api/v1/revocations", json={"session": "ses_" + "0" * 27, "cause": "x"}), 404)
    for body in [
        {"session": "olivia", "cause": "x"}, {"cause": "x"}, {"principal": "olivia"}, {"everyone": False, "cause": "x"},
        {"principal": "olivia", "everyone": True, "cause": "x"}, {"principal": "olivia", "cause": ""},
        {"principal": "olivia", "cause": "x", "keys": True}, {"principal": "olivia", "cause": "x" * 201},
        {"everyone": True, "cause": "x", "lock_sign_in": 0}, {"everyone": "true", "cause": "x"},
    ]:  # fmt: skip
        is_problem(await olivia.post("/api/v1/revocations", json=body), 422)
    assert await is_in(olivia)


async def test_everyone_spares_keys_and_can_lock_sign_in(world: World) -> None:
    """Review 16."""
    olivia = await world.signed_in("olivia", operator=True)
    await world.person("alice", password=True)
    key = (await olivia.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"]})).json()["token"]
    body = {"everyone": True, "cause": "incident", "lock_sign_in": 600}
    assert (await olivia.post("/api/v1/revocations", json=body)).status_code == 201
    assert await is_in(await world.bearing(key))
    credentials = {"username": "alice", "password": "correct horse battery"}
    locked = await (await world.client()).post("/api/v1/session", json=credentials)
    is_problem(locked, 409)
    assert "sign-in is locked by an operator until 00:10 UTC" in locked.json()["detail"]
    wrong = {"username": "alice", "password": "x"}
    is_problem(await (await world.client()).post("/api/v1/session", json=wrong), 401)
    world.clock.advance(10 * MINUTE)
    assert (await (await world.client()).post("/api/v1/session", json=credentials)).status_code == 201
    olivia = await world.signed_in("olivia")
    body = {"everyone": True, "cause": "incident", "keys": True}
    assert (await olivia.post("/api/v1/revocations", json=body)).status_code == 201
    assert not await is_in(await world.bearing(key))


async def test_trees_and_a_principals_sessions(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    root = (await alice.get("/api/v1/session")).json()["id"]
    child = (await alice.post("/api/v1/delegations", json={"to": "agent:bot", "scopes": ["read"]})).json()
    bot = await world.bearing(child["token"])
    below = (await bot.post("/api/v1/delegations", json={"to": "agent:helper", "scopes": ["read"]})).json()
    tree = (await olivia.get(f"/api/v1/sessions/{root}/tree")).json()["items"]
    assert [(one["id"], one["parent"]) for one in tree] == [
        (root, None), (child["id"], root), (below["id"], child["id"]),
    ]  # fmt: skip
    listed = (await olivia.get("/api/v1/principals/agent:bot/sessions")).json()["items"]
    assert [one["id"] for one in listed] == [child["id"]]
    await olivia.post("/api/v1/revocations", json={"session": root, "cause": "test"})
    tree = (await olivia.get(f"/api/v1/sessions/{root}/tree")).json()["items"]
    assert [one["live"] for one in tree] == [False, False, False]
    is_problem(await olivia.get("/api/v1/principals/nobody/sessions"), 404)
    is_problem(await olivia.get("/api/v1/sessions/ses_" + "0" * 27 + "/tree"), 404)


async def test_the_audit_record_in_pages(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    for n in range(5):
        await world.authority.register(f"person{n}")
    after, seen = 0, []
    while True:
        page = (await olivia.get("/api/v1/events", params={"after": after, "limit": 2})).json()
        seen += [one["seq"] for one in page["items"]]
        if page["next"] is None:
            break
        after = int(page["next"])
    everything = await world.authority.store.events()
    assert seen == [event.seq for event in everything]
    first = (await olivia.get("/api/v1/events")).json()["items"]
    assert {"principal.registered", "session.begun"} <= {one["name"] for one in first}
    assert olivia.cookie is not None
    assert olivia.cookie not in str(first)
    is_problem(await olivia.get("/api/v1/events?after=-1"), 422)
    is_problem(await olivia.get("/api/v1/events?after=x"), 422)


@pytest.mark.requirement("ASVS V7.4.2", "63B-4 4.5-a")
async def test_an_account_is_deleted_and_what_named_it_erased(world: World) -> None:
    """Review 28: erasure. The receipt says what was done; the record shows no name and proves itself."""
    alice = await world.signed_in("alice")
    olivia = await world.signed_in("olivia", operator=True)
    uid = (await olivia.get("/api/v1/principals/alice")).json()["uid"]
    gone = await olivia.delete("/api/v1/principals/alice", params={"erase": True, "cause": "asked for it"})
    assert gone.status_code == 200
    receipt = gone.json()
    assert (receipt["revoked"], receipt["cause"], receipt["erased"]["uid"]) == (1, "asked for it", uid)
    assert receipt["erased"]["events"] > 1
    assert not await is_in(alice)
    is_problem(await olivia.get("/api/v1/principals/alice"), 404)
    events = (await olivia.get("/api/v1/events", params={"limit": 100})).json()["items"]
    assert {event["principal"] for event in events if event["uid"] == uid} == {"erased"}
    assert "alice" not in str(events)
    found = await world.authority.store.verify_events(Verified())
    assert found.broken is None


async def test_one_that_was_deleted_before_is_erased_by_its_uid(world: World) -> None:
    await world.signed_in("alice")
    olivia = await world.signed_in("olivia", operator=True)
    uid = (await olivia.get("/api/v1/principals/alice")).json()["uid"]
    is_problem(await olivia.post("/api/v1/erasures", json={"uid": uid, "cause": "x"}), 409)
    deleted = await olivia.delete("/api/v1/principals/alice")
    assert deleted.json()["erased"] is None
    assert "alice" in str((await olivia.get("/api/v1/events", params={"limit": 100})).json())
    erased = await olivia.post("/api/v1/erasures", json={"uid": uid, "cause": "asked for"})
    assert (erased.status_code, erased.json()["uid"], erased.json()["sessions"]) == (201, uid, 1)
    again = await olivia.post("/api/v1/erasures", json={"uid": uid, "cause": "asked for"})
    assert (again.status_code, again.json()["events"]) == (201, 0)
    world.clock.advance(5 * MINUTE)
    is_problem(await olivia.post("/api/v1/erasures", json={"uid": uid, "cause": "x"}), 401, "stale_authentication")
    is_problem(await olivia.delete("/api/v1/principals/olivia"), 401, "stale_authentication", "step_up")
