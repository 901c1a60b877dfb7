"""`/api/v1/session`: sign in, who am I, step up, sign out."""

from __future__ import annotations

import asyncio

import pytest

from sessile import Policy
from tests.server.conftest import COOKIE, MINUTE, NEW, PASSWORD, World, is_problem

SESSION = "/api/v1/session"


@pytest.mark.requirement(
    "ASVS V3.3.1", "ASVS V3.3.2", "ASVS V3.3.3", "ASVS V3.3.4", "63B-4 5.1-d", "63B-4 5.1.1-a", "63B-4 5.1.1-e",
    "CS-SESS-4",
)  # fmt: skip
async def test_signing_in(world: World) -> None:
    await world.person("alice", password=True)
    client = await world.client(headers={"User-Agent": "curl/8.5.0"})
    answer = await client.post(SESSION, json={"username": "Alice", "password": PASSWORD})
    assert answer.status_code == 201
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(COOKIE)]
    token, *attributes = cookie.split("; ")
    assert token.startswith(f"{COOKIE}=slb_")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]
    assert "no-store" in answer.headers["cache-control"]
    assert token.partition("=")[2] not in answer.text
    session = answer.json()
    assert session["principal"] == "alice"
    assert session["kind"] == "browser"
    assert session["assurance"] == 1
    assert [event["method"] for event in session["authentications"]] == ["password"]
    assert session["created"] == session["last_seen"] == "2026-01-01T00:00:00Z"
    assert session["idle_expires"] == "2026-01-01T01:00:00Z"
    assert session["expires"] == "2026-01-02T00:00:00Z"
    assert session["scopes"] == ["*"]
    assert session["step_up"] == []
    assert session["client"] == {"label": "curl", "ip": "127.0.0.1", "user_agent": "curl/8.5.0"}
    again = await client.get(SESSION)
    assert (again.status_code, again.json()) == (200, session)


@pytest.mark.requirement("ASVS V6.3.8")
async def test_unknown_wrong_and_disabled_get_the_same_answer(world: World) -> None:
    for name in ("alice", "dora"):
        await world.person(name, password=True)
    await world.authority.disable("dora", cause="left")
    client = await world.client()
    answers = [
        await client.post(SESSION, json={"username": name, "password": password})
        for name, password in (("alice", NEW), ("nobody", PASSWORD), ("dora", PASSWORD), ("no name", PASSWORD))
    ]
    is_problem(answers[0], 401)
    assert len({(one.status_code, one.content, tuple(one.headers.items())) for one in answers}) == 1
    assert client.cookie is None


async def test_signing_in_again_ends_the_session_that_the_browser_had(world: World) -> None:
    """Review 23: signing in over a living session revokes it."""
    await world.person("alice", password=True)
    client = await world.signed_in("alice")
    before = client.cookie
    assert before is not None
    first = (await client.get(SESSION)).json()["id"]
    client.cookies.clear()
    answer = await client.post(
        SESSION, json={"username": "alice", "password": PASSWORD}, headers={"Cookie": f"{COOKIE}={before}"}
    )
    assert answer.status_code == 201
    ended = await world.authority.session(first)
    assert (ended.live, ended.cause) == (False, "replaced")


async def test_without_a_session_there_is_none(world: World) -> None:
    client = await world.client()
    answer = await client.get(SESSION)
    is_problem(answer, 401, "missing", "sign_in")
    assert answer.headers["www-authenticate"] == 'Bearer realm="sessile"'
    is_problem(await client.delete(SESSION), 401, "missing")
    is_problem(await client.post(f"{SESSION}/step-up", json={"method": "password", "password": "x"}), 401, "missing")


@pytest.mark.requirement("ASVS V7.4.1", "CSD-1", "63B-4 5.1-i3")
async def test_signing_out(world: World) -> None:
    client = await world.signed_in("alice")
    token = client.cookie
    answer = await client.delete(SESSION)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}=; ")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert answer.headers["clear-site-data"] == '"storage"'
    client.cookies.clear()
    replayed = await client.get(SESSION, headers={"Cookie": f"{COOKIE}={token}"})
    is_problem(replayed, 401, "revoked", "sign_in")
    assert "set-cookie" not in replayed.headers  # review 18e: a denial never clears


@pytest.mark.requirement("ASVS V7.2.4", "63B-4 5.2-d")
async def test_authenticating_again(world: World) -> None:
    await world.person("alice", password=True)
    client = await world.signed_in("alice")
    before = client.cookie
    world.clock.advance(20 * MINUTE)
    wrong = await client.post(f"{SESSION}/step-up", json={"method": "password", "password": NEW})
    is_problem(wrong, 401)
    is_problem(await client.delete("/api/v1/sessions?except=current"), 401, "stale_authentication", "step_up")
    answer = await client.post(f"{SESSION}/step-up", json={"method": "password", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json()["expires"] == "2026-01-02T00:20:00Z"
    assert client.cookie not in (None, before)
    old = await world.client(headers={"Cookie": f"{COOKIE}={before}"})
    is_problem(await old.get(SESSION), 401, "superseded", "retry")
    assert (await client.delete("/api/v1/sessions?except=current")).status_code == 200


@pytest.mark.requirement("ASVS V7.3.1", "ASVS V7.3.2")
async def test_limits(world: World) -> None:
    client = await world.signed_in("alice")
    world.clock.advance(60 * MINUTE)
    is_problem(await client.get(SESSION), 401, "idle", "sign_in")


async def test_each_kind_of_token_at_its_own_place(world: World) -> None:
    """A browser's token counts only as the cookie, a key's only as a bearer token."""
    client = await world.signed_in("alice")
    assert client.cookie is not None
    is_problem(await (await world.bearing(client.cookie)).get(SESSION), 401, "missing")
    active = await world.authority.check(client.cookie)
    assert active
    key = await world.authority.mint_key(active, owner="service:ci", scopes={"read"})
    found = (await (await world.bearing(str(key.token))).get(SESSION)).json()
    assert (found["principal"], found["kind"], found["scopes"]) == ("service:ci", "key", ["read"])
    as_cookie = await world.client(headers={"Cookie": f"{COOKIE}={key.token}"})
    is_problem(await as_cookie.get(SESSION), 401, "missing")


async def test_too_many_passwords_at_once(world: World) -> None:
    await world.person("alice")
    client = await world.client()
    crowd = [client.post(SESSION, json={"username": "alice", "password": NEW}) for _ in range(60)]
    answers = await asyncio.gather(*crowd)
    busy = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert busy
    is_problem(busy[0], 429)
    assert int(busy[0].headers["retry-after"]) > 0


async def test_an_operator_below_its_policy_can_see_and_end_its_session_only(world: World) -> None:
    await world.authority.set_policy(Policy.aal2(version=2, assurance=2))
    client = await world.signed_in("alice")
    assert (await client.get(SESSION)).json()["assurance"] == 1
    is_problem(await client.get("/api/v1/sessions"), 401, "assurance", "step_up")
    assert (await client.delete(SESSION)).status_code == 204


async def test_a_disabled_person_is_out_at_once(world: World) -> None:
    client = await world.signed_in("alice")
    await world.authority.disable("alice", cause="left")
    is_problem(await client.get(SESSION), 401, "disabled", "none")
