"""A session that is bound: registered, refreshed, and of no use to whoever has copied its cookies."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any
from unittest import mock

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sessile.dbsc import DeviceBinding
from sessile.errors import StoreUnavailable
from sessile.kernel.event import Event, EventName
from sessile.kernel.policy import Mismatch
from tests.asgi.browser import MINUTE
from tests.dbsc.browser import (
    BOUND,
    CHALLENGE,
    KEY,
    REFRESH,
    REGISTER,
    TEN,
    Bindings,
    Bound,
    Device,
    bindings,
    challenge_of,
    encoded,
    refresh,
    register,
)

SESSION = "__Host-sessile"


def bound_cookies(answer: httpx.Response) -> list[str]:
    return [one for one in answer.headers.get_list("set-cookie") if one.startswith(BOUND)]


async def events(w: Bindings, name: EventName) -> list[Event]:
    return list(await w.authority.store.events(names=[name]))


# -- registration ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DBSC 5-a", "DBSC 9.6", "DBSC 9.7", "DBSC 9.9", "CHIPS-1")
async def test_a_registration_is_answered_with_the_instructions_and_the_bound_cookie() -> None:
    async with bindings() as w:
        browser, offer = await w.offered()
        device = Device()
        answer = await register(browser, device.registration(offer.challenge, offer.authorization))
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        said = answer.json()
        assert said.keys() == {
            "session_identifier", "refresh_url", "scope", "credentials", "allowed_refresh_initiators",
        }  # fmt: skip
        assert said["session_identifier"] == offer.authorization
        assert said["refresh_url"] == REFRESH
        assert said["scope"]["include_site"] is False
        [credential] = said["credentials"]
        [cookie] = bound_cookies(answer)
        # Byte for byte, but for what a credential has no word for.
        name, _, attributes = cookie.partition("=")[0], *cookie.partition("; ")[1:]
        assert credential == {"type": "cookie", "name": name, "attributes": attributes.removesuffix("; Max-Age=600")}
        assert "Partitioned" not in attributes
        assert challenge_of(answer)[1] == offer.authorization
        await w.settled(Bound(browser, device, answer))
        [event] = await events(w, EventName.SESSION_BOUND)
        assert event.details == {"device_key": device.thumbprint}
        assert (await browser.get("/private")).status_code == 200


async def test_requests_that_were_under_way_are_not_refused() -> None:
    async with bindings(settles=timedelta(seconds=0.4)) as w:
        browser, offer = await w.offered()
        device = Device()
        token_only = w.browser(Cookie=f"{SESSION}={browser.cookies[SESSION]}")
        answer = await register(browser, device.registration(offer.challenge, offer.authorization))
        assert (await token_only.get("/private")).status_code == 200
        await w.settled(Bound(browser, device, answer))
        assert (await token_only.get("/private")).status_code == 401


async def test_a_process_that_ended_before_it_bound_is_made_up_for_by_the_first_refresh() -> None:
    async with bindings(settles=timedelta(hours=1)) as w:
        browser, offer = await w.offered()
        device = Device()
        bound = Bound(
            browser, device, await register(browser, device.registration(offer.challenge, offer.authorization))
        )
        assert (await w.authority.session(bound.session)).client.device_key is None
        w.clock.advance(TEN)
        assert (await bound.refresh()).status_code == 200
        assert (await w.authority.session(bound.session)).client.device_key == device.thumbprint


ALTERED = {
    "typ": lambda d, c, a: d.registration(c, a, typ="JWT"),
    "no typ": lambda d, c, a: d.sign({"alg": "ES256", "jwk": d.jwk}, {"jti": c, "authorization": a}),
    "alg none": lambda d, c, a: (
        encoded(json.dumps({"typ": "dbsc+jwt", "alg": "none", "jwk": d.jwk}).encode())
        + "."
        + encoded(json.dumps({"jti": c, "authorization": a}).encode())
        + "."
    ),
    "alg HS256": lambda d, c, a: d.registration(c, a, alg="HS256"),
    "alg RS256": lambda d, c, a: d.registration(c, a, alg="RS256"),
    "jti": lambda d, c, a: d.registration(c[::-1], a),
    "no jti": lambda d, c, a: d.sign({"typ": "dbsc+jwt", "alg": "ES256", "jwk": d.jwk}, {"authorization": a}),
    "jti no text": lambda d, c, a: d.sign({"typ": "dbsc+jwt", "alg": "ES256", "jwk": d.jwk}, {"jti": [c]}),
    "authorization": lambda d, c, a: d.registration(c, a[::-1]),
    "no authorization": lambda d, c, a: d.registration(c, None),
    "no jwk": lambda d, c, a: d.proof(c),
    "another's jwk": lambda d, c, a: d.registration(c, a, jwk=Device().jwk),
    "a private jwk": lambda d, c, a: d.registration(c, a, jwk=d.jwk | {"d": "A" * 43}),
    "another curve": lambda d, c, a: Device(ec.SECP384R1()).registration(c, a),
    "no point": lambda d, c, a: d.registration(c, a, jwk=d.jwk | {"x": "A" * 43}),
    "an octet key": lambda d, c, a: d.registration(c, a, jwk={"kty": "oct", "k": "AAAA"}),
    "crit": lambda d, c, a: d.registration(c, a, crit=["b64"], b64=False),
    "payload": lambda d, c, a: d.sign({"typ": "dbsc+jwt", "alg": "ES256", "jwk": d.jwk}, [c]),
    "signature": lambda d, c, a: d.registration(c, a)[:-4] + "AAAA",
    "no JWT": lambda d, c, a: "abc",
    "nothing": lambda d, c, a: None,
    "too long": lambda d, c, a: d.registration(c, a, kid="k" * 4_000),
    "deep": lambda d, c, a: encoded(b"[" * 1_400) + ".e30.AAAA",
}


@pytest.mark.requirement("DBSC 9.10-a")
@pytest.mark.parametrize("altered", ALTERED)
async def test_a_proof_that_is_not_exactly_right_registers_nothing(altered: str) -> None:
    async with bindings() as w:
        browser, offer = await w.offered()
        device = Device()
        answer = await register(browser, ALTERED[altered](device, offer.challenge, offer.authorization))
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert not bound_cookies(answer)
        # Nothing is lost: the right one still counts, once.
        right = device.registration(offer.challenge, offer.authorization)
        assert (await register(browser, right)).status_code == 200
        assert (await register(browser, right)).status_code == 400


@pytest.mark.requirement("DBSC 9.3")
async def test_the_proof_is_a_string_and_its_parameters_are_ignored() -> None:
    """Chromium 156 sends it without quotes."""
    async with bindings() as w:
        for sent, status in (('"{}"', 200), ('"{}";id="x";y', 200), ("{}", 200), (":{}:", 400), ('"{}", "x"', 400)):
            browser, offer = await w.offered()
            proof = Device().registration(offer.challenge, offer.authorization)
            answer = await browser.post(REGISTER, headers={"Secure-Session-Response": sent.format(proof)})
            assert answer.status_code == status, sent


async def test_of_two_keys_at_once_one_is_registered() -> None:
    async with bindings() as w:
        for _ in range(20):
            browser, offer = await w.offered()
            proofs = [Device().registration(offer.challenge, offer.authorization) for _ in range(3)]
            answers = await asyncio.gather(*(register(browser, proof) for proof in proofs))
            assert sorted(one.status_code for one in answers) == [200, 400, 400]


async def test_a_registration_needs_the_session_that_was_offered() -> None:
    async with bindings() as w:
        _, offer = await w.offered("alice")
        mallory, _ = await w.offered("mallory")
        proof = Device().registration(offer.challenge, offer.authorization)
        assert (await register(mallory, proof)).status_code == 400
        assert (await register(w.browser(), proof)).status_code == 401


async def test_an_offer_is_not_for_long() -> None:
    async with bindings() as w:
        browser, offer = await w.offered()
        w.clock.advance(12 * MINUTE)
        assert (await register(browser, Device().registration(offer.challenge, offer.authorization))).status_code == 400


# -- what it is for -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 5.1-f")
async def test_a_copied_token_opens_nothing() -> None:
    async with bindings() as w:
        alice, mallory = await w.bound("alice"), await w.bound("mallory")
        thief = w.copied(alice, SESSION)
        answer = await thief.get("/private")
        assert answer.status_code == 401
        assert answer.json()["reason"] == "unbound"
        # Not with a cookie of the thief's own, either, or one that was altered.
        for value in (
            mallory.browser.cookies[BOUND],
            mallory.browser.cookies[BOUND].replace(mallory.session, alice.session),
            alice.browser.cookies[BOUND][:-1] + ("Q" if alice.browser.cookies[BOUND][-1] == "A" else "A"),
            alice.browser.cookies[BOUND].replace(".", ".1", 2),
            "x",
        ):
            thief.cookies.set(BOUND, value, domain="localhost.local", path="/")
            assert (await thief.get("/private")).status_code == 401
        assert (await alice.browser.get("/private")).status_code == 200
        assert (await mallory.browser.get("/private")).status_code == 200


async def test_a_bound_cookie_that_was_copied_too_is_worth_ten_minutes() -> None:
    async with bindings() as w:
        bound = await w.bound()
        thief = w.copied(bound, SESSION, BOUND)
        assert (await thief.get("/private")).status_code == 200
        w.clock.advance(TEN)
        assert (await thief.get("/private")).status_code == 401
        assert (await bound.browser.get("/private")).status_code == 401
        assert (await bound.refresh()).status_code == 200
        assert (await bound.browser.get("/private")).status_code == 200
        assert (await thief.get("/private")).status_code == 401


@pytest.mark.requirement("DBSC 2.1")
async def test_a_bound_session_has_no_more_assurance() -> None:
    async with bindings() as w:
        browser, _ = await w.offered()
        before = (await w.authority.session((await browser.get("/private")).json()["id"])).assurance
        bound = await w.bound()
        assert (await w.authority.session(bound.session)).assurance == before == 1
        assert (await bound.browser.get("/sensitive")).json()["reason"] == "assurance"


async def test_the_policy_says_what_becomes_of_a_request_without_the_key() -> None:
    for mismatch, status, alive in (
        (Mismatch.REFUSE, 401, True),
        (Mismatch.NOTE, 200, True),
        (Mismatch.STEP_UP, 401, True),
        (Mismatch.END, 401, False),
    ):
        async with bindings(mismatch=mismatch) as w:
            bound = await w.bound()
            assert (await w.copied(bound, SESSION).get("/private")).status_code == status
            [event] = await events(w, EventName.SESSION_MISMATCH)
            assert event.details["traits"] == ["device"]
            assert (await bound.browser.get("/private")).status_code == (200 if alive else 401)


async def test_a_cookie_signed_under_an_older_key_counts_as_long_as_that_is_kept() -> None:
    device = DeviceBinding([KEY], settles=timedelta(0))
    async with bindings(device=device) as w:
        bound = await w.bound()
        device.use([b"n" * 32, KEY])
        assert (await bound.browser.get("/private")).status_code == 200
        await bound.refresh()
        device.use([b"n" * 32])
        assert (await bound.browser.get("/private")).status_code == 200
        device.use([b"o" * 32])
        assert (await bound.browser.get("/private")).status_code == 401


# -- refresh --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DBSC 5-b", "DBSC 9.2", "DBSC 9.10-a")
async def test_only_the_right_proof_gets_a_new_cookie() -> None:
    async with bindings() as w:
        bound = await w.bound()
        for wrong, status in (
            (None, 403),
            (bound.device.proof("A" * 43), 403),
            (Device().proof(bound.challenge), 400),
            (bound.device.registration(bound.challenge, None), 400),
            (bound.device.proof(bound.challenge, typ="JWT"), 400),
            ("x", 400),
        ):
            answer = await refresh(bound.browser, bound.session, wrong)
            assert answer.status_code == status
            assert not bound_cookies(answer)
            assert (CHALLENGE in answer.headers) == (status == 403)
        answer = await bound.refresh()
        assert answer.status_code == 200
        assert len(bound_cookies(answer)) == 1
        assert answer.json()["session_identifier"] == bound.session


@pytest.mark.requirement("DBSC 9.2")
async def test_whoever_has_no_fresh_challenge_gets_one_and_comes_back() -> None:
    async with bindings() as w:
        bound = await w.bound()
        w.clock.advance(30 * MINUTE)
        answer = await bound.refresh()
        assert answer.status_code == 403
        assert challenge_of(answer) == (bound.challenge, bound.session)
        assert (await bound.refresh()).status_code == 200


@pytest.mark.requirement("DBSC 5-c", "ASVS V6.7.2")
async def test_a_proof_counts_once_and_not_for_long() -> None:
    async with bindings() as w:
        bound = await w.bound()
        captured = bound.device.proof(bound.challenge)
        assert (await refresh(bound.browser, bound.session, captured)).status_code == 200
        assert (await refresh(bound.browser, bound.session, captured)).status_code == 403
        w.clock.advance(5 * MINUTE)
        assert (await refresh(bound.browser, bound.session, captured)).status_code == 403


@pytest.mark.requirement("DBSC 5-c")
async def test_exactly_the_challenge_before_may_still_arrive_for_a_minute() -> None:
    async with bindings() as w:
        bound = await w.bound()
        first = bound.challenge
        # An old one is replaced when somebody asks without a proof; this browser has signed the first by then.
        w.clock.advance(7 * MINUTE)
        second, _ = challenge_of(await refresh(bound.browser, bound.session))
        assert second != first
        w.clock.advance(MINUTE - timedelta(seconds=1))
        assert (await refresh(bound.browser, bound.session, bound.device.proof(first))).status_code == 200
        assert (await refresh(bound.browser, bound.session, bound.device.proof(first))).status_code == 403
        # The one that was current meanwhile is the one before, now.
        assert (await refresh(bound.browser, bound.session, bound.device.proof(second))).status_code == 200

        other = await w.bound()
        w.clock.advance(7 * MINUTE)
        await refresh(other.browser, other.session)
        w.clock.advance(MINUTE)
        answer = await refresh(other.browser, other.session, other.device.proof(other.challenge))
        assert answer.status_code == 403


async def test_who_asks_without_a_proof_again_and_again_changes_nothing() -> None:
    async with bindings() as w:
        bound = await w.bound()
        asked = [challenge_of(await refresh(w.browser(), bound.session))[0] for _ in range(10)]
        assert set(asked) == {bound.challenge}


async def test_of_two_refreshes_with_one_proof_one_is_answered() -> None:
    async with bindings() as w:
        bound = await w.bound()
        for _ in range(20):
            proof = bound.device.proof(bound.challenge)
            answers = await asyncio.gather(*(refresh(bound.browser, bound.session, proof) for _ in range(3)))
            assert sorted(one.status_code for one in answers) == [200, 403, 403]
            # All have the same challenge to go on with.
            assert len({challenge_of(one)[0] for one in answers}) == 1
            bound.challenge, _ = challenge_of(answers[0])


async def test_a_refresh_is_no_act_of_the_person() -> None:
    async with bindings() as w:
        bound = await w.bound()
        for _ in range(6):
            w.clock.advance(TEN)
            answer = await bound.refresh()
        assert answer.json()["continue"] is False
        assert (await bound.browser.get("/private")).json()["reason"] == "idle"


@pytest.mark.requirement("DBSC 9.2", "DBSC 9.6")
async def test_a_session_that_is_over_is_said_to_be() -> None:
    async with bindings() as w:
        for end in ("logout", "revoke", "disable", "erased"):
            bound = await w.bound("bob")
            if end == "logout":
                answer = await bound.browser.post("/logout")
                assert answer.headers["clear-site-data"] == '"storage"'
                assert bound_cookies(answer) == [f"{BOUND}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"]
            elif end == "revoke":
                await w.authority.revoke(session=bound.session, cause="laptop stolen")
            elif end == "disable":
                await w.authority.disable("bob", cause="left")
                await w.authority.enable("bob")
            answer = await refresh(
                bound.browser, "ses_" + "0" * 27 if end == "erased" else bound.session,
                bound.device.proof(bound.challenge),
            )  # fmt: skip
            assert answer.status_code == 200
            assert answer.json()["continue"] is False
            assert answer.json().keys() == {"session_identifier", "continue"}
            assert not bound_cookies(answer)


@pytest.mark.requirement("DBSC 9.2")
async def test_a_store_that_is_away_ends_nothing_in_the_browser() -> None:
    """Any 4xx but 403 would."""
    async with bindings() as w:
        bound = await w.bound()
        browser, offer = await w.offered()
        away = mock.AsyncMock(side_effect=StoreUnavailable)
        for name in ("credential", "set_credential", "session"):
            with mock.patch.object(w.authority.store, name, away):
                answer = await refresh(bound.browser, bound.session, bound.device.proof(bound.challenge))
                assert answer.status_code == 503
                assert answer.headers["retry-after"]
        with mock.patch.object(w.authority.store, "credential", away):
            proof = Device().registration(offer.challenge, offer.authorization)
            assert (await register(browser, proof)).status_code == 503
            # And a sign-in is not lost for it.
            answer = await w.browser().post("/login", params={"name": "alice"})
            assert answer.status_code == 200
        assert (await bound.refresh()).status_code == 200


@pytest.mark.requirement("DBSC 5-d")
async def test_other_sites_learn_nothing() -> None:
    async with bindings() as w:
        bound = await w.bound()
        said = set()
        for browser, session in ((bound.browser, bound.session), (w.browser(), "ses_" + "0" * 27)):
            for path in (REFRESH, REGISTER):
                answer = await browser.post(
                    path,
                    headers={
                        "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example",
                        "Sec-Secure-Session-Id": f'"{session}"',
                    },
                )  # fmt: skip
                assert answer.status_code == 403
                assert CHALLENGE not in answer.headers
                said.add((answer.text, tuple(sorted(answer.headers.items()))))
        assert len(said) == 1
        answer = await bound.refresh()
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        # Without the header that only a refresh has, it is no refresh.
        assert (await bound.browser.post(REFRESH)).status_code == 400


@pytest.mark.requirement("DBSC 9.5")
async def test_a_skipped_refresh_is_an_event_and_the_policy_answers() -> None:
    for mismatch, status in ((Mismatch.REFUSE, 401), (Mismatch.NOTE, 200)):
        async with bindings(mismatch=mismatch) as w:
            bound = await w.bound()
            for why in ("unreachable", "server_error", "quota_exceeded", "unreachable", "whatever"):
                browser = w.copied(bound, SESSION)
                for session in (bound.session, "ses_" + "0" * 27):
                    header = {"Secure-Session-Skipped": f'{why};session_identifier="{session}"'}
                    assert (await browser.get("/private", headers=header)).status_code == status
            found = [event.details["why"] for event in await events(w, EventName.SESSION_UNREFRESHED)]
            assert found == ["unreachable", "server_error", "quota_exceeded"]


HEADERS = st.one_of(
    st.binary(max_size=64), st.binary(min_size=3_000, max_size=3_000), st.text().map(lambda text: text.encode()[:99])
)


@given(response=HEADERS, session=HEADERS, skipped=HEADERS, cookie=HEADERS)
async def test_bad_input_gets_a_clear_answer(response: bytes, session: bytes, skipped: bytes, cookie: bytes) -> None:
    async with bindings() as w:
        browser, _ = await w.offered()
        token = browser.cookies[SESSION].encode()
        headers = [
            (b"secure-session-response", b'"' + response + b'"'), (b"sec-secure-session-id", session),
            (b"secure-session-skipped", skipped),
            (b"cookie", SESSION.encode() + b"=" + token + b"; " + BOUND.encode() + b"=" + base64.b64encode(cookie)),
        ]  # fmt: skip
        for method, path in (("POST", REGISTER), ("POST", REFRESH), ("GET", "/private")):
            status = await raw(w.app, method, path, headers)
            assert status == (200 if method == "GET" else 400)


async def raw(app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """The status that a request gets which no client library would send."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "method": method, "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "scheme": "https", "server": ("localhost", 443),
        "client": ("192.0.2.1", 1), "http_version": "1.1", "headers": [(b"host", b"localhost"), *headers],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])
