"""SIGKILL in the middle of sign-ins and revocations: what was acknowledged stays so.

Fifty kills: forty-five of a program that uses the library, five of the server with two workers.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from sessile import Authority
from tests.program import PERSON_PASSWORD, Program, environment

CHURN = Path(__file__).with_name("churn.py")
PROGRAM_KILLS = 45
SERVER_KILLS = 5


class Ledger:
    """What the other side has acknowledged."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.asked: set[str] = set()
        """Revocations that were asked for; without an acknowledgement they may be in force or not."""
        self.revoked: set[str] = set()

    def note(self, line: str) -> None:
        match line.split():
            case ["begun", token, session]:
                self.tokens[session] = token
            case ["revoking", session]:
                self.asked.add(session)
            case ["revoked", session]:
                self.revoked.add(session)
            case other:
                raise AssertionError(other)

    async def hold_against(self, database: Path) -> None:
        """Open what is left, as the restarted program would, and compare."""
        async with Authority(f"sqlite:///{database}", create=False) as authority:
            for session, token in self.tokens.items():
                checked = await authority.check(token, touch=False)
                if session in self.revoked:
                    assert not checked, f"{session}: an acknowledged revocation is undone"
                    assert checked.reason == "revoked"
                elif session not in self.asked:
                    assert checked, f"{session}: an acknowledged session is lost ({checked!r})"
        db = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            db.close()


def churn_until_killed(database: Path, n: int, choice: random.Random, ledger: Ledger) -> None:
    process = subprocess.Popen(
        [sys.executable, CHURN, f"sqlite:///{database}", str(n)], env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for _ in range(choice.randrange(1, 60)):
            ledger.note(process.stdout.readline())
        time.sleep(choice.random() / 100)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    # The pipe still holds what was acknowledged before the kill. The last line may be torn.
    for line in process.stdout:
        if line.endswith("\n"):
            ledger.note(line)
    process.stdout.close()


@pytest.mark.timeout(300)
async def test_a_killed_program_forgets_nothing(tmp_path: Path) -> None:
    database, ledger = tmp_path / "sessile.db", Ledger()
    async with Authority(f"sqlite:///{database}"):
        pass
    choice = random.Random(20260701)  # noqa: S311 - it chooses when to kill, not a secret
    for n in range(PROGRAM_KILLS):
        await asyncio.to_thread(churn_until_killed, database, n, choice, ledger)
        await ledger.hold_against(database)
    assert len(ledger.tokens) > 10 * PROGRAM_KILLS
    assert len(ledger.revoked) > 3 * PROGRAM_KILLS


@pytest.mark.timeout(300)
async def test_a_killed_server_forgets_nothing(tmp_path: Path) -> None:
    sessile, ledger = Program(tmp_path), Ledger()
    choice = random.Random(20260702)  # noqa: S311
    for n in range(SERVER_KILLS):
        # Another person each time: tries that were under way count against guessing, and kills leave some.
        name = f"person-{n}"
        sessile.add(name)
        with sessile.started("serve", "--port", "0", "--workers", "2") as server:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                enough = asyncio.Event()
                people = [asyncio.create_task(come_and_go(client, name, ledger, enough, choice)) for _ in range(4)]
                await enough.wait()
                await asyncio.sleep(choice.random() / 5)
                server.kill()
                for outcome in await asyncio.gather(*people, return_exceptions=True):
                    assert isinstance(outcome, httpx.TransportError), outcome
        await ledger.hold_against(sessile.database)
    assert len(ledger.tokens) >= 4 * SERVER_KILLS
    assert len(ledger.revoked) >= SERVER_KILLS


async def come_and_go(
    client: httpx.AsyncClient, name: str, ledger: Ledger, enough: asyncio.Event, choice: random.Random
) -> None:
    """Sign in, and half the time out again, until the server is gone."""
    begun = 0
    while True:
        answer = await client.post("/api/v1/session", json={"username": name, "password": PERSON_PASSWORD})
        assert answer.status_code == 201, answer.text
        token, session = answer.cookies["__Host-sessile"], answer.json()["id"]
        client.cookies.clear()
        ledger.note(f"begun {token} {session}")
        begun += 1
        if choice.random() < 0.5 or begun == 1:
            ledger.note(f"revoking {session}")
            out = await client.delete("/api/v1/session", headers={"Cookie": f"__Host-sessile={token}"})
            assert out.status_code == 204, out.text
            ledger.note(f"revoked {session}")
        if begun == 2:
            enough.set()
