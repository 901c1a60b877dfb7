"""Policies: what is refused, and what is the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel.policy import AtLimit, Policy, same_rules
from tests.kernel.tree import DAY, HOUR, MINUTE, SECOND, TICK, policies


@pytest.mark.parametrize(
    "changes",
    [
        {"overall": timedelta(0)}, {"overall": -HOUR}, {"key_lifetime": timedelta(0)}, {"idle": timedelta(0)},
        {"idle": 25 * HOUR}, {"idle": -TICK}, {"rotate_after": timedelta(0)}, {"grace": -TICK},
        {"grace": 10 * MINUTE + TICK}, {"assurance": 0}, {"assurance": 4}, {"max_sessions": 0}, {"max_depth": 0},
        {"max_depth": 9}, {"version": 0}, {"name": ""}, {"name": "x" * 65}, {"assurance": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Policy(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"idle": None}, {"idle": 24 * HOUR}, {"rotate_after": None}, {"grace": timedelta(0)}, {"max_sessions": 1},
        {"at_limit": AtLimit.REFUSE, "max_sessions": 3}, {"assurance": 3, "overall": 12 * HOUR}, {"overall": 400 * DAY},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_allowed(changes: dict[str, Any]) -> None:
    policy = Policy(**changes)
    assert {name: getattr(policy, name) for name in changes} == changes


@pytest.mark.parametrize("preset", ["aal1", "aal2", "aal3", "operator"])
def test_presets_take_changes_and_say_where_they_started(preset: str) -> None:
    """ASVS V7.1.1: a departure from the standard can carry its reason."""
    policy = getattr(Policy, preset)(name="staff", overall=2 * HOUR, idle=MINUTE, reason="shared desks", version=2)
    assert (policy.preset, policy.name, policy.version) == (preset, "staff", 2)
    assert (policy.overall, policy.idle, policy.reason) == (2 * HOUR, MINUTE, "shared desks")


@given(policy=policies(), version=st.integers(1, 10**6))
def test_the_same_rules_whatever_the_version(policy: Policy, version: int) -> None:
    """Review 17: a seed that differs from what is stored needs a higher version."""
    other = msgspec.structs.replace(policy, version=version)
    assert same_rules(policy, other)
    assert same_rules(other, policy)
    assert not same_rules(policy, msgspec.structs.replace(other, overall=policy.overall + SECOND))
    assert not same_rules(policy, msgspec.structs.replace(other, reason="because"))


def test_a_policy_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Policy().overall = DAY  # type: ignore[misc]
