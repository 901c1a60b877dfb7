"""How long a revocation takes to reach open tabs: real Chromium, three tabs on two servers over one SQLite file.

From the commit, as the receipt of `sessile revoke` names it, to the last tab that shows the login page, by the wall.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
from datetime import datetime
from pathlib import Path

from playwright.async_api import BrowserContext, Page

from tests.browser import launched
from tests.program import PERSON_PASSWORD, Program

_LISTENS = "navigator.locks.query().then(all => all.held.length == 1)"


async def _sign_in(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(f"{url}/login")
    await page.fill("input[name=username]", "alice")
    await page.fill("input[name=password]", PERSON_PASSWORD)
    await page.press("input[name=password]", "Enter")
    await page.wait_for_url("**/account")
    return page


async def _shown(page: Page) -> float:
    """When this tab's login page was ready, by the machine's clock (seconds)."""
    await page.wait_for_url(re.compile("/login"), wait_until="domcontentloaded")
    at: float = await page.evaluate(
        "performance.timeOrigin + performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    )
    return at / 1000


async def _once(program: Program, context: BrowserContext, one: str, two: str) -> float:
    tabs = [await _sign_in(context, one)]
    for url in (one, two):
        tabs.append(await context.new_page())
        await tabs[-1].goto(f"{url}/account")
    for tab in tabs[1:]:
        await tab.wait_for_function(_LISTENS)
    shown = [asyncio.ensure_future(_shown(tab)) for tab in tabs]
    said = await asyncio.to_thread(program.ok, "revoke", "--principal", "alice", "--cause", "bench", "--json")
    at = datetime.fromisoformat(json.loads(said)["at"]).timestamp()
    last = max(await asyncio.gather(*shown))
    for tab in tabs:
        await tab.close()
    return last - at


async def measure_live(folder: Path, runs: int) -> dict[str, float]:
    """Seconds from the commit to the last tab: median, 99th percentile (of 50 runs: the worst) and worst."""
    program = Program(folder)
    program.add("alice")
    took = []
    with program.started("serve", "--port", "0") as one, program.started("serve", "--port", "0") as two:
        urls = [server.url.replace("127.0.0.1", "localhost") for server in (one, two)]
        async with launched() as browser:
            for _ in range(runs):
                context = await browser.new_context()
                took.append(await _once(program, context, *urls))
                await context.close()
    took.sort()
    p99 = took[min(len(took) - 1, -(-99 * len(took) // 100) - 1)]
    return {"runs": len(took), "median": statistics.median(took), "p99": p99, "worst": took[-1]}
