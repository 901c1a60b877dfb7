"""A forgotten password, from the login page to a mail of a real SMTP server and back; addresses; strength."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from zxcvbn.matching import L33T_TABLE, enumerate_l33t_subs, relevant_l33t_subtable

from sessile import Client as Device
from sessile import Method, Policy
from sessile.factors.throttle import ASKING
from sessile.server.settings import Mail
from sessile.server.strength import BURST, readable
from tests.factors.test_totp import code
from tests.mail import LINK, Post, link, post, text
from tests.server.conftest import BROWSER, COOKIE, MINUTE, NEW, PASSWORD, Client, World, is_problem, opened

ORIGIN = "https://localhost"
CONTACT = "security@example.org"
FORM = {**BROWSER, "Origin": ORIGIN}


class Mailed(World):
    post: Post

    async def round(self) -> None:
        courier = self.server.reaching.courier
        assert courier is not None
        await courier.round()

    async def address(self, name: str, address: str) -> None:
        """A confirmed one."""
        principal, addresses = await self.authority.principal(name), self.server.addresses
        made = await addresses.add(principal, address)
        await addresses.confirm(await addresses.link(principal, made.id))

    async def alice(self) -> None:
        await self.person("alice", password=True)
        await self.address("alice", "alice@example.org")
        await self.round()
        self.post.mails.clear()

    async def stranger(self) -> Client:
        return await self.client(headers=FORM)

    async def asked(self, named: str = "alice") -> str:
        """The path of the link that was mailed."""
        await (await self.stranger()).post("/forgot", data={"username": named})
        await self.round()
        (mail,) = self.post.mails
        self.post.mails.clear()
        return link(mail, "/reset/")


@pytest.fixture
def smtp() -> Iterator[Post]:
    with post() as server:
        yield server


def settings(smtp: Post) -> Mail:
    return Mail(server=f"smtp://127.0.0.1:{smtp.port}", sender="sessile@example.org", contact=CONTACT)


@pytest.fixture
async def mailed(tmp_path: Path, smtp: Post) -> AsyncIterator[Mailed]:
    async with AsyncExitStack() as stack:
        made = await opened(tmp_path, stack, origins=(ORIGIN,), mail=settings(smtp))
        world = Mailed(made.app, made.clock, stack, tmp_path)
        world.post = smtp
        courier = world.server.reaching.courier
        assert courier is not None
        await courier.close()  # its rounds are the test's
        yield world


def answer(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    return response.status_code, response.content, sorted(response.headers.multi_items())


# -- by page --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CS-FP-2", "CS-FP-3", "63B-4 4.2.3-a", "ASVS V6.3.7", "ASVS V6.3.8")
async def test_a_forgotten_password_is_replaced_by_a_link_in_a_mail(mailed: Mailed) -> None:
    await mailed.alice()
    held = await mailed.signed_in("alice")
    browser = await mailed.stranger()
    assert 'href="/forgot"' in (await browser.get("/login")).text
    sent = await browser.post("/forgot", data={"username": "alice"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/forgot?sent")
    assert "on its way" in (await browser.get("/forgot?sent")).text
    await mailed.round()
    (mail,) = mailed.post.mails
    assert (mail["From"], mail["To"], mail["X-To"]) == ("sessile@example.org", "alice@example.org", "alice@example.org")
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("A new password", "auto-generated")
    assert {one.split("/", 3)[2] for one in LINK.findall(text(mail))} == {"localhost"}
    path = link(mail, "/reset/")
    mailed.post.mails.clear()

    for method in ("HEAD", "GET", "GET"):  # as programs do that look at mails
        looked = await (await mailed.stranger()).request(method, path)
    assert (looked.status_code, looked.headers["location"]) == (303, "/reset")
    assert looked.headers["referrer-policy"] == "no-referrer"
    secret = path.removeprefix("/reset/")
    await browser.get(path)
    page = await browser.get("/reset")
    assert page.status_code == 200
    assert secret not in page.text
    assert page.headers["cache-control"] == "no-store"

    differ = await browser.submit("/reset", new=NEW, again=NEW + "!")
    weak = await browser.submit("/reset", new="password1234567", again="password1234567")
    assert (differ.status_code, weak.status_code) == (422, 422)
    assert "lists that attackers try" in weak.text
    assert (await held.get("/api/v1/session")).status_code == 200, "nothing was changed yet"
    done = await browser.submit("/reset", new=NEW, again=NEW)
    assert done.status_code == 200
    assert "Your password is set" in done.text
    assert COOKIE not in browser.cookies
    assert not any(COOKIE in header for header in done.headers.get_list("set-cookie"))
    assert (await held.get("/api/v1/session")).status_code == 401
    assert (await browser.get("/reset")).status_code == 410
    await browser.get(path)
    assert (await browser.get("/reset")).status_code == 410
    wrong = await browser.submit("/login", username="alice", password=PASSWORD)
    right = await browser.submit("/login", username="alice", password=NEW)
    assert (wrong.status_code, right.status_code) == (401, 303)

    await mailed.round()
    assert ("alice@example.org", "Your password was changed") in mailed.post.subjects()
    notice = next(one for one in mailed.post.mails if one["Subject"] == "Your password was changed")
    assert CONTACT in text(notice)
    assert f"{ORIGIN}/forgot" in text(notice)


@pytest.mark.requirement("CS-FP-1", "ASVS V6.3.8")
async def test_known_and_unknown_get_the_same_answer(mailed: Mailed) -> None:
    await mailed.alice()
    await mailed.person("gone", password=True)
    await mailed.address("gone", "gone@example.org")
    await mailed.authority.disable("gone", cause="left")
    await mailed.person("bare", password=True)
    await mailed.round()
    mailed.post.mails.clear()
    asked = (
        "alice",
        "alice@example.org",
        "nobody",
        "nobody@example.org",
        "gone",
        "gone@example.org",
        "bare",
        "x\0y",
        "",
    )
    pages, programs = set(), set()
    for named in asked:
        page = await (await mailed.stranger()).post("/forgot", data={"username": named})
        pages.add(repr(answer(page)))
        if named:
            said = await (await mailed.client()).post("/api/v1/password/forgot", json={"username": named})
            programs.add(repr(answer(said)))
    assert (len(pages), len(programs)) == (1, 1)
    await mailed.round()
    assert mailed.post.subjects() == [("alice@example.org", "A new password")] * 4


@pytest.mark.requirement("ASVS V2.4.1", "CS-FP-1")
async def test_links_are_asked_for_so_often_and_no_more(mailed: Mailed) -> None:
    await mailed.alice()
    browser = await mailed.stranger()
    codes = [(await browser.post("/forgot", data={"username": "alice"})).status_code for _ in range(100)]
    assert (codes.count(303), codes.count(429)) == (ASKING[0], 100 - ASKING[0])
    refused = await browser.post("/forgot", data={"username": "alice"})
    assert int(refused.headers["retry-after"]) > 0
    program = await (await mailed.client()).post("/api/v1/password/forgot", json={"username": "alice"})
    is_problem(program, 429)
    await mailed.round()
    assert len(mailed.post.mails) == ASKING[0]
    assert (await browser.submit("/login", username="alice", password=PASSWORD)).status_code == 303


@pytest.mark.requirement("CS-FP-2")
async def test_the_link_leads_to_the_configured_origin_whatever_the_request_says(mailed: Mailed) -> None:
    await mailed.alice()
    evil = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Forwarded-For": "1.2.3.4"}
    for host in ("localhost:4444", "127.0.0.1"):
        await (await mailed.client(headers={**FORM, **evil, "Origin": f"https://{host}", "Host": host})).post(
            "/forgot", data={"username": "alice"}
        )
    await mailed.round()
    assert mailed.post.mails
    assert {
        one for mail in mailed.post.mails for one in LINK.findall(text(mail)) if not one.startswith(ORIGIN)
    } == set()


async def test_a_form_of_elsewhere_neither_asks_nor_sets(mailed: Mailed) -> None:
    await mailed.alice()
    path = await mailed.asked()
    for headers in ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, {}):
        browser = await mailed.client(headers={"Accept": "text/html", **headers})
        assert (await browser.post("/forgot", data={"username": "alice"})).status_code == 403
        await browser.get(path)
        token = await browser.form_token("/reset")
        sent = {"new": NEW, "again": NEW, "form_token": token}
        assert (await browser.post("/reset", data=sent)).status_code == 403
    # Ours, but made for another link.
    browser, other = await mailed.stranger(), await mailed.stranger()
    await browser.get(path)
    await other.get(await mailed.asked())
    sent = {"new": NEW, "again": NEW, "form_token": await other.form_token("/reset")}
    assert (await browser.post("/reset", data=sent)).status_code == 403
    await browser.submit("/login", username="alice", password=PASSWORD)
    assert COOKIE in browser.cookies


# -- with a second factor -------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.2.2.2-a", "ASVS V6.4.3", "63B-4 4.2.1.1-b")
async def test_a_second_factor_is_asked_for_and_a_recovery_code_is_replaced(mailed: Mailed) -> None:
    await mailed.alice()
    server = mailed.server
    issued = await mailed.authority.begin("alice", method=Method.PASSWORD, client=Device())
    made = await server.totp.enrol(issued.active)
    strong = await server.totp.confirm(issued.active, made.factor.id, code(made.secret, mailed.clock.now()))
    codes = await server.recovery_codes.make(strong.active)
    mailed.clock.advance(MINUTE)
    await mailed.round()
    mailed.post.mails.clear()
    browser = await mailed.stranger()
    await browser.get(await mailed.asked())
    assert 'name="code"' in (await browser.get("/reset")).text
    for tried in ("", "000000", "aaaaa-aaaaa-aaaaa-aaaaa-aaaaa"):
        refused = await browser.submit("/reset", new=NEW, again=NEW, code=tried)
        assert refused.status_code == 422
    assert (await mailed.client()).cookie is None
    assert await mailed.authority.check(strong.token), "nothing was changed"
    done = await browser.submit("/reset", new=NEW, again=NEW, code=codes.codes[0])
    assert done.status_code == 200
    replacement = re.search(r"<code>([0-9a-z-]{29})</code>", done.text)
    assert replacement is not None
    assert replacement[1] not in codes.codes
    await mailed.round()
    assert {subject for _, subject in mailed.post.subjects()} >= {
        "Your password was changed",
        "A recovery code was used",
    }
    mailed.post.mails.clear()
    path = await mailed.asked()
    for used, status in ((codes.codes[0], 403), (replacement[1], 200)):
        said = await (await mailed.client()).post(
            "/api/v1/password/reset", json={"link": path[len("/reset/") :], "new": PASSWORD, "code": used}
        )
        assert said.status_code == status, said.text
    assert said.json()["recovery_code"] not in (None, replacement[1])


# -- by program -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 3.1.3.1-a", "ASVS V6.3.6")
async def test_by_program_a_link_works_once(mailed: Mailed) -> None:
    await mailed.alice()
    secret = (await mailed.asked()).removeprefix("/reset/")
    program = await mailed.client()
    is_problem(await program.post("/api/v1/password/reset", json={"link": secret, "new": "short"}), 422)
    done = await program.post("/api/v1/password/reset", json={"link": secret, "new": NEW})
    assert (done.status_code, done.json()) == (200, {"recovery_code": None})
    assert "set-cookie" not in done.headers
    for link_ in (secret, "x", "prn_1." + "A" * 43):
        is_problem(await program.post("/api/v1/password/reset", json={"link": link_, "new": NEW}), 410)
    await mailed.server.passwords.sign_in("alice", NEW)


async def test_without_a_mail_server_it_says_so(world: World) -> None:
    await world.person("alice", password=True)
    browser = await world.client(headers=FORM)
    for answered in (await browser.get("/forgot"), await browser.post("/forgot", data={"username": "alice"})):
        assert "sends no mail" in answered.text
    is_problem(await (await world.client()).post("/api/v1/password/forgot", json={"username": "alice"}), 409)
    events = [event.name for event in await world.authority.store.events(limit=1000)]
    assert "recovery.requested" not in events
    secret = await world.server.reset.link("alice", by=(await world.authority.begin("alice")).active)
    await browser.get(f"/reset/{secret}")
    assert (await browser.submit("/reset", new=NEW, again=NEW)).status_code == 200


@pytest.mark.requirement("ASVS V14.2.1")
async def test_no_secret_of_a_link_is_logged(mailed: Mailed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await mailed.alice()
    path = await mailed.asked()
    # httpx logs what it asks for: the client's log, not ours.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    browser = await mailed.stranger()
    await browser.get(path)
    await browser.submit("/reset", new=NEW, again=NEW)
    await (await mailed.client()).post("/api/v1/password/strength", json={"password": "purple monkey dishwasher"})
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert not any(path.rpartition(".")[2] in said or "purple" in said or NEW in said for said in ours)
    assert path.rpartition(".")[2] not in repr(await mailed.authority.store.events(limit=1000))


# -- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.2.1.2-b", "ASVS V6.3.7", "63B-4 4.6-a")
async def test_an_address_is_added_confirmed_and_removed_by_page(mailed: Mailed) -> None:
    await mailed.alice()
    browser = await mailed.browser("alice")
    assert "alice@example.org" in (await browser.get("/account")).text
    assert 'name="address" type="email" value=""' in (await browser.get("/account/addresses")).text
    for wrong in ("alice", "a@b\nBcc: x@example.org", "alice@example.org"):
        assert (await browser.submit("/account/addresses", address=wrong)).status_code == 422
    assert (await browser.submit("/account/addresses", address="other@example.org")).status_code == 303
    assert "A link was sent to other@example.org" in (await browser.get("/account/addresses")).text
    await mailed.round()
    assert mailed.post.subjects() == [
        ("alice@example.org", "An e-mail address was added"), ("other@example.org", "Confirm this address"),
    ]  # fmt: skip
    path = link(mailed.post.to("other@example.org")[0], "/confirm/")
    reader = await mailed.stranger()
    followed = await reader.get(path)
    assert (followed.status_code, followed.headers["location"]) == (303, "/confirm")
    assert "other@example.org" in (await reader.get("/confirm")).text
    uid = (await mailed.authority.principal("alice")).uid
    assert [one.confirmed is None for one in await mailed.server.addresses.of(uid)].count(True) == 1, (
        "a look confirms none"
    )
    assert (await reader.submit("/confirm")).status_code == 200
    assert (await reader.get("/confirm")).status_code == 410
    assert all(one.confirmed for one in await mailed.server.addresses.of(uid))
    mailed.post.mails.clear()

    first = next(one for one in await mailed.server.addresses.of(uid) if one.address == "alice@example.org")
    removed = await browser.submit(f"/account/addresses/{first.id}", page="/account/addresses")
    assert removed.status_code == 303
    await mailed.round()
    assert mailed.post.subjects() == [
        (to, "An e-mail address was removed") for to in ("alice@example.org", "other@example.org")
    ]
    assert "a…@example.org was removed" in text(mailed.post.mails[0])
    assert await mailed.server.addresses.get(uid, first.id) is None, "nothing of it is kept"


@pytest.mark.requirement("ASVS V7.5.1")
async def test_addresses_are_changed_with_a_fresh_proof_only(mailed: Mailed) -> None:
    await mailed.alice()
    browser, program = await mailed.browser("alice"), await mailed.signed_in("alice")
    other = await mailed.signed_in("bob")
    mailed.clock.advance(MINUTE)
    made = (await program.post("/api/v1/addresses", json={"address": "two@example.org"})).json()
    assert made["confirmed"] is None
    is_problem(await other.delete(f"/api/v1/addresses/{made['id']}"), 404)
    mailed.clock.advance(6 * MINUTE)
    is_problem(await program.post("/api/v1/addresses", json={"address": "x@example.org"}), 401, cure="step_up")
    is_problem(await program.delete(f"/api/v1/addresses/{made['id']}"), 401, cure="step_up")
    browser.headers["referer"] = f"{ORIGIN}/account/addresses"
    asked = await browser.submit("/account/addresses", address="x@example.org")
    assert (asked.status_code, asked.headers["location"]) == (303, "/account/step-up")
    await browser.submit("/account/step-up", password=PASSWORD)
    assert 'value="x@example.org"' in (await browser.get("/account/addresses")).text, "what was typed is not lost"
    listed = (await program.get("/api/v1/addresses")).json()["items"]
    assert [one["address"] for one in listed] == ["alice@example.org", "two@example.org"]
    principal = await mailed.authority.principal("alice")
    secret = await mailed.server.addresses.link(principal, made["id"])
    confirmed = await (await mailed.client()).post("/api/v1/addresses/confirm", json={"link": secret})
    assert confirmed.json()["confirmed"] is not None
    is_problem(await (await mailed.client()).post("/api/v1/addresses/confirm", json={"link": secret}), 410)


@pytest.mark.requirement("ASVS V6.4.1", "ASVS V6.4.6")
async def test_an_operator_says_where_a_new_person_is_reached_and_no_more(mailed: Mailed) -> None:
    olivia = await mailed.signed_in("olivia", operator=True)
    await olivia.post("/api/v1/principals", json={"id": "nina", "kind": "human"})
    at = "/api/v1/principals/nina"
    for emails in (["mistyped@example.org"], ["nina@example.org"]):
        changed = await olivia.patch(at, json={"emails": emails})
        assert (changed.status_code, changed.json()["receipt"]) == (200, None)
    await mailed.round()
    confirm = link(mailed.post.to("nina@example.org")[0], "/confirm/")
    is_problem(await olivia.patch(at, json={"emails": ["x"]}), 422)
    is_problem(await olivia.patch(at, json={}), 422)
    reader = await mailed.stranger()
    await reader.get(confirm)
    await reader.submit("/confirm")
    mailed.post.mails.clear()
    is_problem(await olivia.patch(at, json={"emails": ["olivia@example.org"]}), 409)
    await reader.get(await mailed.asked("nina@example.org"))
    assert (await reader.submit("/reset", new=NEW, again=NEW)).status_code == 200
    assert (await reader.submit("/login", username="nina", password=NEW)).status_code == 303
    is_problem(await (await mailed.signed_in("bob")).patch(at, json={"emails": []}), 403)


# -- strength -------------------------------------------------------------------------------------------------------


async def test_strength_is_judged_as_one_types(world: World) -> None:
    program = await world.client()

    async def judged(password: str, **more: Any) -> dict[str, Any]:
        said = await program.post("/api/v1/password/strength", json={"password": password, **more})
        found: dict[str, Any] = said.json()
        return found

    short, listed, good = await judged("Zk8"), await judged("password1234567"), await judged("purple monkey dishwasher")
    assert (short["accepted"], short["rule"]) == (False, "short")
    assert (listed["accepted"], listed["rule"], listed["score"]) == (False, "common", 0)
    assert (good["accepted"], good["rule"], good["score"]) == (True, None, 4)
    assert (await judged("alice alice 2026", username="alice"))["rule"] == "known"
    assert (await judged("k8 tree% owl", minimum=8))["accepted"]
    assert (await judged("x" * 1_000))["rule"] == "long"
    assert (await judged(""))["score"] == 0


@pytest.mark.requirement("ASVS V2.4.1")
async def test_nobody_has_strength_judged_without_end(world: World) -> None:
    program = await world.client()
    for _ in range(BURST):
        assert (await program.post("/api/v1/password/strength", json={"password": ""})).status_code == 200
    refused = await program.post("/api/v1/password/strength", json={"password": ""})
    is_problem(refused, 429)
    assert refused.headers["retry-after"] == "1"
    world.clock.advance(MINUTE)
    assert (await program.post("/api/v1/password/strength", json={"password": ""})).status_code == 200


def test_no_password_keeps_the_judge_busy() -> None:
    """All ways to read letters in disguise are tried: of the first, as it came, there are hundreds."""
    evil = "4@8({[<369|!1/70$5+%2" * 3
    ways = [enumerate_l33t_subs(relevant_l33t_subtable(text, L33T_TABLE)) for text in (evil, readable(evil))]
    assert len(ways[0]) > 100
    assert len(ways[1]) <= 4
    assert readable("p@ssw0rd, 1 of 7") == "p@ssw0rd, 1 of 7"


@pytest.mark.requirement("63B-4 3.1.1.2-a")
async def test_the_pages_say_how_long_it_has_to_be_for_this_person(world: World) -> None:
    browser = await world.browser("alice")
    assert "At least 15 characters" in (await browser.get("/account/password")).text
    await world.authority.set_policy(Policy.operator(name="two", version=1))
    await world.authority.register("olga", policy="two")
    secret = await world.server.reset.link("olga", by=(await world.authority.begin("alice")).active)
    other = await world.client(headers=FORM)
    await other.get(f"/reset/{secret}")
    assert "At least 8 characters" in (await other.get("/reset")).text
