"""A server on a SQLite file, with its people, asked through HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from sessile import Authority, Issued, Method
from sessile import Client as Device
from sessile.server import Settings, create_app
from sessile.server.state import Server
from sessile.testing import ManualClock

PASSWORD = "correct horse battery"
NEW = "seven green bottles"
COOKIE = "__Host-sessile"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}
MINUTE = timedelta(minutes=1)
LAPTOP = Device(label="Firefox on Linux", ip="192.0.2.7", user_agent="Mozilla/5.0")
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
FORM_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Client(httpx.AsyncClient):
    """One program or browser, with its cookies."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(transport=httpx.ASGITransport(app), base_url="https://localhost", **options)

    @property
    def cookie(self) -> str | None:
        return self.cookies.get(COOKIE)

    async def form_token(self, path: str) -> str:
        """The token in the first form of a page."""
        found = FORM_TOKEN.search((await self.get(path)).text)
        assert found is not None, path
        return found[1]

    async def submit(self, path: str, *, page: str | None = None, **fields: str) -> httpx.Response:
        """Send a form as the page shows it (`page`: the page that has the form)."""
        return await self.post(path, data={**fields, "form_token": await self.form_token(page or path)})


class World:
    """The server, and people who come to it."""

    def __init__(self, app: FastAPI, clock: ManualClock, stack: AsyncExitStack, folder: Path) -> None:
        self.app = app
        self.clock = clock
        self.folder = folder
        self._stack = stack

    @property
    def server(self) -> Server:
        server: Server = self.app.state.server
        return server

    @property
    def authority(self) -> Authority:
        return self.server.authority

    async def person(self, name: str, *, password: bool = False, operator: bool = False) -> None:
        await self.authority.register(name, scopes={"*", "operator"} if operator else None)
        if password:
            await self.server.passwords.set(name, PASSWORD)

    async def client(self, **options: Any) -> Client:
        return await self._stack.enter_async_context(Client(self.app, **options))

    async def signed_in(self, name: str, *, operator: bool = False, **options: Any) -> Client:
        """A client with a session of that person, who is made if there is none. No password is hashed for it."""
        if await self.authority.store.principal(name=name) is None:
            await self.person(name, operator=operator)
        issued = await self.authority.begin(name, method=Method.PASSWORD, client=LAPTOP)
        return await self.holding(issued, **options)

    async def holding(self, issued: Issued, **options: Any) -> Client:
        client = await self.client(**options)
        client.cookies.set(COOKIE, str(issued.token), domain="localhost.local")
        return client

    async def bearing(self, token: str) -> Client:
        return await self.client(headers={"Authorization": f"Bearer {token}"})

    async def browser(self, name: str, *, operator: bool = False) -> Client:
        """As `signed_in`, with the headers of a browser that asks for a page of its own site."""
        return await self.signed_in(name, operator=operator, headers=BROWSER)


async def opened(folder: Path, stack: AsyncExitStack, **settings: Any) -> World:
    clock = ManualClock()
    app = create_app(Settings(**{"database": f"sqlite:///{folder}/sessile.db", **settings}), clock=clock, hasher=CHEAP)
    await stack.enter_async_context(app.router.lifespan_context(app))
    return World(app, clock, stack, folder)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack)


def is_problem(response: httpx.Response, status: int, reason: str | None = None, cure: str | None = None) -> None:
    """The answer is problem details of that status, and of that reason and cure where they are named."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json", response.text
    found = response.json()
    assert found["status"] == status
    assert found["type"]
    assert found["title"]
    assert found["detail"]
    if reason is not None:
        assert found["reason"] == reason
    if cure is not None:
        assert found["cure"] == cure
