from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessile.web.cookie import MAX_COOKIE_BYTES, MAX_HEADER_BYTES, CookieSpec, Malformed, read

NAME = b"__Host-sessile"
COOKIE_OCTETS = {chr(c) for c in range(0x21, 0x7F)} - set('",;\\')


def cookie(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), *((b"cookie", value) for value in values), (b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"__Host-sessile=abc", b"abc"),
        (b"a=1; __Host-sessile=abc; b=2", b"abc"),
        (b"a=1;__Host-sessile=abc", b"abc"),
        (b" \t__Host-sessile \t=\t abc \t; b=2", b"abc"),
        (b"__Host-sessile=a=b==", b"a=b=="),
        (b"__Host-sessile=", b""),
        (b'__Host-sessile="abc"', b'"abc"'),
        # The name as a value or as a part of another name is not the cookie.
        (b"x=__Host-sessile; __Host-sessile=abc", b"abc"),
        (b"__Host-sessile-bound=x; __Host-sessile=abc", b"abc"),
        (b"x__Host-sessile=x; __Host-sessile=abc", b"abc"),
        (b"__Host-sessile; __Host-sessile=abc", b"abc"),
    ],
)
def test_reads_the_exact_name(header: bytes, value: bytes) -> None:
    assert read(cookie(header), NAME) == value


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"a=1; b=2",
        b"x=__Host-sessile",
        b"__Host-sessile",
        b"__Host-sessile-bound=x",
        b"x__Host-sessile=x",
        b"a __Host-sessile=x",
        b"a=1, __Host-sessile=x",
        b"__Host-sessile; =x",
        b"a=b __Host-sessile=x",
    ],
)
def test_what_is_not_the_cookie_is_none(header: bytes) -> None:
    assert read(cookie(header), NAME) is None
    assert read([], NAME) is None


@pytest.mark.parametrize(
    "stray", [b"\x85", b"\xa0", b"\x1f", b"\x1c", b"\x0b", b"\x0c", b"\n", b"\r", b"\x00", b"\xc2\xa0"]
)
def test_only_space_and_tab_are_stripped(stray: bytes) -> None:
    """Review 19: a name that a sibling subdomain can set does not turn into the __Host- name."""
    evil = stray + b"__Host-sessile=evil"
    assert read(cookie(evil), NAME) is None
    assert read(cookie(b"__Host-sessile=good; " + evil), NAME) == b"good"
    assert read(cookie(evil + b"; __Host-sessile=good"), NAME) == b"good"
    assert read(cookie(b"__Host-sessile" + stray + b"=evil"), NAME) is None


@pytest.mark.requirement("6265bis 5.4")
@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([b"__Host-sessile=a; __Host-sessile=b"], Malformed.REPEATED),
        ([b"__Host-sessile=a; __Host-sessile=a"], Malformed.REPEATED),
        ([b"__Host-sessile=a; x=1;\t__Host-sessile =b"], Malformed.REPEATED),
        ([b"__host-sessile=a"], Malformed.OTHER_CASE),
        ([b"__Host-sessile=a; __host-sessile=b"], Malformed.OTHER_CASE),
        ([b"__HOST-SESSILE=b; __Host-sessile=a"], Malformed.OTHER_CASE),
    ],
)
def test_two_of_the_name_or_another_case_count_as_none(headers: list[bytes], why: Malformed) -> None:
    """Review 19: neither the first nor the last wins."""
    assert read(cookie(*headers), NAME) is why


@pytest.mark.requirement("LAYERED 4.2.1")
def test_several_cookie_headers_are_one() -> None:
    assert read(cookie(b"a=1", b"__Host-sessile=abc", b"b=2"), NAME) == b"abc"
    assert read(cookie(b"", b"__Host-sessile=abc"), NAME) == b"abc"
    assert read(cookie(b"__Host-sessile=a", b"__Host-sessile=b"), NAME) is Malformed.REPEATED
    # Two halves in two headers do not make a whole.
    assert read(cookie(b"__Host-", b"sessile=abc"), NAME) is None


def test_what_is_too_large_is_not_looked_at() -> None:
    fits = b"a=" + b"x" * (MAX_HEADER_BYTES - 25) + b"; __Host-sessile=abc"
    assert len(fits) <= MAX_HEADER_BYTES
    assert read(cookie(fits), NAME) == b"abc"
    assert read(cookie(fits, b"x" * 30), NAME) is Malformed.TOO_LARGE
    assert read(cookie(b"x" * 2**20), NAME) is Malformed.TOO_LARGE

    def endless() -> Iterable[tuple[bytes, bytes]]:
        while True:
            yield b"cookie", b"__Host-sessile=abc"

    assert read(endless(), NAME) is Malformed.TOO_LARGE


def straightforward(header: bytes, name: bytes) -> bytes | str | None:
    """The same rule, said in the plainest way."""
    found = []
    for pair in header.split(b";"):
        match = re.fullmatch(rb"[ \t]*([^=]*?)[ \t]*=[ \t]*(.*?)[ \t]*", pair, re.DOTALL)
        if match and match[1].lower() == name.lower():
            if match[1] != name:
                return "malformed"
            found.append(match[2])
    if len(found) > 1:
        return "malformed"
    return found[0] if found else None


HEADER = st.lists(
    st.sampled_from(
        [NAME, NAME.lower(), NAME.upper(), b"aa", b"a", b"=", b";", b"; ", b" ", b"\t", b"\x85", b"\x0b", b"x", b","]
    )
    | st.binary(max_size=4),
    max_size=12,
).map(b"".join)


@given(header=HEADER, name=st.sampled_from([NAME, b"aa", b"a", b"aXa"]))
@example(header=b"aaa=1; aa=2", name=b"aa")
@example(header=b"aa aa=2", name=b"aa")
def test_the_quick_way_and_the_plain_way_agree(header: bytes, name: bytes) -> None:
    answer = read(cookie(header), name)
    assert ("malformed" if isinstance(answer, Malformed) else answer) == straightforward(header, name)


@given(st.lists(st.tuples(st.sampled_from([b"cookie", b"Cookie", b"x"]), st.binary(max_size=64)), max_size=6))
def test_arbitrary_bytes_never_raise(headers: list[tuple[bytes, bytes]]) -> None:
    answer = read(headers, NAME)
    assert answer is None or isinstance(answer, bytes | Malformed)


@given(
    before=st.lists(st.from_regex(rb"[a-z]{1,8}=[a-z0-9]{0,8}", fullmatch=True), max_size=3),
    after=st.lists(st.from_regex(rb"[a-z]{1,8}=[a-z0-9]{0,8}", fullmatch=True), max_size=3),
    value=st.from_regex(rb"[A-Za-z0-9_-]{1,60}", fullmatch=True),
)
def test_what_is_written_is_read_back(before: list[bytes], after: list[bytes], value: bytes) -> None:
    name, written = CookieSpec().set_header(value.decode())
    assert name == b"set-cookie"
    pair = written.partition(b";")[0]
    assert read(cookie(b"; ".join([*before, pair, *after])), NAME) == value


@pytest.mark.requirement(
    "ASVS V3.3.1",
    "ASVS V3.3.2",
    "ASVS V3.3.3",
    "63B-4 5.1.1-a",
    "63B-4 5.1.1-b",
    "63B-4 5.1.1-c",
    "63B-4 5.1.1-e",
    "63B-4 5.1.1-f",
    "63B-4 5.1-d",
    "6265bis 5.6.7.2",
)
def test_the_default_cookie() -> None:
    spec = CookieSpec()
    assert spec.set_header("abc") == (
        b"set-cookie",
        b"__Host-sessile=abc; Path=/; Secure; HttpOnly; SameSite=Lax",
    )
    assert spec.deviations == ()


def test_clearing_uses_the_same_attributes() -> None:
    """A browser only removes a cookie when prefix rules, path and domain fit."""
    assert CookieSpec().clear_header() == (
        b"set-cookie",
        b"__Host-sessile=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
    )
    shared = CookieSpec(name="__Secure-s", domain="example.com", path="/app", same_site="Strict")
    assert shared.clear_header()[1] == (
        b"__Secure-s=; Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
    )


@pytest.mark.requirement("6265bis 4.1.3.2", "LAYERED 4.1.3.4")
@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"secure": False}, "use a name without prefix"),
        ({"domain": "example.com"}, "leave it out"),
        ({"path": "/app"}, 'needs path="/"'),
        ({"name": "__Secure-s", "secure": False}, "use a name without prefix"),
        ({"name": "__Http-s", "secure": False}, "use a name without prefix"),
        ({"name": "__Host-Http-s", "secure": False}, "use a name without prefix"),
        ({"name": "__Host-Http-s", "domain": "example.com"}, "leave it out"),
        ({"name": "__Host-Http-s", "path": "/app"}, 'needs path="/"'),
        ({"name": "__HostHttp-s"}, "use __Host-Http-"),
        ({"name": "__host-s"}, "as __Host-"),
        ({"name": "__SECURE-s"}, "as __Secure-"),
        ({"name": "__Host-http-s"}, "as __Host-Http-"),
        ({"name": "__Host-"}, "after its prefix"),
        ({"name": ""}, "letters, digits"),
        ({"name": "a b"}, "letters, digits"),
        ({"name": "a;b"}, "letters, digits"),
        ({"name": "a=b"}, "letters, digits"),
        ({"name": "ä"}, "letters, digits"),
        ({"name": "a\n"}, "letters, digits"),
        ({"name": "a" * 1025}, "at most 1024"),
        ({"same_site": "None"}, '"Lax" or "Strict"'),
        ({"same_site": ""}, '"Lax" or "Strict"'),
        ({"same_site": "lax"}, '"Lax" or "Strict"'),
        ({"name": "s", "path": "app"}, 'start with "/"'),
        ({"name": "s", "path": "/a;Domain=evil"}, 'start with "/"'),
        ({"name": "s", "path": "/a\r\nX: y"}, 'start with "/"'),
        ({"name": "s", "path": "/" * 1025}, "1024"),
        ({"name": "s", "domain": ".example.com"}, "host name"),
        ({"name": "s", "domain": "com"}, "host name"),
        ({"name": "s", "domain": "10.0.0.1"}, "host name"),
        ({"name": "s", "domain": "example.com; Path=/x"}, "host name"),
    ],
)
def test_unsafe_combinations_are_refused_with_a_cure(settings: dict[str, object], cure: str) -> None:
    with pytest.raises(ValueError, match=re.escape(cure)):
        CookieSpec(**settings)  # type: ignore[arg-type]


@pytest.mark.requirement("ASVS V3.3.3", "63B-4 5.1.1-b")
def test_deviations_are_named() -> None:
    (shared,) = CookieSpec(name="__Secure-s", domain="example.com").deviations
    assert "example.com" in shared
    (plain,) = CookieSpec(name="s", secure=False).deviations
    assert "plain http" in plain
    (unprefixed,) = CookieSpec(name="s").deviations
    assert "__Host-" in unprefixed
    (narrow,) = CookieSpec(name="__Secure-s", path="/app").deviations
    assert "path" in narrow


@pytest.mark.parametrize("name", ["__Http-s", "__Host-Http-s", "__Secure-s", "__Host-s", "s"])
@pytest.mark.requirement("LAYERED 4.1.3.4")
def test_every_cookie_is_http_only(name: str) -> None:
    assert b"; HttpOnly" in CookieSpec(name=name).set_header("abc")[1]


@pytest.mark.requirement("ASVS V3.3.5", "6265bis 5.6")
def test_name_and_value_fit_in_4096_bytes() -> None:
    spec = CookieSpec()
    room = MAX_COOKIE_BYTES - len(NAME)
    assert spec.set_header("x" * room)[1].startswith(NAME + b"=xxx")
    with pytest.raises(ValueError, match="at most 4096"):
        spec.set_header("x" * (room + 1))


@given(st.text(max_size=40))
@example("abc\r\nSet-Cookie: evil=1")
@example("abc\n")
@example("a;b")
@example("")
@example('"abc"')
def test_a_value_is_cookie_octets_or_refused_unseen(value: str) -> None:
    if value != "" and all(c in COOKIE_OCTETS for c in value):
        _, written = CookieSpec().set_header(value)
        assert written == b"__Host-sessile=" + value.encode() + b"; Path=/; Secure; HttpOnly; SameSite=Lax"
    else:
        with pytest.raises(ValueError, match=r"^a cookie's value must be one or more cookie-octets \(RFC \S+ \S+\)$"):
            CookieSpec().set_header(value)
