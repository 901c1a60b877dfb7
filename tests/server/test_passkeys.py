"""Passkeys and recovery codes through HTTP: the API and the pages. A browser's own part: test_factors_in_chromium."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sessile import Method, Policy
from sessile.factors.recovery import CODES
from sessile.factors.reset import operators_link
from sessile.kernel.event import Actor
from tests.factors.authenticator import Authenticator
from tests.server.conftest import (
    BROWSER,
    COOKIE,
    FORM_TOKEN,
    LAPTOP,
    MINUTE,
    NEW,
    PASSWORD,
    Client,
    World,
    is_problem,
    opened,
)
from tests.server.test_factors import FACTORS, SESSION, code, enrol, goes

HERE = "https://localhost"
PASSKEY = f"{SESSION}/passkey"
CODE = re.compile(r"<code>([0-9a-z-]{29})</code>")


def device(**more: Any) -> Authenticator:
    return Authenticator(origin=HERE, **more)


async def add(client: Client, one: Authenticator, **more: Any) -> str:
    """A passkey that counts from now on; its id."""
    options = (await client.post(f"{FACTORS}/passkeys/options")).json()
    answer = await client.post(f"{FACTORS}/passkeys", json={"credential": one.create(options), **more})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


async def by_passkey(client: Client, one: Authenticator, **wrong: Any) -> Any:
    options = (await client.post(f"{PASSKEY}/options")).json()
    return await client.post(PASSKEY, json={"credential": one.get(options, **wrong)})


async def strong(world: World, name: str = "alice", **options: Any) -> Client:
    """A client whose session is at assurance 2."""
    if await world.authority.store.principal(name=name) is None:
        await world.person(name)
    issued = await world.authority.begin(name, method=Method.PASSWORD, client=LAPTOP)
    return await world.holding(await world.authority.elevate(issued.active, method=Method.TOTP), **options)


@pytest.fixture
async def demanding(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, policy=Policy.aal2(assurance=2))
        await world.person("alice", password=True)
        yield world


# -- the API --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 2.2.2-b", "63B-4 2.3.1-a")
@pytest.mark.parametrize(("synced", "assurance"), [(True, 2), (False, 3)])
async def test_adding_a_passkey_and_signing_in_with_it(world: World, synced: bool, assurance: int) -> None:
    client, one = await world.signed_in("alice"), device(synced=synced)
    id = await add(client, one, name="laptop")
    (listed,) = (await client.get(FACTORS)).json()["items"]
    proves = "passkey" if synced else "hardware_key"
    assert (listed["id"], listed["method"], listed["name"]) == (id, "passkey", "laptop")
    assert (listed["proves"], listed["backed_up"]) == (proves, synced)
    assert (await client.get(SESSION)).json()["assurance"] == 1, "adding one is no proof"
    other = await world.client()
    answer = await by_passkey(other, one)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert (found["principal"], found["assurance"], found["step_up"]) == ("alice", assurance, [])
    assert [event["method"] for event in found["authentications"]] == [proves]
    assert (await other.get("/api/v1/sessions")).status_code == 200
    assert [name for name in other.cookies if name.startswith("__Host-device")]
    renamed = await other.patch(f"{FACTORS}/{id}", json={"name": "my laptop"})
    assert renamed.json()["name"] == "my laptop"
    assert (await other.delete(f"{FACTORS}/{id}")).status_code == 200
    is_problem(await by_passkey(await world.client(), one), 401)


@pytest.mark.requirement("ASVS V6.3.4", "ASVS V6.3.8", "ASVS V6.6.2")
async def test_an_assertion_is_taken_from_the_browser_that_asked_only(world: World) -> None:
    client, one = await world.signed_in("alice"), device()
    await add(client, one)
    asking, other = await world.client(), await world.client()
    options = (await asking.post(f"{PASSKEY}/options")).json()
    await other.post(f"{PASSKEY}/options")
    shown = one.get(options)
    is_problem(await other.post(PASSKEY, json={"credential": shown}), 401)
    is_problem(await (await world.client()).post(PASSKEY, json={"credential": shown}), 401)
    assert (await asking.post(PASSKEY, json={"credential": shown})).status_code == 201
    again = await asking.post(PASSKEY, json={"credential": one.get(options)})
    said = {json.dumps(again.json())}
    for nonsense in ({}, {"id": "x"}, {"response": {}}):
        said.add(json.dumps((await asking.post(PASSKEY, json={"credential": nonsense})).json()))
    await world.authority.disable("alice", cause="left")
    said.add(json.dumps((await by_passkey(await world.client(), one)).json()))
    assert len(said) == 1
    assert again.status_code == 401


async def test_a_sign_in_takes_the_place_of_the_session_before(world: World) -> None:
    client, one = await world.signed_in("alice"), device()
    await add(client, one)
    before = client.cookie
    assert (await by_passkey(client, one)).status_code == 201
    assert client.cookie != before
    old = await world.client()
    old.cookies.set(COOKIE, before or "", domain="localhost.local")
    is_problem(await old.get(SESSION), 401, "revoked")


@pytest.mark.requirement("ASVS V7.4.3", "CS-MFA-2", "ASVS V7.5.1")
async def test_adding_and_removing_needs_a_fresh_proof_and_ends_others_on_demand(world: World) -> None:
    here, there, one = await world.signed_in("alice"), await world.signed_in("alice"), device()
    id = await add(here, one, end_others=True)
    is_problem(await there.get(SESSION), 401)
    weak = await world.signed_in("alice")
    is_problem(await weak.post(f"{FACTORS}/passkeys/options"), 401, "assurance", "step_up")
    is_problem(await weak.post(f"{FACTORS}/passkeys", json={"credential": {}}), 401, "assurance", "step_up")
    is_problem(await weak.delete(f"{FACTORS}/{id}"), 401, "assurance", "step_up")
    client = await world.client()
    await by_passkey(client, one)
    is_problem(await client.post(f"{FACTORS}/passkeys", json={"credential": {}}), 422)
    assert (await client.delete(f"{FACTORS}/{id}?end_others=true")).status_code == 200
    is_problem(await weak.get(SESSION), 401)
    world.clock.advance(5 * MINUTE)
    is_problem(await client.post(f"{FACTORS}/passkeys/options"), 401, "stale_authentication", "step_up")


@pytest.mark.requirement("63B-4 2.2.1-a", "ASVS V6.3.3", "ASVS V7.2.4")
async def test_a_passkey_as_the_second_factor(demanding: World) -> None:
    client, one = await demanding.signed_in("alice"), device()
    await add(client, one)
    fresh = await demanding.client()
    begun = await fresh.post(SESSION, json={"username": "alice", "password": PASSWORD})
    assert (begun.json()["kind"], begun.json()["step_up"][0]) == ("pre_session", "passkey")
    is_problem(await fresh.get("/api/v1/sessions"), 401, "missing", "sign_in")
    options = (await fresh.post(f"{SESSION}/step-up/options")).json()
    assert options["allowCredentials"] == [], "whose passkeys they are is not said"
    before = fresh.cookie
    credential = one.get(options)
    stepped = await fresh.post(f"{SESSION}/step-up", json={"method": "passkey", "credential": credential})
    assert (stepped.status_code, stepped.json()["assurance"]) == (200, 2)
    assert fresh.cookie != before
    assert (await fresh.get("/api/v1/sessions")).status_code == 200
    is_problem(await fresh.post(f"{SESSION}/step-up", json={"method": "passkey", "credential": credential}), 401)


@pytest.mark.requirement("63B-4 4.2.1.1-b", "63B-4 3.1.2.1-a", "63B-4 4.2.2.2-a", "63B-4 4.2.1-a")
async def test_recovery_codes_open_the_way_back(demanding: World) -> None:
    weak = await demanding.signed_in("alice")
    is_problem(await weak.post(f"{FACTORS}/recovery-codes"), 401, "assurance", "step_up")
    is_problem(await weak.get("/api/v1/keys"), 401, "assurance")
    client = await strong(demanding)
    await enrol(demanding, client)
    assert (await client.get(f"{FACTORS}/recovery-codes")).json() == {"made": None, "used": None}
    made = await client.post(f"{FACTORS}/recovery-codes")
    assert (made.status_code, len(made.json()["codes"])) == (201, CODES)
    code = made.json()["codes"][0]
    lost = await demanding.client()
    begun = await lost.post(SESSION, json={"username": "alice", "password": PASSWORD})
    assert "recovery_code" in begun.json()["step_up"]
    body = {"method": "recovery_code", "code": code}
    stepped = (await lost.post(f"{SESSION}/step-up", json=body)).json()
    assert stepped["assurance"] == 2
    replacement = stepped["recovery_code"]
    assert replacement not in made.json()["codes"]
    (old,) = (await lost.get(FACTORS)).json()["items"]
    assert (await lost.delete(f"{FACTORS}/{old['id']}")).status_code == 200
    await enrol(demanding, lost)
    assert "recovery_code" not in (await lost.get(SESSION)).json()
    again = await demanding.signed_in("alice")
    is_problem(await again.post(f"{SESSION}/step-up", json=body), 401)
    fresh = await again.post(f"{SESSION}/step-up", json={**body, "code": replacement})
    assert fresh.json()["recovery_code"] not in (replacement, None)
    assert (await fresh_used(again))["used"] is not None


async def fresh_used(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"{FACTORS}/recovery-codes")).json()
    return found


async def test_no_answer_but_the_one_that_makes_them_shows_a_code(world: World) -> None:
    client = await strong(world, headers=BROWSER)
    await enrol(world, client)
    codes = (await client.post(f"{FACTORS}/recovery-codes")).json()["codes"]
    for path in ("/account", "/account/factors/recovery-codes", FACTORS, SESSION, f"{FACTORS}/recovery-codes"):
        shown = (await client.get(path)).text
        assert not any(code in shown for code in codes), path


# -- the pages ------------------------------------------------------------------------------------------------------


async def test_the_login_page_offers_passkeys_without_inline_script(world: World) -> None:
    page = await (await world.client(headers=BROWSER)).get("/login")
    assert 'autocomplete="username webauthn"' in page.text
    assert '<script src="/static/passkey.js" defer>' in page.text
    assert 'data-options="/api/v1/session/passkey/options" data-conditional hidden' in page.text
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|style=", page.text)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    script = await (await world.client()).get("/static/passkey.js")
    assert script.headers["content-type"].startswith("text/javascript")


async def test_signing_in_with_a_passkey_by_the_form(world: World) -> None:
    client, one = await world.signed_in("alice"), device()
    await add(client, one)
    browser = await world.client(headers=BROWSER)
    goes(await browser.get("/account/password"), "/login")
    token = await browser.form_token("/login")
    options = (await browser.post(f"{PASSKEY}/options")).json()
    form = {"form_token": token, "credential": json.dumps(one.get(options))}
    foreign = await browser.post("/login/passkey", data=form, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert (await browser.post("/login/passkey", data={**form, "form_token": "x"})).status_code == 403
    for nonsense in ("", "[]", "{", "[" * 10_000):
        refused = await browser.post("/login/passkey", data={**form, "credential": nonsense})
        assert (refused.status_code, "This passkey was not accepted" in refused.text) == (401, True)
    goes(await browser.post("/login/passkey", data=form), "/account/password")
    assert (await browser.get("/account")).status_code == 200


async def test_a_passkey_is_added_renamed_and_removed_on_the_pages(world: World) -> None:
    here, there, one = await world.browser("alice"), await world.browser("alice"), device()
    page = await here.get("/account/factors/passkey")
    assert 'data-passkey="create" data-options="/api/v1/factors/passkeys/options"' in page.text
    refused = await here.submit("/account/factors/passkey", name="laptop", credential="{}")
    assert (refused.status_code, "This is no passkey" in refused.text) == (422, True)
    assert 'value="laptop"' in refused.text
    options = (await here.post(f"{FACTORS}/passkeys/options")).json()
    credential = json.dumps(one.create(options))
    long = await here.submit("/account/factors/passkey", name="x" * 61, credential=credential)
    assert (long.status_code, "Use 1 to 60" in long.text) == (422, True)
    options = (await here.post(f"{FACTORS}/passkeys/options")).json()
    credential = json.dumps(one.create(options))
    goes(await here.submit("/account/factors/passkey", name="", credential=credential, end_others="yes"), "/account")
    page = await here.get("/account")
    assert "Your passkey is added" in page.text
    assert "1 session ended" in page.text
    assert "Passkey, which your devices may share" in page.text
    assert (await there.get("/account")).status_code == 303
    factor = re.search(r"/account/factors/(fct_\w+)", page.text)
    assert factor is not None
    goes(await here.get(factor[0]), "/account/step-up")
    asked = await here.get("/account/step-up")
    assert 'data-options="/api/v1/session/step-up/options"' in asked.text
    wrong = await here.submit("/account/step-up", credential="{}")
    assert (wrong.status_code, "This passkey was not accepted" in wrong.text) == (422, True)
    options = (await here.post(f"{SESSION}/step-up/options")).json()
    goes(await here.submit("/account/step-up", credential=json.dumps(one.get(options))), factor[0])
    goes(await here.submit(factor[0], name="my laptop"), "/account")
    goes(await here.submit(factor[0], do="remove"), "/account")
    assert "my laptop" not in (await here.get(factor[0])).text


@pytest.mark.requirement("ASVS V7.4.3")
async def test_recovery_codes_are_shown_once_and_used_on_the_pages(world: World) -> None:
    await world.person("alice", password=True)
    client = await strong(world, headers=BROWSER)
    secret_page = await client.get("/account")
    assert "/account/factors/recovery-codes" not in secret_page.text, "there is nothing to recover yet"
    await enrol(world, client)
    assert "Make recovery codes" in (await client.get("/account")).text
    shown = await client.submit("/account/factors/recovery-codes")
    codes = CODE.findall(shown.text)
    assert len(codes) == CODES
    assert shown.headers["cache-control"] == "no-store"
    saved = re.search(r'href="(data:text/plain[^"]+)" download="recovery-codes.txt"', shown.text)
    assert saved is not None
    file = unquote(html.unescape(saved[1]))
    assert file.splitlines()[2:] == codes
    assert "Recovery codes of alice" in file
    again = await client.get("/account/factors/recovery-codes")
    assert "count no more" in again.text
    assert codes[0] not in again.text

    lost = await world.browser("alice")
    goes(await lost.get("/account/factors/totp"), "/account/step-up")
    assert 'href="/account/step-up?with=recovery_code"' in (await lost.get("/account/step-up")).text
    assert 'name="recovery_code"' in (await lost.get("/account/step-up?with=recovery_code")).text
    wrong = await lost.submit("/account/step-up", recovery_code="00000-00000")
    assert (wrong.status_code, "This code is wrong" in wrong.text) == (422, True)
    done = await lost.submit("/account/step-up", recovery_code=codes[4].upper())
    (replacement,) = CODE.findall(done.text)
    assert (done.status_code, replacement in codes) == (200, False)
    assert 'href="/account/factors/totp"' in done.text
    assert (await lost.get("/account/factors/totp")).status_code == 200
    assert (await client.submit("/account/step-up", recovery_code=codes[4])).status_code == 422
    (token,) = FORM_TOKEN.findall(done.text[done.text.index("/account/sessions/end-others") :])[:1]
    goes(await lost.post("/account/sessions/end-others", data={"form_token": token}), "/account")
    assert ((await client.get(SESSION)).status_code, (await lost.get(SESSION)).status_code) == (401, 200)


@pytest.mark.requirement("ASVS V6.3.3", "63B-4 2.2.2-b")
async def test_where_a_second_factor_is_demanded_a_passkey_is_offered_first(demanding: World) -> None:
    client, one = await demanding.client(headers=BROWSER), device()
    goes(await client.submit("/login", username="alice", password=PASSWORD), "/account")
    setup = (await client.get("/account/step-up")).text
    assert setup.index("/account/factors/passkey") < setup.index("/account/factors/totp")
    await add(client, one)
    goes(await client.get("/account"), "/account/step-up")
    options = (await client.post(f"{SESSION}/step-up/options")).json()
    goes(await client.submit("/account/step-up", credential=json.dumps(one.get(options))), "/account")
    assert (await client.get("/account")).status_code == 200
    direct = await demanding.client()
    assert (await by_passkey(direct, one)).status_code == 201
    assert (await direct.get("/api/v1/sessions")).status_code == 200


# -- a step-up in between -------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.5.3")
async def test_what_was_typed_into_any_form_is_there_after_the_step_up(world: World) -> None:
    await world.person("alice", password=True)
    here = await world.browser("alice")
    token = await here.form_token("/account/factors/totp")
    world.clock.advance(6 * MINUTE)
    typed = {"form_token": token, "name": "my <phone>", "password": "secret words", "x" * 1_001: "y"}
    path = "/account/factors/totp"
    referring = {"Referer": f"{HERE}{path}"}
    goes(await here.post(path, data=typed, headers=referring), "/account/step-up")
    goes(await here.submit("/account/step-up", password=PASSWORD), path)
    shown = (await here.get(path)).text
    assert 'value="my &lt;phone&gt;"' in shown
    assert "secret words" not in shown
    assert "my &lt;phone&gt;" not in (await here.get(path)).text, "once"


async def test_what_is_kept_of_a_form_is_bounded_ours_and_forgotten(world: World) -> None:
    await world.person("alice", password=True)
    here = await world.browser("alice")
    path = "/account/factors/totp"
    referring = {"Referer": f"{HERE}{path}"}
    token = await here.form_token(path)
    world.clock.advance(6 * MINUTE)
    kept = world.authority.store

    async def stored() -> bytes:
        (session,) = await world.authority.sessions(principal="alice")
        return (await kept.read_data(session.id))[1]

    await here.post(path, data={"form_token": "forged", "name": "theirs"}, headers=referring)
    assert b"theirs" not in await stored()
    await here.post(path, data={"form_token": token, **{f"n{n}": "z" * 60_0 for n in range(40)}}, headers=referring)
    assert 4_000 <= len(await stored()) < 6_000
    await here.post(path, data={"form_token": token, "name": "mine", "code": "123456"}, headers=referring)
    assert b"mine" in await stored()
    assert b"123456" not in await stored()
    assert b"z" * 600 not in await stored()
    goes(await here.submit("/account/step-up", password=PASSWORD), path)
    world.clock.advance(10 * MINUTE)
    await here.submit("/account/step-up", password=PASSWORD)
    assert "mine" not in (await here.get(path)).text


# -- an operator's help ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V6.5.6", "63B-4 3.2.1-a", "ASVS V6.4.4")
async def test_an_operator_takes_lost_factors_away(world: World) -> None:
    client, one = await world.signed_in("alice"), device()
    id = await add(client, one)
    olivia = await world.signed_in("olivia", operator=True)
    path = "/api/v1/principals/alice/factors"
    is_problem(await client.get(path), 403, "out_of_scope")
    is_problem(await client.delete(path), 403, "out_of_scope")
    assert [each["id"] for each in (await olivia.get(path)).json()["items"]] == [id]
    is_problem(await olivia.delete(f"{path}?factor=fct_{'0' * 26}"), 404)
    done = (await olivia.delete(f"{path}?factor={id}&cause=laptop+stolen")).json()
    assert ([each["id"] for each in done["removed"]], done["receipt"]["cause"]) == ([id], "laptop stolen")
    is_problem(await client.get(SESSION), 401, "revoked")
    is_problem(await by_passkey(await world.client(), one), 401)
    (event,) = [one for one in await world.authority.store.events(limit=100) if one.name == "factor.reset"]
    assert (event.principal, event.by.name, event.details["factors"]) == ("alice", "olivia", [id])
    world.clock.advance(5 * MINUTE)
    is_problem(await olivia.delete(path), 401, "stale_authentication", "step_up")


async def test_an_operator_takes_them_away_on_the_console(world: World) -> None:
    await add(await world.signed_in("alice"), device(), name="her <laptop>")
    olivia = await world.browser("olivia", operator=True)
    shown = (await olivia.get("/console/principals/alice")).text
    assert "her &lt;laptop&gt;" in shown
    asked = await olivia.get("/console/principals/alice/reset-factors")
    assert "Make sure that it is alice who asks" in asked.text
    done = await olivia.submit("/console/principals/alice/reset-factors", cause="came in person")
    assert (done.status_code, "1 session ended" in done.text) == (200, True)
    assert "laptop" not in (await olivia.get("/console/principals/alice")).text


# -- a forgotten password, where there are passkeys -----------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.2.2.2-a", "ASVS V6.4.3", "ASVS V6.4.4")
async def test_whoever_has_passkeys_only_recovers_by_one_or_by_an_operator(world: World) -> None:
    """A link is one proof: the other is a session that a passkey opened just now. Without either nobody gets in."""
    await world.person("alice")
    client, one = await world.signed_in("alice"), device()
    await add(client, one)
    reset, link = "/api/v1/password/reset", await operators_link(world.authority, "alice", by=Actor(name="test"))
    body = {"link": link, "new": PASSWORD}
    for asking in (await world.client(), await world.signed_in("alice")):  # nobody; by something that one knows
        for more in ({}, {"code": "123456"}, {"code": "01234-56789-abcde-fghjk-mnpqr"}):
            is_problem(await asking.post(reset, json={**body, **more}), 403)
    known = await world.client()
    assert (await by_passkey(known, one)).status_code == 201
    assert (await known.post(reset, json=body)).status_code == 200
    is_problem(await known.get(SESSION), 401, "revoked")
    await world.server.factors.reset("alice", by=Actor(name="test"), cause="lost")
    again = await operators_link(world.authority, "alice", by=Actor(name="test"))
    assert (await (await world.client()).post(reset, json={"link": again, "new": NEW})).status_code == 200
    refused = await by_passkey(await world.client(), one)
    is_problem(refused, 401)


# -- coming back after inactivity -----------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 2.2.3-c", "63B-4 5.1-e", "63B-4 5.2-b")
async def test_after_inactivity_the_password_and_the_old_cookie_do(demanding: World) -> None:
    """And neither alone does; nor do they after the overall limit, nor in the place of a factor that is to change."""
    secret = await enrol(demanding, first := await demanding.signed_in("alice"))
    expires = (await first.get(SESSION)).json()["expires"]
    again = {"username": "alice", "password": PASSWORD}
    demanding.clock.advance(60 * MINUTE)
    is_problem(await first.get("/api/v1/sessions"), 401, "idle", "sign_in")
    stranger = await demanding.client()
    assert (await stranger.post(SESSION, json=again)).json()["kind"] == "pre_session", "the password alone"
    is_problem(await stranger.get("/api/v1/sessions"), 401, "missing", "sign_in")
    old = first.cookie
    back = await first.post(SESSION, json=again)
    assert (back.status_code, back.json()["assurance"], back.json()["expires"]) == (201, 2, expires)
    assert [one["method"] for one in back.json()["authentications"]] == ["totp", "password"]
    assert first.cookie != old
    assert (await first.get("/api/v1/sessions")).status_code == 200
    used = await demanding.client()
    used.cookies.set(COOKIE, old or "", domain="localhost.local")
    assert (await used.post(SESSION, json=again)).json()["kind"] == "pre_session", "once"
    browser = await demanding.client(headers=BROWSER)
    browser.cookies.set(COOKIE, first.cookie or "", domain="localhost.local")
    demanding.clock.advance(60 * MINUTE)
    goes(await browser.submit("/login", username="alice", password=PASSWORD), "/account")
    assert (await browser.get("/account")).status_code == 200
    demanding.clock.advance(24 * 60 * MINUTE)
    goes(await browser.submit("/login", username="alice", password=PASSWORD), "/login/second")
    goes(await browser.get("/account"), "/login")
    assert secret


@pytest.mark.requirement("63B-4 2.3.3-c")
async def test_at_assurance_3_inactivity_costs_the_full_ceremony(world: World) -> None:
    await world.person("alice", password=True)
    client, one = await world.signed_in("alice"), device(synced=False)
    await add(client, one)
    client = await world.client()
    assert (await by_passkey(client, one)).json()["assurance"] == 3
    world.clock.advance(60 * MINUTE)
    back = await client.post(SESSION, json={"username": "alice", "password": PASSWORD})
    assert back.json()["assurance"] == 1
    assert (await by_passkey(client, one)).json()["assurance"] == 3


@pytest.mark.requirement("63B-4 2.2.3-a", "63B-4 5.2-a", "63B-4 5.2-d")
async def test_the_password_alone_does_not_move_the_overall_limit_of_two_factors(demanding: World) -> None:
    secret = await enrol(demanding, client := await demanding.signed_in("alice"))

    async def again(**proof: str) -> str:
        demanding.clock.advance(6 * MINUTE)
        answer = await client.post(f"{SESSION}/step-up", json=proof)
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["expires"]
        return found

    stands = (await client.get(SESSION)).json()["expires"]
    for _ in range(2):
        assert await again(method="password", password=PASSWORD) == stands
    page = await demanding.client(headers=BROWSER)
    page.cookies.set(COOKIE, client.cookie or "", domain="localhost.local")
    asked = await page.get("/account/step-up")
    assert 'name="code"' in asked.text, "what is missing is asked for first"
    shown = code(secret, demanding.clock.now() + 6 * MINUTE)
    assert await again(method="totp", code=shown) > stands
