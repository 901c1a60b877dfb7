"""Each planted fault is found, so that what passes is known to have been looked for."""

from __future__ import annotations

import pytest

from sessile.testing.simulator import Outcome, Parts, run, shrink
from tests.simulation.faults import FAULTS, Fault
from tests.simulation.frozen import FrozenGuest

WITHIN = 5_000
"""Seeds. Most faults take fewer than a hundred."""


def found(parts: Parts, broken: str) -> Outcome | None:
    """The first outcome in which it breaks what it must."""
    for seed in range(WITHIN):
        outcome = run(seed, parts)
        if any(what.startswith(broken) for what in outcome.broken):
            return outcome
    return None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_planted_fault_is_found(fault: Fault) -> None:
    """Reviews 1 to 5, 7 to 10, 13 and 26; `Fault.repair` says which."""
    outcome = found(fault.parts, fault.broken)
    assert outcome is not None
    # By the fault and not by its seed: what ships holds there.
    assert not run(outcome.seed, Parts(kinds=fault.parts.kinds)).broken


def test_what_is_broken_is_told_in_few_words() -> None:
    """Shrunk: with fewer actions, still broken, and the trace says how."""
    fault = next(fault for fault in FAULTS if fault.name == "a reconnect below the ping")
    outcome = found(fault.parts, fault.broken)
    assert outcome is not None
    small = shrink(outcome, fault.parts)
    assert small.broken
    assert small.checks < outcome.checks
    said = str(small)
    assert f"seed {outcome.seed}: " in said
    assert "late accept" in said
    assert "returns" in said


def test_a_frozen_guest_is_outside_the_proof_and_bounded_all_the_same() -> None:
    """Review 9d: a clock that stands still with its machine. On waking it may accept, for Δ at the longest."""
    parts = Parts(node=FrozenGuest, kinds=("engine",))
    late = sum(bool(run(seed, parts).broken) for seed in range(600))
    assert late  # so that the documentation has to say it
