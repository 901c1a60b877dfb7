from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessile.web.hosts import AllowedHosts, Host, Origin, configured_origin, parse_host, parse_origin


def host(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((b"host", value) for value in values)]


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        (b"localhost", Host("localhost", None)),
        (b"LocalHost:8000", Host("localhost", 8000)),
        (b"127.0.0.1:1", Host("127.0.0.1", 1)),
        (b"[::1]", Host("[::1]", None)),
        (b"[0:0:0:0:0:0:0:1]:65535", Host("[::1]", 65535)),
        (b"[2001:DB8::A]:443", Host("[2001:db8::a]", 443)),
        (b"a-b.xn--bcher-kva.example_x", Host("a-b.xn--bcher-kva.example_x", None)),
    ],
)
def test_hosts_that_are_read(raw: bytes, parsed: Host) -> None:
    assert parse_host(raw) == parsed


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b":80",
        b"localhost:",
        b"localhost:0",
        b"localhost:65536",
        b"localhost:000080",
        b"localhost:+80",
        b"localhost:8 0",
        b"localhost\n",
        b" localhost",
        b"localhost.",
        b".localhost",
        b"a..b",
        b"-a.b",
        b"localhost/",
        b"localhost#",
        b"user@localhost",
        b"localhost, evil.example",
        b"%6cocalhost",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[::1%25eth0]",
        b"[v1.a]",
        b"[localhost]",
        b"[:::]",
        b"l\xf6calhost",
        b"localhost\x00",
        b"a" * 64 + b".example",
        b"a." * 200 + b"a",
        "localhost:\u0661".encode(),
    ],
)
def test_hosts_that_are_not(raw: bytes) -> None:
    assert parse_host(raw) is None


@given(st.binary(max_size=40) | st.from_regex(rb"[\[a-z0-9.:\]-]{0,30}"))
@example("\u017flocalhost".encode("latin-1", "replace"))
def test_arbitrary_bytes_never_raise_and_have_one_reading(raw: bytes) -> None:
    parsed = parse_host(raw)
    if parsed is not None:
        again = parsed.name if parsed.port is None else f"{parsed.name}:{parsed.port}"
        assert parse_host(again) == parsed
        assert parsed.name == parsed.name.lower()


@given(st.text(max_size=40))
@example("\u212aubernetes")
@example("local\u017fost:\u0661")
def test_only_ascii_is_a_host(text: str) -> None:
    parsed = parse_host(text)
    assert parsed is None or text.isascii()


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://console.example", Origin("https", "console.example", 443)),
        ("HTTPS://Console.Example:443", Origin("https", "console.example", 443)),
        ("http://localhost:8000", Origin("http", "localhost", 8000)),
        ("http://[::1]", Origin("http", "[::1]", 80)),
    ],
)
def test_origins(text: str, origin: Origin) -> None:
    assert parse_origin(text) == configured_origin(text) == origin
    assert parse_origin(str(origin)) == origin


@pytest.mark.requirement("FM-5")
@pytest.mark.parametrize(
    "text",
    [
        "null",
        "",
        "console.example",
        "//console.example",
        "https:console.example",
        "https://",
        "https://console.example/",
        "https://console.example/path",
        "https://console.example?q",
        "https://*.example",
        "https://user@console.example",
        "https://a.example, https://b.example",
        "ftp://console.example",
        "javascript://console.example",
        "https://bücher.example",
        "http\u017f://console.example",
    ],
)
def test_what_is_no_origin_is_refused_at_start(text: str) -> None:
    assert parse_origin(text) is None
    with pytest.raises(ValueError, match="is not an origin: write scheme, host"):
        configured_origin(text)


@given(st.text(max_size=60))
def test_arbitrary_text_is_no_origin_or_has_one_reading(text: str) -> None:
    origin = parse_origin(text)
    assert origin is None or parse_origin(str(origin)) == origin


def test_by_default_only_this_machine() -> None:
    """Review 22: DNS rebinding brings a foreign name."""
    allowed = AllowedHosts()
    for good in (b"localhost", b"LOCALHOST:8000", b"127.0.0.1:8000", b"[::1]:8000", b"[0:0:0:0:0:0:0:1]"):
        assert allowed.allows(host(good)), good
    for bad in (
        b"rebound.evil.example",
        b"rebound.evil.example:8000",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"127.0.0.2",
        b"0.0.0.0",
        b"127.1",
        b"[::]",
        b"[::ffff:127.0.0.1]",
        b"localhost.",
        b"",
    ):
        assert not allowed.allows(host(bad)), bad


def test_no_host_or_two_are_refused() -> None:
    """Review 22."""
    allowed = AllowedHosts()
    assert not allowed.allows(host())
    assert not allowed.allows(host(b"localhost", b"localhost"))
    assert not allowed.allows(host(b"localhost", b"evil.example"))
    assert allowed.allows(host(b"localhost"))
    assert not allowed.allows(host(b"localhost", b"localhost")), "also after the name was seen"


def test_hosts_come_from_the_public_origins() -> None:
    allowed = AllowedHosts((), origins=["https://console.example:8443"])
    assert allowed.allows(host(b"console.example:8443"))
    assert allowed.allows(host(b"Console.Example"))
    assert not allowed.allows(host(b"localhost"))
    assert not allowed.allows(host(b"example"))


def test_an_entry_with_a_port_is_that_port_only() -> None:
    allowed = AllowedHosts(["a.example:8000", "b.example"])
    assert allowed.allows(host(b"a.example:8000"))
    assert not allowed.allows(host(b"a.example"))
    assert not allowed.allows(host(b"a.example:8001"))
    assert allowed.allows(host(b"b.example"))
    assert allowed.allows(host(b"b.example:1"))


@pytest.mark.parametrize("entry", ["", "*", "*.example", "https://a.example", "a.example/", "::1"])
def test_a_wrong_entry_is_refused_with_its_cure(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host: write a name such as"):
        AllowedHosts([entry])


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one host"):
        AllowedHosts(())


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"localhost", b"evil.example"]), max_size=20))
def test_what_was_seen_never_changes_an_answer(values: list[bytes]) -> None:
    used = AllowedHosts()
    for value in values:
        assert used.allows(host(value)) == AllowedHosts().allows(host(value))


def test_many_spellings_of_an_allowed_host_are_all_answered() -> None:
    allowed = AllowedHosts()
    for port in range(1, 500):
        assert allowed.allows(host(b"localhost:%d" % port))
    assert not allowed.allows(host(b"evil.example"))
