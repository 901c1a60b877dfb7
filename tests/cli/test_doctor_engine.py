"""`sessile doctor` where the sessions are in an engine of their own: its settings, each with the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sessile.stores.redis.servers import Servers
from tests.engines_redis import server, valkey_binary
from tests.program import Program


def test_the_engine_is_looked_at(sessile: Program, tmp_path: Path) -> None:
    """Review 1, 25: snapshots alone, and a policy that drops sessions, are faults; told, each goes away by its cure."""

    def findings(status: int) -> dict[str, dict[str, Any]]:
        done = sessile.run("doctor", "--sessions", engine.url, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return {finding["check"]: finding for finding in json.loads(done.stdout)["checks"]}

    with server(valkey_binary(), tmp_path / "engine", "--maxmemory-policy", "allkeys-lru") as engine:
        found = findings(1)
        for check, words in (("maxmemory-policy", "noeviction"), ("persistence", "appendonly yes")):
            assert found[check]["level"] == "fail"
            assert words in found[check]["cure"]
        assert "accounts" not in found
        engine.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        engine.ask("CONFIG", "SET", "appendonly", "yes")
        found = findings(0)
        assert [found[check]["level"] for check in ("maxmemory-policy", "persistence", "output buffers")] == ["ok"] * 3


def test_what_is_on_this_machine() -> None:
    for url, near_by in (
        ("redis://127.0.0.1:7000", True),
        ("redis+unix:///run/redis.sock", True),
        ("redis+cluster://localhost,cache-2", False),
        ("redis+sentinel://watch-1/sessions/0", False),
    ):
        assert Servers(url).near_by is near_by
