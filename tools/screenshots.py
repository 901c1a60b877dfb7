"""Take the pictures in docs/pictures from a fresh `sessile demo`: `make screenshots`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from tests.browser import FLAGS, HOW, chromium

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1000, 1180
LARGEST = 200_000
"""Bytes: pictures weigh on every clone."""
# Chromium says of itself that it is headless; the picture is of what a person sees.
FIREFOX = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0"


async def take(demo: dict[str, Any]) -> Path:
    """Sign in as alice and take the account page."""
    alice = next(one for one in demo["people"] if one["name"] == "alice")
    async with async_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            raise SystemExit(f"needs Chromium: {HOW}")
        flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, user_agent=FIREFOX, color_scheme="light", locale="en-GB"
        )
        await page.goto(f"{demo['url']}/login")
        await page.fill("input[name=username]", alice["name"])
        await page.fill("input[name=password]", alice["password"])
        await page.press("input[name=password]", "Enter")
        await page.wait_for_url("**/account")
        picture = PICTURES / "account.png"
        await page.screenshot(path=picture)
        await browser.close()
    return picture


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("sessile")), "demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - our own program
        assert demo.stdout is not None  # noqa: S101 - it was asked for
        try:
            picture = asyncio.run(take(json.loads(demo.stdout.readline())))
        finally:
            demo.send_signal(signal.SIGINT)
    size = picture.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{picture} has {size:,} bytes, and may have {LARGEST:,}: take less")
    sys.stdout.write(f"{picture.relative_to(ROOT)}: {size:,} bytes\n")


if __name__ == "__main__":
    main()
