"""The customer portal in real Chromium: signing out empties every tab, and a fresh proof comes before the change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType

import pytest
from playwright.async_api import BrowserContext, Page, expect

from sessile import Authority
from sessile.testing import ManualClock
from tests.examples.conftest import PASSWORD, served
from tests.server.running import Running, running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def portal(example: Callable[[str], ModuleType], clock: ManualClock) -> Iterator[Running]:
    authority = Authority("memory:", clock=clock)
    with running(served(example("customer_portal").make_app(authority, PASSWORD), authority)) as server:
        yield server


async def signed_in(page: Page, portal: Running) -> str:
    url = portal.url.replace("127.0.0.1", "localhost")
    await page.goto(url)
    await page.get_by_label("User name").fill("alice")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    return url


@pytest.mark.requirement("ASVS V7.4.1", "ASVS V7.4.4")
async def test_signing_out_in_one_tab_empties_the_other(portal: Running, context: BrowserContext) -> None:
    one, two = await context.new_page(), await context.new_page()
    url = await signed_in(one, portal)
    await two.goto(f"{url}/orders")
    await expect(two.get_by_text("One lamp")).to_be_visible()
    await two.wait_for_function("navigator.locks.query().then(all => all.held.length == 1)")
    await one.get_by_role("button", name="Sign out").click()
    await expect(two.get_by_label("User name")).to_be_visible()  # nobody has touched this tab
    await expect(two.get_by_text("One lamp")).to_have_count(0)
    await two.goto(f"{url}/orders")
    await expect(two.get_by_label("User name")).to_be_visible()
    await context.close()


@pytest.mark.requirement("ASVS V7.5.1")
async def test_a_fresh_proof_comes_first_and_what_was_typed_comes_back(
    portal: Running, clock: ManualClock, context: BrowserContext
) -> None:
    page = await context.new_page()
    await signed_in(page, portal)
    await page.get_by_role("link", name="Change it").click()
    clock.advance(timedelta(minutes=6))
    await page.get_by_label("E-mail").fill("alice@new.example")
    await page.get_by_role("button", name="Change").click()
    await expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    await page.get_by_label("Password").fill("a wrong guess altogether")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_label("E-mail")).to_have_value("alice@new.example")
    await page.get_by_role("link", name="Customer portal").click()
    await expect(page.get_by_role("status")).to_contain_text("alice@example.com")  # not changed by that alone
    await page.goto(f"{page.url}email")
    await page.get_by_role("button", name="Change").click()
    await expect(page.get_by_role("status")).to_contain_text("alice@new.example")
    await context.close()
