"""A second factor through HTTP: the API and the pages."""

from __future__ import annotations

import base64
import html
import re
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from sessile import Method, Policy
from sessile.factors.throttle import ACCOUNT
from tests.server.conftest import BROWSER, MINUTE, PASSWORD, Client, World, is_problem, opened

STEP = MINUTE / 2
SESSION, FACTORS = "/api/v1/session", "/api/v1/factors"


def code(secret: str, at: datetime) -> str:
    key = base64.b32decode(secret.replace(" ", ""))
    return TOTP(key, 6, SHA1(), 30).generate(int(at.timestamp())).decode()  # noqa: S303


async def enrol(world: World, client: Client, **more: bool) -> str:
    """The secret of an app that counts from now on; the next code is due."""
    made = (await client.post(f"{FACTORS}/totp", json={"name": "phone"})).json()
    shown = code(made["secret"], world.clock.now())
    answer = await client.post(f"{FACTORS}/totp/{made['id']}/confirm", json={"code": shown, **more})
    assert answer.status_code == 200, answer.text
    world.clock.advance(STEP)
    secret: str = made["secret"]
    return secret


def goes(answer: httpx.Response, path: str) -> None:
    assert (answer.status_code, answer.headers.get("location")) == (303, path), answer.text


# -- the API --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 2.2.1-a", "ASVS V7.2.4")
async def test_adding_an_app_and_stepping_up_with_it(world: World) -> None:
    client = await world.signed_in("alice")
    begun = await client.post(f"{FACTORS}/totp", json={})
    assert begun.status_code == 201
    made = begun.json()
    assert set(made) == {"id", "secret", "uri"}
    wrong = await client.post(f"{FACTORS}/totp/{made['id']}/confirm", json={"code": "000000"})
    is_problem(wrong, 401)
    assert (await client.get(FACTORS)).json() == {"items": [], "next": None}
    before = client.cookie
    shown = code(made["secret"], world.clock.now())
    confirmed = await client.post(f"{FACTORS}/totp/{made['id']}/confirm", json={"code": shown})
    assert (confirmed.json()["assurance"], confirmed.json()["step_up"]) == (2, [])
    assert client.cookie != before
    (listed,) = (await client.get(FACTORS)).json()["items"]
    assert (listed["id"], listed["method"], listed["name"]) == (made["id"], "totp", "Authenticator app")

    other = await world.signed_in("alice")
    assert (await other.get(SESSION)).json()["step_up"] == ["totp"]
    is_problem(await other.post(f"{SESSION}/step-up", json={"method": "totp", "code": shown}), 401)
    world.clock.advance(STEP)
    stepped = await other.post(
        f"{SESSION}/step-up", json={"method": "totp", "code": code(made["secret"], world.clock.now())}
    )
    assert (stepped.status_code, stepped.json()["assurance"]) == (200, 2)
    assert [event["method"] for event in stepped.json()["authentications"]] == ["password", "totp"]
    renamed = await other.patch(f"{FACTORS}/{made['id']}", json={"name": "tablet"})
    assert renamed.json()["name"] == "tablet"
    for name in ("", "x" * 61, "\x00"):
        is_problem(await other.patch(f"{FACTORS}/{made['id']}", json={"name": name}), 422)
    assert (await other.delete(f"{FACTORS}/{made['id']}")).status_code == 200
    is_problem(await other.delete(f"{FACTORS}/{made['id']}"), 404)
    assert (await other.get(FACTORS)).json()["items"] == []


@pytest.mark.requirement("CS-MFA-2")
async def test_changing_factors_needs_a_fresh_proof(world: World) -> None:
    await world.person("alice", password=True)
    client = await world.signed_in("alice")
    await enrol(world, client)
    (factor,) = (await client.get(FACTORS)).json()["items"]
    weak = await world.signed_in("alice")
    for answer in (
        await weak.post(f"{FACTORS}/totp", json={}),
        await weak.delete(f"{FACTORS}/{factor['id']}"),
        await weak.patch(f"{FACTORS}/{factor['id']}", json={"name": "x"}),
    ):
        is_problem(answer, 401, "assurance", "step_up")
    world.clock.advance(5 * MINUTE)
    is_problem(await client.post(f"{FACTORS}/totp", json={}), 401, "stale_authentication", "step_up")
    assert (await client.get(FACTORS)).json()["items"] == [factor]


@pytest.mark.requirement("ASVS V7.4.3")
async def test_others_can_be_ended_with_a_change(world: World) -> None:
    here, there = await world.signed_in("alice"), await world.signed_in("alice")
    await enrol(world, here)
    assert (await there.get(SESSION)).status_code == 200
    (factor,) = (await here.get(FACTORS)).json()["items"]
    assert (await here.delete(f"{FACTORS}/{factor['id']}?end_others=true")).status_code == 200
    assert (await there.get(SESSION)).status_code == 401
    there = await world.signed_in("alice")
    await enrol(world, here, end_others=True)
    assert (await there.get(SESSION)).status_code == 401
    assert (await here.get(SESSION)).status_code == 200


@pytest.mark.requirement("ASVS V6.3.3")
async def test_where_a_second_factor_is_demanded_a_password_opens_only_the_way_to_one(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, policy=Policy.aal2(assurance=2))
        await world.person("alice", password=True, operator=True)
        client = await world.client()
        begun = await client.post(SESSION, json={"username": "alice", "password": PASSWORD})
        assert (begun.status_code, begun.json()["assurance"], begun.json()["step_up"]) == (201, 1, [])
        for method, path in (
            ("GET", "/api/v1/sessions"), ("GET", "/api/v1/keys"), ("GET", "/api/v1/principals"),
            ("GET", "/api/v1/events"),
            ("DELETE", "/api/v1/sessions?except=current"), ("GET", "/forward-auth"),
        ):  # fmt: skip
            is_problem(await client.request(method, path), 401, "assurance", "step_up")
        secret = await enrol(world, client)
        assert (await client.get("/api/v1/sessions")).status_code == 200
        client = await world.client()
        begun = await client.post(SESSION, json={"username": "alice", "password": PASSWORD})
        assert (begun.status_code, begun.json()["kind"]) == (201, "pre_session")
        assert "totp" in begun.json()["step_up"]
        for method, path in (
            ("POST", f"{FACTORS}/totp"), ("GET", SESSION), ("GET", "/api/v1/sessions"), ("GET", "/forward-auth"),
        ):  # fmt: skip
            is_problem(await client.request(method, path, json={}), 401, "missing", "sign_in")
        shown = code(secret, world.clock.now())
        assert (await client.post(f"{SESSION}/step-up", json={"method": "totp", "code": shown})).status_code == 200
        assert (await client.get("/api/v1/sessions")).status_code == 200


@pytest.mark.requirement("ASVS V7.5.3")
async def test_operators_act_with_both_factors_once_they_have_two(world: World) -> None:
    olivia, other = await world.signed_in("olivia", operator=True), await world.signed_in("olivia", operator=True)
    assert (await other.get("/api/v1/principals")).status_code == 200
    secret = await enrol(world, olivia)
    assert (await olivia.get("/api/v1/principals")).status_code == 200
    is_problem(await other.get("/api/v1/principals"), 401, "assurance", "step_up")
    is_problem(await other.post("/api/v1/revocations", json={"everyone": True, "cause": "x"}), 401, "assurance")
    assert (await other.get("/api/v1/sessions")).status_code == 200
    shown = code(secret, world.clock.now())
    await other.post(f"{SESSION}/step-up", json={"method": "totp", "code": shown})
    assert (await other.get("/api/v1/principals")).status_code == 200


# -- the pages ------------------------------------------------------------------------------------------------------


async def test_an_app_is_added_and_removed_on_the_pages(world: World) -> None:
    here, there = await world.browser("alice"), await world.browser("alice")
    assert "a stolen password is not enough" in (await here.get("/account")).text
    long = await here.submit("/account/factors/totp", name="x" * 61)
    assert (long.status_code, "Use 1 to 60" in long.text) == (422, True)
    begun = await here.submit("/account/factors/totp", name="my <phone>")
    path = begun.headers["location"]
    shown = await here.get(path)
    assert "<svg" in shown.text
    assert "style=" not in shown.text
    found = re.search(r'<code id="secret"[^>]*>([A-Z2-7 ]+)</code>', shown.text)
    assert found is not None
    secret = found[1]
    wrong = await here.submit(path, code="000000", end_others="yes")
    assert (wrong.status_code, "This code is wrong" in wrong.text) == (422, True)
    goes(await here.submit(path, code=code(secret, world.clock.now()), end_others="yes"), "/account")
    page = await here.get("/account")
    assert "Your second factor is added, and you confirmed it is you. 1 session ended." in page.text
    assert "my &lt;phone&gt;" in page.text
    assert (await there.get("/account")).status_code == 303
    gone = await here.get(path)
    assert gone.status_code == 404
    factor = re.search(r"/account/factors/(fct_\w+)", page.text)
    assert factor is not None
    goes(await here.submit(factor[0], name="tablet"), "/account")
    assert "tablet" in (await here.get("/account")).text
    assert (await here.submit(factor[0], name="")).status_code == 422
    goes(await here.submit(factor[0], do="remove"), "/account")
    assert "The second factor is removed" in (await here.get("/account")).text
    assert (await here.get(factor[0])).status_code == 404


@pytest.mark.requirement("ASVS V6.3.3")
async def test_signing_in_with_a_second_factor_on_the_pages(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, policy=Policy.aal2(assurance=2))
        await world.person("alice", password=True)
        client = await world.client(headers=BROWSER)
        goes(await client.submit("/login", username="alice", password=PASSWORD), "/account")
        goes(await client.get("/account"), "/account/step-up")
        setup = await client.get("/account/step-up")
        assert "Set up a second factor" in setup.text
        assert "/account/factors/totp" in setup.text
        begun = await client.submit("/account/factors/totp", name="")
        found = re.search(
            r'<code id="secret"[^>]*>([A-Z2-7 ]+)</code>', (await client.get(begun.headers["location"])).text
        )
        assert found is not None
        goes(await client.submit(begun.headers["location"], code=code(found[1], world.clock.now())), "/account")
        assert (await client.get("/account")).status_code == 200

        client = await world.client(headers=BROWSER)
        world.clock.advance(STEP)
        goes(await client.get("/account/password"), "/login")
        goes(await client.submit("/login", username="alice", password=PASSWORD), "/login/second")
        goes(await client.get("/account/password"), "/login")
        asked = await client.get("/login/second")
        assert "Your second factor" in asked.text
        assert 'name="password"' not in asked.text
        assert client.cookie is None
        goes(await client.submit("/login/second", code=code(found[1], world.clock.now())), "/account/password")
        assert (await client.get("/account/password")).status_code == 200
        goes(await client.get("/login/second"), "/login")
        weak = await world.signed_in("alice", headers=BROWSER)  # as one is whose policy became stricter
        goes(await weak.get("/account/password"), "/account/step-up")
        asked = await weak.get("/account/step-up")
        assert "One more step, and you are in" in asked.text
        assert 'name="password"' not in asked.text
        wrong = await weak.submit("/account/step-up", code="123456")
        assert (wrong.status_code, "This code is wrong" in wrong.text) == (422, True)
        world.clock.advance(STEP)
        goes(await weak.submit("/account/step-up", code=code(found[1], world.clock.now())), "/account/password")
        assert (await weak.get("/logout")).status_code in (200, 303)


async def test_what_was_typed_is_there_after_the_step_up(world: World) -> None:
    await world.person("olivia", password=True, operator=True)
    await world.browser("alice")
    olivia = await world.browser("olivia")
    token = await olivia.form_token("/account")
    world.clock.advance(5 * MINUTE)
    act = "/console/principals/alice/disable"
    goes(await olivia.post(act, data={"form_token": token, "cause": "left <us>"}), "/account/step-up")
    goes(await olivia.submit("/account/step-up", password=PASSWORD), act)
    assert 'value="left &lt;us&gt;"' in (await olivia.get(act)).text
    assert "left <us>" not in html.unescape((await olivia.get(act)).text), "once"


async def test_an_operator_without_the_second_factor_is_sent_for_it(world: World) -> None:
    await world.person("olivia", password=True, operator=True)
    strong = await world.browser("olivia")
    secret = await enrol(world, strong)
    weak = await world.browser("olivia")
    goes(await weak.get("/console?q=a"), "/account/step-up")
    page = await weak.get("/account/step-up")
    assert 'name="code"' in page.text
    goes(await weak.submit("/account/step-up", code=code(secret, world.clock.now())), "/console?q=a")
    assert (await weak.get("/console")).status_code == 200
    issued = await world.authority.begin("olivia", method=Method.PASSWORD)
    other = await world.holding(issued, headers=BROWSER)
    world.clock.advance(6 * MINUTE)
    goes(await strong.get("/account/factors/totp"), "/account/step-up")
    only = await strong.get("/account/step-up?with=password")
    assert ('name="code"' in only.text, 'name="password"' in only.text) == (True, False)
    goes(await strong.submit("/account/step-up", password=PASSWORD), "/account/factors/totp")
    goes(await strong.get("/account/factors/totp"), "/account/step-up")
    world.clock.advance(STEP)
    shown = code(secret, world.clock.now())
    goes(await strong.submit("/account/step-up", code=shown), "/account/factors/totp")
    assert (await strong.get("/account/factors/totp")).status_code == 200
    world.clock.advance(6 * MINUTE)
    goes(await strong.get("/console/everyone/revoke"), "/account/step-up")
    both = await strong.get("/account/step-up")
    assert "Use a code of your app instead" in both.text
    assert 'name="code"' in (await strong.get("/account/step-up?with=totp")).text
    goes(await strong.submit("/account/step-up", password=PASSWORD), "/console/everyone/revoke")
    assert (await other.get("/account")).status_code == 200


# -- throttling -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 3.1.4.2-c")
async def test_codes_are_throttled_in_all_sessions_together(world: World) -> None:
    first = await world.signed_in("alice")
    secret = await enrol(world, first)
    for _ in range(10):
        client = await world.signed_in("alice")
        is_problem(await client.post(f"{SESSION}/step-up", json={"method": "totp", "code": "000000"}), 401)
    answer = await (await world.signed_in("alice")).post(
        f"{SESSION}/step-up", json={"method": "totp", "code": code(secret, world.clock.now())}
    )
    is_problem(answer, 429)
    assert answer.headers["retry-after"] == "60"
    page = await world.browser("alice")
    said = await page.submit("/account/step-up", code="000000")
    assert (said.status_code, "Wait 60 seconds" in said.text) == (429, True)
    world.clock.advance(MINUTE)
    client = await world.signed_in("alice")
    shown = code(secret, world.clock.now())
    assert (await client.post(f"{SESSION}/step-up", json={"method": "totp", "code": shown})).status_code == 200


async def test_a_browser_that_signed_in_before_is_let_in_while_others_guess(world: World) -> None:
    await world.person("alice", password=True)
    own, guesser = await world.client(headers=BROWSER), await world.client(headers=BROWSER)
    signed = await own.submit("/login", username="alice", password=PASSWORD)
    (kept,) = [one for one in signed.headers.get_list("set-cookie") if one.startswith("__Host-device-sessile=")]
    assert kept.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=15552000")
    assert "alice" not in kept
    await own.submit("/logout")
    tries, every = ACCOUNT
    for _ in range(tries):
        assert (await guesser.submit("/login", username="alice", password="wrong")).status_code == 401
    refused = await guesser.submit("/login", username="alice", password=PASSWORD)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(int(every.total_seconds())))
    assert "Wait 6 minutes" in refused.text
    goes(await own.submit("/login", username="alice", password=PASSWORD), "/account")
    stranger = await world.client()
    is_problem(await stranger.post(SESSION, json={"username": "alice", "password": PASSWORD}), 429)
    stranger.cookies.set("__Host-device-sessile", kept.partition("=")[2].partition(";")[0], domain="localhost.local")
    answer = await stranger.post(SESSION, json={"username": "alice", "password": PASSWORD})
    assert answer.status_code == 201
