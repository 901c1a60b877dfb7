"""Where the engine is, and the connections to it that are ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from sessile.errors import StoreUnavailable
from sessile.stores.redis.wire import Login, Push, Refused, Wire

_WAIT_MILLISECONDS = 400


class Servers:
    """One primary, known by its address or found through sentinels.

    Raises:
        ValueError: not a URL of this form.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme.startswith(("rediss", "valkeys"))
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.members = int(options.pop("members", "0"))
        """Of how many servers a majority has to acknowledge; 0: one engine is the reach."""
        reach = options.pop("reach", "quorum" if self.members else "engine")
        if (reach == "quorum") != (self.members > 0) or reach not in ("engine", "quorum") or self.members == 1:
            raise ValueError("reach=quorum goes with members=: how many servers there are, replicas included")
        self.durable = options.pop("durable", "no") == "yes"
        """Wait until the write is in the append-only files (WAITAOF), not only in memory."""
        if options:
            raise ValueError(f"not an option of a Redis store: {', '.join(sorted(options))}")
        self._sentinels: Sequence[tuple[str, int]] = ()
        self._service = ""
        tls = ssl.create_default_context() if secure else None
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        path = parts.path.strip("/")
        if parts.scheme == "redis+unix":
            self._address = (parts.path, 0)
            path = ""
        elif parts.scheme.endswith("+sentinel"):
            self._sentinels = _hosts(parts, 26379)
            self._service, _, path = path.partition("/")
            if not self._service:
                raise ValueError("a sentinel URL names its service: redis+sentinel://host:26379,host2:26379/service/0")
        else:
            (self._address,) = _hosts(parts, 6379)
        self.login = Login(username=username, password=password, database=int(path or "0"), tls=tls)
        self._sentinel_login = Login(username=None, password=None, database=0, tls=tls)
        self._wire: Wire | None = None
        self._opening: asyncio.Lock | None = None

    @property
    def replicas(self) -> int:
        """How many replicas have to acknowledge: with the primary a majority."""
        return self.members // 2

    async def locate(self) -> tuple[str, int]:
        """Where the primary is. Raises StoreUnavailable."""
        if not self._sentinels:
            return self._address
        said = "no sentinel answers"
        for host, port in self._sentinels:
            wire: Wire | None = None
            try:
                wire = await Wire.connect(host, port, self._sentinel_login, any_role=True)
                found = await wire.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            except (StoreUnavailable, Refused) as error:
                said = str(error)
                continue
            finally:
                if wire is not None:
                    wire.close()
            if found is not None:
                return found[0].decode(), int(found[1])
            said = f"the sentinel at {host}:{port} knows no service {self._service!r}"
        raise StoreUnavailable(said)

    async def connect(self, push: Push | None = None) -> Wire:
        """A new connection to the primary, the caller's alone. Raises StoreUnavailable."""
        host, port = await self.locate()
        return await Wire.connect(host, port, self.login, push)

    async def wire(self, partition: str) -> Wire:
        """The connection for commands on the partition's keys; opened when there is none. Raises StoreUnavailable."""
        wire = self._wire
        if wire is not None and wire.is_open:
            return wire
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._wire is None or not self._wire.is_open:
                self._wire = await self.connect()
            return self._wire

    def left(self, wire: Wire, partition: str) -> None:
        """The server at the other end is not the partition's primary any more."""
        wire.close()

    def only(self, identity: str) -> None:
        """Keep no connection to another server, or to another life of this one."""
        if self._wire is not None and self._wire.identity != identity:
            self._wire.close()

    async def quorum(self, wire: Wire) -> None:
        """Return when what was written on this connection before has reached what it is to reach.

        Raises:
            StoreUnavailable: it has not, in time. It may yet.
        """
        if self.durable:
            local, replicas = await wire.call("WAITAOF", "1", str(self.replicas), str(_WAIT_MILLISECONDS))
            reached = local >= 1 and replicas >= self.replicas
        elif self.members:
            reached = await wire.call("WAIT", str(self.replicas), str(_WAIT_MILLISECONDS)) >= self.replicas
        else:
            return
        if not reached:
            raise StoreUnavailable("no majority of the engine's servers acknowledges")

    def abandon(self) -> None:
        """In a forked child: the sockets are the parent's."""
        self._wire = None
        self._opening = None

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _hosts(parts: SplitResult, port: int) -> list[tuple[str, int]]:
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, port_text = urlsplit(f"//{place}").hostname, urlsplit(f"//{place}").port
        found.append((host or "localhost", port_text or port))
    return found
