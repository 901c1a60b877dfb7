"""The regulated workflow over HTTP, on a clock that the test moves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import httpx
import pytest

from sessile import Authority
from sessile.testing import ManualClock
from tests.examples.conftest import PASSWORD, opened, sign_in

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def world(example: Callable[[str], ModuleType]) -> AsyncIterator[SimpleNamespace]:
    clock, module = ManualClock(), example("regulated_workflow")
    authority = Authority("memory:", policy=module.POLICY, clock=clock)
    async with opened(module.make_app(authority, PASSWORD)) as browser:
        yield SimpleNamespace(clock=clock, authority=authority, browser=browser)


async def asks(browser: httpx.AsyncClient, to: str, amount: int) -> httpx.Response:
    return await browser.post("/payments", data={"to": to, "amount": str(amount)})


def action(answer: httpx.Response, end: str) -> str:
    """Where a form of the page goes."""
    found = re.search(rf'action="(/[^"]*/{end})"', answer.text)
    assert found, answer.text
    return found[1]


@pytest.mark.requirement("ASVS V7.3.1", "63B-4 5.2-b")
async def test_what_was_typed_outlives_the_idle_limit(world: SimpleNamespace) -> None:
    alice, carol = world.browser(), world.browser()
    await sign_in(alice, "alice")
    world.clock.advance(5 * MINUTE)
    late = await asks(alice, "Acme", 250)
    assert late.url.path == "/login"
    assert "inactive" in late.text
    assert await world.authority.approvals() == []  # parked is not done
    assert (await alice.get("/")).url.path == "/login"
    world.clock.advance(MINUTE)
    # Somebody else at the same browser, or anywhere, sees nothing of it.
    assert "250 to Acme" not in (await sign_in(carol, "carol")).text
    back = await sign_in(alice, "alice")
    assert "250 to Acme" in back.text
    form = await alice.post(action(back, "resume"))
    assert 'value="Acme"' in form.text
    assert 'value="250"' in form.text
    assert "250 to Acme" not in (await alice.get("/")).text  # once
    await asks(alice, "Acme", 250)
    assert [work.name for work in await world.authority.approvals()] == ["250 to Acme"]


@pytest.mark.requirement("ASVS V7.5.3")
async def test_another_person_approves_with_a_fresh_proof(world: SimpleNamespace) -> None:
    alice, carol = world.browser(), world.browser()
    await sign_in(carol, "carol")
    world.clock.advance(3 * MINUTE)
    await sign_in(alice, "alice")
    approve = (await asks(alice, "Acme", 250)).text
    assert "250 to Acme (waiting)" in approve
    id = (await world.authority.approvals())[0].id
    assert (await alice.post(f"/approvals/{id}/approve")).status_code == 403  # not her own
    assert (await alice.post(f"/approvals/{id}/use")).status_code == 404  # not yet
    path = action(await carol.get("/"), "approve")
    assert (await carol.post(path)).url.path == "/step-up"  # her proof is three minutes old
    assert (await world.authority.approval(id)).given is None
    await carol.post("/step-up", data={"password": PASSWORD})
    assert "250 to Acme (given)" in (await carol.post(path)).text
    assert (await carol.post(f"/approvals/{id}/use")).status_code == 404  # only who asked
    paid = await alice.post(action(await alice.get("/"), "use"))
    assert "<li>250 to Acme</li>" in paid.text
    assert (await alice.post(f"/approvals/{id}/use")).status_code == 404  # once


async def test_an_approval_dies_with_the_session_that_asked(world: SimpleNamespace) -> None:
    alice, again, carol = world.browser(), world.browser(), world.browser()
    await sign_in(alice, "alice")
    await sign_in(carol, "carol")
    await asks(alice, "Acme", 250)
    path = action(await carol.get("/"), "approve")
    assert "(given)" in (await carol.post(path)).text
    await world.authority.revoke(principal="alice", cause="laptop stolen")
    assert "250 to Acme" not in (await carol.get("/")).text
    assert (await carol.post(path)).status_code == 404
    await sign_in(again, "alice")
    assert "250 to Acme" not in (await again.get("/")).text


async def test_parked_work_dies_with_its_session(world: SimpleNamespace) -> None:
    alice = world.browser()
    await sign_in(alice, "alice")
    world.clock.advance(5 * MINUTE)
    await asks(alice, "Acme", 250)
    await world.authority.revoke(principal="alice", cause="laptop stolen")
    world.clock.advance(MINUTE)
    back = await sign_in(alice, "alice")
    assert back.url.path == "/"
    assert "250 to Acme" not in back.text
