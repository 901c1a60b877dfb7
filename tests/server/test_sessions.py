"""`/api/v1/sessions` and `/api/v1/password`: what one ends and changes oneself."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.conftest import MINUTE, NEW, PASSWORD, Client, World, is_problem

SESSIONS = "/api/v1/sessions"
UNKNOWN = "ses_" + "0" * 27


async def mine(client: Client) -> str:
    found: str = (await client.get("/api/v1/session")).json()["id"]
    return found


async def out(client: Client, reason: str = "revoked") -> None:
    is_problem(await client.get("/api/v1/session"), 401, reason, "sign_in")


@pytest.mark.requirement("ASVS V7.5.2")
async def test_listing_and_ending_one(world: World) -> None:
    here, there, bob = [await world.signed_in(name) for name in ("alice", "alice", "bob")]
    page = (await here.get(SESSIONS)).json()
    assert page["next"] is None
    assert {one["id"]: one["current"] for one in page["items"]} == {await mine(here): True, await mine(there): False}
    answer = await here.delete(f"{SESSIONS}/{await mine(there)}")
    assert answer.status_code == 200
    receipt = answer.json()
    assert (receipt["revoked"], receipt["by"], receipt["reach"]) == (1, "alice", "engine")
    assert receipt["durable"] is True
    await out(there)
    assert len((await here.get(SESSIONS)).json()["items"]) == 1
    assert (await bob.get(SESSIONS)).status_code == 200


async def test_pages(world: World) -> None:
    client = await world.signed_in("alice")
    for _ in range(4):
        await world.authority.begin("alice")
    seen: list[str] = []
    after = None
    while True:
        page = (await client.get(SESSIONS, params={"limit": 2} | ({"after": after} if after else {}))).json()
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.requirement("ASVS V8.2.2")
async def test_anothers_session_is_as_unknown_as_none(world: World) -> None:
    alice, bob = await world.signed_in("alice"), await world.signed_in("bob")
    theirs = await alice.delete(f"{SESSIONS}/{await mine(bob)}")
    none = await alice.delete(f"{SESSIONS}/{UNKNOWN}")
    is_problem(theirs, 404)
    is_problem(none, 404)
    assert theirs.text.replace(await mine(bob), UNKNOWN) == none.text
    assert (await bob.get("/api/v1/session")).status_code == 200


async def test_what_one_handed_out_can_be_taken_back(world: World) -> None:
    alice = await world.signed_in("alice")
    given = (await alice.post("/api/v1/delegations", json={"to": "agent:bot", "scopes": ["read"]})).json()
    assert (await alice.delete(f"{SESSIONS}/{given['id']}")).json()["revoked"] == 1
    is_problem(await (await world.bearing(given["token"])).get("/api/v1/session"), 401, "revoked")


@pytest.mark.requirement("ASVS V7.5.2")
async def test_ending_needs_a_fresh_authentication(world: World) -> None:
    here, there = await world.signed_in("alice"), await world.signed_in("alice")
    world.clock.advance(15 * MINUTE)
    for path in (f"{SESSIONS}?except=current", f"{SESSIONS}/{await mine(there)}"):
        is_problem(await here.delete(path), 401, "stale_authentication", "step_up")
    assert (await there.get("/api/v1/session")).status_code == 200


async def test_ending_all_others(world: World) -> None:
    here, *others = [await world.signed_in("alice") for _ in range(3)]
    bob = await world.signed_in("bob")
    is_problem(await here.delete(SESSIONS), 422)
    is_problem(await here.delete(f"{SESSIONS}?except=none"), 422)
    answer = await here.delete(f"{SESSIONS}?except=current")
    assert (answer.status_code, answer.json()["revoked"]) == (200, 2)
    for other in others:
        await out(other)
    for client in (here, bob):
        assert (await client.get("/api/v1/session")).status_code == 200


async def test_ending_the_current_one_removes_the_cookie(world: World) -> None:
    here = await world.signed_in("alice")
    answer = await here.delete(f"{SESSIONS}/{await mine(here)}")
    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.requirement("ASVS V6.2.2", "ASVS V6.2.3", "ASVS V7.4.3", "ASVS V7.2.4")
async def test_changing_the_password_ends_the_others(world: World) -> None:
    await world.person("alice", password=True)
    here, there = await world.signed_in("alice"), await world.signed_in("alice")
    before = here.cookie
    answer = await here.put("/api/v1/password", json={"current": PASSWORD, "new": NEW})
    assert (answer.status_code, answer.content) == (204, b"")
    assert here.cookie not in (None, before)
    assert (await here.get("/api/v1/session")).status_code == 200
    await out(there)
    client = await world.client()
    for password, status in ((PASSWORD, 401), (NEW, 201)):
        signed = await client.post("/api/v1/session", json={"username": "alice", "password": password})
        assert signed.status_code == status


@pytest.mark.parametrize(
    ("current", "new", "status"),
    [(NEW, NEW, 401), (PASSWORD, PASSWORD, 422), (PASSWORD, "short", 422), (PASSWORD, "a" * 300, 422)],
)
async def test_a_refused_change_changes_nothing(world: World, current: str, new: str, status: int) -> None:
    await world.person("alice", password=True)
    here, there = await world.signed_in("alice"), await world.signed_in("alice")
    answer = await here.put("/api/v1/password", json={"current": current, "new": new})
    is_problem(answer, status)
    assert new not in answer.text
    for client in (here, there):
        assert (await client.get("/api/v1/session")).status_code == 200


async def test_two_changes_at_once_from_two_sessions(world: World) -> None:
    await world.person("alice", password=True)
    one, two = await world.signed_in("alice"), await world.signed_in("alice")
    answers = await asyncio.gather(
        one.put("/api/v1/password", json={"current": PASSWORD, "new": NEW}),
        two.put("/api/v1/password", json={"current": PASSWORD, "new": "nine red balloons"}),
    )
    assert [answer.status_code for answer in answers].count(204) == 1
    alive = [(await client.get("/api/v1/session")).status_code for client in (one, two)]
    assert alive == [200 if answer.status_code == 204 else 401 for answer in answers]


async def test_a_key_changes_no_password(world: World) -> None:
    await world.person("alice", password=True)
    alice = await world.signed_in("alice")
    key = (await alice.post("/api/v1/keys", json={"owner": "alice", "scopes": ["read"]})).json()
    answer = await (await world.bearing(key["token"])).put("/api/v1/password", json={"current": PASSWORD, "new": NEW})
    is_problem(answer, 403, "out_of_scope")
