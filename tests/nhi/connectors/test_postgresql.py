"""Roles of a real PostgreSQL: made for a lease, ended with their open connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessile import Authority
from sessile.kernel.lease import EndsBy
from sessile.nhi.connector import ConnectorFailed
from sessile.nhi.connectors.postgresql import PostgresRoles
from sessile.testing import ManualClock
from tests.engines import Postgres, new_postgres
from tests.nhi.outside import leases, operator

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Postgres]:
    """Whose members of `leased` have to prove a password, as everywhere outside of tests."""
    with new_postgres("fsync=off") as server:
        hba = server.data / "pg_hba.conf"
        hba.write_text(
            "host all connector 127.0.0.1/32 trust\nhost all +leased 127.0.0.1/32 scram-sha-256\n" + hba.read_text()
        )
        with psycopg.connect(server.url("postgres"), autocommit=True) as db:
            db.execute("CREATE ROLE leased")
            db.execute("GRANT CREATE ON SCHEMA public TO leased")
            db.execute("CREATE ROLE connector LOGIN CREATEROLE")
            db.execute("GRANT pg_signal_backend, leased TO connector WITH ADMIN OPTION")
            db.execute("CREATE TABLE secret (n integer)")
            db.execute("GRANT SELECT ON secret TO leased")
            db.execute("SELECT pg_reload_conf()")
        yield server


def roles(engine: Postgres, **more: Any) -> PostgresRoles:
    url = f"postgresql://connector@127.0.0.1:{engine.port}/postgres"
    return PostgresRoles(url, None, **{"grants": ("leased",), **more})


def connect(secret: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=secret["host"], port=secret["port"], dbname=secret["dbname"], user=secret["user"],
        password=secret["password"], connect_timeout=5, autocommit=True,
    )  # fmt: skip


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as opened:
        yield opened


async def test_containing_ends_the_role_and_its_open_connection(engine: Postgres, authority: Authority) -> None:
    held = leases(authority, db=roles(engine))
    alice = await operator(authority)
    lease = await held.mint(alice.active, connector="db", lifetime=HOUR)
    assert lease.secret is not None
    inside = connect(lease.secret)
    assert inside.execute("SELECT count(*) FROM secret").fetchall() == [(0,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect({**lease.secret, "password": "another"})
    report = await authority.contain(session=alice.active.session.id, cause="stolen")
    assert report.state == "partial"
    assert await held.work() == 1
    with pytest.raises(psycopg.OperationalError):
        inside.execute("SELECT count(*) FROM secret")
    inside.close()
    with pytest.raises(psycopg.OperationalError):
        connect(lease.secret)
    assert not _exists(engine, lease.secret["user"])
    assert report.id is not None
    assert (await authority.containment(report.id)).state == "closed"


async def test_the_password_ends_with_the_lease(engine: Postgres) -> None:
    outside = roles(engine)
    minted = await outside.mint(outside.plan(), datetime.now(UTC) - HOUR)
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(minted.secret)
    await outside.revoke(minted.handle)


async def test_not_found_is_success(engine: Postgres) -> None:
    assert await roles(engine).revoke("lease_nobody") is None


async def test_who_is_connected_while_it_ends_is_ended_too(engine: Postgres) -> None:
    outside = roles(engine)
    minted = await outside.mint(outside.plan(), datetime.now(UTC) + HOUR)
    open_ = [connect(minted.secret) for _ in range(5)]
    await asyncio.gather(*(outside.revoke(minted.handle) for _ in range(3)))
    for one in open_:
        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")
        one.close()


@pytest.mark.parametrize("heir", [None, "connector"])
async def test_what_a_role_owns(engine: Postgres, heir: str | None) -> None:
    """It goes to whom the configuration says, or the role stays, without sign-in and without a password."""
    outside = roles(engine, reassign_to=heir)
    minted = await outside.mint(outside.plan(), datetime.now(UTC) + HOUR)
    table = f"of_{minted.handle}"
    with connect(minted.secret) as db:
        db.execute(f"CREATE TABLE {table} ()".encode())
    await outside.revoke(minted.handle)
    with pytest.raises(psycopg.OperationalError):
        connect(minted.secret)
    with psycopg.connect(engine.url("postgres")) as db:
        owner = db.execute("SELECT tableowner FROM pg_tables WHERE tablename = %s", (table,)).fetchall()
    assert owner == [(heir or minted.handle,)]
    assert _exists(engine, minted.handle) == (heir is None)
    assert await outside.revoke(minted.handle) is None


async def test_rotating_keeps_the_role_and_changes_the_password(engine: Postgres, authority: Authority) -> None:
    outside = roles(engine)
    minted = await outside.mint(outside.plan(), datetime.now(UTC) + HOUR)
    held = leases(authority, db=outside)
    alice = await operator(authority)
    lease = await held.register(alice.active, connector="db", handle=minted.handle, ends_by=EndsBy.ROTATE)
    inside = connect(minted.secret)
    await authority.contain(session=alice.active.session.id, cause="stolen")
    assert await held.work() == 1
    with pytest.raises(psycopg.OperationalError):
        inside.execute("SELECT 1")
    inside.close()
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(minted.secret)
    fresh = await held.take_successor(lease.info.id, by=(await operator(authority, "bob")).active)
    assert fresh["user"] == minted.handle
    connect(fresh).close()
    await outside.revoke(minted.handle)


async def test_only_roles_of_the_prefix_are_touched(engine: Postgres) -> None:
    outside = roles(engine)
    for handle in ("sessile", "postgres", "connector", "", "lease_" + "x" * 60, "Lease_1"):
        for ask in (outside.describe, outside.revoke, outside.rotate):
            with pytest.raises(ValueError, match="begins with lease_"):
                await ask(handle)
    with pytest.raises(ValueError, match="no role"):
        await outside.describe("lease_nobody")
    for prefix in ("", " ", "x" * 31):
        with pytest.raises(ValueError, match="prefix"):
            roles(engine, prefix=prefix)


async def test_the_configuration_is_tried(engine: Postgres) -> None:
    await roles(engine).probe()
    with psycopg.connect(engine.url("postgres"), autocommit=True) as db:
        db.execute("CREATE ROLE weak LOGIN")
        db.execute("CREATE ROLE deaf LOGIN CREATEROLE")
    for user, said in (("weak", "CREATEROLE"), ("deaf", "pg_signal_backend")):
        weak = PostgresRoles(f"postgresql://{user}@127.0.0.1:{engine.port}/postgres", None)
        with pytest.raises(ConnectorFailed, match=said):
            await weak.probe()
    with pytest.raises(ConnectorFailed, match="no role nobody"):
        await roles(engine, grants=("nobody",)).probe()
    with pytest.raises(ValueError, match="no password"):
        PostgresRoles("postgresql://connector:hunter2@127.0.0.1/x", None)


async def test_away_and_back(engine: Postgres, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    outside = roles(engine)
    minted = await outside.mint(outside.plan(), datetime.now(UTC) + HOUR)
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        held = leases(authority, db=outside)
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="db", handle=minted.handle)
        await authority.revoke(session=lease.info.id, cause="done")
        engine.stop()
        try:
            assert await held.work() == 0
            assert "PostgreSQL lets nobody in" in (await held.show(lease.info.id)).error
        finally:
            engine.start("fsync=off")
        clock.advance(HOUR)
        assert await held.work() == 1
    assert not _exists(engine, minted.handle)
    log = (engine.folder / "log").read_text()
    assert minted.secret["password"] not in log


def _exists(engine: Postgres, role: str) -> bool:
    with psycopg.connect(engine.url("postgres")) as db:
        return bool(db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchall())
