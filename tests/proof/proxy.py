"""A TCP proxy of the test's own, between a node and an engine: it can cut connections, or swallow what they carry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Proxy:
    """Forwards to `host:port` or a Unix socket. `marker` tells one connection from the others by what is sent on it
    (`b"LISTEN"`, `b"TRACKING"`): the one that brings the invalidations."""

    def __init__(self, upstream: tuple[str, int] | str, marker: bytes, at: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._upstream = upstream
        self._marker = marker
        self._at = at
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._marked: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._accept, *self._at)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.sleep(0)

    def cut(self, *, marked_only: bool = False) -> int:
        """Close connections, as a firewall that loses its state does; how many."""
        chosen = [near for near in self._pairs if not marked_only or near in self._marked]
        for near in chosen:
            for side in (near, self._pairs[near]):
                side.transport.abort()
        return len(chosen)

    def swallow(self) -> None:
        """From now on nothing gets through, and nothing is closed: a cable that was pulled."""
        self._open.clear()

    def let_through(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._upstream, str):
                there_reader, there = await asyncio.open_unix_connection(self._upstream)
            else:
                there_reader, there = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._pairs[writer] = there
        try:
            await asyncio.gather(self._pump(reader, there, writer), self._pump(there_reader, writer, None))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._pairs.pop(writer, None)
            self._marked.discard(writer)
            for side in (writer, there):
                side.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, near: asyncio.StreamWriter | None
    ) -> None:
        while data := await source.read(65536):
            if near is not None and self._marker in data:
                self._marked.add(near)
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError
