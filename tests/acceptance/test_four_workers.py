"""A revocation by another process is seen by the very next request, at every worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from sessile import Authority, Client
from tests.program import Program

SESSIONS = 200
CONNECTIONS = 40


@pytest.mark.requirement("ASVS V7.4.1", "ASVS V7.4.5")
async def test_the_next_request_of_every_session_is_denied_at_any_worker(tmp_path: Path) -> None:
    sessile = Program(tmp_path)
    sessile.add("alice")
    with sessile.started("serve", "--workers", "4", "--port", "0") as server:
        async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
            tokens = [
                str((await authority.begin("alice", method="password", client=Client(label=f"browser {n}"))).token)
                for n in range(SESSIONS)
            ]

        async def ask(client: httpx.AsyncClient, token: str) -> httpx.Response:
            return await client.get("/api/v1/session", headers={"Cookie": f"__Host-sessile={token}"})

        async def ask_all(clients: list[httpx.AsyncClient]) -> list[httpx.Response]:
            async def one(client: httpx.AsyncClient, mine: list[str]) -> list[httpx.Response]:
                return [await ask(client, token) for token in mine]

            # Each connection sticks to a worker, so each client has some sessions of its own.
            parts = [one(client, tokens[n::CONNECTIONS]) for n, client in enumerate(clients)]
            return [response for part in await asyncio.gather(*parts) for response in part]

        clients = [
            httpx.AsyncClient(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=1))
            for _ in range(CONNECTIONS)
        ]
        try:
            # Twice, so that every worker answers from its near cache by the time of the revocation.
            for _ in range(2):
                assert Counter(response.status_code for response in await ask_all(clients)) == {200: SESSIONS}
            receipt = await asyncio.to_thread(sessile.json, "revoke", "--principal", "alice")
            answers = await ask_all(clients)
        finally:
            await asyncio.gather(*(client.aclose() for client in clients))
        assert receipt["revoked"] == SESSIONS
        assert Counter((answer.status_code, answer.json().get("reason")) for answer in answers) == {
            (401, "revoked"): SESSIONS
        }
