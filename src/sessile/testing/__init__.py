"""For tests: a clock that one moves by hand, and the suite that a store has to pass.

`ManualClock` needs nothing further. `StoreConformance` needs pytest, anyio (whose plugin runs async tests) and
hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessile.testing.clock import ManualClock

if TYPE_CHECKING:
    from sessile.testing.conformance import StoreConformance

__all__ = ["ManualClock", "StoreConformance"]


def __getattr__(name: str) -> object:
    # Late, so that a test which only wants the clock needs no pytest.
    if name != "StoreConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    # So that a failure shows the values that were compared.
    parts = "beginning ending keeping listing nearness owning proving races rotating stateful world"
    pytest.register_assert_rewrite(*[f"{__name__}.{part}" for part in parts.split()])
    from sessile.testing.conformance import StoreConformance

    return StoreConformance
