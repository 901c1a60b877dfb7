"""Work under short lifetimes over HTTP: parked and resumed, asked for and approved, by API and by page."""

from __future__ import annotations

import re

import pytest

from tests.server.conftest import MINUTE, PASSWORD, Client, World, is_problem

HOUR = 60 * MINUTE
BODY = {"name": "transfer to bob", "type": "transfer", "work": {"to": "bob", "amount": 100}}


async def parked(world: World) -> tuple[Client, str]:
    alice = await world.signed_in("alice")
    world.clock.advance(HOUR)
    is_problem(await alice.get("/api/v1/session"), 401, "idle", "sign_in")
    answer = await alice.post("/api/v1/parked", json=BODY)
    assert answer.status_code == 201
    world.clock.advance(MINUTE)
    return alice, answer.json()["id"]


async def test_work_of_an_idle_session_is_parked_and_taken_up_again(world: World) -> None:
    before, work = await parked(world)
    is_problem(await before.get("/api/v1/parked"), 401, "idle")
    again = await world.signed_in("alice")
    (item,) = (await again.get("/api/v1/parked")).json()["items"]
    assert (item["id"], item["name"], item["type"]) == (work, "transfer to bob", "transfer")
    assert "amount" not in str(item)
    taken = await again.post(f"/api/v1/parked/{work}/resume")
    assert taken.json() == BODY
    is_problem(await again.post(f"/api/v1/parked/{work}/resume"), 404)


async def test_it_is_the_persons_alone_and_dies_with_a_revocation(world: World) -> None:
    _, work = await parked(world)
    bob = await world.signed_in("bob")
    assert (await bob.get("/api/v1/parked")).json()["items"] == []
    is_problem(await bob.post(f"/api/v1/parked/{work}/resume"), 404)
    is_problem(await bob.delete(f"/api/v1/parked/{work}"), 404)
    await world.authority.revoke(principal="alice", cause="stolen")
    again = await world.signed_in("alice")
    is_problem(await again.post(f"/api/v1/parked/{work}/resume"), 404)
    is_problem(await (await world.client()).post("/api/v1/parked", json=BODY), 401, "missing")


async def test_resuming_needs_a_proof_since_it_was_parked(world: World) -> None:
    alice, other = await world.signed_in("alice"), await world.signed_in("alice")
    world.clock.advance(MINUTE)
    work = (await alice.post("/api/v1/parked", json=BODY)).json()["id"]
    is_problem(await other.post(f"/api/v1/parked/{work}/resume"), 401, "stale_authentication", "step_up")


@pytest.mark.requirement("ASVS V2.3.5", "CSF PR.AA-05")
async def test_four_eyes(world: World) -> None:
    """Another person with what it asks for, strong and fresh; once; in the session that asked."""
    asked = {"name": "pay out", "type": "payout", "context": {"amount": 5}, "scope": "operator", "assurance": 1}
    alice, bob = await world.signed_in("alice"), await world.signed_in("bob")
    olivia = await world.signed_in("olivia", operator=True)
    made = await alice.post("/api/v1/approvals", json=asked)
    assert made.status_code == 201
    id = made.json()["id"]
    assert (made.json()["principal"], made.json()["state"], made.json()["context"]) == (
        "alice",
        "waiting",
        {"amount": 5},
    )
    assert (await bob.get("/api/v1/approvals")).json()["items"] == []
    assert [one["id"] for one in (await olivia.get("/api/v1/approvals")).json()["items"]] == [id]
    is_problem(await bob.post(f"/api/v1/approvals/{id}/approve"), 403, "out_of_scope")
    is_problem(await alice.post(f"/api/v1/approvals/{id}/approve"), 403, "out_of_scope")
    is_problem(await alice.post(f"/api/v1/approvals/{id}/use"), 404)
    world.clock.advance(5 * MINUTE)
    is_problem(await olivia.post(f"/api/v1/approvals/{id}/approve"), 401, "stale_authentication", "step_up")
    fresh = await world.signed_in("olivia")
    given = await fresh.post(f"/api/v1/approvals/{id}/approve")
    assert (given.status_code, given.json()["state"], given.json()["giver"]) == (200, "given", "olivia")
    is_problem(await fresh.post(f"/api/v1/approvals/{id}/approve"), 409)
    is_problem(await (await world.signed_in("alice")).post(f"/api/v1/approvals/{id}/use"), 404)
    used = await alice.post(f"/api/v1/approvals/{id}/use")
    assert used.json() == {"name": "pay out", "type": "payout", "work": {"amount": 5}}
    is_problem(await alice.post(f"/api/v1/approvals/{id}/use"), 404)


async def test_an_approval_is_refused_or_taken_back(world: World) -> None:
    asked = {"name": "pay out", "type": "payout", "context": 1}
    alice, olivia = await world.signed_in("alice"), await world.signed_in("olivia", operator=True)
    one, two = [(await alice.post("/api/v1/approvals", json=asked)).json()["id"] for _ in range(2)]
    assert (await olivia.post(f"/api/v1/approvals/{one}/refuse")).status_code == 204
    is_problem(await olivia.delete(f"/api/v1/approvals/{two}"), 404)
    assert (await alice.delete(f"/api/v1/approvals/{two}")).status_code == 204
    for id in (one, two):
        is_problem(await olivia.post(f"/api/v1/approvals/{id}/approve"), 404)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "a\nb"}, 422),
        ({"name": ""}, 422),
        ({"type": "x" * 101}, 422),
        ({"lifetime": 8 * 24 * 3600}, 422),
        ({"work": "x" * 16 * 1024}, 409),
    ],
)
async def test_what_waits_is_bounded(world: World, change: dict[str, object], status: int) -> None:
    alice = await world.signed_in("alice")
    is_problem(await alice.post("/api/v1/parked", json={**BODY, **change}), status)
    asked = {"name": "x", "type": "x", "context": 1, **{k: v for k, v in change.items() if k != "work"}}
    if "work" not in change:
        is_problem(await alice.post("/api/v1/approvals", json=asked), status)
    is_problem(await alice.post("/api/v1/approvals", json={**asked, "scope": 'a"b'}), 422)


async def token_of(client: Client, path: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', (await client.get(path)).text)
    assert found is not None
    return found[1]


async def test_a_form_that_came_too_late_is_offered_after_the_sign_in(world: World) -> None:
    """Not what proves or names a secret, and only a form that was made for that session."""
    path = "/console/principals/alice/disable"
    await world.person("alice")
    await world.person("olivia", password=True, operator=True)
    olivia = await world.browser("olivia")
    form = {"form_token": await token_of(olivia, path), "cause": "left the company", "password": "hunter2"}
    world.clock.advance(HOUR)
    referer = {"referer": f"http://localhost{path}"}
    for sent in ({**form, "form_token": "made up"}, form):
        late = await olivia.post(path, data=sent, headers=referer)
        assert (late.status_code, late.headers["location"]) == (303, "/login")
    assert (await world.authority.principal("alice")).status == "active"
    world.clock.advance(MINUTE)
    signing = {"username": "olivia", "password": PASSWORD, "form_token": await token_of(olivia, "/login")}
    answer = await olivia.post("/login", data=signing)
    assert answer.headers["location"] == "/account/waiting"
    page = (await olivia.get("/account/waiting")).text
    assert page.count("What you typed at /console/principals/alice/disable</strong>") == 1
    (work,) = set(re.findall(r"/account/waiting/(wrk_[0-9a-z]+)/resume", page))
    token = {"form_token": await token_of(olivia, "/account/waiting")}
    back = await olivia.post(f"/account/waiting/{work}/resume", data=token)
    assert back.headers["location"] == path
    shown = (await olivia.get(path)).text
    assert 'value="left the company"' in shown
    assert "hunter2" not in shown
    again = await olivia.post(f"/account/waiting/{work}/resume", data=token)
    assert again.headers["location"] == "/account/waiting"
    assert "does not wait any more" in (await olivia.get("/account/waiting")).text


async def test_approving_on_the_page(world: World) -> None:
    alice = await world.signed_in("alice")
    asked = {"name": "pay out", "type": "payout", "context": {"note": "<b>5</b>"}, "assurance": 1}
    id = (await alice.post("/api/v1/approvals", json=asked)).json()["id"]
    olivia = await world.browser("olivia", operator=True)
    assert "Waiting for you: 1" in (await olivia.get("/account")).text
    page = (await olivia.get("/account/waiting")).text
    assert "pay out" in page
    assert "&lt;b&gt;5&lt;/b&gt;" in page
    token = {"form_token": await token_of(olivia, "/account/waiting")}
    assert (await olivia.post(f"/account/waiting/{id}/approve", data=token)).headers["location"] == "/account/waiting"
    assert "Approved." in (await olivia.get("/account/waiting")).text
    assert (await alice.post(f"/api/v1/approvals/{id}/use")).status_code == 200
