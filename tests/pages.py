"""Every page of the server, as a browser comes to it in the demo's world: for pictures, for axe, for what all hold."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page

NOBODY, PERSON, OPERATOR = "", "alice", "olga"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# Chromium says of itself that it is headless; pages show what a person's browser is.
FIREFOX = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0"


@dataclass(frozen=True)
class Seen:
    """A page: its name for a picture, who looks at it, and its address; what is in braces the world knows."""

    name: str
    who: str
    path: str
    fill: Mapping[str, str] = field(default_factory=dict)
    """What is typed into its fields, by name."""
    press: str = ""
    """The button that is pressed then, as a CSS selector: it is the next page that is looked at."""
    visitor: str = ""
    """Who signs in elsewhere before."""


PAGES = (
    Seen("login", NOBODY, "/login"),
    Seen("api", NOBODY, "/docs"),
    Seen("forgot", NOBODY, "/forgot"),
    Seen("reset", NOBODY, "/reset"),
    Seen("confirm", NOBODY, "/confirm"),
    Seen("problem", NOBODY, "/no-such-page"),
    Seen("account", PERSON, "/account"),
    Seen("password", PERSON, "/account/password"),
    Seen("step-up", PERSON, "/account/step-up"),
    Seen("totp", PERSON, "/account/factors/totp"),
    Seen("passkey", PERSON, "/account/factors/passkey"),
    Seen("recovery-codes", PERSON, "/account/factors/recovery-codes"),
    Seen("addresses", PERSON, "/account/addresses"),
    Seen("logout", PERSON, "/logout"),
    Seen("waiting", PERSON, "/account/waiting"),
    Seen("console", OPERATOR, "/console"),
    Seen("console-nothing", OPERATOR, "/console?q=nobody-has-this-name"),
    Seen("overview", OPERATOR, "/console/overview"),
    Seen("audit", OPERATOR, "/console/audit"),
    Seen("inventory", OPERATOR, "/console/inventory"),
    Seen("teams", OPERATOR, "/console/teams"),
    Seen("team", OPERATOR, "/console/teams/team:platform"),
    Seen("register", OPERATOR, "/console/register"),
    Seen("change", OPERATOR, "/console/principals/service:ci/change"),
    Seen("service", OPERATOR, "/console/principals/service:ci"),
    Seen("leases", OPERATOR, "/console/leases"),
    Seen("policies", OPERATOR, "/console/policies"),
    Seen("principal", OPERATOR, "/console/principals/alice"),
    Seen("session", OPERATOR, "/console/sessions/{session}"),
    Seen("revoke", OPERATOR, "/console/principals/alice/revoke"),
    Seen("revoke-session", OPERATOR, "/console/sessions/{session}/revoke"),
    Seen("disable", OPERATOR, "/console/principals/alice/disable"),
    Seen("enable", OPERATOR, "/console/principals/carol/enable"),
    Seen("delete", OPERATOR, "/console/principals/carol/delete"),
    Seen("erase", OPERATOR, "/console/principals/carol/erase"),
    Seen("reset-factors", OPERATOR, "/console/principals/carol/reset-factors"),
    Seen("offboard", OPERATOR, "/console/principals/alice/offboard"),
    Seen("everyone", OPERATOR, "/console/everyone/revoke"),
    Seen("contain", OPERATOR, "/console/sessions/{session}/contain"),
    Seen("contain-principal", OPERATOR, "/console/principals/alice/contain"),
    Seen("containments", OPERATOR, "/console/containments"),
    Seen("containment", OPERATOR, "/console/containments/{containment}"),
    Seen("login-wrong", NOBODY, "/login", {"username": "alice", "password": "not hers"}, ".primary"),
    Seen("totp-picture", PERSON, "/account/factors/totp", press="main .primary"),
    Seen("disable-why", OPERATOR, "/console/principals/alice/disable", {"cause": " "}, "main .danger"),
    Seen("receipt", OPERATOR, "/console/principals/carol/revoke", {"cause": "tablet lost"}, "main .danger", "carol"),
)


@contextmanager
def demo() -> Iterator[dict[str, Any]]:
    """A `sessile demo` on a free port; what it says of itself."""
    command = [str(Path(sys.executable).with_name("sessile")), "demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)


async def faults(tab: Page) -> list[str]:
    """What axe finds wrong with a page."""
    results = await Axe().run(tab, options=RULES)
    return [f"{one['id']}, {one['nodes'][0]['html'][:120]}" for one in results.response["violations"]]


async def sign_in(page: Page, world: dict[str, Any], name: str) -> None:
    password = next(one["password"] for one in world["people"] if one["name"] == name)
    await page.goto(f"{world['url']}/login")
    await page.fill("input[name=username]", name)
    await page.fill("input[name=password]", password)
    await page.press("input[name=password]", "Enter")
    await page.wait_for_url("**/account")


class Tour:
    """Goes to pages of a demo, each as who looks at it."""

    def __init__(self, browser: Browser, world: dict[str, Any], **options: Any) -> None:
        self._browser, self._world = browser, world
        self._options = {"user_agent": FIREFOX, "locale": "en-GB", **options}
        self._contexts: dict[str, BrowserContext] = {}
        self._known: dict[str, str] = {}
        self.policies: dict[str, str] = {}
        """The Content-Security-Policy that each page came with."""

    async def page(self, seen: Seen, said: list[str] | None = None) -> Page:
        """A tab that shows the page. `said`: takes what its console says."""
        if seen.visitor:
            elsewhere = await self._browser.new_context(**self._options)
            await sign_in(await elsewhere.new_page(), self._world, seen.visitor)
            await elsewhere.close()
        tab = await (await self._context(seen.who)).new_page()
        if said is not None:
            tab.on("console", lambda message: said.append(message.text))
        answer = await tab.goto(self._world["url"] + seen.path.format_map(self._known))
        for name, value in seen.fill.items():
            await tab.fill(f"[name={name}]", value)
        if seen.press:
            # The page that answers has no event of its own to wait for: the one before is marked, and goes.
            await tab.evaluate("window.before = true")
            async with tab.expect_response(
                lambda one: one.request.is_navigation_request() and one.status != 303
            ) as came:
                await tab.click(seen.press)
            answer = await came.value
            await tab.wait_for_function("!window.before && document.readyState == 'complete'")
        assert answer is not None
        self.policies[seen.name] = answer.headers.get("content-security-policy", "")
        return tab

    async def _context(self, who: str) -> BrowserContext:
        if who not in self._contexts:
            context = self._contexts[who] = await self._browser.new_context(**self._options)
            if who:
                tab = await context.new_page()
                await sign_in(tab, self._world, who)
                if who == OPERATOR:
                    self._known = await self._look(tab)
                await tab.close()
        return self._contexts[who]

    async def _look(self, tab: Page) -> dict[str, str]:
        """Ids that addresses need. Bob's sessions are contained, so that there is a report."""
        found: dict[str, str] = await tab.evaluate(
            """async () => {
                const ask = async (path, body) => (await fetch("/api/v1" + path, body && {
                    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)})).json();
                const sessions = (await ask("/principals/alice/sessions")).items;
                const giver = new Set((await ask("/principals/agent:deploy/sessions")).items.map((one) => one.parent));
                const session = (sessions.find((one) => giver.has(one.id)) ?? sessions[0])?.id ?? "";
                const cause = "laptop stolen";
                const report = (await ask("/events?limit=100")).items.find((one) => one.details.containment);
                const containment = report ? report.details.containment
                    : (await ask("/containments", {principal: "bob", cause})).id;
                return {session, containment};
            }"""
        )
        return found

    async def close(self) -> None:
        for context in self._contexts.values():
            await context.close()


@asynccontextmanager
async def tour(browser: Browser, world: dict[str, Any], **options: Any) -> AsyncIterator[Tour]:
    going = Tour(browser, world, **options)
    try:
        yield going
    finally:
        await going.close()
