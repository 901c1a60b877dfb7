"""The examples as modules, as `python examples/NAME.py` has them."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sessile import Authority
from tests.program import environment

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSWORD = "orange boats at noon"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import one by name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (EXAMPLES / f"{name}.py").exists():
            del sys.modules[name]


def served(app: FastAPI, authority: Authority) -> FastAPI:
    """For `tests.server.running`, which wants to know the authority."""
    app.state.server = SimpleNamespace(authority=authority)
    return app


@asynccontextmanager
async def opened(app: FastAPI) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """The application, started; makes browsers of it."""
    browsers: list[httpx.AsyncClient] = []

    def browser(**headers: str) -> httpx.AsyncClient:
        made = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="https://localhost",
            headers={"Sec-Fetch-Site": "same-origin", **headers},
            follow_redirects=True,
        )
        browsers.append(made)
        return made

    async with lifespan(app):
        yield browser
        for one in browsers:
            await one.aclose()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start it and stop it, as a server does."""
    to, said = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    running = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to.get, said.put))
    await to.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await to.put({"type": "lifespan.shutdown"})
        await running


async def sign_in(browser: httpx.AsyncClient, name: str) -> httpx.Response:
    return await browser.post("/login", data={"username": name, "password": PASSWORD})


@contextmanager
def started(name: str, folder: Path, *arguments: str) -> Iterator[tuple[str, str]]:
    """`python examples/NAME.py …`; where it answers, and the password it says."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        said = re.match(r"(http://localhost:\d+) .* / (\S+): ", line)
        assert said, (line, process.communicate(timeout=10)[1] if not line else "")
        yield said[1], said[2]
    finally:
        process.terminate()
        _, complaints = process.communicate(timeout=30)
    assert complaints == ""
