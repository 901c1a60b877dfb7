from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.reason import Reason
from sessile.web.problem import DENIALS, Problem, bearer_challenge, cross_site, denied, misdirected, sentence

STATUS = dict.fromkeys(Reason, 401) | {
    Reason.MALFORMED: 400,
    Reason.OUT_OF_SCOPE: 403,
    Reason.UNAVAILABLE: 503,
    Reason.OVER_BUDGET: 429,
}


def headers(problem: Problem) -> dict[bytes, bytes]:
    raw = problem.response_headers()
    assert len({name for name, _ in raw}) == len(raw)
    return dict(raw)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("bearer", [False, True])
def test_every_reason_of_the_kernel_is_said(reason: Reason, bearer: bool) -> None:
    problem = denied(reason, reason.cure, bearer=bearer)
    document = json.loads(problem.body())
    assert document == {
        "type": f"urn:sessile:problem:{reason.value}",
        "title": problem.title,
        "status": STATUS[reason],
        "detail": sentence(reason),
        "reason": reason.value,
        "cure": reason.cure.value,
    }
    sent = headers(problem)
    assert sent[b"content-type"] == b"application/problem+json"
    assert sent[b"cache-control"] == b"no-store"
    assert (b"retry-after" in sent) == (problem.status in (429, 503))
    # RFC 9110 15.5.2: a 401 always carries a challenge.
    assert problem.status != 401 or sent[b"www-authenticate"].startswith(b"Bearer realm=")


def test_the_table_says_the_kernels_reasons_and_no_other() -> None:
    assert set(DENIALS) == {reason.value for reason in Reason}


def test_no_two_reasons_are_said_alike() -> None:
    assert len({denial.title for denial in DENIALS.values()}) == len(DENIALS)
    assert len({denial.detail for denial in DENIALS.values()}) == len(DENIALS)


@pytest.mark.parametrize("reason", DENIALS)
def test_sentences_are_sentences(reason: str) -> None:
    assert re.fullmatch(r"[A-Z][^_<>&\n]{10,140}\.", sentence(reason))


def test_a_denial_never_clears_the_cookie() -> None:
    """Review 18e: a clearing Set-Cookie would remove the newer cookie of another tab."""
    for reason in DENIALS:
        assert not any(
            name.lower() in (b"set-cookie", b"clear-site-data") for name, _ in denied(reason, "retry").headers
        )


def test_an_outage_is_not_a_logout() -> None:
    problem = denied("unavailable", "retry", bearer=True)
    assert problem.status == 503
    assert int(headers(problem)[b"retry-after"]) > 0
    assert b"www-authenticate" not in headers(problem)
    assert "still signed in" in problem.detail


def test_an_unheard_of_reason_is_denied() -> None:
    problem = denied("something new", "none")
    assert problem.status == 401
    assert problem.type == "about:blank"
    assert json.loads(problem.body())["reason"] == "something new"


@pytest.mark.parametrize(
    ("reason", "challenge"),
    [
        ("missing", b'Bearer realm="sessile"'),
        ("unknown", b'Bearer realm="sessile", error="invalid_token"'),
        ("revoked", b'Bearer realm="sessile", error="invalid_token"'),
        ("malformed", b'Bearer realm="sessile", error="invalid_request"'),
        (
            "assurance",
            b'Bearer realm="sessile", error="insufficient_user_authentication", acr_values="aal2 aal3", max_age="300"',
        ),
    ],
)
def test_bearer_clients_get_rfc_6750_and_9470(reason: str, challenge: bytes) -> None:
    acr_values, max_age = (["aal2", "aal3"], 300) if reason == "assurance" else ([], None)
    problem = denied(reason, "sign_in", bearer=True, acr_values=acr_values, max_age=max_age)
    assert headers(problem)[b"www-authenticate"] == challenge


def test_scopes_that_were_needed_are_named() -> None:
    problem = denied("out_of_scope", "none", bearer=True, scopes=["deploy", "keys:read"])
    assert headers(problem)[b"www-authenticate"] == (
        b'Bearer realm="sessile", error="insufficient_scope", scope="deploy keys:read"'
    )
    assert b"www-authenticate" not in headers(denied("out_of_scope", "none"))


@given(st.text(max_size=12))
def test_a_challenge_cannot_be_broken_out_of(text: str) -> None:
    if text and all(0x21 <= ord(c) <= 0x7E and c not in '"\\' for c in text):
        assert bearer_challenge(scopes=[text])[1] == f'Bearer realm="sessile", scope="{text}"'.encode()
    else:
        for arguments in ({"scopes": [text]}, {"acr_values": [text]}, {"error": text}):
            with pytest.raises(ValueError, match="printable ASCII"):
                bearer_challenge(**arguments)


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        bearer_challenge(max_age=-1)


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_every_problem_is_json(detail: str, reason: str | None, cure: str | None) -> None:
    document = json.loads(Problem(400, "Title", detail, reason=reason, cure=cure).body())
    assert document["type"] == "about:blank"
    assert ("reason" in document) == (reason is not None)
    assert ("cure" in document) == (cure is not None)


@pytest.mark.requirement("CS-CSRF-4")
def test_a_cross_site_refusal_varies_with_what_was_read() -> None:
    problem = cross_site("The request's origin is not this service's own.")
    assert problem.status == 403
    assert headers(problem)[b"vary"] == b"Sec-Fetch-Site, Origin"
    assert json.loads(problem.body())["detail"] == "The request's origin is not this service's own."


def test_a_foreign_host_is_misdirected() -> None:
    """Review 22: 421."""
    problem = misdirected()
    assert problem.status == 421
    assert json.loads(problem.body())["type"] == "urn:sessile:problem:misdirected"
