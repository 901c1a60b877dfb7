"""`POST /api/v1/revoke` in numbers: no more than a finder needs, and nothing told by the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.authority.asking import SECOND
from tests.server.conftest import World, is_problem, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack, trusted_proxies=("127.0.0.1",))


@pytest.mark.requirement("NHI2")
async def test_a_network_has_so_many_tries_whatever_it_sends(world: World) -> None:
    top = await world.signed_in("alice")
    key = (await top.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["x"]})).json()["token"]
    holder = await world.bearing(key)

    async def end(token: str, ip: str) -> int:
        client = await world.client(headers={"X-Forwarded-For": ip})
        answer = await client.post("/api/v1/revoke", data={"token": token})
        if answer.status_code == 429:
            is_problem(answer, 429)
            assert answer.headers["retry-after"] == "1"
        return answer.status_code

    said = [await end("nonsense", "2001:db8::1") for _ in range(61)]
    assert said == [200] * 60 + [429]
    assert await end(key, "2001:db8::2") == 429, "the same /64, and a token that lives"
    assert (await holder.get("/api/v1/session")).status_code == 200
    assert await end("nonsense", "2001:db8:1::1") == 200
    world.clock.advance(SECOND)
    assert await end(key, "2001:db8::2") == 200
    assert (await holder.get("/api/v1/session")).status_code == 401
    assert await end("nonsense", "2001:db8::1") == 429
