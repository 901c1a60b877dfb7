"""A real headless Chromium for tests: `browser` is the program, `context` one person's, `page` a tab.

A second tab of the same person is `await context.new_page()`; another person or another device is
`await browser.new_context()`. All of it is Playwright's async API, on the loop that the test runs on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOW = "`apt-get install chromium`, or `.venv/bin/playwright install chromium`"


def chromium(bundled: str) -> str | None:
    """Find a Chromium: the system's, else `bundled` (the one Playwright downloads, if it has)."""
    for found in (shutil.which("chromium"), shutil.which("chromium-browser"), bundled):
        if found and Path(found).exists():
            return found
    return None


@asynccontextmanager
async def launched(**options: Any) -> AsyncIterator[Browser]:
    """A headless Chromium of its own; `options` are those of Playwright's `launch`."""
    from tests.conftest import need

    async with async_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            need("Chromium", HOW)
        # Chromium's own sandbox refuses to run as root, as CI does.
        flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
        browser = await playwright.chromium.launch(executable_path=path, args=flags, **options)
        yield browser
        await browser.close()


# One browser for a module: its start is the slow part (about a second), and contexts share nothing.
@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """Start a headless Chromium, shared by the tests of a module."""
    async with launched() as browser:
        yield browser


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Give the test a profile of its own: no cookie, no cache, no storage of another test."""
    context = await browser.new_context()
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """Open a tab."""
    return await context.new_page()
