"""Open tabs leave when their session ends: real Chromium, real server processes on one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from playwright.async_api import Route as PageRoute
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from sessile import Authority
from sessile.asgi import Live, SessileMiddleware
from sessile.server import Settings, create_app
from sessile.starlette import access, requires, sign_in
from sessile.testing import ManualClock
from tests.browser import launched
from tests.factors.test_totp import code
from tests.pages import faults
from tests.program import PERSON_PASSWORD, Program
from tests.server.running import Running, running

MINUTE = timedelta(minutes=1)


@pytest.fixture
def sessile(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def signed_in(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(f"{url}/login")
    await page.get_by_label("User name").fill("alice")
    await page.get_by_label("Password", exact=True).fill(PERSON_PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    return page


def local(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


async def opened(context: BrowserContext, url: str) -> Page:
    """A tab on the account page that listens, or whose browser does."""
    page = await context.new_page()
    await page.goto(f"{url}/account")
    return page


async def listening(page: Page) -> None:
    """Whether some tab of this origin holds the stream, and has heard how things stand."""
    await page.wait_for_function("navigator.locks.query().then(all => all.held.length == 1)")


@pytest.mark.requirement("ASVS V7.4.1")
async def test_three_tabs_on_two_servers_leave_at_once(sessile: Program, context: BrowserContext) -> None:
    """Review 20: every open tab, and nobody has to click."""
    sessile.add("alice")
    with sessile.started("serve", "--port", "0") as one, sessile.started("serve", "--port", "0") as two:
        first = await signed_in(context, local(one.url))
        tabs = [first, await opened(context, local(one.url)), await opened(context, local(two.url))]
        await listening(tabs[1])
        await listening(tabs[2])
        sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
        for tab in tabs:
            await expect(tab.get_by_label("User name")).to_be_visible()
            await expect(tab.get_by_role("status")).to_contain_text("laptop stolen")
        # One connection for the two tabs of one origin.
        assert await first.evaluate("navigator.locks.query().then(all => all.held.length + all.pending.length)") == 0


async def test_with_the_stream_blocked_the_next_click_is_denied(sessile: Program, context: BrowserContext) -> None:
    """What is pushed is for the eyes; what is refused does not depend on it."""
    sessile.add("alice")
    with sessile.started("serve", "--port", "0") as server:
        await context.route("**/session/events", lambda route: route.abort())
        page = await signed_in(context, local(server.url))
        sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
        await page.get_by_role("link", name="Change password").click()
        await expect(page).to_have_url(re.compile("/login"))
        await expect(page.get_by_role("status")).to_contain_text("laptop stolen")


async def test_signing_out_is_answered_although_the_tab_hears_of_the_end(
    sessile: Program, context: BrowserContext
) -> None:
    """The answer takes the cookie away and says so; a tab that left meanwhile would cut it off."""
    sessile.add("alice")
    with sessile.started("serve", "--port", "0") as server:
        for _ in range(10):
            page = await signed_in(context, local(server.url))
            await listening(page)
            # So that the tab has heard of it for sure before the answer is here.
            await context.route("**/logout", slowly)
            await page.get_by_role("banner").get_by_role("button", name="Sign out").click()
            await expect(page.get_by_role("status")).to_contain_text("You signed out")
            assert "__Host-sessile" not in [one.get("name") for one in await context.cookies(local(server.url))]
            await page.close()


async def slowly(route: PageRoute) -> None:
    answer = await route.fetch(max_redirects=0)
    await asyncio.sleep(0.2)
    await route.fulfill(response=answer)


async def test_content_goes_before_the_navigation(sessile: Program, context: BrowserContext) -> None:
    """A login page that takes its time leaves nothing to read meanwhile."""
    sessile.add("alice")
    with sessile.started("serve", "--port", "0") as server:
        page = await signed_in(context, local(server.url))
        await listening(page)
        await page.evaluate(
            "navigation.onnavigate = () => { sessionStorage.left = document.documentElement.childNodes.length }"
        )
        sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
        await expect(page.get_by_label("User name")).to_be_visible()
        assert await page.evaluate("sessionStorage.left") == "0"


async def test_a_server_that_is_started_again_is_found_again(sessile: Program, context: BrowserContext) -> None:
    """Review 23: an EventSource gives up at any answer but 200; this one comes back by itself."""
    sessile.add("alice")
    with sessile.started("serve", "--port", "0") as server:
        page = await signed_in(context, local(server.url))
        port = server.url.rsplit(":", 1)[1]
        await listening(page)
        server.kill()
    with contextlib.ExitStack() as stack:
        # Listened for before it starts: the tab may be quicker than this test.
        async with page.expect_response(lambda answer: answer.url.endswith("/session/events") and answer.ok):
            server = stack.enter_context(sessile.started("serve", "--port", port))
        await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
        await listening(page)
        server.kill()
    # What ends while nobody can be told is heard of as soon as somebody answers.
    sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
    with sessile.started("serve", "--port", port):
        await expect(page.get_by_role("status")).to_contain_text("laptop stolen", timeout=30_000)


# -- what time does -------------------------------------------------------------------------------------------------


class Timed:
    """A server in this process, whose clock the test moves, and alice's browser."""

    def __init__(self, server: Running, clock: ManualClock, context: BrowserContext, session: str) -> None:
        self.server, self.clock, self.context, self.session = server, clock, context, session

    async def tab(self) -> Page:
        return await opened(self.context, local(self.server.url))

    def last_seen(self) -> object:
        return self.server.call(self.server.authority.session(self.session)).last_seen


async def an_app(timed: Timed) -> str:
    """The secret of an authenticator app that alice added in another session."""
    state = timed.server.state
    active = (await timed.server.authority.begin("alice", method="password")).active
    made = await state.totp.enrol(active)
    await state.totp.confirm(active, made.factor.id, code(made.secret, timed.clock.now()))
    return made.secret


@pytest.fixture
async def timed(tmp_path: Path, context: BrowserContext) -> AsyncIterator[Timed]:
    clock = ManualClock()
    app = create_app(Settings(database=f"sqlite:///{tmp_path}/sessile.db"), clock=clock)
    with running(app) as server:
        issued = server.call(server.authority.begin("alice", method="password"))
        await context.add_cookies([{"name": "__Host-sessile", "value": str(issued.token), "url": "https://localhost"}])
        yield Timed(server, clock, context, issued.active.session.id)
        await context.close()


async def test_an_idle_tab_keeps_no_session_alive(timed: Timed) -> None:
    """Review 23: a stream is no act of a person, and it ends by the session's own deadline."""
    page = await timed.tab()
    await listening(page)
    before = timed.last_seen()
    timed.clock.advance(58 * MINUTE + MINUTE / 2)
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("signed out in 1:")
    assert timed.last_seen() == before
    timed.clock.advance(2 * MINUTE)
    await expect(page.get_by_role("status")).to_contain_text("without activity")
    assert not timed.server.call(timed.server.authority.session(timed.session)).live


async def test_a_session_is_extended_on_consent_only(timed: Timed) -> None:
    """In one tab, for all of them; closing the question is no consent."""
    first, second = await timed.tab(), await timed.tab()
    await listening(second)
    before = timed.last_seen()
    timed.clock.advance(58 * MINUTE + MINUTE / 2)
    for tab in (first, second):
        await expect(tab.get_by_role("dialog")).to_be_visible()
    await first.keyboard.press("Escape")
    await expect(first.get_by_role("dialog")).to_be_hidden()
    assert timed.last_seen() == before
    await second.get_by_role("button", name="Stay signed in").press("Enter")
    await expect(second.get_by_role("dialog")).to_be_hidden()
    assert timed.last_seen() == timed.clock.now()
    timed.clock.advance(30 * MINUTE)
    await first.reload()
    await expect(first.get_by_role("heading", name="Your sessions")).to_be_visible()


async def test_an_act_in_one_tab_takes_the_question_from_the_others(timed: Timed) -> None:
    first, second = await timed.tab(), await timed.tab()
    await listening(second)
    timed.clock.advance(58 * MINUTE + MINUTE / 2)
    await expect(first.get_by_role("dialog")).to_be_visible()
    before = timed.last_seen()
    await second.goto(f"{local(timed.server.url)}/account/password")
    # Acts are gathered before they are written.
    for _ in range(200):
        if timed.last_seen() != before:
            break
        await asyncio.sleep(0.05)
    timed.clock.advance(timedelta(seconds=6))
    await expect(first.get_by_role("dialog")).to_be_hidden()
    await expect(first.get_by_role("heading", name="Your sessions")).to_be_visible()


async def stricter(authority: Authority) -> None:
    policy = await authority.store.policy("default")
    assert policy is not None
    await authority.set_policy(msgspec.structs.replace(policy, assurance=2, version=policy.version + 1))


async def test_nothing_stands_in_the_way_of_a_proof(timed: Timed) -> None:
    """Whoever has no second factor yet can set one up, though every other tab asks for it."""
    page = await timed.tab()
    await page.goto(f"{local(timed.server.url)}/account/factors/totp")
    other = await timed.tab()
    await listening(other)
    timed.server.call(stricter(timed.server.authority))
    await expect(other.get_by_role("dialog")).to_contain_text("confirm it is you")
    await page.get_by_role("button", name="Continue").click()
    secret = (await page.locator("#secret").text_content() or "").replace(" ", "")
    await page.get_by_label("Code", exact=True).fill(code(secret, timed.clock.now()))
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_stricter_policy_asks_the_open_tab_to_step_up(timed: Timed) -> None:
    page = await timed.tab()
    await page.goto(f"{local(timed.server.url)}/account/waiting")
    await listening(page)
    timed.server.call(stricter(timed.server.authority))
    await expect(page.get_by_role("dialog")).to_contain_text("confirm it is you")
    assert not await faults(page)
    # The person proves itself, and goes on where it was.
    secret = timed.server.call(an_app(timed))
    timed.clock.advance(MINUTE / 2)
    await page.get_by_role("dialog").get_by_role("link", name="Confirm").click()
    await page.get_by_label("Code of your authenticator app").fill(code(secret, timed.clock.now()))
    await page.get_by_role("button", name="Confirm").click()
    await expect(page).to_have_url(re.compile("/account/waiting$"))
    await expect(page.get_by_role("heading", name="Waiting for you")).to_be_visible()
    await listening(page)
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_tab_that_slept_asks_before_it_is_read(timed: Timed) -> None:
    """A stream that says nothing more is not believed: whoever comes back to a tab sees what holds now."""

    async def asleep(route: PageRoute) -> None:
        await (route.continue_() if route.request.method == "HEAD" else route.abort())

    await timed.context.route("**/session/events", asleep)
    page = await timed.tab()
    timed.server.call(timed.server.authority.revoke(principal="alice", cause="stolen"))
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))")
    await expect(page.get_by_label("User name")).to_be_visible()


# -- any application ------------------------------------------------------------------------------------------------


async def enter(request: Request) -> Response:
    await sign_in(request, request.query_params["name"], method="password")
    return HTMLResponse("<title>in</title>in")


@requires()
async def private(request: Request) -> Response:
    session = access(request).session
    assert session is not None
    html = f"<!doctype html><title>private</title><h1>{session.principal}</h1><a href='/away'>away</a>"
    script = f"<script src='/session/live.js' defer data-session='{session.id}' data-login='/away'></script>"
    # Whatever the middleware says by itself, browsers keep such a page for the way back.
    return HTMLResponse(html + script, headers={"Cache-Control": "private, no-cache"})


async def away(request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>away</title><h1>away</h1>")


def application(authority: Authority) -> Starlette:
    class State:
        def __init__(self) -> None:
            self.authority = authority

    app = Starlette(
        routes=[
            Route("/enter", enter),
            Route("/private", private),
            Route("/away", away),
            Mount("/session", Live()),
        ],
        middleware=[Middleware(SessileMiddleware, authority=authority)],
    )
    app.state.server = State()
    return app


@pytest.fixture
async def keeping() -> AsyncIterator[BrowserContext]:
    """A browser that keeps pages for the way back, as people's do and Playwright's does not."""
    async with launched(ignore_default_args=["--disable-back-forward-cache"]) as browser:
        context = await browser.new_context()
        yield context
        await context.close()


@pytest.mark.requirement("ASVS V14.3.2")
async def test_the_way_back_shows_nothing_of_a_session_that_is_over(tmp_path: Path, keeping: BrowserContext) -> None:
    """Review 23: a page kept by the browser is hidden until the server has said that its session lives."""
    authority = Authority(f"sqlite:///{tmp_path}/sessile.db")
    with running(application(authority)) as server:
        url = local(server.url)
        page = await keeping.new_page()
        await page.goto(f"{url}/enter?name=alice")
        for over in (False, True):
            await page.goto(f"{url}/private")
            await page.evaluate("window.kept = true")
            await listening(page)
            await page.goto(f"{url}/away")
            if over:
                server.call(authority.revoke(principal="alice", cause="stolen"))
            await page.evaluate("history.back()")
            if over:
                await expect(page.get_by_role("heading", name="away")).to_be_visible()
                assert "alice" not in await page.content()
            else:
                await expect(page.get_by_role("heading", name="alice")).to_be_visible()
                assert await page.evaluate("window.kept"), "this browser did not keep the page"
                await listening(page)
        await keeping.close()


async def test_a_page_of_another_persons_session_leaves(tmp_path: Path, keeping: BrowserContext) -> None:
    authority = Authority(f"sqlite:///{tmp_path}/sessile.db")
    with running(application(authority)) as server:
        url = local(server.url)
        page = await keeping.new_page()
        await page.goto(f"{url}/enter?name=alice")
        await page.goto(f"{url}/private")
        await listening(page)
        await page.goto(f"{url}/enter?name=bob")
        await page.go_back()
        await expect(page.get_by_role("heading", name="away")).to_be_visible()
        await keeping.close()


def test_the_script_is_small() -> None:
    from sessile.web.live import SCRIPT

    assert len(SCRIPT) < 4096


async def test_no_browser_is_told_of_a_session_by_its_id(browser: Browser, tmp_path: Path) -> None:
    """The stream is the cookie's; without one there is nothing to hear, and nothing loops."""
    with running(application(Authority(f"sqlite:///{tmp_path}/sessile.db"))) as server:
        context = await browser.new_context()
        page = await context.new_page()
        answer = await page.goto(f"{local(server.url)}/session/events")
        assert answer is not None
        assert answer.status == 401
        await context.close()
