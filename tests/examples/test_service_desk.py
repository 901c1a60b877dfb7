"""The service desk in real Chromium, attacked from another origin: of the same site, and of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, expect

from sessile import Authority
from tests.examples.conftest import PASSWORD, served
from tests.server.running import running


class Listening:
    """Around the application: which requests came, and whether the session's cookie came along."""

    came: ClassVar[list[tuple[str, bool]]] = []

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            cookie = dict(scope["headers"]).get(b"cookie", b"")
            self.came.append((f"{scope['method']} {scope['path']}", cookie.startswith(b"__Host-sessile=slb_")))
        await self.app(scope, receive, send)


@pytest.fixture
def desk(example: Callable[[str], ModuleType]) -> Iterator[SimpleNamespace]:
    """The desk at localhost, and the attacking page's port."""
    module, authority = example("service_desk"), Authority("memory:")
    app = served(module.make_app(authority, PASSWORD), authority)
    app.add_middleware(Listening)
    with running(app) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        attacker = module.attacker(url)
        try:
            yield SimpleNamespace(url=url, attacker=attacker.server_port)
        finally:
            attacker.shutdown()
            attacker.server_close()


async def signed_in(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("User name").fill("sam")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Tickets")).to_be_visible()
    return page


@pytest.mark.requirement("ASVS V3.5.1", "ASVS V3.3.4")
async def test_an_attacking_page_changes_no_ticket(desk: SimpleNamespace, context: BrowserContext) -> None:
    page = await signed_in(context, desk.url)
    assert await page.evaluate("document.cookie") == ""
    (cookie,) = await context.cookies(desk.url)
    assert cookie["name"] == "__Host-sessile"
    # From the same site the cookie comes along, whatever SameSite says: what refuses is the check of origins.
    for host, cookie_comes in (("localhost", True), ("127.0.0.1", False)):
        Listening.came.clear()
        attack = await context.new_page()
        async with attack.expect_response("**/tickets/8/close") as asked:
            await attack.goto(f"http://{host}:{desk.attacker}")
        await expect(attack.locator("#came")).to_contain_text("read of the desk: rejected")
        async with attack.expect_response("**/tickets/7/close") as posted:
            await attack.get_by_role("button", name="Take it").click()
        form, fetched = await posted.value, await asked.value
        assert (form.status, fetched.status) == (403, 403)
        assert ("POST /tickets/7/close", cookie_comes) in Listening.came
        assert ("POST /tickets/8/close", cookie_comes) in Listening.came
        await attack.close()
    await page.reload()
    await expect(page.get_by_text("(open)")).to_have_count(2)
    # The same request from the desk's own page is one.
    await page.get_by_role("button", name="Close: The lamp does not light").click()
    await expect(page.get_by_text("The lamp does not light (closed)")).to_be_visible()
    await context.close()


@pytest.mark.requirement("ASVS V3.3.1", "ASVS V3.3.2", "ASVS V3.3.3", "63B-4 5.1.1-d")
def test_the_cookie_on_the_wire(desk: SimpleNamespace) -> None:
    answer = httpx.post(f"{desk.url}/login", data={"username": "sam", "password": PASSWORD})
    (cookie,) = answer.headers.get_list("set-cookie")
    name, *flags = cookie.split("; ")
    assert re.fullmatch(r"__Host-sessile=slb_[\w-]+", name)
    assert {flag.lower() for flag in flags} == {"secure", "httponly", "samesite=lax", "path=/"}
    # A page is nobody's frame, and runs no script but its own.
    policy = httpx.get(f"{desk.url}/login").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
