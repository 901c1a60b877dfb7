"""Names, kinds and scopes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sessile.kernel.principal import (
    EVERYTHING,
    INTROSPECT,
    OPERATOR,
    RESERVED_SCOPES,
    PrincipalKind,
    Status,
    canonical,
    check_scopes,
    covers,
    kind_of,
    new_principal,
)
from sessile.kernel.team import is_team, new_team, owner_name, team_name
from tests.kernel.tree import START

# --- names -------------------------------------------------------------------------------------------------------


def canonical_or_none(name: object) -> str | None:
    try:
        return canonical(name)
    except ValueError:
        return None


@given(name=st.text() | st.text(alphabet="aAbB:/ \t\\é\u0345\ufb01\u017f\u212a\u212b\u2460", max_size=8))
def test_canonical_is_idempotent(name: str) -> None:
    """Review 10: one form in which a name is stored and looked up."""
    once = canonical_or_none(name)
    if once is not None:
        assert canonical(once) == once
        assert unicodedata.is_normalized("NFKC", once)


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("Alice", "alice"), ("ALICE", "alice"), ("straße", "strasse"),
        ("\uff21\uff24\uff2d\uff29\uff2e", "admin"), ("\ufb01ona", "fiona"),
        ("E\u0301lodie", "élodie"), ("Service:CI", "service:ci"), ("AGENT:x.y-z_1", "agent:x.y-z_1"),
        ("a@example.org", "a@example.org"), ("service\uff1aci", "service:ci"),
    ],
)  # fmt: skip
def test_canonical(given_name: str, stored: str) -> None:
    assert canonical(given_name) == stored


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "a b", "a\tb", "a\n", "a\u00a0b", "a\u2028b", "a\x00", "a\x7f", "a/b", "a\\b", "a:b", "service:",
        "service:a:b", "human:a", "agent:", ":a", "a\u200bb", "a\u202eb", "\ufeffa", "a\u00adb", "\ud800", "x" * 121,
        "\ufdfa" * 10, None, 7, b"alice", ["alice"],
    ],
)  # fmt: skip
def test_what_is_no_name(name: object) -> None:
    with pytest.raises(ValueError, match="name"):
        canonical(name)


@given(name=st.text(max_size=200))
def test_a_canonical_name_is_safe_to_show(name: str) -> None:
    once = canonical_or_none(name)
    if once is not None:
        assert 1 <= len(once) <= 128
        assert not any(c.isspace() or c in "/\\" or unicodedata.category(c)[0] == "C" for c in once)
        assert kind_of(once) in PrincipalKind
        assert (":" in once) == (kind_of(once) is not PrincipalKind.HUMAN)


def test_a_long_name_costs_nothing() -> None:
    with pytest.raises(ValueError, match="name"):
        canonical("\ufdfa" * 10_000_000)


def test_new_principals() -> None:
    alice = new_principal("Alice", now=START)
    ci, agent = [new_principal(name, now=START, owner=alice.uid) for name in ("service:ci", "agent:a")]
    assert [each.kind.value for each in (alice, ci, agent)] == ["human", "service", "agent"]
    assert [each.scopes for each in (alice, ci, agent)] == [{EVERYTHING}, frozenset(), frozenset()]
    assert alice.name == "alice"
    assert alice.status is Status.ACTIVE
    again = new_principal("alice", now=START)
    assert again.uid != alice.uid, "a name that is taken again is another principal"
    assert again.epoch != alice.epoch
    assert len(alice.epoch) == 16
    assert new_principal("bob", now=START, scopes=frozenset()).scopes == frozenset()


@pytest.mark.requirement("NHI1")
def test_every_service_and_agent_has_an_owner_and_no_person_has() -> None:
    for name in ("service:ci", "agent:a"):
        with pytest.raises(ValueError, match="has an owner: name a person or a team"):
            new_principal(name, now=START)
    with pytest.raises(ValueError, match="people answer for themselves"):
        new_principal("alice", now=START, owner="prn_x")


def test_a_teams_name_is_no_principals() -> None:
    assert [team_name(name) for name in ("Platform", "team:platform", "TEAM:Platform", "\ufb01nance")] == [
        "team:platform", "team:platform", "team:platform", "team:finance",
    ]  # fmt: skip
    assert [owner_name(name) for name in ("Alice", "Team:X", "service:ci")] == ["alice", "team:x", "service:ci"]
    for name in ("", "team:", "service:ci", "team:service:ci", "team:team:x", "a b", "a/b", 7, "x" * 200):
        with pytest.raises(ValueError, match="name"):
            team_name(name)
    with pytest.raises(ValueError, match="name"):
        canonical("team:platform")
    team = new_team("platform", now=START)
    assert is_team(team.uid)
    assert not is_team(new_principal("alice", now=START).uid)
    assert not is_team(None)


# --- scopes ------------------------------------------------------------------------------------------------------

scopes = st.frozensets(st.sampled_from(["read", "write", "admin", EVERYTHING, OPERATOR, INTROSPECT]))


@given(a=scopes)
def test_covers_is_reflexive(a: frozenset[str]) -> None:
    assert covers(a, a)
    assert covers(a, frozenset())


@given(a=scopes, b=scopes, c=scopes)
def test_covers_is_transitive(a: frozenset[str], b: frozenset[str], c: frozenset[str]) -> None:
    """What is handed on and on never grows."""
    if covers(a, b) and covers(b, c):
        assert covers(a, c)


@given(a=scopes, b=scopes, more=scopes)
def test_covers_grows_with_what_is_held_and_shrinks_with_what_is_wanted(
    a: frozenset[str], b: frozenset[str], more: frozenset[str]
) -> None:
    if covers(a, b):
        assert covers(a | more, b)
        assert covers(a, b - more)
    assert covers(a, b | more) == (covers(a, b) and covers(a, more))


@given(held=scopes, wanted=scopes)
def test_everything_gives_no_reserved_scope(held: frozenset[str], wanted: frozenset[str]) -> None:
    """An operator is one by name, and whoever asks about others' tokens by name or as an operator."""
    if covers(held, wanted):
        assert OPERATOR not in wanted - held
        assert INTROSPECT not in wanted - held or OPERATOR in held
    if EVERYTHING in wanted - held:
        assert not covers(held, wanted)


def test_everything_is_everything_else() -> None:
    everything = frozenset({EVERYTHING})
    assert covers(everything, frozenset({"read", "anything", "*"}))
    for reserved in RESERVED_SCOPES:
        assert not covers(everything, frozenset({reserved}))
        assert not covers(frozenset({reserved}), everything)
        assert covers(everything | {reserved}, frozenset({reserved, "read"}))


def test_an_operator_may_hand_out_introspection() -> None:
    """It is how a resource server gets its key; what it was handed makes nobody an operator."""
    assert covers(frozenset({OPERATOR}), frozenset({INTROSPECT}))
    assert not covers(frozenset({INTROSPECT}), frozenset({OPERATOR}))
    assert not covers(frozenset({OPERATOR}), frozenset({"read"}))


@given(st.lists(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'),
                        min_size=1, max_size=100), max_size=100))  # fmt: skip
def test_scope_tokens(values: list[str]) -> None:
    """RFC 6749, section 3.3."""
    assert check_scopes(values) == frozenset(values)


@pytest.mark.parametrize(
    "values",
    [
        "read", [""], ["a b"], ['a"'], ["a\\"], ["é"], ["a\n"], ["x" * 101], [None], [7], [b"read"],
        [str(n) for n in range(101)],
    ],
)  # fmt: skip
def test_what_are_no_scopes(values: object) -> None:
    with pytest.raises(ValueError, match="scope"):
        check_scopes(values)  # type: ignore[arg-type]


@given(values=st.lists(st.text(max_size=5), max_size=5))
def test_scopes_are_checked_one_by_one(values: list[str]) -> None:
    good = [value for value in values if value and all(0x21 <= ord(c) <= 0x7E and c not in '"\\' for c in value)]
    assume(len(good) < len(values))
    with pytest.raises(ValueError, match="scope"):
        check_scopes(values)
