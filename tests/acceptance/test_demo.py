"""The demo as a stranger meets it: start it, read the guide, do what it says."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.program import PROGRAM, Program, environment, stop


@pytest.fixture
def sessile(tmp_path: Path) -> Program:
    return Program(tmp_path)


@contextlib.contextmanager
def guided(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo as started at a terminal that is none, with the guide it printed."""
    process = subprocess.Popen(
        [PROGRAM, "demo", "--port", "0"], cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        guide = ""
        while "Ctrl-C" not in guide:
            line = process.stdout.readline()
            assert line, process.communicate(timeout=10)[1]
            guide += line
        yield process, guide
    finally:
        stop(process)


def paste(command: str) -> str:
    """Run a line of the guide as it stands, in another folder."""
    done = subprocess.run(
        ["/bin/sh", "-c", command.strip()], cwd="/", env=environment(), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def line_with(guide: str, word: str) -> str:
    [found] = [line for line in guide.splitlines() if word in line]
    return found


def test_a_stranger_follows_the_guide(tmp_path: Path) -> None:
    with guided(tmp_path) as (process, guide):
        assert "\x1b" not in guide
        found = re.search(r"http://localhost:\d+", guide)
        assert found
        url = found[0]
        people = re.findall(r"^    (alice|bob|carol|olga) +(.+?)   ", guide, re.MULTILINE)
        assert [name for name, _ in people] == ["alice", "bob", "carol", "olga"]
        page = httpx.get(f"{url}/login", timeout=30).text
        name = f"__Host-sessile-{url.rsplit(':', 1)[1]}"
        cookies = {}
        for person, password in people:
            assert password in page
            answer = httpx.post(f"{url}/api/v1/session", json={"username": person, "password": password}, timeout=30)
            assert answer.status_code == 201
            # By hand: like every client but a browser, httpx keeps Secure cookies from plain http.
            cookies[person] = {"Cookie": f"{name}={answer.cookies[name]}"}
            # Nobody's account page is empty.
            mine = httpx.get(f"{url}/api/v1/sessions", headers=cookies[person], timeout=30).json()["items"]
            assert len(mine) >= (1 if person == "olga" else 2)
        # The agent is let in for as long as alice is.
        agent = line_with(guide, "curl")
        assert json.loads(paste(agent))["principal"] == "agent:deploy"
        said = paste(line_with(guide, "revoke --principal alice"))
        assert "of alice are over" in said
        assert "accepted nowhere since" in said
        denied = httpx.get(f"{url}/api/v1/session", headers=cookies["alice"], timeout=30)
        assert (denied.status_code, denied.json()["reason"]) == (401, "revoked")
        assert json.loads(paste(agent))["reason"] == "revoked"
        still = httpx.get(f"{url}/api/v1/session", headers=cookies["bob"], timeout=30)
        assert still.status_code == 200
        tail = line_with(guide, "audit tail").replace(" -f", "")
        record = paste(tail)
        assert "laptop stolen" in record
        [folder] = re.findall(r"sqlite:///(\S+)/sessile\.db", tail)
        assert Path(folder).is_dir()
        process.terminate()
        assert process.wait(timeout=30) == 0
        assert not Path(folder).exists()
    assert list(tmp_path.iterdir()) == []


def test_machines_get_one_object_and_other_ports_another_cookie(sessile: Program) -> None:
    """Review 22: cookies know no ports, so the cookie's name does."""
    with sessile.started("demo", "--port", "0") as one, sessile.started("demo", "--port", "0") as two:
        assert set(one.ready) == {"url", "database", "people", "tokens"}
        names = set()
        for demo in (one, two):
            alice = demo.ready["people"][0]
            answer = httpx.post(
                f"{demo.url}/api/v1/session",
                json={"username": alice["name"], "password": alice["password"]},
                timeout=30,
            )
            names |= {name for name in answer.cookies if name.startswith("__Host-sessile")}
        assert len(names) == 2
        key = {"Authorization": f"Bearer {one.ready['tokens']['service:ci']}"}
        assert httpx.get(f"{one.url}/api/v1/session", headers=key, timeout=30).json()["principal"] == "service:ci"


def test_nothing_of_a_demo_needs_a_database_or_touches_one(sessile: Program) -> None:
    with sessile.started("demo", "--port", "0", SESSILE_DATABASE="sqlite:///mine.db") as demo:
        assert "mine.db" not in demo.ready["database"]
    assert list(sessile.folder.iterdir()) == []


async def sign_in(page: Page, url: str, name: str, password: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("User name").fill(name)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.locator("form.card").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()


async def test_one_browser_ends_the_session_of_another(sessile: Program, browser: Browser) -> None:
    with sessile.started("demo", "--port", "0") as demo:
        bob = demo.ready["people"][1]
        # The other has no script: what happens at a click. With script it leaves by itself (test_live_tabs).
        here, there = await browser.new_context(), await browser.new_context(java_script_enabled=False)
        try:
            first = await here.new_page()
            await sign_in(first, demo.url, bob["name"], bob["password"])
            # A second tab is in without signing in again, in the same session.
            tab = await here.new_page()
            await tab.goto(f"{demo.url}/account")
            await expect(tab.get_by_role("heading", name="Your sessions")).to_be_visible()
            second = await there.new_page()
            await sign_in(second, demo.url, bob["name"], bob["password"])

            # Both are on the account page: this one, and the other as one that can be ended.
            await first.reload()
            mine = first.get_by_role("region", name="Signed in").locator(".session").filter(has_text="Headless Chrome")
            await expect(mine).to_have_count(2)
            other = mine.filter(has=first.get_by_role("button", name="End"))
            await expect(other).to_have_count(1)
            await other.get_by_role("button", name="End").click()
            await expect(mine).to_have_count(1)

            # The other's next click lands on the login page, with a sentence that says why.
            await second.get_by_role("link", name="Change password").first.click()
            await expect(second).to_have_url(re.compile(r"/login"))
            await expect(second.get_by_role("status")).to_contain_text("ended")
            await expect(second.get_by_label("User name")).to_be_visible()
            # The one that ended it is still in.
            await tab.reload()
            await expect(tab.get_by_role("heading", name="Your sessions")).to_be_visible()
        finally:
            await here.close()
            await there.close()
