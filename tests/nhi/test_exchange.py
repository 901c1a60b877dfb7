"""RFC 8693 token exchange, what introspection says of it, and what else the API does for those that are no people."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from sessile import Issued
from sessile.kernel.budget import Budget
from sessile.server.api.token import ACCESS_TOKEN, GRANT
from tests.server.conftest import MINUTE, Client, World, is_problem, opened
from tests.server.conftest import world as world


async def exchange(client: Client, subject: str, **form: Any) -> Any:
    asked = {"grant_type": GRANT, "subject_token": subject, "subject_token_type": ACCESS_TOKEN, **form}
    return await client.post("/api/v1/token", data={name: value for name, value in asked.items() if value is not None})


async def exchanged(client: Client, subject: str, **form: Any) -> Any:
    answer = await exchange(client, subject, **form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def introspected(world: World, token: str) -> Any:
    if await world.authority.store.principal(name="olivia") is None:
        await world.person("olivia", operator=True)
    top = (await world.authority.begin("olivia")).active
    asker = await world.authority.mint_key(top, owner="service:api", scopes={"introspect"})
    return (await (await world.bearing(asker.token)).post("/api/v1/introspect", data={"token": token})).json()


async def handed(world: World) -> tuple[Issued, Issued]:
    """Alice's agent, which acts for her, and the key of another of her agents."""
    await world.person("alice")
    alice = await world.authority.begin("alice")
    agent = await world.authority.delegate(alice.active, to="agent:a", scopes={"read", "write"})
    key = await world.authority.mint_key(alice.active, owner="agent:b", scopes={"call"})
    return agent, key


async def test_a_token_is_exchanged_for_a_narrower_one_in_another_agents_hands(world: World) -> None:
    agent, key = await handed(world)
    anybody = await world.client()
    made = await exchanged(
        anybody, agent.token, actor_token=str(key.token), actor_token_type=ACCESS_TOKEN, scope="read"
    )
    assert made["access_token"].startswith("sld_")
    assert (made["issued_token_type"], made["token_type"], made["scope"]) == (ACCESS_TOKEN, "Bearer", "read")
    assert 0 < made["expires_in"] <= 24 * 3600
    said = await introspected(world, made["access_token"])
    assert (said["active"], said["sub"], said["client_id"], said["scope"]) == (True, "alice", "agent:b", "read")
    assert said["act"] == {"sub": "agent:b", "act": {"sub": "agent:a"}}
    # Whoever asks with its own token acts itself; and it can hand on.
    b = await world.bearing(key.token)
    assert (await exchanged(b, agent.token))["scope"] == "read write"
    further = await exchanged(await world.client(), made["access_token"])
    assert (await introspected(world, further["access_token"]))["act"] == {
        "sub": "agent:b", "act": {"sub": "agent:b", "act": {"sub": "agent:a"}},
    }  # fmt: skip
    await world.authority.disable("alice", cause="left")
    for each in (made, further):
        assert await introspected(world, each["access_token"]) == {"active": False}


async def test_what_is_not_exchanged(world: World) -> None:
    agent, _ = await handed(world)
    await world.person("bob")
    bob = await world.authority.begin("bob")
    foreign = await world.authority.mint_key(bob.active, owner="agent:bobs", scopes={"read"})
    anybody = await world.client()

    async def error(subject: str, **form: Any) -> str:
        answer = await exchange(anybody, subject, **form)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == {"error", "error_description"}
        assert str(subject) not in answer.text
        found: str = answer.json()["error"]
        return found

    actor = {"actor_token": str(foreign.token), "actor_token_type": ACCESS_TOKEN}
    assert await error(agent.token, scope="read deploy") == "invalid_scope"
    assert await error(agent.token, scope='"') == "invalid_scope"
    assert await error(agent.token, **actor) == "invalid_request", "another's agent (review 14)"
    assert await error(agent.token, grant_type="password") == "unsupported_grant_type"
    assert await error(agent.token, audience="https://elsewhere") == "invalid_target"
    assert await error(agent.token, actor_token="x") == "invalid_request"
    assert await error(agent.token, requested_token_type="urn:x") == "invalid_request"
    assert await error("nonsense") == "invalid_request"
    assert await error(str((await world.authority.begin("alice")).token)) == "invalid_request", "a browser's"
    deeper = agent.token
    for _ in range(7):
        deeper = (await exchanged(anybody, deeper))["access_token"]
    assert await error(deeper) == "invalid_request", "the chain is as long as the policy allows"
    await world.authority.revoke(session=agent.active.session.id, cause="x")
    assert await error(agent.token) == "invalid_request"
    is_problem(await anybody.post("/api/v1/token", json={"grant_type": GRANT}), 415)


async def test_a_budget_is_429_with_retry_after(world: World) -> None:
    agent, _ = await handed(world)
    alice, olivia = await world.signed_in("alice"), await world.signed_in("olivia", operator=True)
    path = "/api/v1/principals/agent:a/budget"
    assert (await alice.get(path)).json()["per_minute"] is None
    set_ = await alice.put(path, json={"per_minute": 3})
    assert (set_.status_code, set_.json()["per_minute"]) == (200, 3)
    a = await world.bearing(agent.token)
    # Whatever an agent says of its calls, they are counted.
    for headers in ({}, {"Sessile-Activity": "none"}, {"Accept": "text/event-stream"}):
        assert (await a.get("/api/v1/session", headers=headers)).status_code == 200
    over = await a.get("/api/v1/session")
    is_problem(over, 429, "over_budget", "retry")
    assert 0 < int(over.headers["retry-after"]) <= 60
    assert (await alice.get("/api/v1/session")).status_code == 200
    world.clock.advance(MINUTE)
    assert (await a.get("/api/v1/session")).status_code == 200
    assert (await olivia.get(path)).json()["spent"] >= 0
    is_problem(await a.put(path, json={"overall": 10**6}), 403)
    is_problem(await (await world.signed_in("bob")).delete(path), 403)
    is_problem(await alice.put(path, json={}), 422)
    assert (await alice.delete(path)).json()["set"] is None
    await world.authority.set_budget("agent:a", Budget(overall=1))
    assert (await a.get("/api/v1/session")).status_code == 200
    assert int((await a.get("/api/v1/session")).headers["retry-after"]) == 86_400


@pytest.mark.requirement("NHI7")
async def test_keys_are_rotated_over_http(world: World) -> None:
    alice = await world.signed_in("alice")
    key = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["read"]})).json()
    user = await world.client(headers={"Authorization": f"Bearer {key['token']}", "User-Agent": "curl/8"})
    world.clock.advance(2 * MINUTE)
    assert (await user.get("/api/v1/session")).status_code == 200
    answer = await alice.post(f"/api/v1/keys/{key['id']}/rotate", json={"overlap": 60})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert new["token"].startswith("slk_")
    assert (new["principal"], new["scopes"]) == ("service:ci", ["read"])
    await world.authority.traces.flush(world.authority.store)
    listed = {one["id"]: one for one in (await alice.get("/api/v1/keys")).json()["items"]}
    assert [listed[one["id"]]["rotated_out"] for one in (key, new)] == [True, False]
    assert listed[key["id"]]["last_used"] == "2026-01-01T00:02:00Z"
    assert listed[new["id"]]["last_used"] is None
    assert (await user.get("/api/v1/session")).status_code == 200
    world.clock.advance(MINUTE)
    is_problem(await user.get("/api/v1/session"), 401, "replayed")
    is_problem(await alice.post(f"/api/v1/keys/{key['id']}/rotate"), 409)
    is_problem(await (await world.signed_in("bob")).post(f"/api/v1/keys/{new['id']}/rotate"), 403)


async def test_an_operator_acts_as_a_person_in_its_browser(world: World) -> None:
    await world.person("alice", password=True)
    olivia = await world.signed_in("olivia", operator=True)
    answer = await olivia.post("/api/v1/impersonations", json={"principal": "alice", "cause": "ticket 7"})
    assert answer.status_code == 201, answer.text
    me = (await olivia.get("/api/v1/session")).json()
    assert (me["principal"], me["kind"], me["label"], me["step_up"]) == ("alice", "delegated", "ticket 7", [])
    for refused in (
        await olivia.put("/api/v1/password", json={"current": "correct horse battery", "new": "seven green bottles"}),
        await olivia.post("/api/v1/session/step-up", json={"method": "password", "password": "correct horse battery"}),
        await olivia.post("/api/v1/factors/totp", json={}),
        await olivia.delete("/api/v1/sessions", params={"except": "current"}),
        await olivia.post("/api/v1/keys", json={"owner": "service:x", "scopes": ["read"]}),
        await olivia.post("/api/v1/delegations", json={"to": "agent:x", "scopes": ["read"]}),
        await olivia.get("/api/v1/principals"),
        await olivia.put("/api/v1/principals/agent:x/budget", json={"overall": 1}),
    ):
        assert refused.status_code in (401, 403), refused.text
        assert refused.json()["reason"] in ("out_of_scope", "stale_authentication")
    alice = await world.signed_in("alice")
    listed = [one for one in (await alice.get("/api/v1/sessions")).json()["items"] if one["kind"] == "delegated"]
    assert [one["id"] for one in listed] == [me["id"]]
    assert "olivia acts as alice: ticket 7" in (await alice.get("/account")).text
    assert (await alice.delete(f"/api/v1/sessions/{me['id']}")).status_code == 200
    is_problem(await olivia.get("/api/v1/session"), 401, "revoked")
    is_problem(await alice.post("/api/v1/impersonations", json={"principal": "olivia", "cause": "x"}), 403)


async def test_there_is_one_way_in(tmp_path: Any) -> None:
    """NHI4: neither an implicit nor a password grant."""
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        anybody = await world.client()
        for grant in ("password", "client_credentials", "authorization_code", "implicit"):
            answer = await exchange(anybody, "x", grant_type=grant)
            assert answer.json()["error"] == "unsupported_grant_type"
