"""The memory store passes the suite."""

from __future__ import annotations

import pytest

from sessile.clock import Clock
from sessile.stores.memory import MemoryStore
from sessile.testing import StoreConformance
from sessile.testing.world import MakeStore


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        def make(name: str, clock: Clock) -> MemoryStore:
            return MemoryStore(clock=clock)

        return make
