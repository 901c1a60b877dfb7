"""Each example as a stranger starts it, looked at on a small screen in the dark and by day."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.engines_redis import free_port, server, valkey_binary
from tests.examples.conftest import started

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


class Example(NamedTuple):
    name: str
    person: str
    pages: tuple[str, ...] = ()
    press: tuple[str, ...] = ()
    """Buttons, so that there is something to see."""


ALL = (
    Example("customer_portal", "alice", ("/email", "/step-up")),
    Example("admin_console", "olga"),
    Example("regulated_workflow", "alice"),
    Example("service_desk", "sam"),
    Example("nhi_inventory", "olga", ("/sessions",), ("A key to read", "A delegation")),
)


async def looked_at(page: Page) -> list[str]:
    """What is wrong with a page: too wide, or a finding of axe's."""
    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    results = await Axe().run(page, options=RULES)
    found = [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in results.response["violations"]]
    return [f"{page.url}: {one}" for one in (["too wide"] if wide else []) + found]


@pytest.mark.parametrize("example", ALL, ids=[one.name for one in ALL])
async def test_it_starts_and_can_be_read(example: Example, browser: Browser, tmp_path: Path) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    wrong: list[str] = []

    async def visit(url: str, password: str) -> None:
        await page.goto(url)
        if example is ALL[0]:  # all sign in alike
            wrong.extend(await looked_at(page))
        await page.get_by_label("User name").fill(example.person)
        await page.get_by_label("Password").fill(password)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        for name in example.press:
            await page.goto(url)
            await page.get_by_role("button", name=name).click()
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
        for path in ("/", *example.pages):
            await page.goto(f"{url}{path}")
            wrong.extend(await looked_at(page))
        await page.emulate_media(color_scheme="light")
        wrong.extend(await looked_at(page))
        await context.close()  # or its event stream keeps the server for a while

    with ExitStack() as stack:
        arguments = [str(free_port())]
        if example.name == "admin_console":
            # With a file, so that it has nothing to warn of.
            engine = stack.enter_context(server(valkey_binary(), tmp_path / "engine", "--appendonly", "yes"))
            arguments = [f"{engine.url}/0", "--port", *arguments]
        await visit(*stack.enter_context(started(example.name, tmp_path, *arguments)))
    assert wrong == []
    assert [line for line in said if "Content Security Policy" in line or "Refused" in line] == []
