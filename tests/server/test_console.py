"""The console beyond lists of principals: the overview, the audit record, policies, containment."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta

import pytest

from sessile import Policy
from sessile.kernel.event import SYSTEM, Event, EventName
from sessile.kernel.policy import AtLimit
from tests.server.conftest import PASSWORD, World


async def test_the_overview_counts_the_last_day(world: World) -> None:
    await world.authority.begin("old")
    world.clock.advance(timedelta(hours=24))
    olga = await world.browser("olga", operator=True)
    for _ in range(3):
        await world.authority.begin("alice")
    await world.authority.store.record(Event(name=EventName.SIGN_IN_FAILED))
    await world.authority.revoke(principal="alice", cause="laptop stolen")
    page = (await olga.get("/console/overview")).text
    assert "<strong>4</strong> succeeded" in page
    assert "<strong>1</strong> failed" in page
    assert "<strong>1</strong> ended" in page
    assert "laptop stolen" in page
    assert "A revocation is in force at once" in page
    # Every column of the picture stands in the table beside it.
    assert len(re.findall(r'<tr><th scope="row">\d+ \w+, \d\d:00 UTC</th><td class="num">', page)) == 48


async def test_denied_requests_are_counted_by_reason(world: World) -> None:
    olga = await world.browser("olga", operator=True)
    bob = await world.browser("bob")
    await world.authority.revoke(principal="bob", cause="left")
    for _ in range(3):
        await bob.get("/account")
    for _ in range(2):
        page = (await olga.get("/console/overview")).text
        assert re.search(r'<th scope="row">revoked</th>.*?<td class="num">3</td>', page, re.DOTALL)
        # Once they are in the record they are not counted twice.
        await world.server.denials.write(world.authority.store)
    [line] = await world.authority.store.events(names=[EventName.REQUESTS_DENIED])
    assert line.details == {"revoked": 3}


async def test_counts_are_at_most_a_minute_old(world: World) -> None:
    olga = await world.browser("olga", operator=True)
    principals = re.compile(r"(\d+) principals, counted")
    before = principals.findall((await olga.get("/console/overview")).text)
    await world.person("newcomer")
    assert principals.findall((await olga.get("/console/overview")).text) == before
    world.clock.advance(timedelta(seconds=61))
    assert principals.findall((await olga.get("/console/overview")).text) != before


async def test_to_sign_everybody_out_is_shown_before_and_may_take_the_keys_too(world: World) -> None:
    alice = await world.signed_in("alice")
    await world.authority.register("service:ci", owner="alice")
    key = await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["read"], "label": "runner"})
    path, token = "/console/everyone/revoke", key.json()["token"]
    for keys in (False, True):
        olga = await world.browser("olga", operator=True)
        world.clock.advance(timedelta(seconds=61))
        page = (await olga.get(path)).text
        assert f"This ends {1 if keys else 2} session" in page
        assert re.search(r'<input type="checkbox" name="with_keys" value="yes"> Also end every key', page)
        await olga.submit(path, cause="incident", **({"with_keys": "yes"} if keys else {}))
        assert bool(await world.authority.check(token)) is not keys
    assert not await world.authority.check(str(alice.cookie))


@pytest.fixture
async def record(world: World) -> World:
    """Some that happened long ago, and some just now."""
    issued = await world.authority.begin("alice")
    world.clock.advance(timedelta(days=10))
    await world.authority.begin("bob")
    await world.authority.revoke(session=issued.active.session.id, cause="=HYPERLINK(1)")
    await world.authority.revoke(principal="bob", cause="left")
    return world


@pytest.mark.parametrize(
    ("query", "said", "not_said"),
    [
        ("", ["Signed in", "Session ended", "All sessions ended", "left"], []),
        ("about=sign_ins", ["Signed in", "alice", "bob"], ["All sessions ended", "left"]),
        ("about=endings&principal=bob", ["All sessions ended", "left"], ["Signed in"]),
        ("principal=alice", ["Signed in", "Session ended"], ["All sessions ended"]),
        ("since=week", ["All sessions ended"], ["10 days ago"]),
        ("principal=nobody", ["No principal is called nobody."], ["Signed in"]),
        ("session=everything", ["That is no session"], ["Signed in"]),
        ("about=no-such-group&since=never", ["Signed in", "All sessions ended"], []),
    ],
)
async def test_the_record_is_filtered(record: World, query: str, said: list[str], not_said: list[str]) -> None:
    olga = await record.browser("olga", operator=True)
    record.clock.advance(timedelta(seconds=1))
    page = (await olga.get(f"/console/audit?{query}")).text
    found = re.sub(r"<(form|header|head)\b.*?</\1>", "", page, flags=re.DOTALL)
    for words in said:
        assert words in found
    for words in not_said:
        assert words not in found


async def test_the_record_comes_in_pages(world: World) -> None:
    for n in range(120):
        await world.authority.store.record(Event(name=EventName.SIGN_IN_FAILED, principal=f"guess{n}"))
    olga = await world.browser("olga", operator=True)
    path, seen = "/console/audit?about=sign_ins", []
    while path:
        page = (await olga.get(path)).text
        seen += re.findall(r"guess(\d+)", page)
        older = re.search(r'<a href="([^"]+)">Older</a>', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [str(n) for n in range(119, -1, -1)]


async def test_the_record_is_taken_away(record: World) -> None:
    olga = await record.browser("olga", operator=True)
    answer = await olga.get("/console/audit/export?as=jsonl&about=endings")
    assert answer.headers["content-disposition"].startswith('attachment; filename="sessile-audit-')
    assert [json.loads(line)["name"] for line in answer.text.splitlines()] == ["session.revoked", "principal.revoked"]
    answer = await olga.get("/console/audit/export?as=csv&about=endings")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["event"] for row in rows] == ["session.revoked", "principal.revoked"]
    # A spreadsheet would run it.
    assert rows[0]["cause"] == "'=HYPERLINK(1)"
    assert (await olga.get("/console/audit/export?principal=nobody")).status_code == 404


async def test_policies_are_said_and_a_denial_is_explained(world: World) -> None:
    await world.authority.store.set_policy(
        Policy.aal1(name="kiosk", max_sessions=2, at_limit=AtLimit.REFUSE), by=SYSTEM
    )
    olga = await world.browser("olga", operator=True)
    page = (await olga.get("/console/policies")).text
    assert "kiosk" in page
    assert "A principal may have 2 sessions at once; one sign-in more is refused." in page
    issued = await world.authority.begin("alice")
    answer = await olga.get(f"/console/policies?session={issued.active.session.id}")
    assert answer.headers["location"] == f"/console/sessions/{issued.active.session.id}"
    answer = await olga.get("/console/policies?session=alice")
    assert answer.status_code == 422
    assert "That is no session" in answer.text


async def test_contain_shows_cuts_and_reports(world: World) -> None:
    alice = await world.signed_in("alice")
    await world.authority.register("agent:deploy", owner="alice")
    active = await world.authority.check(str(alice.cookie))
    assert active
    agent = await world.authority.delegate(active, to="agent:deploy", scopes=set(), lifetime=timedelta(minutes=5))
    session = active.session.id
    olga = await world.browser("olga", operator=True)
    path = f"/console/sessions/{session}/contain"

    page = (await olga.get(path)).text
    assert "This ends 1 session and 1 delegation." in page
    assert page.count('<g class="node ends"') == 2
    assert await world.authority.check(str(alice.cookie)), "to look is not to cut"

    answer = await olga.submit(path, cause="")
    assert answer.status_code == 422
    assert "Say why" in answer.text
    assert await world.authority.check(str(alice.cookie))

    answer = await olga.submit(path, cause="stolen laptop")
    report = answer.headers["location"]
    assert not await world.authority.check(str(alice.cookie))
    assert not await world.authority.check(agent.token)
    page = (await olga.get(report)).text
    for words in ("1 session and 1 delegation ended", "Closed.", "stolen laptop", "olga", "agent:deploy and alice"):
        assert words in page
    assert report in (await olga.get("/console/containments")).text


async def test_contain_asks_for_a_proof_and_keeps_what_was_typed(world: World) -> None:
    await world.person("olga", operator=True, password=True)
    await world.person("alice")
    olga = await world.browser("olga")
    world.clock.advance(timedelta(minutes=6))
    path = "/console/principals/alice/contain"
    answer = await olga.submit(path, cause="stolen laptop")
    assert answer.headers["location"] == "/account/step-up"
    assert not await world.authority.store.open_containments()
    assert (await world.authority.principal("alice")).contained_at is None
    answer = await olga.submit("/account/step-up", password=PASSWORD)
    assert answer.headers["location"] == path
    assert 'value="stolen laptop"' in (await olga.get(path)).text


async def test_contain_disables_on_request(world: World) -> None:
    await world.signed_in("alice")
    olga = await world.browser("olga", operator=True)
    await olga.submit("/console/principals/alice/contain", cause="stolen", disable="yes")
    assert (await world.authority.principal("alice")).status == "disabled"


@pytest.mark.parametrize(
    "path",
    [
        "/console/overview", "/console/audit", "/console/audit/export", "/console/policies", "/console/containments",
        "/console/containments/con_" + "0" * 26, "/console/principals/alice/contain",
        "/console/sessions/ses_" + "0" * 27 + "/contain",
    ],
)  # fmt: skip
async def test_only_operators(world: World, path: str) -> None:
    alice = await world.browser("alice")
    assert (await alice.get(path)).status_code == 403
    nobody = await world.client(headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
    assert (await nobody.get(path)).headers["location"] == "/login"


async def test_the_inventory_says_what_is_wrong(world: World) -> None:
    alice = await world.signed_in("alice")
    await world.authority.register("service:ci", owner="alice", purpose="builds")
    key = await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["read"], "label": "runner"})
    assert key.status_code == 201
    await world.authority.disable("alice", cause="left")
    olga = await world.browser("olga", operator=True)
    page = (await olga.get("/console/inventory")).text
    for words in ("service:ci", "builds", "runner", "NHI1", "who answers for it, alice, is disabled", "Cure:"):
        assert words in page
    assert key.json()["token"] not in page
    assert "service:ci" not in re.sub(r"<nav.*?</nav>", "", (await olga.get("/console/inventory?owner=olga")).text)
    assert (await olga.get("/console/inventory?owner=nobody")).status_code == 404


async def test_what_was_touched_is_shown_before_and_after_a_containment(world: World) -> None:
    alice = await world.signed_in("alice")
    active = await world.authority.check(str(alice.cookie))
    assert active
    active.touch_resource("secret:prod/db", action="read")
    olga = await world.browser("olga", operator=True)
    session = f"/console/sessions/{active.session.id}"
    assert "secret:prod/db" in (await olga.get(session)).text
    assert "secret:prod/db" in (await olga.get(f"{session}/contain")).text
    report = await olga.submit(f"{session}/contain", cause="stolen")
    assert "secret:prod/db" in (await olga.get(report.headers["location"])).text


async def test_a_link_to_the_step_up_leads_back(world: World) -> None:
    await world.person("olga", operator=True, password=True)
    olga = await world.browser("olga")
    await olga.get("/account/step-up", headers={"Referer": "https://localhost/console?q=ali"})
    answer = await olga.submit("/account/step-up", password=PASSWORD)
    assert answer.headers["location"] == "/console?q=ali"
    # A page of another site does not choose where one goes on.
    await olga.get(
        "/account/step-up", headers={"Referer": "https://evil.example/console?q=x", "Sec-Fetch-Site": "cross-site"}
    )
    answer = await olga.submit("/account/step-up", password=PASSWORD)
    assert answer.headers["location"] == "/account"
