"""Connectors in a file: what it may say, and where secrets are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sessile.nhi.connectors import NotConfigured, load

VAULT = """
[vault-prod]
kind = "vault"
url = "https://vault.internal:8200"
token = { env = "VAULT_TOKEN" }
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.hunter2")


def written(folder: Path, text: str, name: str = "connectors.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


async def test_all_four_in_one_file(tmp_path: Path) -> None:
    secret = written(tmp_path, "hunter2\n", "secret")
    more = f"""
[idp]
kind = "oauth"
url = "https://idp.example.com/revoke"
client_id = "console"
client_secret = {{ file = "{secret}" }}

[db]
kind = "postgresql"
url = "postgresql://connector@db.internal/app"
password = {{ file = "{secret}" }}
grants = ["readers"]

[aws]
kind = "aws"
access_key_id = "AKIAQWERTYUIOPASDFGH"
secret_access_key = {{ file = "{secret}" }}
"""
    made = load(written(tmp_path, VAULT + more))
    assert {name: type(one).__name__ for name, one in made.items()} == {
        "vault-prod": "Vault", "idp": "OAuth", "db": "PostgresRoles", "aws": "AccessKeys",
    }  # fmt: skip
    assert "hunter2" not in repr(made)
    for one in made.values():
        await one.close()


async def test_json_says_the_same(tmp_path: Path) -> None:
    table = {"vault": {"kind": "vault", "url": "https://vault:8200", "token": {"env": "VAULT_TOKEN"}}}
    (one,) = load(written(tmp_path, json.dumps(table), "connectors.json")).values()
    await one.close()
    assert load(None) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x", "cannot be read"),
        ("x = 1", "x: Expected `object`"),
        ('[x]\nkind = "ftp"', "Invalid value 'ftp'"),
        ("[X]\nkind = 'vault'", "no name for a connector"),
        (VAULT.replace("VAULT_TOKEN", "NOBODY_SET_IT"), "the secret in NOBODY_SET_IT is empty or missing"),
        (VAULT.replace('{ env = "VAULT_TOKEN" }', '{ file = "/nowhere" }'), "/nowhere cannot be read"),
        (VAULT.replace('{ env = "VAULT_TOKEN" }', '"s.hunter2"'), "Expected `object`, got `str`"),
        (VAULT.replace('env = "VAULT_TOKEN"', 'env = "A", file = "b"'), "name a secret as"),
        (VAULT + 'tokn = "x"', "unknown field `tokn`"),
        (VAULT.replace("https", "http"), "by https only"),
        (VAULT.replace("https://", "https://u:hunter2@"), "carries no user and no password"),
    ],
)
def test_what_makes_no_sense_names_the_place_and_no_secret(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(NotConfigured) as told:
        load(written(tmp_path, text))
    assert said in str(told.value)
    assert "hunter2" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="cannot be read"):
        load(tmp_path / "connectors.toml")


def test_what_a_connector_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = None
    monkeypatch.delitem(sys.modules, "sessile.nhi.connectors.aws", raising=False)
    monkeypatch.setitem(sys.modules, "botocore.config", absent)
    text = '[aws]\nkind = "aws"\naccess_key_id = "x"\nsecret_access_key = { env = "VAULT_TOKEN" }'
    with pytest.raises(NotConfigured, match=r"pip install 'sessile\[aws\]'"):
        load(written(tmp_path, text))
