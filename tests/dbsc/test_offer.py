"""Who is asked to bind a session, and how it is said (DBSC 9.1, 5-a)."""

from __future__ import annotations

import httpx
import pytest

from sessile import Policy
from sessile.dbsc import DeviceBinding
from sessile.dbsc.record import new_challenge
from sessile.kernel.policy import Mismatch
from tests.asgi.browser import MINUTE, set_cookies
from tests.dbsc.browser import KEY, OFFER, Device, Offer, bindings, register


@pytest.mark.requirement("DBSC 9.1", "DBSC 5-a")
async def test_the_answer_to_a_sign_in_asks_for_a_key() -> None:
    async with bindings() as w:
        browser, offer = await w.offered()
        assert offer.algorithms == ["ES256"]
        assert offer.path == "/dbsc/register"
        assert offer.authorization == (await browser.get("/private")).json()["id"]
        _, other = await w.offered()
        assert other.challenge != offer.challenge


@pytest.mark.requirement("ASVS V6.7.2")
async def test_challenges_are_long_and_never_the_same() -> None:
    async with bindings() as w:
        found = [(await w.offered())[1].challenge for _ in range(100)] + [new_challenge() for _ in range(10_000)]
        assert len(set(found)) == len(found)
        assert min(map(len, found)) >= 22  # base64url of 16 bytes


async def test_nobody_is_asked_whose_policy_does_not_say_so() -> None:
    async with bindings(policy=Policy.aal2()) as w:
        assert OFFER not in (await w.browser().post("/login", params={"name": "alice"})).headers


async def test_nobody_is_asked_over_plain_http() -> None:
    """A browser binds only what came by https."""
    async with bindings() as w:
        transport = httpx.ASGITransport(w.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
            answer = await browser.post("/login", params={"name": "alice"})
            assert answer.status_code == 200
            assert OFFER not in answer.headers


async def test_a_public_origin_says_that_it_is_https_behind_a_proxy() -> None:
    async with bindings(origins=["https://console.example.com"]) as w:
        transport = httpx.ASGITransport(w.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://console.example.com") as browser:
            answer = await browser.post("/login", params={"name": "alice"})
            offer, device = Offer(answer), Device()
            browser.headers["Cookie"] = set_cookies(answer)[0].partition(";")[0]
            said = (await register(browser, device.registration(offer.challenge, offer.authorization))).json()
            assert said["scope"]["origin"] == "https://console.example.com"


async def test_nothing_is_asked_for_before_there_is_a_key_to_sign_with() -> None:
    device = DeviceBinding()
    async with bindings(device=device) as w:
        assert OFFER not in (await w.browser().post("/login", params={"name": "alice"})).headers
        device.use([KEY])
        assert OFFER in (await w.browser().post("/login", params={"name": "alice"})).headers


def test_keys_are_long_enough() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        DeviceBinding([b"short"])


async def test_a_session_of_nobody_is_not_bound() -> None:
    async with bindings() as w:
        answer = await w.browser().get("/data", params={"cart": "1"})
        assert set_cookies(answer)
        assert OFFER not in answer.headers


async def test_a_successor_by_age_comes_of_no_proof_and_asks_for_nothing() -> None:
    async with bindings() as w:
        browser, _ = await w.offered()
        w.clock.advance(15 * MINUTE)
        answer = await browser.get("/private")
        assert set_cookies(answer)
        assert OFFER not in answer.headers


async def test_a_step_up_asks_again_until_there_is_a_key() -> None:
    async with bindings() as w:
        browser, first = await w.offered()
        second = Offer(await browser.post("/totp"))
        assert second.challenge != first.challenge
        device = Device()
        # The offer before is over.
        assert (await register(browser, device.registration(first.challenge, first.authorization))).status_code == 400
        assert (await register(browser, device.registration(second.challenge, second.authorization))).status_code == 200
        assert OFFER not in (await browser.post("/totp")).headers


async def test_whoever_steps_up_elsewhere_is_bound_to_that_place() -> None:
    """With `step_up` the session follows the proof; the key from before is over, and says so."""
    async with bindings(mismatch=Mismatch.STEP_UP) as w:
        bound = await w.bound()
        elsewhere = w.copied(bound, "__Host-sessile")
        assert (await elsewhere.get("/private")).status_code == 401
        w.clock.advance(2 * MINUTE)
        offer, device = Offer(await elsewhere.post("/totp")), Device()
        assert (await bound.refresh()).json()["continue"] is False
        answer = await register(elsewhere, device.registration(offer.challenge, offer.authorization))
        assert answer.status_code == 200
        assert (await elsewhere.get("/private")).status_code == 200


async def test_what_is_kept_of_sessions_that_are_over_goes_with_the_next_sign_in() -> None:
    async with bindings() as w:
        for _ in range(3):
            bound = await w.bound()
            await bound.browser.post("/logout")
        last, _ = await w.offered()
        uid = (await w.authority.principal("alice")).uid
        kept = [one.id for one in await w.authority.store.credentials(uid) if one.kind == "dbsc"]
        assert kept == [(await last.get("/private")).json()["id"]]
