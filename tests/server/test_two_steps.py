"""Where a second factor is demanded, no answer before it tells whether the first one was right (decision 0026)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from sessile import Method, Policy
from sessile.factors import even
from sessile.factors.throttle import ACCOUNT, IN_A_ROW, LANE, SIGN_IN
from sessile.factors.two_steps import LIFETIME, method_of
from tests.factors.test_totp import STEP, code
from tests.server.conftest import BROWSER, COOKIE, NEW, PASSWORD, Client, World, is_problem, opened
from tests.server.test_factors import enrol
from tests.server.test_pages import goes, notices
from tests.server.test_passkeys import add, device

SESSION = "/api/v1/session"
SECOND = "__Host-second-sessile"
WRONG = "wronged horse battery"
ATTEMPTS = [("alice", PASSWORD), ("alice", WRONG), ("nobod", PASSWORD), ("doris", PASSWORD), ("frank", WRONG)]
"""Right; wrong; of nobody; right and disabled; wrong, of somebody whose policy demands no second factor."""
SENTENCE = "The name, the password or the code is wrong."


class Demanding(World):
    secret: str
    """Of alice's app."""

    async def totp(self) -> str:
        """A code that was not used before."""
        self.clock.advance(STEP)
        return code(self.secret, self.clock.now())

    async def events(self) -> list[tuple[str, str | None, str | None]]:
        found = await self.authority.store.events(limit=1000)
        return [(one.name.value, one.principal, one.cause) for one in found if one.name.startswith("sign_in")]

    async def kept(self) -> dict[str, int]:
        """What a store has more of where something is kept for whoever comes; beside the record."""
        found = await self.authority.store.statistics()
        return {name: count for name, count in found.items() if name not in ("events", "log_bytes")}

    async def failures(self) -> int:
        """Codes of alice's that were counted as wrong."""
        return len([one for one in await self.events() if one == ("sign_in.failed", "alice", "totp")])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Demanding]:
    async with AsyncExitStack() as stack:
        made = await opened(tmp_path, stack, policy=Policy.aal2(assurance=2))
        found = Demanding(made.app, made.clock, stack, tmp_path)
        lax = Policy.aal2(name="visitors")
        await found.authority.set_policy(lax)
        await found.authority.register("frank", policy="visitors")
        await found.server.passwords.set("frank", PASSWORD)
        for name in ("doris", "alice"):
            await found.person(name, password=True)
            found.secret = await enrol(found, await found.signed_in(name))
        await found.authority.disable("doris", cause="left")
        yield found


def answer(response: httpx.Response) -> tuple[int, str, list[tuple[str, str]]]:
    """All of it, with what is random replaced by its length."""

    def hidden(found: re.Match[str]) -> str:
        return f"{found[1]}<{len(found[2])}>"

    body = re.sub(r'(name="form_token" value=")([^"]+)', hidden, response.text)
    headers = [
        (name, re.sub(r"^(__Host-[a-z-]+=)([^;]+)", hidden, value)) for name, value in response.headers.multi_items()
    ]
    return response.status_code, body, headers


def same(answers: list[httpx.Response]) -> None:
    first, *others = map(answer, answers)
    for other in others:
        assert other == first


async def first_step(world: World, name: str = "alice", password: str = PASSWORD, **options: Any) -> Client:
    client = await world.client(**options)
    begun = await client.post(SESSION, json={"username": name, "password": password})
    assert (begun.status_code, begun.json()["kind"]) == (201, "pre_session")
    return client


async def second_step(client: Client, shown: str, method: str = "totp") -> httpx.Response:
    return await client.post(f"{SESSION}/step-up", json={"method": method, "code": shown})


# -- what is told ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V6.3.8")
async def test_by_program_right_and_wrong_first_factors_get_the_same_answers(world: Demanding) -> None:
    clients = [await world.client() for _ in ATTEMPTS]
    pairs = list(zip(clients, ATTEMPTS, strict=True))
    begun = [await one.post(SESSION, json={"username": name, "password": word}) for one, (name, word) in pairs]
    same(begun)
    assert begun[0].json() == {
        "kind": "pre_session", "assurance": 0, "authentications": [], "created": "2026-01-01T00:01:00Z",
        "expires": "2026-01-01T00:06:00Z", "step_up": ["passkey", "totp", "recovery_code"],
    }  # fmt: skip
    (kept,) = begun[0].headers.get_list("set-cookie")
    assert kept.startswith(f"{SECOND}=")
    assert kept.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=300")
    same([await one.get(SESSION) for one in clients])
    options = [(await one.post(f"{SESSION}/step-up/options")).json() for one in clients]
    assert len({msgspec.json.encode({**one, "challenge": len(one["challenge"])}) for one in options}) == 1
    assert options[0]["allowCredentials"] == []
    failed = [await second_step(one, "000000") for one in clients]
    same(failed)
    is_problem(failed[0], 401)
    assert failed[0].json()["detail"] == SENTENCE
    assert "Max-Age=0" in failed[0].headers["set-cookie"]
    assert all(one.cookie is None for one in clients)
    for shown, method in (("000000", "totp"), ("01234-56789-abcde-fghjk-mnpqr", "recovery_code"), ("", "passkey")):
        again = [await first_step(world, *attempt) for attempt in ATTEMPTS]
        body = {"method": method, "credential": {}} if method == "passkey" else {"method": method, "code": shown}
        refused = [await one.post(f"{SESSION}/step-up", json=body) for one in again]
        same([*refused, failed[0]])


@pytest.mark.requirement("ASVS V6.3.8")
async def test_by_page_right_and_wrong_first_factors_get_the_same_answers(world: Demanding) -> None:
    clients = [await world.client(headers=BROWSER) for _ in ATTEMPTS]
    pairs = list(zip(clients, ATTEMPTS, strict=True))
    for one in clients:
        goes(await one.get("/account/password"), "/login")
    begun = [await one.submit("/login", username=name, password=word) for one, (name, word) in pairs]
    same(begun)
    goes(begun[0], "/login/second")
    asked = [await one.get("/login/second") for one in clients]
    same(asked)
    assert "alice" not in asked[0].text
    assert "/api/v1/session/passkey/options" in asked[0].text
    same([await one.get("/account") for one in clients])
    failed = [await one.submit("/login/second", code="000000") for one in clients]
    names = [(name, response) for (name, _), response in zip(ATTEMPTS, failed, strict=True)]
    assert all(f'value="{name}"' in response.text for name, response in names)
    told = [answer(response) for response in failed]
    assert len({(status, body.replace(name, "NAME"), *headers) for (status, body, headers), (name, _) in zip(
        told, ATTEMPTS, strict=True)}) == 1  # fmt: skip
    assert failed[0].status_code == 401
    assert "The user name, the password or the code is wrong" in notices(failed[0])
    same([await one.get("/login/second") for one in clients])


@pytest.mark.requirement("ASVS V6.3.8", "ASVS V6.3.1")
async def test_neither_does_how_often_one_may_try(world: Demanding) -> None:
    """A right password among wrong ones gives nothing back, and no code has to wait."""
    for turn in range(ACCOUNT[0]):
        client = await first_step(world, "alice", PASSWORD if turn % 2 else WRONG)
        is_problem(await second_step(client, "000000"), 401)
    for password in (PASSWORD, WRONG):
        refused = await (await world.client()).post(SESSION, json={"username": "alice", "password": password})
        is_problem(refused, 429)
        assert refused.headers["retry-after"] == "360"


async def test_a_code_that_has_to_wait_is_a_wrong_one(world: Demanding) -> None:
    """That one has to wait would tell that the password was right."""
    alice = await world.authority.principal("alice")
    for _ in range(LANE[0]):
        await world.server.throttle.count(Method.TOTP, alice.uid, known=True, lane=SIGN_IN)
    shown = await world.totp()
    refused = await second_step(await first_step(world), shown)
    is_problem(refused, 401)
    assert refused.json()["detail"] == SENTENCE
    world.clock.advance(STEP)  # a minute since then, and the code still counts
    assert (await second_step(await first_step(world), code(world.secret, world.clock.now()))).status_code == 200


# -- what is kept ---------------------------------------------------------------------------------------------------


async def test_both_steps_begin_a_session_of_both(world: Demanding) -> None:
    client = await first_step(world)
    done = await second_step(client, await world.totp())
    assert (done.status_code, done.json()["assurance"]) == (200, 2)
    assert [one["method"] for one in done.json()["authentications"]] == ["password", "totp"]
    assert client.cookies.get(SECOND) is None
    assert (await client.get("/api/v1/sessions")).status_code == 200
    assert [name for name, _, _ in await world.events()] == ["sign_in.pending"]
    begun = [one.name for one in await world.authority.store.events(limit=1000, session=done.json()["id"])]
    assert [name.value for name in begun if name.startswith("session")] == ["session.begun"], "none before both"


async def test_a_wrong_password_is_counted_at_once_and_its_code_against_nobody(world: Demanding) -> None:
    client = await first_step(world, "alice", WRONG)
    assert await world.events() == [("sign_in.failed", "alice", "password")]
    right = await world.totp()
    is_problem(await second_step(client, right), 401)
    assert await world.events() == [("sign_in.failed", "alice", "password"), ("sign_in.failed", None, "withheld")]
    done = await second_step(await first_step(world), right)
    assert done.status_code == 200, "the code was not used up"
    is_problem(await second_step(await first_step(world), "000000"), 401)
    assert await world.failures() == 1


async def test_strangers_switch_off_nobody_s_factors(world: Demanding) -> None:
    for _ in range(IN_A_ROW + 1):
        world.clock.advance(ACCOUNT[1])
        client = await world.client()
        begun = await client.post(SESSION, json={"username": "alice", "password": WRONG})
        if begun.status_code == 201:
            is_problem(await second_step(client, "000000"), 401)
    stepping = await world.signed_in("alice")
    assert (await second_step(stepping, await world.totp())).status_code == 200
    assert await world.failures() == 0


async def test_a_pre_session_is_good_for_one_code_and_five_minutes(world: Demanding) -> None:
    client = await first_step(world)
    held = client.cookies.get(SECOND)
    assert held is not None
    is_problem(await second_step(client, "000000"), 401)

    async def with_held(value: str = held) -> httpx.Response:
        stolen = await world.client(headers={"Cookie": f"{SECOND}={value}"})
        return await second_step(stolen, await world.totp())

    is_problem(await with_held(), 401)
    done = await first_step(world)
    held_by_thief = done.cookies.get(SECOND)
    assert held_by_thief is not None
    assert (await second_step(done, await world.totp())).status_code == 200
    is_problem(await with_held(held_by_thief), 401)
    late = await first_step(world)
    world.clock.advance(LIFETIME)
    held_too_long = late.cookies.get(SECOND)
    is_problem(await with_held(held_too_long or ""), 401)
    for nonsense in ("x", held[:-1], held[:-4] + "AAAA", "A" * 4_100, "_"):
        is_problem(await with_held(nonsense), 401)


@pytest.mark.parametrize("meanwhile", ["password", "everywhere", "everybody", "disabled"])
async def test_what_happens_between_the_steps_wins(world: Demanding, meanwhile: str) -> None:
    client = await first_step(world)
    match meanwhile:
        case "password":
            await world.server.passwords.set("alice", NEW)
        case "everywhere":
            await world.authority.revoke(principal="alice", cause="lost")
        case "everybody":
            await world.authority.revoke(everyone=True, cause="an incident")
        case "disabled":
            await world.authority.disable("alice", cause="left")
    is_problem(await second_step(client, await world.totp()), 401)
    assert client.cookie is None


async def test_whoever_showed_all_of_it_is_told_what_is_in_the_way(world: Demanding) -> None:
    """That signing in is locked; whoever did not reads the same as ever."""
    await world.authority.revoke(everyone=True, cause="an incident", lock_sign_in=timedelta(hours=1))
    right, wrong = await first_step(world), await first_step(world, "alice", WRONG)
    shown = await world.totp()
    is_problem(await second_step(wrong, shown), 401)
    is_problem(await second_step(right, shown), 409)
    assert right.cookie is None


@pytest.mark.requirement("ASVS V6.3.8")
async def test_no_answer_leaves_before_its_step_of_time(world: Demanding) -> None:
    """The shortest of several: without steps they take a fraction of one. How alike they are, `bench --timing` says."""

    async def took(asking: Awaitable[object]) -> float:
        began = time.monotonic()
        await asking
        return time.monotonic() - began

    times = [await took(first_step(world, *attempt)) for attempt in ATTEMPTS]
    times += [await took(second_step(await first_step(world, *attempt), "000000")) for attempt in ATTEMPTS]
    times += [await took(world.server.reset.ask(named)) for named in ("alice", "nobody", "nobody@example.org")]
    assert min(times) >= even.STEP


async def test_it_costs_the_store_nothing_and_says_nothing(world: Demanding) -> None:
    kept = await world.kept()
    client = await first_step(world, "alice", WRONG)
    await first_step(world, "nobod", WRONG)
    await first_step(world)
    assert await world.kept() == kept
    held = client.cookies.get(SECOND) or ""
    assert "alice" not in held
    assert WRONG not in repr(world.server.two_steps)


async def test_the_whole_sign_in_forgives_the_tries_and_nothing_less_does(world: Demanding) -> None:
    """Also by a passkey: or whoever signs in so a hundred times would find the password off."""
    one = device()
    strong = await first_step(world)
    await second_step(strong, await world.totp())
    await add(strong, one)
    for _ in range(ACCOUNT[0] + 2):
        client = await first_step(world)
        credential = one.get((await client.post(f"{SESSION}/step-up/options")).json())
        done = await client.post(f"{SESSION}/step-up", json={"method": "passkey", "credential": credential})
        assert (done.status_code, done.json()["assurance"]) == (200, 2), done.text
        assert client.cookies.get(SECOND) is None
    for _ in range(ACCOUNT[0] + 2):
        client = await first_step(world)
        credential = one.get((await client.post(f"{SESSION}/passkey/options")).json())
        assert (await client.post(f"{SESSION}/passkey", json={"credential": credential})).status_code == 201
        assert client.cookies.get(SECOND) is None


# -- who is let in at the first step --------------------------------------------------------------------------------


async def test_who_has_no_second_factor_yet_or_needs_none_is_let_in(world: Demanding) -> None:
    await world.person("newcomer", password=True)
    client = await world.client()
    begun = await client.post(SESSION, json={"username": "newcomer", "password": PASSWORD})
    assert (begun.status_code, begun.json()["assurance"], begun.json()["step_up"]) == (201, 1, [])
    is_problem(await client.get("/api/v1/sessions"), 401, "assurance", "step_up")
    await enrol(world, client)
    await first_step(world, "newcomer")
    visitor = await world.client()
    begun = await visitor.post(SESSION, json={"username": "frank", "password": PASSWORD})
    assert (begun.status_code, begun.json()["kind"], begun.json()["assurance"]) == (201, "browser", 1)


async def test_where_some_policy_demands_it_all_who_fail_are_answered_alike(tmp_path: Path) -> None:
    """A name's answer does not say which policy it is under, nor whether it is one."""
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        is_problem(await (await world.client()).post(SESSION, json={"username": "nobod", "password": WRONG}), 401)
        await world.authority.set_policy(Policy.operator(name="operators"))
        await world.authority.register("alice", policy="operators")
        await world.person("frank", password=True)
        answers = [
            await (await world.client()).post(SESSION, json={"username": name, "password": WRONG})
            for name in ("alice", "frank", "nobod")
        ]
        same(answers)
        assert answers[0].json()["kind"] == "pre_session"


async def test_a_session_of_before_is_replaced_by_the_whole_sign_in_only(world: Demanding) -> None:
    strong = await first_step(world)
    await second_step(strong, await world.totp())
    first = (await strong.get(SESSION)).json()["id"]
    begun = await strong.post(SESSION, json={"username": "alice", "password": WRONG})
    assert begun.json()["kind"] == "pre_session"
    assert (await strong.get(SESSION)).json()["id"] == first
    is_problem(await second_step(strong, "000000"), 401)
    await strong.post(SESSION, json={"username": "alice", "password": PASSWORD})
    done = await second_step(strong, await world.totp())
    assert done.json()["id"] != first
    ended = await world.authority.session(first)
    assert (ended.live, ended.cause) == (False, "replaced")
    world.clock.advance(timedelta(minutes=1))
    assert (await second_step(strong, await world.totp())).json()["id"] == done.json()["id"], "a step-up again"


async def test_a_recovery_code_is_replaced_on_the_page(world: Demanding) -> None:
    strong = await first_step(world)
    await second_step(strong, await world.totp())
    codes = (await strong.post("/api/v1/factors/recovery-codes")).json()["codes"]
    client = await world.client(headers=BROWSER)
    goes(await client.submit("/login", username="alice", password=PASSWORD), "/login/second")
    done = await client.submit("/login/second", code=codes[0])
    assert done.status_code == 200, done.text
    assert "It is shown this once" in done.text
    assert codes[0] not in done.text
    assert client.cookie is not None
    assert client.cookies.get(SECOND) is None
    assert (await client.get("/account")).status_code == 200


async def test_the_form_is_bound_to_its_browser(world: Demanding) -> None:
    client, other = await world.client(headers=BROWSER), await world.client(headers=BROWSER)
    await client.submit("/login", username="alice", password=PASSWORD)
    foreign = await other.form_token("/login")
    refused = await client.post("/login/second", data={"code": await world.totp(), "form_token": foreign})
    assert refused.status_code == 403
    assert client.cookies.get(COOKIE) is None
    goes(await client.submit("/login/second", code=await world.totp()), "/account")
    goes(await other.get("/login/second"), "/login")
    cross = await client.post("/login/second", data={"code": "1"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403


def test_an_app_s_code_is_told_from_a_recovery_code() -> None:
    assert [method_of(one) for one in ("123456", "123 456", "", "abcde-fghjk-mnpqr-stvwx-yz012")] == [
        "totp", "totp", "totp", "recovery_code",
    ]  # fmt: skip
