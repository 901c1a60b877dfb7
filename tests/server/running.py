"""A server of this process behind a real uvicorn, on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from sessile import Authority
from sessile.server.state import Server

T = TypeVar("T")


class Running:
    """`url`: where it answers. `call`: run a coroutine of its authority, on its loop."""

    def __init__(self, app: FastAPI, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.state: Server = app.state.server
        self.authority: Authority = self.state.authority
        self._loop = loop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@contextlib.contextmanager
def running(app: FastAPI, *, tls: Path | None = None) -> Iterator[Running]:
    """`tls`: a file with a key and its certificate."""
    listening = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Listening(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Listening(
        uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=2, ssl_certfile=tls)
    )
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve([listening])

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield Running(app, f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}", loops[0])
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
