from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.async_api import Page

from sessile.web.return_to import MAX_LENGTH, safe_path

HOME = "https://app.example"
# What a browser under this address makes of a link: where it leads, and to which path.
IN_BROWSER = """([values, base]) => values.map(value => {
    try { const url = new URL(value, base); return [url.origin, url.pathname]; } catch { return null; }
})"""

PIECES = [
    "/", "//", "\\", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "%5C", "%252f", "%25252e", "%09", "%0a", "%00", "%7f",
    "\t", "\n", "\r", "\x00", "\x0b", " ", "\x7f", "\x85", "\xa0", "\u2028", "\uff0f", "\u3002", "?", "#", "@", ":",
    ";", "%", "%2", "%zz", "http:", "https:", "javascript:", "evil.example", "app.example", "account", "a", "b=c", "&",
    "[", "]", "|", "^", "'", '"', "<", "{", "\ud800", "é",
]  # fmt: skip
NASTY = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
PLAUSIBLE = st.lists(
    st.sampled_from(["/account", "/a", "/", "?", "%20", "%2F", "%C3%A9", "x=1", "&", ".", "..", ":", "@", "%25"]),
    max_size=8,
).map(lambda pieces: "/" + "".join(pieces).lstrip("/"))
ANY = NASTY | NASTY.map("/".__add__) | PLAUSIBLE | st.text(max_size=20)

GOOD = [
    "/",
    "/account",
    "/account/",
    "/console/principals/service:ci",
    "/console/principals/service%3Aci",
    "/a/b%2Fc",
    "/search?q=a%20b&next=https://elsewhere.example//x?y=%0a",
    "/a?",
    "/caf%C3%A9/~me/a.b/...",
    "/-._~!$&'()*+,;=:@",
]
# Each of these leads a browser away from here, or makes it do something else than open a page.
AWAY = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x01//evil.example",
    "/\t\\evil.example",
    "https://evil.example",
    "https:\\\\evil.example",
    "http:evil.example",
    "HtTp:evil.example:1",
    "javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
]
# These stay here for a browser, but another reader may see another place.
AMBIGUOUS = [
    "",
    "account",
    "https:evil.example",
    "?next=/",
    "#top",
    "/account#top",
    "@evil.example",
    ".evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/a//b",
    "/a/../b",
    "/a/.",
    "/..",
    "/%2e%2e/b",
    "/%2E/b",
    "/%2f/evil.example",
    "/%2Fevil.example",
    "/%5cevil.example",
    "/%5C%5Cevil.example",
    "/%09/evil.example",
    "/a%0d%0aLocation:%20https://evil.example",
    "/a%00b",
    "/%252fevil.example",
    "/%25252fevil.example",
    "/%255c",
    "/%2525252525252525252f",
    "/a b",
    "/a\x7f",
    "/a\x85",
    "/é",
    "/\u2028",
    "/a%",
    "/a%2",
    "/a%zz",
    "/a\ud800",
    "/a?b\\c",
    "/a?b c",
    "/a?b\r\nX: y",
    "/a\n",
    "/<script>",
    '/"',
]


@pytest.mark.parametrize("value", GOOD)
def test_paths_of_this_service_are_kept_as_they_are(value: str) -> None:
    assert safe_path(value) == value


@pytest.mark.requirement("ASVS V3.7.2", "RFC9700 2.1-a")
@pytest.mark.parametrize("value", AWAY + AMBIGUOUS)
def test_everything_else_is_none(value: str) -> None:
    """Review 23: path only, one slash, no backslash, no control characters."""
    assert safe_path(value) is None


def test_length_is_bounded() -> None:
    assert safe_path("/" + "a" * (MAX_LENGTH - 1)) is not None
    assert safe_path("/" + "a" * MAX_LENGTH) is None
    assert safe_path("/" + "%25" * 600) is not None
    assert safe_path("/%" + "25" * 1000) is None
    assert safe_path(None) is None


@given(ANY)
@example("/%2525252f")
def test_never_raises_and_never_repairs(value: str) -> None:
    assert safe_path(value) in (value, None)


async def test_the_browser_is_led_away_by_what_is_refused(page: Page) -> None:
    """Review 23: shows that the next test asks somebody who can say yes."""
    for value, read in zip(AWAY, await page.evaluate(IN_BROWSER, [AWAY, HOME + "/login"]), strict=True):
        assert read is None or read[0] != HOME, value


@pytest.mark.requirement("ASVS V3.7.2", "RFC9700 2.1-a")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(ANY, min_size=20, max_size=60))
@example(values=GOOD + AWAY + AMBIGUOUS)
async def test_a_browser_opens_exactly_the_path(page: Page, values: list[str]) -> None:
    """Review 23: what is let through leads Chromium to this service and this path, seen from any page of it."""
    kept = [value for value in values if safe_path(value) is not None]
    for base in (HOME + "/login", HOME + "/a/b/c?d#e"):
        for value, read in zip(kept, await page.evaluate(IN_BROWSER, [kept, base]), strict=True):
            assert read == [HOME, value.partition("?")[0]], value
