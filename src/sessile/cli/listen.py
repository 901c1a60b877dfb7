"""Listening: the sockets, and uvicorn on them with one process or several."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from sessile.cli.common import BadUsage, refuse

BACKLOG = 2048
GRACE_SECONDS = 5
"""How long requests in flight may take once the server is told to stop."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address that `host` names, all on one port; 0: a free one.

    Raises:
        Refused: the port is taken, or is not this user's. BadUsage: no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise BadUsage(f"{host!r} is no address of this machine: use 127.0.0.1, ::1 or a name that has one") from None
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bind(family, kind, protocol, address, port))
        except OSError as error:
            # A machine without IPv6 still names ::1 as a localhost.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and len(found) > 1:
                continue
            for one in sockets:
                one.close()
            refuse(_cannot_bind(error, host, port))
        if port == 0:
            port = sockets[0].getsockname()[1]
    if not sockets:
        raise BadUsage(f"{host!r} is no address of this machine")
    return sockets


def _bind(family: int, kind: int, protocol: int, address: Any, port: int) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address[0], port, *address[2:]))
        # Bound alone is not taken: the port is ours from here on.
        one.listen(BACKLOG)
        one.set_inheritable(True)
    except BaseException:
        one.close()
        raise
    return one


def _cannot_bind(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken: stop what listens there, or choose another with --port (0: a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} is not this user's to take: choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: use 127.0.0.1, or one that `ip address` lists"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def serve_one(app: Any, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve in this process until a signal. Returns when everything has stopped; `ready` is called once requests
    are answered."""
    server = _Server(_config(app), ready)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn gives a signal on to whoever had it before, once it has stopped: nobody, so that the caller cleans up.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, stop)
    server.run(sockets=sockets)


def serve_many(app: str, workers: int, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve in `workers` processes, each of which imports and calls `app`."""
    config = _config(
        app, factory=True, workers=workers, timeout_notify=1, callback_notify=functools.partial(_not_alone, os.getpid())
    )
    _Workers(config, sockets, ready).run()


def _config(app: Any, **more: Any) -> uvicorn.Config:
    # Forwarding headers are the application's to judge; what a request asked for is the audit record's to keep.
    return uvicorn.Config(
        app, lifespan="on", ws="none", proxy_headers=False, server_header=False, access_log=False,
        log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS, backlog=BACKLOG, **more,
    )  # fmt: skip


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


class _Workers(Multiprocess):
    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
        super().__init__(config, sockets=sockets)
        self._ready: Callable[[], None] | None = ready

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        if self._ready is not None and all(process.is_ready(timeout=1) for process in self.processes):
            self._ready()
            self._ready = None


async def _not_alone(parent: int) -> None:
    """A worker whose parent was killed stops by itself, and frees the port."""
    if os.getppid() != parent:
        with contextlib.suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
