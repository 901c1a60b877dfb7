"""Rotation by age, as browsers meet it: two tabs, lost answers, an old token that comes late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sessile import Reason
from sessile.starlette import access
from tests.asgi.browser import COOKIE, MINUTE, set_cookies, token_of, world

AGE = 15 * MINUTE
GRACE = timedelta(seconds=60)


async def events(request: Request) -> Response:
    async def none() -> object:  # type: ignore[misc]
        yield "data: 1\n\n"

    return StreamingResponse(none(), media_type="text/event-stream")  # type: ignore[arg-type]


async def forward_auth(request: Request) -> Response:
    access(request).rotates = False
    return Response()


async def test_a_token_is_renewed_after_its_age_and_not_before() -> None:
    async with world() as w:
        browser = await w.signed_in()
        first = token_of(browser)
        w.clock.advance(AGE - timedelta(seconds=1))
        assert not set_cookies(await browser.get("/private"))
        w.clock.advance(timedelta(seconds=1))
        answer = await browser.get("/private")
        assert len(set_cookies(answer)) == 1
        assert answer.headers["cache-control"] == "no-store"
        assert token_of(browser) != first
        assert not set_cookies(await browser.get("/private"))
        w.clock.advance(AGE)
        assert set_cookies(await browser.get("/plain"))


async def test_a_lost_answer_signs_nobody_out() -> None:
    """Review 18: a successor that never arrived is sent again, the same one."""
    async with world() as w:
        browser = await w.signed_in()
        old = token_of(browser)
        w.clock.advance(AGE)
        lost = set_cookies(await w.browser(Cookie=f"{COOKIE}={old}").get("/private"))
        w.clock.advance(10 * MINUTE)
        again = set_cookies(await browser.get("/private"))
        assert lost == again
        assert (await browser.get("/private")).status_code == 200


async def test_two_tabs_that_are_due_at_once_get_the_same_token() -> None:
    """Review 18b: siblings cannot part ways, in whatever order their answers come."""
    async with world() as w:
        browser = await w.signed_in()
        old = token_of(browser)
        w.clock.advance(AGE)
        one, two = w.browser(Cookie=f"{COOKIE}={old}"), w.browser(Cookie=f"{COOKIE}={old}")
        first, second = set_cookies(await one.get("/private")), set_cookies(await two.get("/private"))
        assert first == second
        new = w.browser(Cookie=first[0].partition(";")[0])
        assert (await new.get("/private")).status_code == 200
        # A request that was on its way with the old token, after the new one's first use.
        w.clock.advance(GRACE - timedelta(seconds=1))
        late = await one.get("/private")
        assert late.status_code == 200
        assert not set_cookies(late)


@pytest.mark.requirement("ASVS V7.4.1")
async def test_an_old_token_after_the_grace_is_theft() -> None:
    async with world() as w:
        browser = await w.signed_in()
        old = token_of(browser)
        w.clock.advance(AGE)
        await browser.get("/private")
        await browser.get("/private")
        w.clock.advance(GRACE)
        thief = w.browser(Cookie=f"{COOKIE}={old}", **{"User-Agent": "curl/8"})
        answer = await thief.get("/private")
        assert (answer.status_code, answer.json()["reason"]) == (401, Reason.REPLAYED)
        assert not set_cookies(answer)
        assert (await browser.get("/private")).json()["reason"] == Reason.REVOKED


async def test_no_rotation_where_the_browser_may_not_get_the_cookie() -> None:
    """Review 18d: not with 304, event streams and forward-auth; nor with what shared caches keep."""
    async with world(Route("/events", events), Route("/forward-auth", forward_auth)) as w:
        browser = await w.signed_in()
        w.clock.advance(AGE)
        for path in ("/304", "/events", "/forward-auth", "/cached"):
            assert not set_cookies(await browser.get(path)), path
        assert set_cookies(await browser.get("/cached", params={"how": "private, max-age=5"}))


async def test_an_anonymous_session_is_renewed_too() -> None:
    async with world() as w:
        browser = w.browser()
        await browser.get("/data", params={"a": "1"})
        first = token_of(browser)
        w.clock.advance(AGE)
        assert (await browser.get("/data")).json() == {"a": "1"}
        assert token_of(browser) != first
        assert (await browser.get("/data")).json() == {"a": "1"}


async def test_a_step_up_while_a_rotation_is_pending_wins() -> None:
    async with world() as w:
        browser = await w.signed_in()
        old = token_of(browser)
        w.clock.advance(AGE)
        offered = set_cookies(await w.browser(Cookie=f"{COOKIE}={old}").get("/private"))[0].partition(";")[0]
        assert (await browser.post("/totp")).status_code == 200
        answer = await w.browser(Cookie=offered).get("/private")
        assert answer.json()["reason"] in {Reason.SUPERSEDED, Reason.UNKNOWN}
        assert (await browser.get("/private")).status_code == 200
