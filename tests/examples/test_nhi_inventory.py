"""The inventory over HTTP: findings, rotation with an overlap, and one stolen session with all that it handed out."""

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


@pytest.fixture
async def world(example: Callable[[str], ModuleType]) -> AsyncIterator[SimpleNamespace]:
    clock, module = ManualClock(), example("nhi_inventory")
    authority, vendor = Authority("memory:", clock=clock), module.Vendor()
    async with opened(module.make_app(authority, PASSWORD, vendor)) as browser:
        yield SimpleNamespace(clock=clock, authority=authority, vendor=vendor, browser=browser, module=module)


async def handed_out(browser: httpx.AsyncClient, what: str, owner: str = "service:ci") -> str:
    """The secret that the page shows once."""
    return secret(await browser.post("/hand-out", data={"owner": owner, "what": what}))


def secret(page: httpx.Response) -> str:
    found = re.search("<code>(.*?)</code>", page.text)
    assert found, page.text
    return found[1]


async def works(world: SimpleNamespace, token: str) -> bool:
    program = world.browser(Authorization=f"Bearer {token}")
    answer = await program.get("/api/status")
    assert answer.status_code in (200, 401)
    if answer.status_code == 401:
        assert answer.headers["content-type"] == "application/problem+json"
    return bool(answer.status_code == 200)


async def test_the_inventory_says_what_is_wrong_and_what_cures_it(world: SimpleNamespace) -> None:
    olga = world.browser()
    page = (await sign_in(olga, "olga")).text
    assert "<h2>service:legacy</h2><p>Purpose: none. Answers for it: gus.</p>" in page
    assert "who answers for it, gus, is disabled. Cure: sessile user change service:legacy --owner NAME." in page
    await handed_out(olga, "key")
    assert "<strong>NHI4</strong> handed out after a single factor" in (await olga.get("/")).text
    world.clock.advance(timedelta(days=21))
    await sign_in(olga, "olga")
    assert "<strong>NHI7</strong> rotation was due" in (await olga.get("/")).text


async def test_both_keys_count_for_the_overlap_and_then_one(world: SimpleNamespace) -> None:
    olga = world.browser()
    await sign_in(olga, "olga")
    old = await handed_out(olga, "key")
    path = re.search(r'action="(/keys/[^"]+/rotate)"', (await olga.get("/")).text)
    assert path
    new = secret(await olga.post(path[1]))
    assert await works(world, old)
    assert await works(world, new)
    world.clock.advance(world.module.OVERLAP)
    assert not await works(world, old)
    assert await works(world, new)


@pytest.mark.requirement("ASVS V7.4.1", "63B-4 5.3-a")
async def test_a_stolen_session_ends_with_all_that_it_handed_out(world: SimpleNamespace) -> None:
    stolen, olga = world.browser(), world.browser()
    await sign_in(stolen, "olga")
    (theirs,) = await world.authority.sessions(principal="olga")
    key = await handed_out(stolen, "key")
    delegation = await handed_out(stolen, "delegation", "agent:deploy")
    await handed_out(stolen, "lease")
    await sign_in(olga, "olga")
    kept = await handed_out(olga, "key")
    assert len(world.vendor.valid) == 1

    sessions = (await olga.get("/sessions")).text
    assert "containing it ends 1 browser, 1 delegated, 1 key, 1 lease" in sessions
    assert "2 of the agents and services would need another owner, and 3 keys and leases" in sessions
    report = await olga.post(f"/sessions/{theirs.id}/contain")
    assert "The containment is closed." in report.text
    for line in ("key of service:ci", "delegated of agent:deploy", "lease of service:ci", "browser of olga"):
        assert line in report.text
    assert "at vendor: ended" in report.text

    assert (await stolen.get("/")).url.path == "/login"
    assert not await works(world, key)
    assert not await works(world, delegation)
    assert world.vendor.valid == set()
    # What her other session handed out has nothing to do with it.
    assert (await olga.get("/")).url.path == "/"
    assert await works(world, kept)
