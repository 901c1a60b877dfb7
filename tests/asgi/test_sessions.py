"""Sessions through HTTP, as browsers have them."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from sessile import Authority, Conflict, Policy, Reason
from tests.asgi.browser import COOKIE, MINUTE, ORIGIN, application, set_cookies, token_of, world

DAY = timedelta(days=1)


def denied(answer: httpx.Response, status: int, reason: Reason) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["reason"] == reason
    assert answer.json()["cure"] == reason.cure
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.requirement("ASVS V7.2.1", "ASVS V3.3.1", "ASVS V3.3.3", "ASVS V3.3.4")
async def test_sign_in_sets_one_cookie_that_names_the_session() -> None:
    async with world() as w:
        browser = w.browser()
        answer = await browser.post("/login", params={"name": "alice"})
        (cookie,) = set_cookies(answer)
        assert re.fullmatch(rf"{COOKIE}=slb_[0-9A-Za-z]{{50}}; Path=/; Secure; HttpOnly; SameSite=Lax", cookie)
        assert answer.headers["cache-control"] == "no-store"
        assert (await browser.get("/private")).json() == {"principal": "alice", "id": answer.json()["id"]}
        (info,) = await w.authority.sessions(principal="alice")
        assert info.client.label == "Chrome on Linux"


async def test_a_page_for_everybody_needs_no_session() -> None:
    async with world() as w:
        answer = await w.browser().get("/page")
        assert answer.json() == {"principal": None}
        assert not set_cookies(answer)
        denied(await w.browser().get("/private"), 401, Reason.MISSING)


async def test_signing_in_again_ends_the_session_that_the_browser_had() -> None:
    """Review 23: signing in over a living session revokes it (cause replaced)."""
    async with world() as w:
        browser = await w.signed_in("alice")
        first = token_of(browser)
        assert first is not None
        await browser.post("/login", params={"name": "bob"})
        assert (await browser.get("/private")).json()["principal"] == "bob"
        ended = [s for s in await w.authority.sessions(principal="alice", ended=True) if not s.live]
        assert [s.cause for s in ended] == ["replaced"]


@pytest.mark.requirement("ASVS V7.4.1", "ASVS V14.3.1")
async def test_logout_ends_the_session_and_clears_what_the_browser_holds() -> None:
    """Review 23: Clear-Site-Data is "storage" alone: "cookies" reaches other hosts, "cache" can stall Chrome."""
    async with world() as w:
        browser = await w.signed_in()
        token = token_of(browser)
        assert token is not None
        answer = await browser.post("/logout")
        assert answer.status_code == 204
        assert answer.headers["clear-site-data"] == '"storage"'
        assert answer.headers["cache-control"] == "no-store"
        assert set_cookies(answer) == [f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"]
        assert token_of(browser) is None
        result = await w.authority.check(token)
        assert not result
        assert result.reason is Reason.REVOKED


@pytest.mark.requirement("ASVS V7.2.4")
async def test_step_up_replaces_the_token_at_once() -> None:
    async with world() as w:
        browser = await w.signed_in()
        old = token_of(browser)
        denied(await browser.get("/sensitive"), 401, Reason.ASSURANCE)
        assert (await browser.post("/totp")).json() == {"assurance": 2}
        assert token_of(browser) != old
        assert (await browser.get("/sensitive")).status_code == 200
        w.clock.advance(5 * MINUTE)
        denied(await browser.get("/sensitive"), 401, Reason.STALE_AUTHENTICATION)
        stale_tab = w.browser(Cookie=f"{COOKIE}={old}")
        answer = await stale_tab.get("/private")
        denied(answer, 401, Reason.SUPERSEDED)
        assert not set_cookies(answer), "it would delete the new cookie (Review 18e)"


async def test_a_session_below_its_policy_reaches_the_step_up_only() -> None:
    async with world(policy=Policy.operator()) as w:
        browser = await w.signed_in()
        denied(await browser.get("/private"), 401, Reason.ASSURANCE)
        # Nor does its data begin another session in its place.
        answer = await browser.get("/data", params={"a": "1"})
        denied(answer, 401, Reason.ASSURANCE)
        assert not set_cookies(answer)
        assert (await browser.post("/totp")).status_code == 200
        assert (await browser.get("/private")).status_code == 200


async def test_a_session_below_its_policy_can_sign_out() -> None:
    async with world(policy=Policy.operator()) as w:
        browser = await w.signed_in()
        assert (await browser.post("/logout")).status_code == 204
        (info,) = await w.authority.sessions(principal="alice", ended=True)
        assert info.cause == "logout"


async def test_no_denial_clears_the_cookie() -> None:
    """Review 18e: whatever the reason; only logout does."""
    async with world(policy=Policy.aal2(rotate_after=None)) as w:
        reasons = set()
        for end in ("idle", "expired", "revoked", "disabled", "everyone"):
            browser = await w.signed_in()
            if end == "idle":
                w.clock.advance(timedelta(hours=1))
            elif end == "expired":
                for _ in range(48):
                    w.clock.advance(30 * MINUTE)
                    await browser.get("/page")
            elif end == "disabled":
                await w.authority.disable("alice", cause="offboarded")
            elif end == "revoked":
                await w.authority.revoke(principal="alice", cause="stolen")
            else:
                await w.authority.revoke(everyone=True, cause="incident")
            for path in ("/private", "/page", "/sensitive"):
                answer = await browser.get(path)
                assert not set_cookies(answer)
                assert "clear-site-data" not in answer.headers
                if path == "/private":
                    reasons.add(answer.json()["reason"])
            if end == "disabled":
                await w.authority.enable("alice")
        assert reasons == {"idle", "expired", "revoked", "disabled"}


async def test_what_a_signed_in_person_sees_is_not_stored() -> None:
    async with world() as w:
        browser = await w.signed_in()
        for path in ("/page", "/plain", "/private"):
            assert (await browser.get(path)).headers["cache-control"] == "no-store"
        own = await browser.get("/cached")
        assert own.headers["cache-control"] == "public, max-age=600"
        assert own.headers["vary"] == "Cookie"
        anonymous = w.browser()
        assert (await anonymous.get("/page")).headers["vary"] == "Cookie"
        assert "vary" not in (await anonymous.get("/plain")).headers


async def test_an_answer_object_that_is_sent_to_many_carries_nobodys_cookie() -> None:
    """Applications may keep one message and send it to everybody."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}

    def wrap(app: object) -> object:
        from sessile.asgi import SessileMiddleware

        async def constant(scope: dict[str, object], receive: object, send: object) -> None:
            if scope["path"] == "/login":
                issued = await w.authority.begin("alice", method="password")
                scope["sessile"].sign_in(issued)  # type: ignore[attr-defined]
            await send(start)  # type: ignore[operator]
            await send({"type": "http.response.body"})  # type: ignore[operator]

        return SessileMiddleware(constant, authority)  # type: ignore[arg-type]

    authority = Authority("memory:")
    async with world(wrap=wrap) as w:
        w.authority = authority
        browser = w.browser()
        assert set_cookies(await browser.post("/login"))
        assert not set_cookies(await w.browser().get("/"))
        await authority.close()


async def test_a_prefetch_is_no_activity() -> None:
    """Review 23: prefetches, event streams, background requests and named routes do not keep a session alive."""
    quiet = [
        ("/page", {"Sec-Purpose": "prefetch;prerender"}),
        ("/page", {"Accept": "text/event-stream"}),
        ("/page", {"Sessile-Activity": "none"}),
        ("/plain", {}),
    ]
    for path, headers in quiet:
        async with world(policy=Policy.aal2(rotate_after=None), no_activity=["/plain"]) as w:
            browser = await w.signed_in()
            for _ in range(4):
                w.clock.advance(15 * MINUTE - timedelta(seconds=1))
                assert (await browser.get(path, headers=headers)).status_code == 200
            w.clock.advance(timedelta(seconds=4))
            denied(await browser.get("/private"), 401, Reason.IDLE)


async def test_a_persons_act_keeps_the_session() -> None:
    async with world(policy=Policy.aal2(rotate_after=None)) as w:
        browser = await w.signed_in()
        for _ in range(6):
            w.clock.advance(30 * MINUTE)
            answer = await browser.get("/private")
            assert answer.status_code == 200
            while (await w.authority.session(answer.json()["id"])).last_seen < w.clock.now():  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # acts are written together, a quarter of a second late


async def test_two_requests_of_one_session_keep_both_their_data() -> None:
    async with world() as w:
        browser = await w.signed_in()
        await browser.get("/data", params={"first": "1"})
        await asyncio.gather(*(browser.get("/data", params={f"k{n}": str(n)}) for n in range(6)))
        assert (await browser.get("/data")).json() == {"first": "1", **{f"k{n}": str(n) for n in range(6)}}


async def test_data_without_a_session_begins_an_anonymous_one_which_signing_in_takes_over() -> None:
    """Review 28: anonymous sessions, ended into `browser` at sign-in."""
    async with world() as w:
        browser = w.browser()
        assert not set_cookies(await browser.get("/data"))
        answer = await browser.get("/data", params={"cart": "3"})
        assert len(set_cookies(answer)) == 1
        assert answer.headers["cache-control"] == "no-store"
        anonymous = token_of(browser)
        assert anonymous is not None
        denied(await browser.get("/private"), 401, Reason.MISSING)
        await browser.post("/login", params={"name": "alice"})
        assert (await browser.get("/data")).json() == {"cart": "3"}
        result = await w.authority.check(anonymous)
        assert not result


async def test_another_persons_data_does_not_move_along() -> None:
    async with world() as w:
        browser = await w.signed_in("alice")
        await browser.get("/data", params={"secret": "alice's"})
        await browser.post("/login", params={"name": "bob"})
        assert (await browser.get("/data")).json() == {}


async def test_data_does_not_outlive_a_logout() -> None:
    async with world() as w:
        browser = await w.signed_in()
        await browser.get("/data", params={"a": "1"})
        await browser.post("/logout")
        assert (await browser.get("/data")).json() == {}


async def test_data_of_a_stale_tab_begins_no_session_over_the_new_one() -> None:
    """Review 18e, by another way: an anonymous session's cookie would delete the new one as well."""
    async with world() as w:
        browser = await w.signed_in()
        stale = w.browser(Cookie=f"{COOKIE}={token_of(browser)}")
        await browser.post("/totp")
        answer = await stale.get("/data", params={"a": "1"})
        denied(answer, 401, Reason.SUPERSEDED)
        assert not set_cookies(answer)
        answer = await stale.post("/logout")
        denied(answer, 401, Reason.SUPERSEDED)
        assert not set_cookies(answer)
        assert (await browser.get("/private")).status_code == 200


async def test_bearer_and_cookie_never_count_in_each_others_place() -> None:
    async with world() as w:
        browser = await w.signed_in()
        mine = token_of(browser)
        assert mine is not None
        active = await w.authority.check(mine)
        assert active
        await w.authority.register("service:ci", owner="alice", scopes={"deploy"})
        key = (await w.authority.mint_key(active, owner="service:ci", scopes=set())).token
        nobody = w.browser()
        assert (await nobody.get("/private", headers={"Authorization": f"Bearer {key}"})).json()["principal"] == (
            "service:ci"
        )
        denied(await nobody.get("/private", headers={"Authorization": f"Bearer {mine}"}), 401, Reason.MISSING)
        denied(await nobody.get("/private", headers={"Cookie": f"{COOKIE}={key}"}), 401, Reason.MISSING)
        # Both: what was sent on purpose counts.
        both = await browser.get("/private", headers={"Authorization": f"bearer {key}"})
        assert both.json()["principal"] == "service:ci"
        # Another system's credentials are not ours.
        other = await browser.get("/private", headers={"Authorization": "Basic YWxpY2U6eA=="})
        assert other.json()["principal"] == "alice"
        answer = await nobody.get("/deploy", headers={"Authorization": f"Bearer {key}"})
        denied(answer, 403, Reason.OUT_OF_SCOPE)
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="deploy"' in challenge
        challenge = (await nobody.get("/sensitive", headers={"Authorization": f"Bearer {key}"})).headers[
            "www-authenticate"
        ]
        assert 'error="insufficient_user_authentication"' in challenge
        assert 'acr_values="aal2"' in challenge or 'max_age="' in challenge  # RFC 9470: what would do
        answer = await nobody.get("/data", params={"a": "1"}, headers={"Authorization": "Bearer sld_forged"})
        denied(answer, 400, Reason.MALFORMED)
        assert not set_cookies(answer)


async def test_an_authority_opens_at_the_first_request_and_closes_with_the_application() -> None:
    """Review 28: `add_middleware` runs at import, where nothing can be awaited."""
    authority = Authority("memory:")
    app = application(authority)
    assert not authority.is_open
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as browser:
        await browser.post("/login", params={"name": "alice"})
        assert authority.is_open
        assert (await browser.get("/private")).status_code == 200
    sent: asyncio.Queue[str] = asyncio.Queue()
    given: asyncio.Queue[str] = asyncio.Queue()
    await authority.close()

    async def receive() -> dict[str, str]:
        return {"type": await given.get()}

    async def send(message: object) -> None:
        await sent.put(message["type"])  # type: ignore[index]

    running = asyncio.create_task(app({"type": "lifespan", "state": {}, "asgi": {}}, receive, send))  # type: ignore[arg-type]
    await given.put("lifespan.startup")
    assert await sent.get() == "lifespan.startup.complete"
    assert authority.is_open
    await given.put("lifespan.shutdown")
    assert await sent.get() == "lifespan.shutdown.complete"
    assert not authority.is_open
    await running


async def test_no_token_shows_in_what_a_request_carries() -> None:
    """Error reports print local variables and the scope's values."""
    async with world() as w:
        browser = await w.signed_in()
        token = token_of(browser)
        assert token is not None
        seen: list[str] = []

        async def app(scope: dict[str, object], receive: object, send: object) -> None:
            found = scope["sessile"]
            seen.append(repr(found) + repr(vars(found)) + repr(scope["session"]))
            raise RuntimeError("broken")

        from sessile.asgi import SessileMiddleware

        broken = SessileMiddleware(app, w.authority)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(broken), base_url=ORIGIN) as other:
            for headers in ({"Cookie": f"{COOKIE}={token}"}, {"Authorization": f"Bearer sld_{token[4:]}"}):
                with pytest.raises(RuntimeError):
                    await other.get("/", headers=headers)
        secret = token[5:48]
        assert len(seen) == 2
        shown = (
            "".join(seen)
            .replace(repr(f"Bearer sld_{token[4:]}".encode()), "")
            .replace(repr(f"{COOKIE}={token}".encode()), "")
        )
        assert secret not in shown, "beyond the request's own headers"


async def test_a_setting_that_contradicts_the_store_stops_the_start(tmp_path: Path) -> None:
    """An operator's mistake shows when the application starts, not as a sign-in that never works."""
    url = f"sqlite:///{tmp_path / 'sessile.db'}"
    async with Authority(url, policy=Policy.aal2()):
        pass
    app = application(Authority(url, policy=Policy.aal3()))
    sent: list[dict[str, str]] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    with pytest.raises(Conflict, match="version"):
        await app({"type": "lifespan", "state": {}, "asgi": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
