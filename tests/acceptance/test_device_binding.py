"""Sessions bound to their device, in a real Chromium over https, with a key that its own code makes and signs with.

Chromium has it behind flags here, with keys in software (a machine of the tests has no TPM). Playwright's own launch
names features of its own, which would replace these: so it is started directly and driven over CDP.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from sessile import Mismatch, Policy, Trait
from sessile.errors import StoreUnavailable
from sessile.kernel.event import Event, EventName
from sessile.server import Settings, create_app
from tests.browser import FLAGS, HOW, chromium
from tests.conftest import need
from tests.server.conftest import CHEAP, PASSWORD
from tests.server.running import Running, running

SESSION = "__Host-sessile"
BOUND = "__Host-bound-sessile"


class Certificate:
    """Of `localhost`, signed by itself. `file` has it with its key; `spki` is what Chromium knows it by."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.spki = base64.b64encode(hashlib.sha256(public).digest()).decode()
        self.file = folder / "tls.pem"
        self.file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )


class Tab:
    """A page of the Chromium, and what it says of its bound sessions."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.context: BrowserContext = page.context
        self.url = url
        self.happened: list[dict[str, Any]] = []

    async def listen(self) -> None:
        session = await self.context.new_cdp_session(self.page)
        session.on("Network.deviceBoundSessionEventOccurred", lambda event: self.happened.append(event))
        await session.send("Network.enable")
        await session.send("Network.enableDeviceBoundSessions", {"enable": True})

    async def sign_in(self) -> None:
        await self.page.goto(f"{self.url}/login")
        await self.page.get_by_label("User name").fill("alice")
        await self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("heading", name="Your sessions")).to_be_visible()

    async def cookie(self, name: str) -> str | None:
        found = [one for one in await self.context.cookies(self.url) if one.get("name") == name]
        return found[0].get("value") if found else None

    async def forget_bound(self) -> None:
        """As when its ten minutes are over."""
        await self.context.clear_cookies(name=BOUND)

    async def try_again(self) -> None:
        """As the page says: a refresh that began while the store was away may answer for the next page as well."""
        for _ in range(50):
            await self.page.goto(f"{self.url}/account")
            if await self.page.get_by_role("heading", name="Your sessions").is_visible():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"Chromium did not go on: {self.happened}")

    def refreshed(self) -> list[str]:
        """What came of each refresh."""
        return [one["refreshEventDetails"]["refreshResult"] for one in self.happened if "refreshEventDetails" in one]

    async def until_bound(self) -> None:
        for _ in range(100):
            if await self.cookie(BOUND):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"Chromium registered nothing: {self.happened}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Running, Certificate]]:
    certificate = Certificate(tmp_path)
    policy = Policy.aal2(binding=frozenset({Trait.DEVICE}), mismatch=Mismatch.REFUSE, version=2)
    app = create_app(Settings(database="memory:"), hasher=CHEAP)
    with running(app, tls=certificate.file) as found:
        found.call(found.authority.set_policy(policy))
        found.call(found.authority.register("alice"))
        found.call(app.state.server.passwords.set("alice", PASSWORD))
        yield found, certificate


@pytest.fixture
async def tab(site: tuple[Running, Certificate], tmp_path: Path) -> AsyncIterator[Tab]:
    found, certificate = site
    async with async_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        if path is None:
            need("Chromium", HOW)
        process = started(path, tmp_path / "profile", certificate)
        try:
            port = await listening(tmp_path / "profile")
            browser = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}")
            tab = Tab(await browser.contexts[0].new_page(), found.url.replace("127.0.0.1", "localhost"))
            await tab.listen()
            yield tab
        finally:
            # Not closed by a message: a Chromium that waits for an answer of the server may not hear it.
            process.kill()
            process.wait(30)


def started(path: str, profile: Path, certificate: Certificate) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            path, "--headless=new", *FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "--remote-debugging-port=0", f"--user-data-dir={profile}",
            "--enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting",
            f"--ignore-certificate-errors-spki-list={certificate.spki}", "about:blank",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip


async def listening(profile: Path) -> int:
    """The port of a Chromium, once it has said so."""
    for _ in range(300):
        if (port := _port(profile / "DevToolsActivePort")) is not None:
            return port
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start")


def _port(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(file.read_text().splitlines()[0])
    return None


@pytest.mark.requirement("DBSC 5-a", "DBSC 5-b", "DBSC 9.5", "DBSC 9.6", "DBSC 10.2", "63B-4 5.1-f")
async def test_a_session_from_its_binding_to_its_end(site: tuple[Running, Certificate], tab: Tab) -> None:
    running, certificate = site
    await tab.sign_in()
    await tab.until_bound()
    await until(running, EventName.SESSION_BOUND)

    # Whoever has copied the session's cookie is shut out.
    copied = {"Cookie": f"{SESSION}={await tab.cookie(SESSION)}"}
    trusted = ssl.create_default_context(cafile=certificate.file)
    async with httpx.AsyncClient(base_url=tab.url, headers=copied, verify=trusted) as thief:
        answer = await thief.get("/api/v1/session")
        assert (answer.status_code, answer.json()["reason"]) == (401, "unbound")

    # Without the bound cookie a page waits until Chromium has proved that it has the key.
    await tab.forget_bound()
    await tab.page.reload()
    await expect(tab.page.get_by_role("heading", name="Your sessions")).to_be_visible()
    assert tab.refreshed() == ["Refreshed"]

    # A store that is away ends nothing: Chromium says that it could not, and goes on when it is back.
    await tab.forget_bound()
    away = mock.AsyncMock(side_effect=StoreUnavailable)
    with mock.patch.object(running.authority.store, "credential", away):
        await tab.page.goto(f"{tab.url}/account")
        await expect(tab.page.get_by_text("This session is tied to the device where it began")).to_be_visible()
    [event] = await until(running, EventName.SESSION_UNREFRESHED)
    assert event.details == {"why": "server_error"}
    await tab.try_again()

    # Signing out ends it in the browser too: nothing is refreshed after it.
    await tab.page.get_by_role("banner").get_by_role("button", name="Sign out").click()
    await expect(tab.page.get_by_label("User name")).to_be_visible()
    assert await tab.cookie(BOUND) is None
    tab.happened.clear()
    await tab.page.goto(f"{tab.url}/account")
    await asyncio.sleep(1)
    assert tab.refreshed() == []


@pytest.mark.requirement("DBSC 9.2", "DBSC 9.6")
async def test_a_revoked_session_is_over_in_the_browser_as_well(site: tuple[Running, Certificate], tab: Tab) -> None:
    running, _ = site
    await tab.sign_in()
    await tab.until_bound()
    await tab.page.goto("about:blank")  # an open page would go to the login page by itself
    running.call(running.authority.revoke(principal="alice", cause="laptop stolen"))
    await tab.forget_bound()
    await tab.page.goto(f"{tab.url}/account")
    await expect(tab.page.get_by_text("This session was ended")).to_be_visible()
    ended = [one["terminationEventDetails"] for one in tab.happened if "terminationEventDetails" in one]
    assert ended == [{"deletionReason": "ServerRequested"}]


async def until(running: Running, name: EventName) -> Sequence[Event]:
    """The events of that name, once there are some."""
    for _ in range(300):
        if found := running.call(running.authority.store.events(names=[name])):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"no {name}")
