"""One connection to an engine, ours alone: never reopened, never retried, read in one place, in wire order.

What a driver does for its users (pools, retries, connections that come back by themselves) is what the proof of the
near cache cannot have: a connection that was silently reopened answers pings and tracks nothing (review 3).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from sessile.errors import StoreUnavailable
from sessile.stores.limits import CONNECT_SECONDS, STATEMENT_SECONDS

Push = Callable[[list[Any]], None]

pack = cast(Callable[[tuple[str | bytes, ...]], bytes], hiredis.pack_command)
"""A command for the wire. (hiredis says of it that a command has one word.)"""


class Refused(Exception):
    """The engine answered with an error; its text is the argument."""


class Login:
    """What is said at the beginning of a connection. Hides the password in its repr."""

    def __init__(self, *, username: str | None, password: str | None, database: int, tls: ssl.SSLContext | None):
        self.username = username
        self.password = password
        self.database = database
        self.tls = tls

    def __repr__(self) -> str:
        return "Login(…)"


class Wire(asyncio.Protocol):
    """Commands go out in the order of the calls, and answers come back in it. `push` gets what comes unasked, in the
    turn in which it was read and before whatever follows it on the wire.
    """

    def __init__(self, push: Push | None = None) -> None:
        self._push = push
        self._reader = hiredis.Reader()
        self._pending: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self.patience = STATEMENT_SECONDS
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.identity = ""
        """Which server this is, in which life: see `greet`."""
        self.client = ""
        self.version = ""
        self.is_valkey = False
        self.gave_up: float | None = None
        """When (`time.monotonic`) it was given up for an answer that did not come."""
        self.run_id = ""

    @classmethod
    async def connect(
        cls, host: str, port: int, login: Login, push: Push | None = None, *, any_role: bool = False
    ) -> Wire:
        """A connection on which everything has been said that comes before the first command.

        `any_role`: a sentinel, or a replica to look at.

        Raises:
            StoreUnavailable: nobody answers, or it lets nobody in, or it is a replica.
        """
        loop = asyncio.get_running_loop()
        where = host if port == 0 else f"{host}:{port}"
        wire = cls(push)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if port == 0:
                    await loop.create_unix_connection(lambda: wire, host)
                else:
                    named = host if login.tls is not None else None
                    await loop.create_connection(lambda: wire, host, port, ssl=login.tls, server_hostname=named)
                await wire._greet(login, any_role)
        except (OSError, TimeoutError) as error:
            wire.close()
            raise StoreUnavailable(f"the engine at {where} does not answer: {str(error) or 'time-out'}") from error
        except Refused as error:
            wire.close()
            raise StoreUnavailable(f"the engine at {where} refuses: {error}") from error
        except BaseException:
            wire.close()
            raise
        return wire

    async def _greet(self, login: Login, any_role: bool) -> None:
        hello: list[str | bytes] = ["HELLO", "3"]
        if login.password is not None:
            hello += ["AUTH", login.username or "default", login.password]
        said = [self.call(*hello, "SETNAME", "sessile")]
        if login.database:
            said.append(self.call("SELECT", str(login.database)))
        said += [self.call("CLIENT", "ID"), self.call("INFO", "server"), self.call("INFO", "replication")]
        *_, client, server, replication = [await each for each in said]
        self.client = str(client)
        self.run_id = info_field(server, "run_id")
        valkey = info_field(server, "valkey_version")
        self.version, self.is_valkey = valkey or info_field(server, "redis_version"), bool(valkey)
        self.identity = "" if any_role else self.identity_in(replication)

    def identity_in(self, replication: bytes) -> str:
        """Which server this is, in which life, by its `INFO replication`: it changes at a restart (run id) and at a
        failover (replication id). Raises Refused where it is not a primary."""
        if info_field(replication, "role") != "master":
            raise Refused("it is a replica")
        return f"{self.run_id}:{info_field(replication, 'master_replid')}"

    # -- asyncio's side -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but its class.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    if self._push is not None:
                        self._push(reply)
                    continue
                _, future = self._pending.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    _fail(future, Refused(str(reply)))
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.close()

    # -- ours ---------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return not self.closed.done()

    def call(self, *words: str | bytes) -> asyncio.Future[Any]:
        """Send a command. The future raises Refused, and StoreUnavailable if the connection ends before the answer:
        what was asked then may or may not have been done."""
        return self.send(pack(words), 1)[0]

    def send(self, commands: bytes, count: int) -> list[asyncio.Future[Any]]:
        """Send so many commands that are packed, in one write. The futures are those of `call`."""
        futures: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in range(count)]
        if self._transport is None or self.closed.done():
            for future in futures:
                _fail(future, StoreUnavailable("the connection to the engine is lost"))
            return futures
        now = self._loop.time()
        self._pending.extend([(now, future) for future in futures])
        self._transport.write(commands)
        if self._watch is None:
            self._watch = self._loop.call_later(self.patience, self._look)
        return futures

    def _look(self) -> None:
        """Give up a connection that owes an answer for too long: one timer for all that is under way."""
        self._watch = None
        if not self._pending:
            return
        left = self._pending[0][0] + self.patience - self._loop.time()
        if left <= 0:
            self.gave_up = time.monotonic()
            self.close()
        else:
            self._watch = self._loop.call_later(left, self._look)

    def close(self) -> None:
        """Idempotent. What is under way fails."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._transport is not None:
            self._transport.abort()
        if not self.closed.done() and not self._loop.is_closed():
            self.closed.set_result(None)
        pending, self._pending = self._pending, deque()
        for _, future in pending:
            if not future.done():
                _fail(future, StoreUnavailable("the connection to the engine was lost, or it did not answer"))


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # of several that fail together, the first one that is awaited tells


def info_field(info: Any, name: str) -> str:
    """A field of INFO's answer; empty if it has none."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""
