"""Delegations, keys, and what holders and resource servers do with tokens (RFC 7009, RFC 7662)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import MINUTE, Client, World, is_problem


async def reason(client: Client) -> str | None:
    answer = await client.get("/api/v1/session")
    return None if answer.status_code == 200 else answer.json()["reason"]


async def handed(client: Client, what: str, **body: Any) -> Any:
    answer = await client.post(f"/api/v1/{what}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.requirement("NHI5")
async def test_a_delegation_dies_with_its_giver(world: World) -> None:
    alice = await world.signed_in("alice")
    given = await handed(alice, "delegations", to="agent:bot", scopes=["deploy"], lifetime=600, label="release 7")
    assert given["token"].startswith("sld_")
    assert (given["principal"], given["kind"], given["scopes"], given["label"]) == (
        "agent:bot", "delegated", ["deploy"], "release 7",
    )  # fmt: skip
    assert given["expires"] == "2026-01-01T00:10:00Z"
    bot = await world.bearing(given["token"])
    assert await reason(bot) is None
    is_problem(
        await bot.post("/api/v1/delegations", json={"to": "agent:other", "scopes": ["read"]}), 403, "out_of_scope"
    )
    assert (await alice.delete("/api/v1/session")).status_code == 204
    assert await reason(bot) == "revoked"


async def test_handing_out_is_refused(world: World) -> None:
    """Review 14: never to people, never another's, never wider."""
    alice, bob = await world.signed_in("alice"), await world.signed_in("bob")
    await handed(bob, "delegations", to="agent:bobs", scopes=["read"])
    for body in ({"to": "bob", "scopes": ["read"]}, {"to": "agent:bobs", "scopes": ["read"]}):
        is_problem(await alice.post("/api/v1/delegations", json=body), 403, "out_of_scope", "none")
        is_problem(
            await alice.post("/api/v1/keys", json={"owner": body["to"], "scopes": ["read"]}), 403, "out_of_scope"
        )
    for body in (
        {"to": "agent:x"}, {"scopes": []}, {"to": "agent:x", "scopes": "read"}, {"to": "agent:x", "scopes": ["a b"]},
        {"to": "agent:x", "scopes": [""]}, {"to": "agent:x", "scopes": ["r"], "lifetime": 0},
        {"to": "agent:x", "scopes": ["r"], "lifetime": 1.5}, {"to": "agent:x", "scopes": ["r"], "lifetime": 10**12},
        {"to": "x/y", "scopes": ["r"]}, {"to": "agent:x", "scopes": [f"s{n}" for n in range(101)]},
    ):  # fmt: skip
        is_problem(await alice.post("/api/v1/delegations", json=body), 422)


@pytest.mark.requirement("63B-4 5.1.2-a")
async def test_keys(world: World) -> None:
    alice, bob = await world.signed_in("alice"), await world.signed_in("bob")
    key = await handed(alice, "keys", owner="service:ci", scopes=["build"], lifetime=3600, label="runner")
    assert key["token"].startswith("slk_")
    listed = (await alice.get("/api/v1/keys")).json()["items"]
    assert [one["id"] for one in listed] == [key["id"]]
    assert key["token"] not in str(listed)
    assert (await bob.get("/api/v1/keys")).json()["items"] == []
    holder = await world.bearing(key["token"])
    answer = await holder.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"]})
    is_problem(answer, 401, "stale_authentication")  # a key is no sign that anybody is there
    await alice.delete("/api/v1/session")
    assert await reason(holder) is None  # an ordinary sign-out leaves a pipeline's key alive
    is_problem(await bob.delete(f"/api/v1/keys/{key['id']}"), 404)
    alice = await world.signed_in("alice")
    session = (await alice.get("/api/v1/session")).json()["id"]
    is_problem(await alice.delete(f"/api/v1/keys/{session}"), 404)
    assert (await alice.delete(f"/api/v1/keys/{key['id']}")).json()["revoked"] == 1
    assert await reason(holder) == "revoked"


@pytest.mark.requirement("NHI2")
@pytest.mark.parametrize("kind", ["keys", "delegations", "browser"])
async def test_whoever_holds_a_token_may_end_it(world: World, kind: str) -> None:
    alice = await world.signed_in("alice")
    if kind == "browser":
        assert alice.cookie is not None
        token, holder = alice.cookie, alice
    else:
        token = (await handed(alice, kind, **{"owner" if kind == "keys" else "to": "agent:x"}, scopes=["r"]))["token"]
        holder = await world.bearing(token)
    finder = await world.client()
    answers = [
        await finder.post("/api/v1/revoke", data={"token": text})
        for text in ("nonsense", token[:-1] + "~", token, token, "slk_" + "0" * 50)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    assert await reason(holder) == "revoked"


async def test_revoke_takes_a_form_with_a_token(world: World) -> None:
    client = await world.client()
    is_problem(await client.post("/api/v1/revoke", data={}), 422)
    is_problem(await client.post("/api/v1/revoke", data={"token": "x" * 5000}), 422)
    is_problem(await client.post("/api/v1/revoke", json={"token": "x"}), 415)
    answer = await client.post("/api/v1/revoke", data={"token": "x", "token_type_hint": "access_token"})
    assert answer.status_code == 200


async def test_an_old_token_ends_nothing(world: World) -> None:
    await world.person("alice", password=True)
    alice = await world.signed_in("alice")
    old = alice.cookie
    await alice.post("/api/v1/session/step-up", json={"method": "password", "password": "correct horse battery"})
    await (await world.client()).post("/api/v1/revoke", data={"token": old})
    assert await reason(alice) is None


async def test_introspection(world: World) -> None:
    olivia, alice = await world.signed_in("olivia", operator=True), await world.signed_in("alice")
    asker = await world.bearing((await handed(olivia, "keys", owner="service:api", scopes=["introspect"]))["token"])
    given = await handed(alice, "delegations", to="agent:bot", scopes=["read", "deploy"], lifetime=600)

    async def ask(token: str | None) -> Any:
        answer = await asker.post("/api/v1/introspect", data={"token": token})
        assert answer.status_code == 200
        return answer.json()

    assert await ask(given["token"]) == {
        "active": True, "scope": "deploy read", "client_id": "agent:bot", "username": "alice", "sub": "alice",
        "act": {"sub": "agent:bot"}, "token_type": "Bearer", "iat": 1767225600, "exp": 1767226200, "jti": given["id"],
        "sid": given["id"], "kind": "delegated", "acr": "aal1",
    }  # fmt: skip
    for token in (alice.cookie, "nonsense", given["token"][:-1] + "yx"[given["token"][-1] != "x"]):
        assert await ask(token) == {"active": False}
    world.clock.advance(10 * MINUTE)
    assert await ask(given["token"]) == {"active": False}
    is_problem(await alice.post("/api/v1/introspect", data={"token": "x"}), 403, "out_of_scope")
    is_problem(await (await world.client()).post("/api/v1/introspect", data={"token": "x"}), 401, "missing")
