"""Leases and tokens of a real OpenBao, which speaks HashiCorp Vault's API; its database leases on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sessile.nhi.connector import ConnectorFailed
from sessile.nhi.connectors.vault import Vault
from tests.engines import Postgres
from tests.engines_openbao import OpenBao, new_openbao
from tests.nhi.serving import Configured, client, turns, when
from tests.program import OPERATOR_PASSWORD

HOUR = timedelta(hours=1)
POLICY = """
path "sys/leases/revoke" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
"""


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with new_openbao(tmp_path_factory.mktemp("openbao")) as server:
        server.ask("PUT", "sys/policies/acl/connector", {"policy": POLICY})
        yield server


@pytest.fixture(scope="module")
def database(bao: OpenBao, postgres: Postgres) -> Postgres:
    """Roles in PostgreSQL that OpenBao makes and drops."""
    bao.ask("POST", "sys/mounts/database", {"type": "database"})
    url = f"postgresql://sessile@127.0.0.1:{postgres.port}/postgres?sslmode=disable"
    bao.ask(
        "POST", "database/config/main",
        {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url},
    )  # fmt: skip
    bao.ask(
        "POST", "database/roles/readonly",
        {
            "db_name": "main", "default_ttl": "1h",
            "creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"],
        },
    )  # fmt: skip
    return postgres


def connector(bao: OpenBao) -> Vault:
    made = bao.ask("POST", "auth/token/create", {"policies": ["connector"], "ttl": "1h"})
    return Vault(bao.url, made["auth"]["client_token"])


def token(bao: OpenBao) -> tuple[str, str]:
    """A token, and its accessor."""
    made = bao.ask("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h", "renewable": False})["auth"]
    return made["client_token"], made["accessor"]


def lives(bao: OpenBao, secret: str) -> bool:
    answer = httpx.get(
        f"{bao.url}/v1/auth/token/lookup-self", headers={"X-Vault-Token": secret}, trust_env=False
    )  # fmt: skip
    return answer.status_code == 200


async def test_a_lease_is_revoked_with_what_it_made(bao: OpenBao, database: Postgres) -> None:
    creds = await asyncio.to_thread(bao.ask, "GET", "database/creds/readonly")
    outside = connector(bao)
    described = await outside.describe(creds["lease_id"])
    assert described.shown == creds["lease_id"]
    assert described.until is None, "it can be renewed"

    def roles() -> list[tuple[str]]:
        with psycopg.connect(database.url("postgres")) as db:
            name = creds["data"]["username"]
            return db.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", (name,)).fetchall()

    assert roles()
    assert await outside.revoke(creds["lease_id"]) is None
    assert not roles(), "when it is revoked, it is: not queued"
    assert await outside.revoke(creds["lease_id"]) is None, "not found is success"
    with pytest.raises(ValueError, match="no such lease"):
        await outside.describe(creds["lease_id"])
    await outside.close()


async def test_a_token_is_revoked_by_its_accessor(bao: OpenBao) -> None:
    outside = connector(bao)
    secret, accessor = token(bao)
    described = await outside.describe(f"accessor:{accessor}")
    assert described.until is not None
    assert HOUR - timedelta(minutes=2) < described.until - datetime.now(UTC) < HOUR + timedelta(minutes=1)
    assert accessor not in described.shown
    assert await outside.revoke(f"accessor:{accessor}") is None
    assert not lives(bao, secret)
    assert await outside.revoke(f"accessor:{accessor}") is None, "not found is success"
    with pytest.raises(ValueError, match="no such accessor"):
        await outside.describe(f"accessor:{accessor}")
    await outside.close()


def test_down_at_that_moment_and_confirmed_after_it_is_back(bao: OpenBao, tmp_path: Path) -> None:
    """Queued, retried, shown, also after a kill -9 of the server; OpenBao is killed too, and comes back."""
    secret, accessor = token(bao)
    (tmp_path / "token").write_text(
        bao.ask("POST", "auth/token/create", {"policies": ["connector"]})["auth"]["client_token"]
    )
    program = Configured(tmp_path, vault={"kind": "vault", "url": bao.url, "token": {"file": f"{tmp_path}/token"}})
    program.add("olivia", OPERATOR_PASSWORD, "--role", "operator")
    with program.serving() as running, client(running, "olivia", OPERATOR_PASSWORD) as olivia:
        asked = {"connector": "vault", "handle": f"accessor:{accessor}", "owner": "service:ci"}
        lease = olivia.post("/api/v1/leases", json=asked).json()
        assert lease["state"] == "living", lease
        assert lives(bao, secret)
        bao.kill()
        try:
            cut = {"principal": "olivia", "cause": "stolen"}
            report = olivia.post("/api/v1/containments", json=cut).json()
            assert (report["state"], [one["id"] for one in report["living"]]) == ("partial", [lease["id"]])
        finally:
            running.kill()
    with program.serving() as running, client(running, "olivia", OPERATOR_PASSWORD) as olivia:

        def show() -> Any:
            return olivia.get(f"/api/v1/containments/{report['id']}").json()

        (living,) = when(show, lambda found: found["living"][0]["error"])["living"]
        assert living["error"] == "Vault does not answer: ConnectError"
        assert living["next_try"] is not None
        bao.start()
        turns(show, "closed")
        names = [one["name"] for one in olivia.get("/api/v1/events?after=0").json()["items"]]
        assert names[-2:] == ["lease.ended", "containment.settled"]
    assert not lives(bao, secret)


async def test_sealed_is_not_over(bao: OpenBao) -> None:
    """It answers 503: nothing was ended."""
    outside = connector(bao)
    secret, accessor = token(bao)
    bao.ask("PUT", "sys/seal")
    with pytest.raises(ConnectorFailed, match="503"):
        await outside.revoke(f"accessor:{accessor}")
    bao.kill()
    bao.start()
    assert lives(bao, secret)
    await outside.close()


async def test_the_configuration_is_tried(bao: OpenBao) -> None:
    outside = connector(bao)
    await outside.probe()
    weak = Vault(bao.url, token(bao)[0])
    with pytest.raises(ConnectorFailed, match="may not update sys/leases/revoke"):
        await weak.probe()
    stranger = Vault(bao.url, "s.nobody")
    lost = Vault(bao.url + "/elsewhere", "x")
    with pytest.raises(ConnectorFailed, match=r"404.*check url and namespace"):
        await lost.revoke("accessor:a")
    await lost.close()
    with pytest.raises(ConnectorFailed, match=r"403.*renew or replace its token") as told:
        await stranger.probe()
    assert "s.nobody" not in str(told.value)
    for one in (outside, weak, stranger):
        await one.close()


async def test_what_is_no_handle_is_refused(bao: OpenBao) -> None:
    outside = connector(bao)
    for handle in ("", "creds", "accessor:", "accessor:a/b", "a/b?c", "x" * 2000):
        with pytest.raises(ValueError, match="the handle is a lease id"):
            await outside.revoke(handle)
    for url in ("http://vault.example.com:8200", "https://user:hunter2@vault", "vault:8200"):
        with pytest.raises(ValueError, match=r"."):
            Vault(url, "x")
    with pytest.raises(ValueError, match="ca_file"):
        Vault(bao.url, "x", ca_file=Path("/nowhere/ca.pem"))
    await outside.close()
