"""Making and migrating the schema. Any number of nodes may start at once."""

from __future__ import annotations

import functools
import time
from importlib.resources import files
from typing import Any

import msgspec
import psycopg

from sessile.errors import StoreUnavailable
from sessile.kernel.principal import new_epoch
from sessile.kernel.session import SessionKind
from sessile.stores.postgres.address import Address
from sessile.stores.postgres.engine import LOCKS, connect
from sessile.stores.postgres.transaction import new_head

DELTA_NS = 500_000_000
"""Δ of a new store."""
OLDEST = 140_000
"""PostgreSQL 14."""


@functools.cache
def migrations() -> tuple[str, ...]:
    """The SQL that takes a schema from version 0 on, one step a version."""
    folder = files("sessile.stores.postgres") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


def prepare(address: Address, *, create: bool = True) -> None:
    """Make sure that the schema is there and of this code's version.

    Raises:
        StoreUnavailable: not there (`create=False`), by a newer Sessile, on a PostgreSQL that is too old or a standby.
        psycopg.Error: the engine is away, or refuses.
    """
    with connect(address.main, pooled=True) as db:
        if db.info.server_version < OLDEST:
            raise StoreUnavailable("this PostgreSQL is older than 14: upgrade it")
        if (version := _version(db, address.schema)) == len(migrations()):
            return
        if db.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            raise StoreUnavailable("this PostgreSQL is a standby: name the primary (target_session_attrs=read-write)")
        if version == 0 and not create:
            raise StoreUnavailable(f"there is no schema {address.schema} in this database: `sessile serve` makes it")
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCKS, f"{address.schema} schema"))
            _migrate(db, address.schema)


def _version(db: psycopg.Connection[Any], schema: str) -> int:
    if db.execute("SELECT to_regclass(%s)", (f"{schema}.version",)).fetchone() == (None,):
        return 0
    (version,) = db.execute(f"SELECT n FROM {schema}.version").fetchall()[0]  # noqa: S608
    known = len(migrations())
    if version > known:
        raise StoreUnavailable(
            f"schema {schema} was written by a newer Sessile (version {version}, this one knows {known}): upgrade it"
        )
    return int(version)


def _migrate(db: psycopg.Connection[Any], schema: str) -> None:
    # Another node may have done it while this one waited.
    version = _version(db, schema)
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    db.execute(f"SET LOCAL search_path = {schema}".encode())
    for number, sql in enumerate(migrations()[version:], start=version + 1):
        db.execute(sql.encode())
        if number == 1:
            _seed(db)
        db.execute("UPDATE version SET n = %s", (number,))


def _seed(db: psycopg.Connection[Any]) -> None:
    epochs = {kind.value: new_epoch().hex() for kind in SessionKind}
    db.execute("CREATE TABLE version (n integer NOT NULL)")
    db.execute("INSERT INTO version VALUES (0)")
    db.execute(
        "INSERT INTO everyone (one, epochs, trust, wait) VALUES (1, %s, %s, %s)",
        (msgspec.json.encode(epochs).decode(), DELTA_NS, DELTA_NS),
    )
    db.execute(
        "INSERT INTO journal (n, at, object, head) VALUES (1, %s, 'all', %s)", (time.time_ns() // 1000, new_head())
    )
