"""The PostgreSQL store passes the suite, on a real engine."""

from __future__ import annotations

import itertools

import psycopg
import pytest

from sessile.clock import Clock
from sessile.stores.postgres import PostgresStore
from sessile.stores.postgres.address import parse
from sessile.stores.postgres.schema import prepare
from sessile.testing import StoreConformance
from sessile.testing.world import MakeStore
from tests.engines import Postgres

_schemas = (f"suite{number}" for number in itertools.count())


class TestPostgresStore(StoreConformance):
    shared = True

    @pytest.fixture
    def make_store(self, postgres: Postgres) -> MakeStore:
        schemas: dict[str, str] = {}

        def make(name: str, clock: Clock) -> PostgresStore:
            if name not in schemas:
                schemas[name] = next(_schemas)
                url = postgres.url("postgres", schema=schemas[name])
                prepare(parse(url))
                with psycopg.connect(postgres.url("postgres")) as db:
                    # Often asked: the clock of these tests moves in leaps, and after each one trust is to be had anew.
                    db.execute("SELECT set_config('search_path', %s, false)", (schemas[name],))
                    db.execute("UPDATE everyone SET trust = 40000000, wait = 40000000")
            return PostgresStore(postgres.url("postgres", schema=schemas[name]), clock=clock)

        return make
