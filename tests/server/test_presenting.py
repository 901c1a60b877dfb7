"""What lets somebody in, and what of a request does not: names in headers, tokens elsewhere than in their place."""

from __future__ import annotations

import pytest

from sessile import Method
from sessile.kernel.event import EventName
from sessile.kernel.token import TokenKind, new_token
from tests.server.conftest import COOKIE, World, is_problem

SESSION = "/api/v1/session"


@pytest.mark.requirement("63B-4 5.1-b")
async def test_no_header_that_names_somebody_stands_for_the_secret(world: World) -> None:
    await world.person("olga", operator=True)
    names = (
        "Remote-User", "Remote_User", "X-Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "Remote-Session",
        "X-Forwarded-Email", "X-Webauth-User", "Tailscale-User-Login",
    )  # fmt: skip
    named = dict.fromkeys(names, "olga")
    client = await world.client(headers={**named, "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"})
    for path in (SESSION, "/api/v1/principals", "/forward-auth"):
        is_problem(await client.get(path), 401, "missing", "sign_in")
    signed_in = await world.signed_in("bob")
    assert (await signed_in.get(SESSION, headers=named)).json()["principal"] == "bob"


@pytest.mark.requirement("CS-SESS-3")
async def test_a_token_counts_in_its_cookie_alone(world: World) -> None:
    client = await world.signed_in("alice")
    token, other = str(client.cookie), await world.client()
    for name in (COOKIE, "sessile", "session", "token", "access_token"):
        is_problem(await other.get(SESSION, params={name: token}), 401, "missing")
        is_problem(await other.get(SESSION, headers={name: token}), 401, "missing")
        is_problem(await other.get(SESSION, headers={"X-Session": token, "X-Auth-Token": token}), 401, "missing")
        is_problem(await other.request("DELETE", SESSION, json={name: token}), 401, "missing")
        form = await other.post("/account/sessions/end", data={name: token}, headers={"Sec-Fetch-Site": "same-origin"})
        assert form.status_code in (401, 303, 404), form.text
    is_problem(await other.get(f"{SESSION};{COOKIE}={token}"), 404)
    assert (await client.get(SESSION)).status_code == 200, "none of that did anything to it"


@pytest.mark.requirement("CS-SESS-1")
async def test_what_the_server_did_not_make_is_denied_not_taken_up_and_counted(world: World) -> None:
    made_up = str(new_token(TokenKind.BROWSER, "0"))
    await world.person("alice", password=True)
    for _ in range(3):
        stranger = await world.client(headers={"Cookie": f"{COOKIE}={made_up}"})
        refused = await stranger.get(SESSION)
        is_problem(refused, 401, "unknown", "sign_in")
        assert "set-cookie" not in refused.headers
    victim = await world.client()
    begun = await victim.post(
        SESSION, json={"username": "alice", "password": "correct horse battery"},
        headers={"Cookie": f"{COOKIE}={made_up}"},
    )  # fmt: skip
    assert (begun.status_code, victim.cookie != made_up) == (201, True), "no fixation"
    assert not await world.authority.check(made_up)
    await world.server.denials.write(world.authority.store)
    (line,) = await world.authority.store.events(names=[EventName.REQUESTS_DENIED])
    assert line.details["unknown"] in (3, 4)


@pytest.mark.requirement("CSF PR.AA-03")
async def test_every_session_says_how_its_principal_proved_itself(world: World) -> None:
    operator = await world.signed_in("olga", operator=True)
    issued = await world.authority.begin("olga", method=Method.HARDWARE_KEY)
    await world.authority.register("service:ci", owner="olga", purpose="builds")
    await world.authority.mint_key(issued.active, owner="service:ci", scopes={"read"})
    for name, assurance, methods in (
        ("olga", [1, 3], {"password", "hardware_key"}),
        ("service:ci", [3], {"hardware_key"}),
    ):
        listed = (await operator.get(f"/api/v1/principals/{name}/sessions")).json()["items"]
        assert sorted(one["assurance"] for one in listed) == assurance
        assert all(one["authentications"] for one in listed)
        assert {event["method"] for one in listed for event in one["authentications"]} == methods
