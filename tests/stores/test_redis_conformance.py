"""The Redis store passes the suite, on one Redis and on a cluster of three Valkeys, with its directory on SQLite.

Its clock of the day is the test's in the engine's place. Δ is half an hour by that clock: the suite moves it by
seconds and minutes at a time, and asks at once whether the near cache may still be trusted.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessile.clock import Clock
from sessile.stores.redis import RedisStore
from sessile.stores.sqlite import SQLiteStore
from sessile.testing import StoreConformance
from sessile.testing.world import MakeStore
from tests.engines_redis import DATABASES, Cluster, Server, cluster, redis_binary, server, valkey_binary


@pytest.fixture(scope="module", params=["redis", "cluster"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | Cluster]:
    folder = tmp_path_factory.mktemp(request.param)
    with cluster(valkey_binary(), folder) if request.param == "cluster" else server(redis_binary(), folder) as running:
        yield running


class TestRedisStore(StoreConformance):
    shared = True
    databases = itertools.count(1)

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """For directories, which are tested elsewhere: in memory where there is such a place, so that no test waits for
        the disk."""
        memory = Path("/dev/shm")  # noqa: S108 - below it, a folder of our own
        with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
            yield Path(name)

    @pytest.fixture
    def make_store(self, folder: Path, engine: Server | Cluster) -> MakeStore:
        numbers: dict[str, int] = {}

        def make(name: str, clock: Clock) -> RedisStore:
            number = numbers.setdefault(name, next(self.databases))
            assert number < DATABASES
            directory = SQLiteStore(folder / f"{name}.db", clock=clock, create=True)
            return RedisStore(
                f"{engine.url}/{number}", directory=directory, clock=clock, delta=timedelta(minutes=30),
                patience=timedelta(seconds=10),
            )  # fmt: skip

        return make
