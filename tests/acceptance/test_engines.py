"""The server and the command line on the engines of many nodes: what one process revokes is over at every other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.engines import new_postgres
from tests.engines_redis import server, valkey_binary
from tests.program import PERSON_PASSWORD, Program

pytestmark = pytest.mark.timeout(180)


def sign_in(url: str) -> dict[str, str]:
    """The header that a browser sends from then on."""
    answer = httpx.post(f"{url}/api/v1/session", json={"username": "alice", "password": PERSON_PASSWORD}, timeout=20)
    assert answer.status_code == 201, answer.text
    # The session's cookie is the first that is set, whatever else is.
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("__Host-sessile=")
    return {"cookie": cookie}


def try_it(program: Program, *common: str) -> None:
    program.ok(*common, "user", "add", "alice", "--password-stdin", input=PERSON_PASSWORD + "\n")
    with (
        program.started(*common, "serve", "--port", "0") as one,
        program.started(*common, "serve", "--port", "0", "--workers", "2") as two,
    ):
        cookies = [sign_in(node.url) for node in (one, two)]
        for node in (one, two):
            for cookie in cookies:
                assert httpx.get(f"{node.url}/api/v1/session", headers=cookie).status_code == 200
        receipt = program.json(*common, "revoke", "--principal", "alice", "--cause", "laptop stolen")
        assert receipt["cause"] == "laptop stolen"
        for node in (one, two):
            for cookie in cookies * 10:
                answer = httpx.get(f"{node.url}/api/v1/session", headers=cookie)
                assert (answer.status_code, answer.json()["reason"]) == (401, "revoked")
    report = program.json(*common, "doctor")
    assert report["ok"], report
    assert "hunter2" not in str(report)


def test_on_postgresql(tmp_path: Path) -> None:
    with new_postgres() as engine:
        engine.database("served")
        url = engine.url("served").replace("sessile@", "sessile:hunter2@")
        try_it(Program(tmp_path), "--database", url)


def test_a_server_that_starts_before_its_engine_waits_for_it(tmp_path: Path) -> None:
    """A clear line in the log, and no restart."""
    program = Program(tmp_path)
    with new_postgres() as engine:
        engine.database("late")
        engine.stop()

        def start_it_when_it_is_missed(process: subprocess.Popen[str]) -> None:
            assert process.stderr is not None
            for line in process.stderr:
                if "waiting for PostgreSQL at 127.0.0.1" in line:
                    break
            engine.start()

        arguments = ("--database", engine.url("late"), "serve", "--port", "0")
        with program.started(*arguments, meanwhile=start_it_when_it_is_missed) as served:
            assert httpx.get(f"{served.url}/readyz", timeout=20).status_code == 200


def test_on_valkey_with_a_directory_in_sqlite(tmp_path: Path) -> None:
    # The doctor finds fault with one that keeps nothing over a crash.
    with server(valkey_binary(), tmp_path / "engine", "--appendonly", "yes") as engine:
        database = f"sqlite:///{tmp_path}/directory.db"
        try_it(Program(tmp_path), "--database", database, "--sessions", engine.url)
