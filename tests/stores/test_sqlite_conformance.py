"""The SQLite store passes the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessile.clock import Clock
from sessile.stores.sqlite import SQLiteStore
from sessile.testing import StoreConformance
from sessile.testing.world import MakeStore


class TestSQLiteStore(StoreConformance):
    shared = True

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        def make(name: str, clock: Clock) -> SQLiteStore:
            return SQLiteStore(tmp_path / f"{name}.db", clock=clock, create=True)

        return make
