"""The examples for those that are no people: a resource server, one that introspects, and an MCP server."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from sessile import Authority, Issued
from sessile.kernel.budget import Budget
from sessile.kernel.trace import TraceKind
from tests.server.conftest import Client as Asker
from tests.server.conftest import opened

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/sessile.db"
    monkeypatch.setenv("SESSILE_DATABASE", url)
    return url


def example(name: str) -> ModuleType:
    """The program, new each time: it reads its environment."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def authority(database: str) -> AsyncIterator[Authority]:
    """What `sessile serve` has open, on the same file."""
    async with Authority(database) as opened:
        yield opened


async def delegated(authority: Authority, *scopes: str) -> Issued:
    alice = await authority.begin("alice")
    return await authority.delegate(alice.active, to="agent:a", scopes=set(scopes))


async def test_a_resource_server_checks_by_its_own_near_cache(authority: Authority) -> None:
    module = example("resource_server")
    agent = await delegated(authority, "reports:read")
    other = await delegated(authority, "reports:write")
    transport = httpx.ASGITransport(module.app)
    async with module.authority, httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

        async def ask(token: str) -> httpx.Response:
            return await client.get("/reports/7", headers={"Authorization": f"Bearer {token}"})

        for _ in range(3):
            answer = await ask(agent.token)
            assert answer.json() == {"report": 7, "for": "alice", "act": {"sub": "agent:a"}}
        assert module.authority.peek(agent.token, touch=False) is not None, "answered from memory"
        assert (await ask(other.token)).status_code == 403
        await authority.revoke(session=agent.active.session.id, cause="misbehaves")
        assert (await ask(agent.token)).json()["reason"] == "revoked"
    touched = await authority.store.traces(kind=TraceKind.TOUCH, subjects=[agent.active.session.id])
    assert {(one.what, one.times, one.decision) for one in touched} == {
        ("report:7", 3, "allowed"), ("token", 1, "revoked"),
    }  # fmt: skip


async def test_a_resource_server_asks_by_introspection(tmp_path: Path) -> None:
    module = example("introspecting_server")
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        await world.person("olivia", operator=True)
        top = (await world.authority.begin("olivia")).active
        key = await world.authority.mint_key(top, owner="service:reports", scopes={"introspect"})
        agent = await delegated(world.authority, "reports:read")
        away = False

        async def asker() -> httpx.AsyncClient:
            if away:
                return httpx.AsyncClient(base_url="http://127.0.0.1:9", timeout=1)
            return Asker(world.app, headers={"Authorization": f"Bearer {key.token}"})

        module.app.dependency_overrides[module.asker] = asker
        transport = httpx.ASGITransport(module.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

            async def ask(token: str) -> httpx.Response:
                return await client.get("/reports/7", headers={"Authorization": f"Bearer {token}"})

            assert (await ask(agent.token)).json() == {"report": 7, "for": "alice", "act": {"sub": "agent:a"}}
            assert (await ask("nonsense")).status_code == 401
            assert (await client.get("/reports/7")).status_code == 401
            plain = await delegated(world.authority, "other")
            assert (await ask(plain.token)).status_code == 403
            await world.authority.set_budget("agent:a", Budget(per_minute=1))
            assert [(await ask(agent.token)).status_code for _ in range(2)] == [200, 429]
            await world.authority.set_budget("agent:a", None)
            await world.authority.revoke(session=agent.active.session.id, cause="misbehaves")
            assert (await ask(agent.token)).status_code == 401
            away = True
            assert (await ask(agent.token)).status_code == 503


@pytest.mark.requirement("NHI10")
async def test_revoke_and_the_agents_next_call_of_a_tool_fails(authority: Authority) -> None:
    module = example("mcp_server")
    agent = await delegated(authority, "search")
    answered: list[int] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(module.authority)
        await stack.enter_async_context(module.app.router.lifespan_context(module.app))

        async def answer(response: httpx2.Response) -> None:
            answered.append(response.status_code)

        async def client(token: str) -> Client:
            http = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(module.app), headers={"Authorization": f"Bearer {token}"},
                event_hooks={"response": [answer]},
            )  # fmt: skip
            await stack.enter_async_context(http)
            return await stack.enter_async_context(
                Client(streamable_http_client("http://127.0.0.1:8102/mcp", http_client=http))
            )

        one = await client(agent.token)
        assert {tool.name for tool in (await one.list_tools()).tools} == {"search", "publish"}
        assert said(await one.call_tool("search", {"text": "x"})) == "nothing about 'x' for alice, says agent:a"
        refused = await one.call_tool("publish", {"text": "x"})
        assert refused.is_error
        assert "out_of_scope" in said(refused)
        # Each call stands on its own token, whoever else is connected.
        bob = await authority.begin("bob")
        other = await authority.delegate(bob.active, to="agent:b", scopes={"publish"})
        two = await client(other.token)
        assert said(await two.call_tool("publish", {"text": "x"})) == "published for bob"
        assert (await one.call_tool("publish", {"text": "x"})).is_error

        await authority.set_budget("agent:b", Budget(overall=1))
        await module.authority.add_up_budgets()
        assert not (await two.call_tool("publish", {"text": "x"})).is_error
        assert "over_budget" in said(await two.call_tool("publish", {"text": "x"}))

        await authority.revoke(session=agent.active.session.id, cause="misbehaves")
        with pytest.raises(MCPError):
            await one.call_tool("search", {"text": "x"})
        assert answered[-1] == 401
        await module.authority.traces.flush(module.authority.store)
        touched = await authority.store.traces(kind=TraceKind.TOUCH, subjects=[agent.active.session.id])
        assert {(each.what, each.decision) for each in touched} == {
            ("tool:search", "allowed"), ("scope:publish", "out_of_scope"), ("token", "revoked"),
        }  # fmt: skip


def said(result: Any) -> str:
    text: str = result.content[0].text
    return text
