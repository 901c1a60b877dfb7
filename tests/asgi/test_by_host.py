"""The example of tenants, run as it is: one's token is nothing at the other, and everybody is everybody of one."""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "by_host.py"


@asynccontextmanager
async def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.chdir(folder)
    example = runpy.run_path(str(EXAMPLE))
    async with example["app"].router.lifespan_context(example["app"]):
        yield example


async def asked(app: Any, host: str, token: str | None = None) -> tuple[int, Any]:
    cookies = {} if token is None else {"__Host-sessile": token}
    url = f"https://{host}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url, cookies=cookies) as browser:
        answer = await browser.get("/me")
        return answer.status_code, answer.json().get("reason") if answer.is_error else answer.json()


async def test_a_tenant_is_an_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, monkeypatch) as example:
        acme, globex = example["TENANTS"].values()
        app = example["app"]
        one = str((await acme.begin("alice", method="password")).token)
        other = str((await globex.begin("alice", method="password")).token)
        assert await asked(app, "acme.example", one) == (200, "alice")
        assert await asked(app, "ACME.example:8443", one) == (200, "alice")
        assert await asked(app, "globex.example", one) == (401, "unknown")
        assert await asked(app, "acme.example", other) == (401, "unknown")
        assert (await asked(app, "initech.example", one))[0] == 421
        assert (await asked(app, "acme.example"))[1] == "missing"
        await acme.revoke(everyone=True, cause="the contract ended")
        assert await asked(app, "acme.example", one) == (401, "revoked")
        assert await asked(app, "globex.example", other) == (200, "alice")
        assert [event.name.value for event in await globex.store.events()].count("everyone.revoked") == 0
