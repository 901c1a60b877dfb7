from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessile.web.client import (
    MAX_HOPS,
    MAX_USER_AGENT,
    UNKNOWN_CLIENT,
    TrustedPeers,
    clean_user_agent,
    device_label,
    read_client,
    read_scheme,
)

NOBODY = TrustedPeers()
PROXIES = TrustedPeers(["10.0.0.0/8", "::1", "2001:db8:ff::/48"])


def scope(peer: str | None, *headers: tuple[bytes, bytes], scheme: str = "http") -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": scheme,
        "client": None if peer is None else (peer, 4711),
        "headers": list(headers),
    }


def forwarded(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value) for value in values]


def ip(peer: str | None, trusted: TrustedPeers, *values: bytes) -> str | None:
    return read_client(scope(peer, *forwarded(*values)), trusted).ip


@pytest.mark.requirement("ASVS V4.1.3")
def test_nobody_is_believed_by_default() -> None:
    """Review 21: forwarding headers count only from configured peers."""
    assert ip("192.0.2.1", NOBODY, b"203.0.113.9") == "192.0.2.1"
    assert ip("127.0.0.1", NOBODY, b"203.0.113.9") == "127.0.0.1"
    assert ip("192.0.2.1", PROXIES, b"203.0.113.9") == "192.0.2.1"


@pytest.mark.requirement("ASVS V4.1.3")
@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([b"203.0.113.9"], "203.0.113.9"),
        # What the client itself wrote stands to the left of what the proxy saw, and is not looked at.
        ([b"198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ([b"10.0.0.1, 203.0.113.9"], "203.0.113.9"),
        ([b"198.51.100.1", b"203.0.113.9"], "203.0.113.9"),
        ([b"203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ([b"198.51.100.1,203.0.113.9 ,\t10.0.0.2"], "203.0.113.9"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"203.0.113.9:50000"], "203.0.113.9"),
        ([b"[2001:db8::9]:50000"], "2001:db8::9"),
        ([b"2001:DB8:0::9"], "2001:db8::9"),
        ([b"::ffff:203.0.113.9"], "203.0.113.9"),
        ([b"203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        # The chain breaks off: the last one that is vouched for.
        ([b"unknown"], "10.1.1.1"),
        ([b""], "10.1.1.1"),
        ([b"203.0.113.9,"], "10.1.1.1"),
        ([b"203.0.113.9, _hidden, 10.0.0.2"], "10.0.0.2"),
        ([b"203.0.113.9\x00"], "10.1.1.1"),
        ([b"0" * 5000], "10.1.1.1"),
        ([b"203.0.113.9 10.0.0.2"], "10.1.1.1"),
        ([b"010.0.0.1"], "10.1.1.1"),
    ],
)
def test_the_walk_goes_from_the_right_to_the_first_stranger(values: list[bytes], address: str) -> None:
    assert ip("10.1.1.1", PROXIES, *values) == address


def test_the_walk_is_bounded() -> None:
    endless = b", ".join([b"203.0.113.9", *[b"10.0.0.2"] * 5000])
    assert ip("10.1.1.1", PROXIES, endless) == "10.0.0.2"
    fits = b", ".join([b"203.0.113.9", *[b"10.0.0.2"] * (MAX_HOPS - 1)])
    assert ip("10.1.1.1", PROXIES, fits) == "203.0.113.9"
    assert ip("10.1.1.1", PROXIES, fits + b", 10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (None, None),
        ("testclient", None),
        ("", None),
        ("::1", "::1"),
        ("0:0::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_peer(peer: str | None, address: str | None) -> None:
    assert ip(peer, NOBODY) == address
    assert ip(peer, TrustedPeers(["10.0.0.0/8"]), b"203.0.113.9") == address


@given(
    peer=st.sampled_from(["10.1.1.1", "192.0.2.1", "::1", "x"]) | st.none(),
    raw=st.lists(
        st.tuples(st.sampled_from([b"x-forwarded-for", b"x-forwarded-proto", b"user-agent"]), st.binary(max_size=60)),
        max_size=6,
    ),
)
@example(peer="10.1.1.1", raw=[(b"x-forwarded-for", b"[")])
@example(peer="10.1.1.1", raw=[(b"x-forwarded-for", b"1.2.3.4%x")])
def test_arbitrary_bytes_never_raise(peer: str | None, raw: list[tuple[bytes, bytes]]) -> None:
    asked = scope(peer, *raw)
    traits = read_client(asked, PROXIES)
    assert not any(unicodedata.category(character) == "Cc" for character in traits.user_agent or "")
    assert read_scheme(asked, PROXIES) in ("http", "https")
    if peer == "192.0.2.1":
        assert traits.ip == peer
        assert read_scheme(asked, PROXIES) == "http"


@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=5), st.ip_addresses(v=4).map(str))
def test_a_client_cannot_choose_its_address(claims: list[str], real: str) -> None:
    proxy = TrustedPeers(["10.0.0.0/8"])
    if real.startswith("10."):
        return
    header = ", ".join([*claims, real]).encode()
    assert ip("10.1.1.1", proxy, header) == real


@pytest.mark.requirement("ASVS V4.1.3")
@pytest.mark.parametrize(
    ("peer", "scheme", "values", "read"),
    [
        ("192.0.2.1", "http", [], "http"),
        ("192.0.2.1", "https", [], "https"),
        ("192.0.2.1", "wss", [], "https"),
        ("192.0.2.1", "ws", [], "http"),
        ("192.0.2.1", "http", [b"https"], "http"),
        ("192.0.2.1", "https", [b"http"], "https"),
        ("10.1.1.1", "http", [b"https"], "https"),
        ("10.1.1.1", "http", [b"HTTPS "], "https"),
        ("10.1.1.1", "http", [b"wss"], "https"),
        ("10.1.1.1", "https", [b"http"], "http"),
        ("10.1.1.1", "https", [], "https"),
        ("10.1.1.1", "http", [b"https", b"https"], "http"),
        ("10.1.1.1", "http", [b"https, http"], "http"),
        ("10.1.1.1", "http", [b"gopher"], "http"),
    ],
)
def test_the_scheme(peer: str, scheme: str, values: list[bytes], read: str) -> None:
    headers = [(b"x-forwarded-proto", value) for value in values]
    assert read_scheme(scope(peer, *headers, scheme=scheme), PROXIES) == read


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "proxy.example", "10.0.0.1/8", "*"])
def test_a_wrong_network_is_refused_with_its_cure(text: str) -> None:
    with pytest.raises(ValueError, match="is not a network: write an address or a block"):
        TrustedPeers([text])


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"curl/8.5.0", "curl/8.5.0"),
        (b"", None),
        (b" \t", None),
        (b"\x00\x1f\x7f\x80\x9f", None),
        (b"a\x1b[31mb\r\nc", "a[31mbc"),
        (b"caf\xe9", "café"),
        (b"x" * 600, "x" * MAX_USER_AGENT),
    ],
)
def test_a_user_agent_is_bounded_and_clean(raw: bytes, kept: str | None) -> None:
    assert clean_user_agent(raw) == kept
    assert read_client(scope("::1", (b"user-agent", raw), (b"user-agent", b"second")), NOBODY).user_agent in (
        kept,
        "second" if kept is None else kept,
    )


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "label"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/146.0.0.0 Safari/537.36", "Chrome on Windows"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/146.0.0.0 Safari/537.36 Edg/146.0.0.0",
            "Edge on Windows",
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/146.0.0.0 Safari/537.36 OPR/130.0.0.0",
            "Opera on macOS",
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE} Version/26.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Version/26.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) {APPLE} CriOS/146.0.0.0 Mobile/15E148 Safari/604.1",
            "Chrome on iPad",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
            "Firefox on iPhone",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox on Android"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/146.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
            "Samsung Internet on Android",
        ),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/146.0.0.0 Safari/537.36", "Chrome on ChromeOS"),
        (
            f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/146.0.0.0 Safari/537.36",
            "Headless Chrome on Linux",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Whatever/1.0", "a browser on Linux"),
        ("curl/8.5.0", "curl"),
        ("python-httpx/0.28.1", "Python HTTPX"),
        ("Go-http-client/2.0", "Go"),
        ("Mozilla/5.0", UNKNOWN_CLIENT),
        ("Mine/1.0 Chrome/146 Windows", UNKNOWN_CLIENT),
        ("", UNKNOWN_CLIENT),
        (None, UNKNOWN_CLIENT),
    ],
)
def test_labels(user_agent: str | None, label: str) -> None:
    assert device_label(user_agent) == label


@given(
    st.text(max_size=80) | st.text(max_size=40).map("Mozilla/5.0 ".__add__) | st.text(max_size=40).map("curl/".__add__)
)
@example("Mozilla/5.0 (<script>) Chrome/1 Windows")
def test_a_label_shows_nothing_that_was_sent(user_agent: str) -> None:
    assert device_label(user_agent).replace(" ", "").replace(".", "").isalnum()
