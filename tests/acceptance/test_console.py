"""The pages in a real browser: what axe finds, what the policy for content would block, and the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from playwright.async_api import Browser, Page, expect

from sessile.server import pages
from tests.pages import OPERATOR, PAGES, demo, faults, sign_in, tour

NO_PICTURE = {
    # They ask for a step before, or are another page's form: the browser is led elsewhere.
    "/", "/console/audit/export", "/reset/{secret}", "/confirm/{secret}", "/account/factors/totp/{id}",
    "/login/second",
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[dict[str, Any]]:
    with demo() as found:
        yield found


@pytest.mark.parametrize("look", ["desk, light", "phone, dark"])
async def test_axe_finds_nothing_and_nothing_is_blocked(browser: Browser, world: dict[str, Any], look: str) -> None:
    options: dict[str, Any] = (
        {"viewport": {"width": 1180, "height": 900}, "color_scheme": "light"} if look.startswith("desk")
        else {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    )  # fmt: skip
    found: list[str] = []
    async with tour(browser, world, **options) as going:
        for seen in PAGES:
            said: list[str] = []
            tab = await going.page(seen, said)
            assert not [line for line in said if "Content Security Policy" in line or "Refused" in line], seen
            assert not await tab.evaluate("document.documentElement.scrollWidth > innerWidth"), (
                f"{seen.name} is too wide"
            )
            found += [f"{seen.name}: {fault}" for fault in await faults(tab)]
            policy = dict(one.split(" ", 1) for one in going.policies[seen.name].split("; "))
            assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'"), seen.name
            assert "unsafe" not in str(policy), seen.name
            await tab.close()
    assert not found, "\n".join(found)


def test_every_page_is_looked_at() -> None:
    """No page is left out of what is shown to axe and in pictures."""
    paths = {seen.path.partition("?")[0] for seen in PAGES}
    left_out = []
    for group in pages.router().routes:
        for route in getattr(group, "original_router", pages.router()).routes:
            if isinstance(route, APIRoute) and "GET" in route.methods and route.path not in NO_PICTURE:
                pattern = re.compile(re.sub(r"\{[^}]+\}", r"[^/]+", route.path))
                if not any(pattern.fullmatch(path) for path in paths):
                    left_out.append(route.path)
    assert not left_out


async def _press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def _tab_to(page: Page, name: str, *, most: int = 60) -> None:
    """Tab until what has the focus is called so."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(
            "(e => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '').trim())"
            "(document.activeElement)"
        )
        if focused == name:
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{name} does not show that it has the focus"
            return
    raise AssertionError(f"no way by keyboard to {name!r}")


async def test_the_operators_journey_by_keyboard_alone(browser: Browser, world: dict[str, Any]) -> None:
    """Find a person, see the blast radius, contain, read the report."""
    context = await browser.new_context()
    page = await context.new_page()
    await sign_in(page, world, OPERATOR)
    await _tab_to(page, "Console")
    await _press(page, "Enter")
    await page.wait_for_url("**/console")
    await _tab_to(page, "Search by name")
    await page.keyboard.type("alic")
    await _press(page, "Enter")
    await page.wait_for_url("**/console?q=alic")
    await _tab_to(page, "alice")
    await _press(page, "Enter")
    await page.wait_for_url("**/console/principals/alice")
    await _tab_to(page, "Contain")
    await _press(page, "Enter")
    await page.wait_for_url("**/alice/contain")
    await expect(page.get_by_role("img", name=re.compile("The tree of what was handed out"))).to_be_visible()
    await expect(page.get_by_text(re.compile(r"This ends \d sessions and 1 delegation\."))).to_be_visible()
    await _tab_to(page, "Cause")
    await page.keyboard.type("laptop stolen")
    await _tab_to(page, "Contain now")
    await _press(page, "Enter")
    await page.wait_for_url("**/console/containments/*")
    await expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"\d sessions and 1 delegation ended"))
    await expect(page.get_by_role("status")).to_contain_text("Closed.")
    await context.close()


A4 = {"width": 680, "height": 1000}
"""What is left of it within margins, in CSS pixels."""


@pytest.mark.parametrize(("name", "pages"), [("receipt", 1), ("containment", 2)])
async def test_what_goes_into_a_file_prints(browser: Browser, world: dict[str, Any], name: str, pages: int) -> None:
    """Without what only a screen can do, and with what is folded away there."""
    async with tour(browser, world, viewport=A4) as going:
        await (await going.page(next(one for one in PAGES if one.name == "console"))).close()
        tab = await going.page(next(one for one in PAGES if one.name == name))
        await tab.emulate_media(media="print")
        shown = await tab.evaluate(
            """() => [...document.querySelectorAll("nav, .button, button, input, summary, footer")]
                .filter((one) => one.checkVisibility()).map((one) => one.outerHTML.slice(0, 80))"""
        )
        assert not shown
        assert await tab.evaluate("[...document.querySelectorAll('td, dd, h1')].every((one) => one.checkVisibility())")
        assert not await tab.evaluate("document.documentElement.scrollWidth > innerWidth")
        paper = await tab.pdf(prefer_css_page_size=False, format="A4")
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= pages


async def test_a_page_that_is_looked_at_keeps_itself_up_to_date(browser: Browser, world: dict[str, Any]) -> None:
    """Without an act of whoever looks, whose session goes idle all the same."""
    async with tour(browser, world) as going:
        page = await going.page(next(one for one in PAGES if one.name == "console"))
        await page.clock.install()
        await page.goto(f"{world['url']}/console/principals/bob")
        sessions = page.get_by_role("link", name=re.compile("^Revoke .*, ses_"))
        before = await sessions.count()
        elsewhere = await browser.new_context()
        await sign_in(await elsewhere.new_page(), world, "bob")
        await elsewhere.close()
        async with page.expect_request(lambda one: one.headers.get("sessile-activity") == "none"):
            await page.clock.run_for(10_000)
        await expect(sessions).to_have_count(before + 1)
