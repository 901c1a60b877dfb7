from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessile.web.csrf import OriginHeaders, OriginRule, check_form_token, form_token

UNSAFE = ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "get", ""]
KEY = bytes(range(32))

site_values = st.none() | st.sampled_from(["same-origin", "same-site", "cross-site", "none"]) | st.text(max_size=12)
origin_values = (
    st.none()
    | st.sampled_from(["null", "https://app.example", "https://evil.example", "http://app.example:443"])
    | st.text(max_size=20)
)
host_values = st.none() | st.sampled_from(["app.example", "evil.example", "app.example:443"]) | st.text(max_size=12)
any_headers = st.builds(OriginHeaders, site_values, origin_values, host_values)


def sent(site: str | None = None, origin: str | None = None, host: str | None = "app.example") -> OriginHeaders:
    return OriginHeaders(site, origin, host)


@pytest.mark.requirement("FM-1")
@given(method=st.sampled_from(["GET", "HEAD", "OPTIONS"]), headers=any_headers, strict=st.booleans())
def test_safe_methods_pass(method: str, headers: OriginHeaders, strict: bool) -> None:
    assert OriginRule().judge(method, headers, strict=strict)


@pytest.mark.requirement("FM-2", "FM-7")
@pytest.mark.parametrize("method", UNSAFE)
def test_sec_fetch_site_decides(method: str) -> None:
    rule = OriginRule()
    for good in ("same-origin", "none"):
        assert rule.judge(method, sent(good))
        assert rule.judge(method, sent(good, origin="null"))
    for bad in ("same-site", "cross-site", "foo", "", "Same-Origin", "same-origin, same-origin", "same-origin;x"):
        assert not rule.judge(method, sent(bad)), bad
        # What the browser says is not outvoted by an Origin that looks like our own.
        assert not rule.judge(method, sent(bad, origin="https://app.example")), bad


@pytest.mark.requirement("FM-3", "CS-CSRF-1")
def test_silence_passes_unless_strict() -> None:
    """Review 23: a form that signs in is refused when the browser says nothing."""
    rule = OriginRule()
    assert rule.judge("POST", sent())
    verdict = rule.judge("POST", sent(), strict=True)
    assert not verdict
    assert "where it comes from" in verdict.reason
    assert rule.judge("POST", sent("same-origin"), strict=True)
    assert rule.judge("POST", sent(origin="https://app.example"), strict=True)
    assert not rule.judge("POST", sent(origin="https://evil.example"), strict=True)


@pytest.mark.requirement("FM-4", "CS-CSRF-1")
@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        ("https://app.example", "app.example", True),
        ("https://APP.example", "App.Example", True),
        ("https://app.example", "app.example:443", True),
        ("http://app.example", "app.example", True),
        ("http://app.example:8000", "app.example:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://[::1]:8000", "[0::1]:8000", True),
        ("http://app.example", "app.example:443", False),
        ("http://app.example:8001", "app.example:8000", False),
        ("https://app.example:8000", "app.example", False),
        ("https://app.example.evil.example", "app.example", False),
        ("https://evilapp.example", "app.example", False),
        ("https://sub.app.example", "app.example", False),
        ("https://app.example@evil.example", "app.example", False),
        ("https://app.example/", "app.example", False),
        ("https://app.example.", "app.example", False),
        ("https://app.example, https://app.example", "app.example", False),
        ("app.example", "app.example", False),
        ("null", "null", False),
        ("null", "app.example", False),
        ("", "", False),
        ("", "app.example", False),
        ("https://app.example", "", False),
        ("https://app.example", None, False),
        ("https://app.example", "app.example, app.example", False),
        ("http://[::2]:8000", "[::1]:8000", False),
    ],
)
def test_without_metadata_origin_must_be_the_host(origin: str, host: str | None, passes: bool) -> None:
    verdict = OriginRule().judge("POST", sent(origin=origin, host=host))
    assert verdict.allowed is bool(verdict) is passes
    assert passes == (verdict.reason == "")


@pytest.mark.requirement("FM-4")
def test_behind_a_proxy_the_public_origin_counts_and_not_the_host() -> None:
    rule = OriginRule(public=["https://console.example"])
    assert rule.judge("POST", sent(origin="https://console.example", host="backend:8000"))
    # Whoever can make the proxy send another Host gains nothing; and here the scheme is compared, too.
    assert not rule.judge("POST", sent(origin="https://evil.example", host="evil.example"))
    assert not rule.judge("POST", sent(origin="http://console.example", host="console.example"))
    forwarded = [
        (b"host", b"backend:8000"),
        (b"x-forwarded-host", b"evil.example"),
        (b"forwarded", b"host=evil.example"),
        (b"origin", b"https://evil.example"),
    ]
    assert not rule.judge("POST", OriginHeaders.of(forwarded))
    assert not OriginRule().judge("POST", OriginHeaders.of(forwarded))


@pytest.mark.requirement("FM-5")
def test_trusted_origins_are_whole_and_come_last() -> None:
    rule = OriginRule(trusted=["https://sso.example", "https://a.example:8443"])
    assert rule.judge("POST", sent("cross-site", origin="https://sso.example"))
    assert rule.judge("POST", sent("same-site", origin="https://a.example:8443"))
    assert rule.judge("POST", sent(origin="https://sso.example"))
    for other in (
        "http://sso.example",
        "https://sso.example:8443",
        "https://a.example",
        "https://sso.example.evil.example",
        "https://x.sso.example",
        "null",
    ):
        assert not rule.judge("POST", sent("cross-site", origin=other)), other
    assert not rule.judge("POST", sent("cross-site"))


@pytest.mark.requirement("FM-5")
@pytest.mark.parametrize("text", ["https://sso.example/", "https://sso.example/x?y", "sso.example", "*", "null"])
def test_a_wrong_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        OriginRule(trusted=[text])
    with pytest.raises(ValueError, match="is not an origin"):
        OriginRule(public=[text])


@pytest.mark.requirement("ASVS V4.4.2")
def test_a_websocket_handshake_names_our_origin() -> None:
    """Review 20: the handshake is a GET, and SameSite does not stop a sibling subdomain."""
    rule = OriginRule(trusted=["https://sso.example"])
    assert rule.judge("GET", sent(origin="https://app.example"), websocket=True)
    assert rule.judge("GET", sent("same-origin", origin="https://app.example"), websocket=True)
    assert rule.judge("GET", sent("cross-site", origin="https://sso.example"), websocket=True)
    for headers in (
        sent(),
        sent("same-origin"),
        sent(origin="https://sibling.app.example"),
        sent(origin="null"),
        sent("same-origin", origin="https://evil.example"),
        sent("same-site", origin="https://app.example"),
        sent("cross-site", origin="https://app.example"),
    ):
        verdict = rule.judge("GET", headers, websocket=True)
        assert not verdict
        assert verdict.reason


@pytest.mark.requirement("FM-2", "FM-4")
def test_repeated_headers_are_refused() -> None:
    rule = OriginRule()
    host = (b"host", b"app.example")
    site, origin = (b"sec-fetch-site", b"same-origin"), (b"origin", b"https://app.example")
    assert rule.judge("POST", OriginHeaders.of([host, site]))
    assert rule.judge("POST", OriginHeaders.of([host, origin]))
    assert rule.judge("POST", OriginHeaders.of([host, (b"sec-fetch-site", b" same-origin\t")]))
    assert not rule.judge("POST", OriginHeaders.of([host, site, site]))
    assert not rule.judge("POST", OriginHeaders.of([host, site, (b"sec-fetch-site", b"cross-site")]))
    assert not rule.judge("POST", OriginHeaders.of([host, origin, origin]))
    assert not rule.judge("POST", OriginHeaders.of([host, host, origin]))


@given(method=st.text(max_size=8), headers=any_headers, strict=st.booleans(), websocket=st.booleans())
@example(
    method="POST",
    headers=OriginHeaders("cross-site", "https://app.example", "app.example"),
    strict=False,
    websocket=False,
)
def test_nothing_cross_site_ever_passes_an_unsafe_method(
    method: str, headers: OriginHeaders, strict: bool, websocket: bool
) -> None:
    verdict = OriginRule().judge(method, headers, strict=strict, websocket=websocket)
    unsafe = websocket or method not in ("GET", "HEAD", "OPTIONS")
    if unsafe and (headers.sec_fetch_site not in (None, "same-origin", "none")):
        assert not verdict
    if unsafe and headers.sec_fetch_site is None and headers.origin is not None and verdict:
        assert headers.host is not None
        assert headers.origin.lower().split("://")[1].split(":")[0] == headers.host.lower().split(":")[0]
    assert bool(verdict) == (verdict.reason == "")


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"sec-fetch-site", b"x"]), st.binary()), max_size=6))
def test_arbitrary_bytes_never_raise(raw: list[tuple[bytes, bytes]]) -> None:
    OriginRule().judge("POST", OriginHeaders.of(raw), strict=True)
    OriginRule().judge("GET", OriginHeaders.of(raw), websocket=True)


@pytest.mark.requirement("63B-4 5.1-l", "CS-CSRF-3")
@given(st.text(max_size=40), st.text(max_size=40))
def test_a_form_token_fits_its_session_only(one: str, other: str) -> None:
    token = form_token(KEY, one)
    assert len(token) == 43
    assert check_form_token(KEY, one, token)
    assert check_form_token(KEY, other, token) == (one == other)
    assert not check_form_token(bytes(32), one, token)


@pytest.mark.requirement("63B-4 5.1-l")
@given(st.none() | st.text(max_size=60) | st.text(min_size=43, max_size=43))
@example("")
@example("é" * 43)
@example("\ud800" * 43)
def test_whatever_else_is_presented_is_refused(presented: str | None) -> None:
    assert not check_form_token(KEY, "ses_1", presented)


def test_the_form_token_is_stable_and_says_nothing() -> None:
    """Known answer, computed with OpenSSL: a change of it invalidates every open form."""
    assert form_token(KEY, "ses_1") == "aet7R6YdJMmhV_t6jcno7H3-awl3FCKBKqUqMip4xCM"


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        form_token(bytes(31), "ses_1")
    with pytest.raises(ValueError, match="at least 32"):
        check_form_token(b"", "ses_1", "x")
