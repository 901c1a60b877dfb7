"""In real Chromium: a page times out while somebody types; what was typed is back after the sign-in. Four eyes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from playwright.async_api import Browser, BrowserContext, Page, expect

from sessile.kernel.work import WorkKind
from sessile.server import Settings, create_app
from sessile.testing import ManualClock
from tests.server.running import Running, running

PASSWORD = "seven quiet bridges"
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(tmp_path: Path, clock: ManualClock) -> Iterator[Running]:
    app = create_app(
        Settings(database=f"sqlite:///{tmp_path}/sessile.db"), clock=clock,
        hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
    )  # fmt: skip
    with running(app) as found:
        for name in ("alice", "bob", "olga"):
            found.call(found.authority.register(name, scopes={"*", "operator"} if name == "olga" else None))
            found.call(app.state.server.passwords.set(name, PASSWORD))
        yield found


async def sign_in(page: Page, server: Running, name: str, path: str = "/login") -> None:
    await page.goto(f"{server.url}{path}")
    await page.get_by_label("User name").fill(name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def parked(server: Running) -> None:
    """The browser sends what was typed beside going on."""
    async with asyncio.timeout(30):
        while not server.call(server.authority.store.works(WorkKind.PARKED)):  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
async def test_what_was_typed_when_the_session_timed_out_comes_back(
    browser: Browser, server: Running, clock: ManualClock, script: bool
) -> None:
    context = await browser.new_context(java_script_enabled=script)
    page = await context.new_page()
    await sign_in(page, server, "olga")
    await page.goto(f"{server.url}/console/principals/bob/disable")
    await page.get_by_label("Cause").fill("left the company on Friday")
    clock.advance(HOUR)  # she was called away
    if not script:
        await page.get_by_role("button", name="Disable").click()
    await expect(page).to_have_url(f"{server.url}/login", timeout=30_000)  # with script the page leaves by itself
    assert server.call(server.authority.principal("bob")).status == "active", "nothing has happened"
    await parked(server)
    clock.advance(timedelta(minutes=1))
    await page.get_by_label("User name").fill("olga")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page).to_have_url(f"{server.url}/account/waiting")
    await expect(page.get_by_text("What you typed at /console/principals/bob/disable")).to_be_visible()
    await page.get_by_role("button", name=re.compile("Go on with")).click()
    await expect(page).to_have_url(f"{server.url}/console/principals/bob/disable")
    await expect(page.get_by_label("Cause")).to_have_value("left the company on Friday")
    await page.get_by_role("button", name="Disable").click()
    await expect(page.get_by_text("left the company on Friday")).to_be_visible()
    assert server.call(server.authority.principal("bob")).status == "disabled"
    await page.goto(f"{server.url}/account/waiting")
    await expect(page.get_by_text("Nothing is left over")).to_be_visible()
    await context.close()


@pytest.mark.requirement("ASVS V2.3.5")
async def test_another_person_approves_on_the_page(context: BrowserContext, server: Running) -> None:
    alice = server.call(server.authority.begin("alice", method="password"))
    asked = server.call(
        server.authority.ask_approval(alice.active, "pay out", {"amount": 5}, scope="operator", assurance=1)
    )
    page = await context.new_page()
    await page.set_viewport_size({"width": 360, "height": 740})
    await sign_in(page, server, "olga")
    await page.get_by_role("link", name="Waiting for you: 1").click()
    await page.get_by_text("What exactly").click()
    await expect(page.get_by_text('"amount": 5')).to_be_visible()
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    await page.get_by_role("button", name="Approve: pay out, for alice").click()
    await expect(page.get_by_text("Approved. It is used once")).to_be_visible()
    assert server.call(server.authority.use_approval(alice.active, asked.id, dict)) == {"amount": 5}
