"""A forgotten password in a real browser, with a real mail server: from the login page and back to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from argon2 import PasswordHasher
from playwright.async_api import Page

from sessile.server import Settings, create_app
from sessile.server.settings import Mail
from tests.mail import link, post, text
from tests.pages import faults
from tests.server.running import Running, running

OLD, NEW = "correct horse battery", "purple otters drink tea"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def alice(server: Running) -> str:
    """She has one address that counts. The secret of a link that confirms another."""
    state = server.state
    person = await server.authority.register("alice")
    await state.passwords.set("alice", OLD)
    made = await state.addresses.add(person, "alice@example.org")
    await state.addresses.confirm(await state.addresses.link(person, made.id))
    return await state.addresses.link(person, (await state.addresses.add(person, "alice@example.net")).id)


async def test_a_forgotten_password_is_replaced(page: Page, tmp_path: Path) -> None:
    with post() as smtp:
        app = create_app(
            Settings(
                database=f"sqlite:///{tmp_path}/sessile.db", origins=("https://console.example.org",),
                mail=Mail(server=f"smtp://127.0.0.1:{smtp.port}", sender="sessile@example.org"),
            ),
            hasher=CHEAP,
        )  # fmt: skip
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        with running(app) as server:
            secret = server.call(alice(server))
            await page.goto(f"{server.url}/confirm/{secret}")
            await page.get_by_role("button", name="Confirm").wait_for()
            assert await faults(page) == []
            await page.goto(f"{server.url}/login")
            await page.get_by_role("link", name="Forgot your password?").click()
            await page.get_by_label("User name or e-mail address").fill("alice")
            assert await faults(page) == []
            await page.get_by_role("button", name="Send the link").click()
            await page.get_by_role("status").filter(has_text="on its way").wait_for()
            assert await faults(page) == []
            # Other notices may come first.
            async with asyncio.timeout(60):
                while not (mails := [one for one in smtp.mails if "/reset/" in text(one)]):  # noqa: ASYNC110 - a list that another thread fills
                    await asyncio.sleep(0.05)

            await page.goto(server.url + link(mails[0], "/reset/"))
            assert page.url == f"{server.url}/reset"
            new, strength = page.get_by_label("New password", exact=True), page.locator("#strength-said")
            await new.fill("password1234567")
            await strength.filter(has_text="lists that attackers try first").wait_for()
            await new.fill(NEW)
            await strength.filter(has_text="Very good").wait_for()
            assert await page.locator("#strength-meter").evaluate("one => one.value") == 4
            assert await faults(page) == []
            await page.set_viewport_size({"width": 360, "height": 780})
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360
            await page.get_by_label("New password again").fill(NEW)
            await page.get_by_role("button", name="Set the password").click()
            await page.get_by_role("status").filter(has_text="Sign in with the new password").wait_for()

            await page.get_by_role("link", name="Sign in").click()
            await page.get_by_label("User name").fill("alice")
            await page.get_by_label("Password").fill(NEW)
            await page.get_by_role("button", name="Sign in", exact=True).click()
            await page.wait_for_url("**/account")
            assert said == []
