"""An authority over each store that needs nothing installed, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sessile import Authority
from sessile.testing import ManualClock


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/sessile.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def authority(url: str, clock: ManualClock) -> AsyncIterator[Authority]:
    async with Authority(url, clock=clock) as opened:
        yield opened
