"""Passkeys and authenticator apps as people meet them: real Chromium with a virtual authenticator, a real server."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import zxingcpp
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from PIL import Image
from playwright.async_api import BrowserContext, CDPSession, Page, expect

from sessile import Policy
from sessile.server import Settings, create_app
from sessile.server.wording import TEXTS
from sessile.testing import ManualClock
from tests.pages import faults
from tests.server.conftest import CHEAP, MINUTE, NEW, PASSWORD
from tests.server.running import Running, running


class Site:
    """A server of this process, whose clock stands still until it is told to go on."""

    def __init__(self, running: Running, clock: ManualClock) -> None:
        self.running = running
        self.clock = clock
        # Passkeys need a name: an address has none.
        self.url = running.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = ManualClock(datetime.now(UTC))
    app = create_app(Settings(database=f"sqlite:///{tmp_path}/sessile.db"), clock=clock, hasher=CHEAP)
    with running(app) as found:
        found.call(found.authority.register("alice"))
        found.call(app.state.server.passwords.set("alice", PASSWORD))
        yield Site(found, clock)


async def authenticator(context: BrowserContext, page: Page, *, synced: bool = False) -> tuple[CDPSession, str]:
    """A virtual one, which verifies its person by itself, and its id."""
    session = await context.new_cdp_session(page)
    await session.send("WebAuthn.enable", {"enableUI": False})
    made = await session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
                "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
                "defaultBackupEligibility": synced, "defaultBackupState": synced,
            }
        },
    )  # fmt: skip
    return session, made["authenticatorId"]


async def signed_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("User name").fill("alice")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()


@pytest.mark.requirement("63B-4 2.2.2-b", "ASVS V6.3.3", "ASVS V7.4.3", "63B-4 3.2.8-a")
async def test_a_passkey_from_its_making_to_its_removal(site: Site, context: BrowserContext) -> None:
    """Enrol, sign out, sign in by the button, step up, remove: and never a name or a password."""
    page = await context.new_page()
    broken: list[str] = []
    page.on("console", lambda said: broken.append(said.text) if said.type == "error" else None)
    # As a browser that offers none by itself: there it is the button that signs in.
    await page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    session, id = await authenticator(context, page)
    await signed_in(page, site.url)
    await page.get_by_role("link", name="Add a passkey").click()
    await page.get_by_label("Name").fill("this laptop")
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_role("status").first).to_contain_text("Your passkey is added")
    await expect(page.get_by_text("Passkey that stays on its device")).to_be_visible()
    (credential,) = (await session.send("WebAuthn.getCredentials", {"authenticatorId": id}))["credentials"]
    assert (credential["rpId"], credential["isResidentCredential"]) == ("localhost", True)
    assert b"alice" not in base64.b64decode(credential["userHandle"])

    await page.get_by_role("button", name="Sign out").first.click()
    await expect(page.get_by_label("User name")).to_be_visible()
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await expect(page.get_by_text("by hardware key, two factors with hardware (assurance 3)").first).to_be_visible()

    site.clock.advance(6 * MINUTE)
    await page.get_by_role("link", name="Change this laptop").click()
    await expect(page.get_by_role("heading", name="Confirm it is you")).to_be_visible()
    await page.get_by_role("button", name="Use your passkey").click()
    await expect(page.get_by_role("heading", name="this laptop")).to_be_visible()
    assert not await faults(page)
    await page.get_by_role("button", name="Remove").click()
    await expect(page.get_by_role("status").first).to_contain_text("The second factor is removed")
    assert broken == []


@pytest.mark.requirement("63B-4 2.2.2-b")
async def test_the_name_field_offers_passkeys_by_itself(site: Site, context: BrowserContext) -> None:
    """Conditional UI: whoever has a passkey here picks it among the browser's suggestions, and is in."""
    page = await context.new_page()
    await authenticator(context, page, synced=True)
    await signed_in(page, site.url)
    await page.goto(f"{site.url}/account/factors/passkey")
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_text("Passkey, which your devices may share")).to_be_visible()
    # Not from under a page that would leave by itself.
    await page.goto("about:blank")
    await context.clear_cookies()
    # The page's own script asks, and the person is there: no click, and nothing typed.
    await page.goto(f"{site.url}/login", wait_until="commit")
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await expect(page.get_by_text("by passkey, two factors (assurance 2)").first).to_be_visible()


async def test_whoever_turns_the_passkey_down_reads_what_else_there_is(site: Site, context: BrowserContext) -> None:
    page = await context.new_page()
    session, id = await authenticator(context, page)
    await signed_in(page, site.url)
    await page.goto(f"{site.url}/account/factors/passkey")
    await session.send("WebAuthn.setUserVerified", {"authenticatorId": id, "isUserVerified": False})
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_role("alert")).to_contain_text("The passkey was not used")
    await expect(page.get_by_role("button", name="Make the passkey")).to_be_enabled()


@pytest.mark.requirement("RFC6238 5.1")
async def test_an_app_is_enrolled_by_the_pages_own_picture(site: Site, context: BrowserContext) -> None:
    """What a camera sees: the page as it is painted, and nothing else, is what the code is made from."""
    page = await context.new_page()
    await signed_in(page, site.url)
    await page.get_by_role("link", name="Add an authenticator app").click()
    await page.get_by_label("Name").fill("phone")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("img", name="QR picture")).to_be_visible()
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        seen = zxingcpp.read_barcodes(Image.open(io.BytesIO(await page.screenshot())))
        assert [one.format for one in seen] == [zxingcpp.BarcodeFormat.QRCode]
    uri = urlsplit(seen[0].text)
    secret = parse_qs(uri.query)["secret"][0]
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/Sessile:alice")
    assert secret == (await page.locator("#secret").inner_text()).replace(" ", "")
    app = TOTP(base64.b32decode(secret), 6, SHA1(), 30)  # noqa: S303
    code = app.generate(int(site.clock.now().timestamp())).decode()
    await page.get_by_label("Code").fill(code)
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("status").first).to_contain_text("Your second factor is added")


async def test_recovery_codes_can_be_saved_and_printed(site: Site, context: BrowserContext) -> None:
    page = await context.new_page()
    await authenticator(context, page)
    await signed_in(page, site.url)
    await page.goto(f"{site.url}/account/factors/passkey")
    await page.get_by_role("button", name="Make the passkey").click()
    await page.get_by_role("link", name="Make recovery codes").click()
    await page.get_by_role("button", name="Use your passkey").click()
    await page.get_by_role("button", name="Make recovery codes").click()
    codes = await page.locator(".codes code").all_inner_texts()
    assert len(codes) == 10
    assert not await faults(page)
    async with page.expect_download() as saving:
        await page.get_by_role("link", name="Save as a file").click()
    saved = await saving.value
    assert saved.suggested_filename == "recovery-codes.txt"
    text = await asyncio.to_thread((await saved.path()).read_text, "utf-8")
    assert re.findall(r"^[0-9a-z-]{29}$", text, re.MULTILINE) == codes
    await page.emulate_media(media="print")
    await expect(page.locator(".codes")).to_be_visible()
    await page.emulate_media(media="screen")
    await page.set_viewport_size({"width": 360, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not await faults(page)


@pytest.mark.requirement("ASVS V6.3.8", "ASVS V6.3.3")
async def test_where_a_second_factor_is_demanded_name_password_and_factor_are_judged_together(
    site: Site, context: BrowserContext
) -> None:
    """A wrong password is found out with the code, and not before; a passkey is enough."""
    page = await context.new_page()
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    await authenticator(context, page)
    await signed_in(page, site.url)
    await page.goto(f"{site.url}/account/factors/passkey")
    await page.get_by_role("button", name="Make the passkey").click()
    await expect(page.get_by_role("status").first).to_contain_text("Your passkey is added")
    state = site.running.state
    site.running.call(state.authority.set_policy(Policy.aal2(version=2, assurance=2)))

    async def first_step(password: str) -> None:
        await context.clear_cookies()
        await page.goto(f"{site.url}/login")
        await page.get_by_label("User name").fill("alice")
        await page.get_by_label("Password", exact=True).fill(password)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()

    await first_step("wronged horse battery")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_label("Code of your app").fill("123456")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_text("The user name, the password or the code is wrong")).to_be_visible()
    await expect(page.get_by_label("User name")).to_have_value("alice")
    await first_step(PASSWORD)
    await page.get_by_role("button", name="Use a passkey").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()


@pytest.mark.requirement("ASVS V6.2.6", "ASVS V6.2.7")
async def test_passwords_can_be_pasted_and_kept_by_a_manager(site: Site, context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto(f"{site.url}/login")

    async def paste(into: str, what: str) -> None:
        """By the keyboard, from a field that shows it."""
        await page.evaluate("document.body.prepend(Object.assign(document.createElement('input'), {id: 'from'}))")
        source = page.locator("#from")
        await source.fill(what)
        await source.press("Control+a")
        await source.press("Control+x")
        await page.evaluate("document.getElementById('from').remove()")
        field = page.get_by_label(into, exact=True)
        assert await field.get_attribute("type") == "password"
        assert await field.get_attribute("autocomplete") in ("current-password", "new-password")
        await field.focus()
        await field.press("Control+v")
        await expect(field).to_have_value(what)

    await page.get_by_label("User name").fill("alice")
    await paste("Password", PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await page.goto(f"{site.url}/account/password")
    for field, what in ((TEXTS.password.current, PASSWORD), (TEXTS.password.new, NEW), (TEXTS.password.again, NEW)):
        await paste(field, what)
    await page.get_by_role("button", name=TEXTS.password.submit).click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
