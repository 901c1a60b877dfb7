"""The pages, as a browser without script uses them."""

from __future__ import annotations

import html
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessile import Method
from sessile.server import DemoGuide, DemoPerson
from tests.server.conftest import BROWSER, COOKIE, MINUTE, NEW, PASSWORD, Client, World, opened

NOTICE = re.compile(r'<div class="notice[^"]*"(?![^>]* hidden>)[^>]*>(.*?)</div>', re.DOTALL)


def notices(page: httpx.Response) -> str:
    found = " ".join(re.sub("<[^>]+>", " ", one) for one in NOTICE.findall(page.text))
    return html.unescape(" ".join(found.split()))


def goes(answer: httpx.Response, path: str, status: int = 303) -> None:
    assert (answer.status_code, answer.headers.get("location")) == (status, path), answer.text


async def log_in(client: Client, name: str = "alice", password: str = PASSWORD) -> httpx.Response:
    return await client.submit("/login", username=name, password=password)


async def why(client: Client) -> str:
    """What a person reads who clicks on after the session has ended."""
    goes(await client.get("/account"), "/login")
    return notices(await client.get("/login"))


async def mine(client: Client) -> str:
    answer = await client.get("/api/v1/session")
    found: str = answer.json()["id"]
    return found


# -- signing in -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V3.7.2")
async def test_signing_in_and_going_on(world: World) -> None:
    await world.person("alice", password=True)
    client = await world.client(headers=BROWSER)
    goes(await client.get("/"), "/account")
    refused = await client.get("/account/password?x=1")
    goes(refused, "/login")
    (kept,) = refused.headers.get_list("set-cookie")
    assert (
        kept == "__Host-return-sessile=/account/password%3Fx%3D1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
    )
    page = await client.get("/login")
    assert "Sign in to go on" in notices(page)
    answer = await log_in(client)
    goes(answer, "/account/password?x=1")
    cookies = {cookie.partition("=")[0]: cookie for cookie in answer.headers.get_list("set-cookie")}
    assert "Max-Age" not in cookies[COOKIE]
    assert "Max-Age=0" in cookies["__Host-return-sessile"]
    assert "Max-Age=0" in cookies["__Host-form-sessile"]
    assert (await client.get("/account/password")).status_code == 200
    goes(await client.get("/login"), "/account")


@pytest.mark.requirement("ASVS V3.7.2")
@pytest.mark.parametrize(
    "planted",
    ["https://evil.example", "//evil.example", "/%5Cevil.example", "/%09/evil.example", "%2F%2Fevil", "x", ""],
)
async def test_a_planted_way_on_is_ignored(world: World, planted: str) -> None:
    """Review 23: a path of this server, or none."""
    await world.person("alice", password=True)
    client = await world.client(headers=BROWSER)
    token = await client.form_token("/login")
    form = client.cookies.get("__Host-form-sessile")
    client.cookies.clear()
    answer = await client.post(
        "/login?next=https://evil.example", data={"username": "alice", "password": PASSWORD, "form_token": token},
        headers={"Cookie": f"__Host-form-sessile={form}; __Host-return-sessile={planted}"},
    )  # fmt: skip
    goes(answer, "/account")


@pytest.mark.requirement("ASVS V6.3.8")
async def test_the_login_page_says_the_same_to_all_who_fail(world: World) -> None:
    for name in ("alice", "dora"):
        await world.person(name, password=True)
    await world.authority.disable("dora", cause="left")
    client = await world.client(headers=BROWSER)
    answers = [
        await log_in(client, name, password)
        for name, password in (("alice", NEW), ("nobody", PASSWORD), ("dora", PASSWORD), ("no <name>", PASSWORD))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({notices(answer) for answer in answers}) == 1
    assert "is wrong" in notices(answers[0])
    assert "no &lt;name&gt;" in answers[3].text
    assert PASSWORD not in "".join(answer.text for answer in answers)
    assert client.cookie is None


@pytest.mark.requirement("ASVS V3.5.1", "CS-CSRF-1", "CS-CSRF-2", "63B-4 5.1-l")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://localhost"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_where_a_sign_in_form_comes_from(world: World, headers: dict[str, str], status: int) -> None:
    """Review 23: a form without Sec-Fetch-Site and Origin is refused here."""
    await world.person("alice", password=True)
    client = await world.client()
    token = await client.form_token("/login")
    fields = {"username": "alice", "password": PASSWORD, "form_token": token}
    answer = await client.post("/login", data=fields, headers=headers)
    assert answer.status_code == status
    assert (client.cookie is not None) is (status == 303)


@pytest.mark.requirement("CS-CSRF-2", "CS-CSRF-3")
async def test_a_form_of_another_browser_does_not_sign_in(world: World) -> None:
    await world.person("alice", password=True)
    victim, attacker = await world.client(headers=BROWSER), await world.client(headers=BROWSER)
    await victim.get("/login")
    for token in (await attacker.form_token("/login"), "", "x" * 43):
        answer = await victim.post("/login", data={"username": "alice", "password": PASSWORD, "form_token": token})
        assert answer.status_code == 403
        assert "Please send it again" in notices(answer)
    assert victim.cookie is None


async def test_signing_in_over_a_session_ends_it(world: World) -> None:
    """Review 23."""
    await world.person("bob", password=True)
    client = await world.client(headers=BROWSER)
    token = await client.form_token("/login")
    alice = await world.authority.begin("alice")
    form = client.cookies.get("__Host-form-sessile")
    answer = await client.post(
        "/login", data={"username": "bob", "password": PASSWORD, "form_token": token},
        headers={"Cookie": f"__Host-form-sessile={form}; {COOKIE}={alice.token}"},
    )  # fmt: skip
    goes(answer, "/account")
    assert (await world.authority.session(alice.active.session.id)).cause == "replaced"


async def test_the_demo_shows_who_may_sign_in(tmp_path: Path) -> None:
    people = (DemoPerson(name="alice", password=PASSWORD, role="a person", hint="End a session."),)
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, demo=DemoGuide(people=people))
        await world.person("alice", password=True)
        client = await world.client(headers=BROWSER)
        assert "End a session." in (await client.get("/login")).text
        goes(await log_in(client), "/account")
        plain = await opened(tmp_path / "..", stack, database="memory:")
        assert PASSWORD not in (await (await plain.client(headers=BROWSER)).get("/login")).text


async def test_plain_http_elsewhere_is_said(tmp_path: Path) -> None:
    """Review 22: not a loop of logins that never hold."""
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, allowed_hosts=("console.example.com", "localhost"))
        client = await world.client(headers=BROWSER)
        for address, insecure in (
            ("http://console.example.com", True),
            ("http://localhost:8000", False),
            ("https://console.example.com", False),
        ):
            assert ("will not work on this address" in notices(await client.get(f"{address}/login"))) is insecure


# -- why one landed on the login page -------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.5")
async def test_the_login_page_says_why(world: World) -> None:
    here = await world.browser("alice")
    await world.authority.begin("olivia")
    by = await world.authority.check(str((await world.authority.begin("olivia")).token))
    assert by

    other = await world.browser("alice")
    await world.authority.revoke(session=await mine(other), cause="laptop stolen", by=by)
    assert await why(other) == "This session was ended at 00:00 UTC by an operator. The cause given: laptop stolen."

    other = await world.browser("alice")
    await here.submit(f"/account/sessions/{await mine(other)}/end", page="/account")
    assert "ended at 00:00 UTC by you, from another tab (Firefox on Linux)" in await why(other)

    other = await world.browser("alice")
    await here.submit("/account/sessions/end-others", page="/account")
    assert "ended at 00:00 UTC by you, from another tab" in await why(other)

    await world.authority.revoke(principal="alice", cause="audit", by=by)
    assert await why(here) == "This session was ended at 00:00 UTC by an operator. The cause given: audit."

    other = await world.browser("alice")
    await world.server.passwords.set("alice", PASSWORD)
    assert "The password was changed at 00:00 UTC" in await why(other)

    other = await world.browser("alice")
    await world.authority.revoke(everyone=True, cause="incident", by=by)
    assert "ended at 00:00 UTC by an operator" in await why(other)

    other = await world.browser("alice")
    world.clock.advance(60 * MINUTE)
    assert await why(other) == "You were signed out after 1 hour without activity."

    other = await world.browser("alice")
    await world.authority.disable("alice", cause="left")
    assert await why(other) == "This account is disabled. Ask an operator to enable it."


async def test_a_new_visitor_is_told_nothing(world: World) -> None:
    assert notices(await (await world.client(headers=BROWSER)).get("/login")) == ""


async def test_a_tab_with_a_renewed_token_is_sent_once_more(world: World) -> None:
    """Review 18e: the browser holds the new token by then."""
    issued = await world.authority.begin("alice")
    await world.authority.elevate(issued.active, method=Method.PASSWORD)
    client = await world.client(headers={**BROWSER, "Cookie": f"{COOKIE}={issued.token}"})
    again = await client.get("/account")
    goes(again, "/account")
    assert COOKIE + "=" not in str(again.headers.get_list("set-cookie"))
    headers = {**BROWSER, "Cookie": f"{COOKIE}={issued.token}; __Host-retry-sessile=1"}
    page = await client.get("/account", headers=headers)
    assert page.status_code == 401
    assert "load the page once more" in page.text


# -- the account ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.5.2", "ASVS V7.4.4", "63B-4 5.1-m")
async def test_the_account_page(world: World) -> None:
    here, there = await world.browser("alice"), await world.browser("alice")
    await here.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"], "label": "runner"})
    world.clock.advance(5 * MINUTE)
    page = await here.get("/account")
    assert page.status_code == 200
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))
    # The client by name, this one marked; its address; the last act; how it was proved, and what that is worth.
    assert re.search(r"Firefox on Linux This one Sign out 192\.0\.2\.7 Active just now", words)
    assert re.search(r"Firefox on Linux End 192\.0\.2\.7 Active 5 minutes ago", words)
    assert words.count("signed in 5 minutes ago by password, one factor (assurance 1)") == 2
    assert "Signed in Firefox on Linux, 192.0.2.7 5 minutes ago 1 Jan, 00:00 UTC" in words, "among the events"
    assert f"/account/sessions/{await mine(there)}/end" in page.text
    assert f"/account/sessions/{await mine(here)}/end" not in page.text
    assert "runner" in page.text
    answer = await here.submit(f"/account/sessions/{await mine(there)}/end", page="/account")
    goes(answer, "/account")
    assert "No node has accepted it since 1 Jan 2026, 00:05:00.000 UTC" in notices(await here.get("/account"))
    assert "No node" not in notices(await here.get("/account"))
    goes(await there.get("/account"), "/login")
    others = [await world.browser("alice") for _ in range(2)]
    goes(await here.submit("/account/sessions/end-others", page="/account"), "/account")
    assert "2 sessions ended. No node has accepted them since" in notices(await here.get("/account"))
    for one in others:
        goes(await one.get("/account"), "/login")


@pytest.mark.requirement("63B-4 5.1-l", "CS-CSRF-3", "ASVS V3.5.1")
async def test_no_form_does_anything_without_its_token(world: World) -> None:
    here, there = await world.browser("alice"), await world.browser("alice")
    olivia = await world.browser("olivia", operator=True)
    foreign = await there.form_token("/account")
    for client, path, fields in [
        (here, f"/account/sessions/{await mine(there)}/end", {}),
        (here, "/account/sessions/end-others", {}),
        (here, "/account/password", {"current": PASSWORD, "new": NEW, "again": NEW}),
        (here, "/account/step-up", {"password": PASSWORD}),
        (here, "/logout", {}),
        (olivia, "/console/principals/alice/revoke", {"cause": "x"}),
        (olivia, "/console/principals/alice/disable", {"cause": "x"}),
        (olivia, "/console/everyone/revoke", {"cause": "x"}),
        (olivia, f"/console/sessions/{await mine(there)}/revoke", {"cause": "x"}),
    ]:
        for token in ({}, {"form_token": ""}, {"form_token": foreign}):
            answer = await client.post(path, data={**fields, **token})
            assert answer.status_code == 403, path
            assert "Please send it again" in answer.text
    for client in (here, there, olivia):
        assert (await client.get("/account")).status_code == 200


async def test_ending_asks_for_the_password_after_a_while(world: World) -> None:
    await world.person("alice", password=True)
    here, there = await world.browser("alice"), await world.browser("alice")
    world.clock.advance(15 * MINUTE)
    assert "asked for your password" in (await here.get("/account")).text
    goes(await here.submit(f"/account/sessions/{await mine(there)}/end", page="/account"), "/account/step-up")
    page = await here.get("/account/step-up")
    assert "about to end a session" in page.text
    wrong = await here.submit("/account/step-up", password=NEW)
    assert (wrong.status_code, notices(wrong)) == (422, "The password is wrong. Try again.")
    before = here.cookie
    goes(await here.submit("/account/step-up", password=PASSWORD), "/account")
    assert here.cookie != before
    assert (await there.get("/account")).status_code == 200
    goes(await here.submit(f"/account/sessions/{await mine(there)}/end", page="/account"), "/account")
    goes(await there.get("/account"), "/login")


async def test_changing_the_password(world: World) -> None:
    await world.person("alice", password=True)
    here, there = await world.browser("alice"), await world.browser("alice")
    for fields, said in [
        ({"current": PASSWORD, "new": NEW, "again": NEW + "x"}, "differ"),
        ({"current": NEW, "new": NEW, "again": NEW}, "not your current password"),
        ({"current": PASSWORD, "new": "short", "again": "short"}, "This has 5 characters. Use at least 15"),
        ({"current": PASSWORD, "new": PASSWORD, "again": PASSWORD}, "the password you have now"),
    ]:
        page = await here.submit("/account/password", **fields)
        assert page.status_code == 422
        assert said in html.unescape(page.text)
        assert NEW not in page.text
    goes(await here.submit("/account/password", current=PASSWORD, new=NEW, again=NEW), "/account")
    assert "Your password is changed, and 1 session ended." in notices(await here.get("/account"))
    goes(await there.get("/account"), "/login")


@pytest.mark.requirement("ASVS V7.4.4", "ASVS V10.6.2", "ASVS V3.5.3")
async def test_signing_out(world: World) -> None:
    client = await world.browser("alice")
    page = await client.get("/logout")
    assert page.status_code == 200
    assert (await client.get("/account")).status_code == 200  # a GET changes nothing
    answer = await client.submit("/logout")
    goes(answer, "/login?signed-out")
    assert answer.headers["clear-site-data"] == '"storage"'
    assert notices(await client.get("/login?signed-out")) == "You signed out."
    goes(await client.get("/logout"), "/login")
    goes(await client.post("/logout"), "/login?signed-out")


# -- the console ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.5")
async def test_an_operator_ends_what_must_end(world: World) -> None:
    alice, olivia = await world.browser("alice"), await world.browser("olivia", operator=True)
    await alice.post("/api/v1/delegations", json={"to": "agent:bot", "scopes": ["read"]})
    await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["build"]})
    page = await olivia.get("/console?q=ALI")
    assert "/console/principals/alice" in page.text
    assert "service:ci" not in page.text
    page = await olivia.get("/console/principals/alice")
    assert page.text.count(await mine(alice)) >= 1
    assert "agent:bot" in page.text
    ask = await olivia.get("/console/principals/alice/disable")
    assert "This ends 1 session and 1 delegation." in ask.text
    assert "What stays alive: 1 key." in ask.text
    empty = await olivia.submit("/console/principals/alice/disable", cause=" ")
    assert (empty.status_code, "Say why" in empty.text) == (422, True)
    long = await olivia.submit("/console/principals/alice/disable", cause="x" * 201)
    assert (long.status_code, "at most 200" in long.text) == (422, True)
    assert (await alice.get("/account")).status_code == 200
    receipt = await olivia.submit("/console/principals/alice/disable", cause="left <the> company")
    assert receipt.status_code == 200
    assert "left &lt;the&gt; company" in receipt.text
    assert "service:ci" in receipt.text
    assert "No node has accepted them since" in receipt.text
    assert "This account is disabled" in await why(alice)
    assert (await olivia.submit("/console/principals/alice/enable", cause="back")).status_code == 200
    assert (await world.authority.begin("alice")).token

    bob = await world.browser("bob")
    path = f"/console/sessions/{await mine(bob)}/revoke"
    assert "1 session ended" in (await olivia.submit(path, cause="test")).text
    assert "by an operator. The cause given: test" in await why(bob)
    bob = await world.browser("bob")
    assert "1 session ended" in (await olivia.submit("/console/principals/bob/revoke", cause="test")).text
    bob = await world.browser("bob")
    assert "All sessions ended" in (await olivia.submit("/console/everyone/revoke", cause="incident")).text
    goes(await bob.get("/account"), "/login")
    goes(await olivia.get("/console"), "/login")


@pytest.mark.requirement("ASVS V8.2.1")
async def test_the_console_is_for_operators(world: World) -> None:
    alice = await world.browser("alice")
    token = await alice.form_token("/account")
    for path in (
        "/console", "/console/principals/alice", "/console/principals/alice/revoke", "/console/everyone/revoke",
        f"/console/sessions/{await mine(alice)}/revoke",
    ):  # fmt: skip
        page = await alice.get(path)
        assert page.status_code == 403
        assert "not open to you" in page.text
        assert (await alice.post(path, data={"form_token": token, "cause": "x"})).status_code in (403, 405)
    assert "/console" not in (await alice.get("/account")).text
    assert (await alice.get("/account")).status_code == 200


@pytest.mark.requirement("ASVS V7.5.3")
async def test_the_dangerous_asks_for_the_password_again(world: World) -> None:
    await world.person("olivia", password=True, operator=True)
    alice, olivia = await world.browser("alice"), await world.browser("olivia")
    token = await olivia.form_token("/account")
    world.clock.advance(5 * MINUTE)
    for path in ("/console/principals/alice/disable", "/console/principals/alice/enable", "/console/everyone/revoke"):
        goes(await olivia.post(path, data={"form_token": token, "cause": "x"}), "/account/step-up")
        goes(await olivia.get(path), "/account/step-up")
    assert (await alice.get("/account")).status_code == 200
    goes(await olivia.submit("/account/step-up", password=PASSWORD), "/console/everyone/revoke")


async def test_many_principals_come_in_pages(world: World) -> None:
    olivia = await world.browser("olivia", operator=True)
    for n in range(30):
        await world.authority.register(f"person{n:02}")
    first = await olivia.get("/console")
    more = re.search(r'href="(/console\?after=[^"]+)"', first.text)
    assert more is not None
    second = await olivia.get(html.unescape(more[1]))
    names = [re.findall(r"/console/principals/([a-z0-9]+)", page.text) for page in (first, second)]
    assert sorted(names[0] + names[1]) == sorted(["olivia", *(f"person{n:02}" for n in range(30))])


# -- every page -----------------------------------------------------------------------------------------------------

PAGES = [
    "/login", "/logout", "/account", "/account/password", "/account/step-up", "/console", "/console?q=zz",
    "/console/principals/olivia", "/console/principals/olivia/revoke", "/console/principals/olivia/disable",
    "/console/principals/olivia/enable", "/console/everyone/revoke", "/docs", "/nothing/here", "/console/principals/zz",
]  # fmt: skip


@pytest.mark.requirement("CS-CSRF-3", "ASVS V3.4.3", "ASVS V3.4.6", "ASVS V3.4.4", "ASVS V3.4.5", "ASVS V3.4.8")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("operator", [True, False])
async def test_every_page(world: World, path: str, operator: bool) -> None:
    client = await world.browser("olivia", operator=True) if operator else await world.client(headers=BROWSER)
    answer: Any = await client.get(path)
    while answer.status_code == 303:
        answer = await client.get(answer.headers["location"])
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    csp = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))
    assert csp["default-src"] == csp["frame-ancestors"] == csp["base-uri"] == "'none'"
    assert csp["script-src"] == csp["form-action"] == "'self'"
    assert "unsafe" not in str(csp)
    for name, value in {
        "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    }.items():  # fmt: skip
        assert answer.headers[name] == value
    # Nothing that the policy would block, and no form that posts without its token.
    assert not re.search(
        r"<script(?! src=./(?:session|static)/[a-z]+\.js. defer)|<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org)",
        answer.text,
    )
    forms = re.findall(r"<form[^>]*>.*?</form>", answer.text, re.DOTALL)
    for form in forms:
        if 'method="post"' in form:
            assert re.search(r'name="form_token" value="[A-Za-z0-9_-]{43}"', form), form
    assert forms or path == "/docs" or answer.status_code == 404
    if operator:
        assert 'action="/logout"' in answer.text
