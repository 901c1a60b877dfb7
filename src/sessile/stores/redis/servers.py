"""Where the engine is, and the connections to it that are ours."""

from __future__ import annotations

import asyncio
import ssl
import time
from binascii import crc_hqx
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from sessile.errors import StoreUnavailable
from sessile.kernel.ids import ALPHABET
from sessile.stores import limits
from sessile.stores.redis.wire import Login, Push, Refused, Wire, info_field

T = TypeVar("T")
Address = tuple[str, int]
"""Host and port; a path and 0."""


def slot(partition: str) -> int:
    """Which of a cluster's 16,384 slots all keys of a partition are in: the CRC16 of their hash tag."""
    return crc_hqx(f"s:{partition}".encode(), 0) % 16384


class Servers:
    """One primary, known by its address or found through sentinels; or the primaries of a cluster.

    Raises:
        ValueError: not a URL of this form.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme.startswith(("rediss", "valkeys"))
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.members = int(options.pop("members", "0"))
        """Of how many servers (in a cluster: of each primary with its replicas) a majority has to acknowledge; 0: one
        engine is the reach."""
        reach = options.pop("reach", "quorum" if self.members else "engine")
        if (reach == "quorum") != (self.members > 0) or reach not in ("engine", "quorum") or self.members == 1:
            raise ValueError("reach=quorum goes with members=: how many servers there are, replicas included")
        self.durable = options.pop("durable", "no") == "yes"
        """Wait until the write is in the append-only files (WAITAOF), not only in memory."""
        if options:
            raise ValueError(f"not an option of a Redis store: {', '.join(sorted(options))}")
        self.clustered = parts.scheme.endswith("+cluster")
        self._sentinels: Sequence[Address] = ()
        self._service = ""
        tls = ssl.create_default_context() if secure else None
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        path = parts.path.strip("/")
        self._addresses: Sequence[Address] = ()
        if parts.scheme == "redis+unix":
            self._addresses = [(parts.path, 0)]
            path = ""
        elif parts.scheme.endswith("+sentinel"):
            self._sentinels = _hosts(parts, 26379)
            self._service, _, path = path.partition("/")
            if not self._service:
                raise ValueError("a sentinel URL names its service: redis+sentinel://host:26379,host2:26379/service/0")
        else:
            self._addresses = _hosts(parts, 6379)
            if len(self._addresses) > 1 and not self.clustered:
                raise ValueError("several hosts are a cluster's, redis+cluster://…, or sentinels', redis+sentinel://…")
        self.login = Login(username=username, password=password, database=int(path or "0"), tls=tls)
        self._sentinel_login = Login(username=None, password=None, database=0, tls=tls)
        self._places: dict[str, Address] = {}
        self._hints: dict[str, tuple[Address, float]] = {}
        self._wires: dict[Address, Wire] = {}
        self._opening: dict[Address, asyncio.Lock] = {}
        self._away: dict[Address, tuple[float, str]] = {}
        """Servers that have not answered: until when nobody asks them, and what they did instead."""
        self.changed = asyncio.Event()
        """Set when a server has said that things are not where they were."""

    @property
    def moves(self) -> bool:
        """Whether a partition may be another server's from one moment to the next."""
        return self.clustered or bool(self._sentinels)

    @property
    def near_by(self) -> bool:
        """Whether all that the URL names is on this machine."""
        named = [*self._addresses, *self._sentinels]
        return all(port == 0 or host in ("localhost", "127.0.0.1", "::1") for host, port in named)

    @property
    def replicas(self) -> int:
        """How many replicas have to acknowledge: with the primary a majority."""
        return self.members // 2

    # -- where ----------------------------------------------------------------------------------------------------

    async def places(self) -> Mapping[Address, str]:
        """Ask which primary holds which partitions, as well as anybody knows: only what a server says of itself
        counts. Raises StoreUnavailable."""
        if self.clustered:
            known = dict.fromkeys([*self._wires, *self._places.values(), *self._addresses])
            self._places = await _newest([self._ask_server(address) for address in known])
            now = time.monotonic()
            self._hints = {partition: hint for partition, hint in self._hints.items() if hint[1] > now}
            self._places |= {partition: address for partition, (address, _) in self._hints.items()}
        else:
            where = self._addresses[0] if self._addresses else None
            if where is None:
                where = await _newest([self._ask_sentinel(address) for address in self._sentinels])
            self._places = dict.fromkeys(ALPHABET, where)
        found: dict[Address, str] = {}
        for partition, address in self._places.items():
            found[address] = found.get(address, "") + partition
        return found

    async def _ask_sentinel(self, address: Address) -> tuple[int, Address]:
        wire = await Wire.connect(*address, self._sentinel_login, any_role=True)
        try:
            found = await wire.call("SENTINEL", "MASTER", self._service)
        finally:
            wire.close()
        # In a failover it goes on naming the old primary until the new one is one.
        return int(found[b"config-epoch"]), (found[b"ip"].decode(), int(found[b"port"]))

    async def _ask_server(self, address: Address) -> tuple[int, dict[str, Address]]:
        wire = self._wires.get(address)
        mine = wire is None or not wire.is_open
        if wire is None or mine:
            wire = await Wire.connect(*address, self.login, any_role=True)
        try:
            info, rows = wire.call("CLUSTER", "INFO"), wire.call("CLUSTER", "SLOTS")
            told, ranges = await info, await rows
        finally:
            if mine:
                wire.close()
        if info_field(told, "cluster_state") != "ok":
            raise StoreUnavailable(f"{address[0]}:{address[1]} says that its cluster is not well")
        places = {
            partition: ((primary[0] or b"").decode() or address[0], int(primary[1]))
            for first, last, primary, *_ in ranges
            for partition in ALPHABET
            if first <= slot(partition) <= last
        }
        return int(info_field(told, "cluster_current_epoch") or 0), places

    # -- connections ----------------------------------------------------------------------------------------------

    async def connect(self, address: Address, push: Push | None = None) -> Wire:
        """A new connection to a primary, the caller's alone. Raises StoreUnavailable."""
        wire = await Wire.connect(*address, self.login, push)
        if self.durable:
            try:
                await self._can_be_durable(wire)
            except BaseException:
                wire.close()
                raise
        return wire

    async def _can_be_durable(self, wire: Wire) -> None:
        if not wire.is_valkey and tuple(map(int, wire.version.split(".")[:2])) < (7, 2):
            raise StoreUnavailable(
                f"durable=yes needs WAITAOF, which Redis has since 7.2 and this is {wire.version}: upgrade it, take"
                " Valkey, or leave durable= out of the URL"
            )
        try:
            aof = info_field(await wire.call("INFO", "persistence"), "aof_enabled")
        except Refused as error:
            raise StoreUnavailable(f"the engine refuses: {error}") from None
        if aof != "1":
            raise StoreUnavailable(
                "durable=yes needs an append-only file: set appendonly yes on the engine and its replicas, or leave"
                " durable= out of the URL"
            )

    def at(self, partition: str) -> Wire | None:
        """The connection for commands on the partition's keys, if it is open."""
        address = self._places.get(partition)
        wire = self._wires.get(address) if address is not None else None
        return wire if wire is not None and wire.is_open else None

    async def wire(self, partition: str) -> Wire:
        """The connection for commands on the partition's keys; opened when there is none. Raises StoreUnavailable."""
        if (wire := self.at(partition)) is not None:
            return wire
        address = self._places.get(partition)
        if address is None:
            self.changed.set()
            raise StoreUnavailable(f"no server is known that has slot {slot(partition)}")
        wire = self._wires.get(address)
        if wire is not None and wire.gave_up is not None:
            self._away[address] = wire.gave_up + limits.AWAY_SECONDS, "the engine did not answer"
            del self._wires[address]
        lock = self._opening.setdefault(address, asyncio.Lock())
        # A crowd of requests is not made to wait, one after the other, for an engine that has just not answered.
        until, error = self._away.get(address, (0.0, ""))
        if error and (lock.locked() or time.monotonic() < until):
            raise StoreUnavailable(error)
        async with lock:
            wire = self._wires.get(address)
            if wire is None or not wire.is_open:
                until, error = self._away.get(address, (0.0, ""))
                if time.monotonic() < until:
                    raise StoreUnavailable(error)
                try:
                    wire = self._wires[address] = await self.connect(address)
                except StoreUnavailable as refused:
                    self._away[address] = time.monotonic() + limits.REFUSED_SECONDS, str(refused)
                    self.elsewhere(partition)
                    raise
                self._away.pop(address, None)
            return wire

    def elsewhere(self, partition: str, error: Refused | None = None) -> None:
        """The partition is not where it was: MOVED says where it is, to the best of that server's knowledge."""
        words = str(error).split()
        if self.clustered and len(words) == 3 and words[0] == "MOVED":
            host, _, port = words[2].rpartition(":")
            here = self._places.get(partition)
            if (host or here) and port.isdigit():
                # Others may not have heard of it yet.
                address = self._places[partition] = (host or (here[0] if here else ""), int(port))
                self._hints[partition] = address, time.monotonic() + limits.HINT_SECONDS
        self.changed.set()

    def only(self, address: Address, identity: str) -> None:
        """Keep no connection to another life of that server."""
        wire = self._wires.get(address)
        if wire is not None and wire.identity != identity:
            wire.close()

    def keep(self, addresses: Sequence[Address]) -> None:
        """Close connections to servers that hold nothing."""
        for address in [one for one in self._wires if one not in addresses]:
            self._wires.pop(address).close()

    async def quorum(self, wire: Wire) -> None:
        """Return when what was written on this connection before has reached what it is to reach.

        Raises:
            StoreUnavailable: it has not, in time. It may yet.
        """
        if self.durable:
            local, replicas = await wire.call("WAITAOF", "1", str(self.replicas), str(limits.QUORUM_MILLISECONDS))
            reached = local >= 1 and replicas >= self.replicas
        elif self.members:
            reached = await wire.call("WAIT", str(self.replicas), str(limits.QUORUM_MILLISECONDS)) >= self.replicas
        else:
            return
        if not reached:
            raise StoreUnavailable("no majority of the engine's servers acknowledges")

    def abandon(self) -> None:
        """In a forked child: the sockets are the parent's."""
        self._places, self._wires, self._opening, self._away = {}, {}, {}, {}
        self.changed = asyncio.Event()

    def close(self) -> None:
        self.keep(())


async def _newest(asking: Sequence[Coroutine[Any, Any, tuple[int, T]]]) -> T:
    """What is true since the latest epoch. All are asked at once: one that is away holds nobody up, and one that is cut
    off has not heard of the last failover, and says so by its epoch.

    Raises StoreUnavailable: nobody answers.
    """
    tasks = {asyncio.ensure_future(each) for each in asking}
    newest: tuple[int, T] | None = None
    said = "nobody answers"
    waiting = set(tasks)
    try:
        while waiting:
            # After the first answer whoever else is well answers soon.
            done, waiting = await asyncio.wait(
                waiting, timeout=limits.OTHERS_SECONDS if newest else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for one in done:
                try:
                    answer = one.result()
                except (StoreUnavailable, Refused) as error:
                    said = str(error)
                else:
                    newest = answer if newest is None or answer[0] > newest[0] else newest
    finally:
        for one in tasks:
            one.cancel()
    if newest is None:
        raise StoreUnavailable(said)
    return newest[1]


def _hosts(parts: SplitResult, port: int) -> list[Address]:
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, port_text = urlsplit(f"//{place}").hostname, urlsplit(f"//{place}").port
        found.append((host or "localhost", port_text or port))
    return found
