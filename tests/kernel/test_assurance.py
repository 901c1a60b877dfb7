"""Which methods make which assurance (NIST SP 800-63B-4, section 2)."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.assurance import Authentication, Method, assurance
from sessile.kernel.issue import elevate
from sessile.kernel.policy import Policy
from tests.kernel.tree import MINUTE, START, Tree

KNOWN, HAD = {"password"}, {"totp", "recovery_code", "security_key"}

subsets = list(chain.from_iterable(combinations(Method, size) for size in range(len(Method) + 1)))


def events(*methods: Method) -> list[Authentication]:
    return [Authentication(method, START) for method in methods]


@pytest.mark.requirement("63B-4 5.1-h")
@pytest.mark.parametrize("methods", subsets, ids=lambda methods: "+".join(methods) or "nobody")
def test_every_combination(methods: tuple[Method, ...]) -> None:
    """All 128, against the rule in other words."""
    names = {method.value for method in methods}
    phishing_resistant_hardware = "hardware_key" in names or {"security_key", "password"} <= names
    two_factors = "passkey" in names or ("password" in names and bool(names & HAD))
    expected = 3 if phishing_resistant_hardware else 2 if two_factors else 1 if names else 0
    assert assurance(events(*methods)) == expected


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("password", 1), ("totp", 1), ("recovery_code", 1), ("security_key", 1), ("federated", 1),
        ("password totp", 2), ("password recovery_code", 2), ("passkey", 2),
        ("password federated", 1), ("totp recovery_code", 1), ("totp security_key", 1),
        ("password security_key", 3), ("hardware_key", 3), ("passkey password", 2),
    ],
)  # fmt: skip
def test_what_people_do(methods: str, expected: int) -> None:
    assert assurance(events(*[Method(name) for name in methods.split()])) == expected


@pytest.mark.requirement("63B-4 3.2.5-a")
@pytest.mark.parametrize("methods", subsets, ids=lambda methods: "+".join(methods) or "nobody")
def test_what_is_typed_never_makes_what_resists_phishing(methods: tuple[Method, ...]) -> None:
    """Assurance 3 is what demands it, and takes a key that signs for its own site only (WebAuthn)."""
    typed = {Method.PASSWORD, Method.TOTP, Method.RECOVERY_CODE, Method.FEDERATED}
    if set(methods) <= typed:
        assert assurance(events(*methods)) < 3


@given(st.lists(st.sampled_from(Method)), st.sampled_from(Method))
def test_one_more_event_never_lowers_and_the_same_again_never_raises(methods: list[Method], more: Method) -> None:
    before = assurance(events(*methods))
    after = assurance(events(*methods, more))
    assert after >= before
    if more in methods:
        assert after == before
    assert assurance(events(*reversed(methods))) == before


@pytest.mark.requirement("63B-4 5.1-h")
@given(st.lists(st.sampled_from(Method), min_size=1, max_size=6))
def test_a_session_has_the_assurance_of_its_events(methods: list[Method]) -> None:
    """By sign-in and step-ups alike; nothing sets it."""
    tree = Tree()
    session = tree.sessions[tree.sign_in(methods=(methods[0],))]
    for number, method in enumerate(methods[1:], 1):
        session = elevate(session, method, policy=Policy.aal1(), now=START + number * MINUTE)
    assert session.assurance == assurance(events(*methods))
    assert session.authenticated == START + (len(methods) - 1) * MINUTE
    kept = [event.method for event in session.authentications]
    assert sorted(kept) == sorted(set(methods)), "the latest of each method"
    with pytest.raises(AttributeError):
        session.assurance = 3  # type: ignore[misc]


def test_an_unknown_method_raises() -> None:
    """Review 28: `method` is one of these, or its string."""
    assert Method("totp") is Method.TOTP
    with pytest.raises(ValueError, match="sms"):
        Method("sms")


@pytest.mark.requirement(
    "ASVS V6.3.6", "ASVS V6.6.1", "ASVS V6.6.4", "63B-4 3.1.3.1-a", "63B-4 3.1.3.2-a", "63B-4 4.1.2.2-a",
)  # fmt: skip
def test_nothing_that_comes_by_mail_telephone_or_push_proves_anybody() -> None:
    """Met by absence: there is no such method, so no assurance follows from one."""
    assert {method.value for method in Method} == {
        "password", "totp", "recovery_code", "security_key", "passkey", "hardware_key", "federated",
    }  # fmt: skip
    for other in ("sms", "voice", "email", "push", "link", "binding_code"):
        with pytest.raises(ValueError, match=other):
            Method(other)
