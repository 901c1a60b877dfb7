"""The `sessile` program as a user has it: commands that end, and servers that go on until they are stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("sessile")
OPERATOR_PASSWORD = "lighthouse in a storm"
PERSON_PASSWORD = "orange boats at noon"


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would make a command behave otherwise than it does for a stranger."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SESSILE_")}
    return {**kept, "TZ": "UTC", **more}


class Program:
    """Runs commands in a folder of its own. `database` is where they look by themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "sessile.db"

    def run(self, *arguments: str, input: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments], cwd=self.folder, env=environment(**variables), input=input or "",
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def ok(self, *arguments: str, input: str | None = None) -> str:
        """What a command says that has to succeed."""
        done = self.run(*arguments, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str, input: str | None = None) -> Any:
        return json.loads(self.ok(*arguments, "--json", input=input))

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        answer = self.json(*arguments)
        items: list[dict[str, Any]] = answer["items"]
        return items

    def fails(self, status: int, *arguments: str, input: str | None = None) -> str:
        """The one line on stderr of a command that has to fail."""
        done = self.run(*arguments, input=input)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("sessile: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def add(self, name: str, password: str = PERSON_PASSWORD, *more: str) -> None:
        self.ok("user", "add", name, "--password-stdin", *more, input=password + "\n")

    @contextlib.contextmanager
    def started(
        self, *arguments: str, meanwhile: Callable[[subprocess.Popen[str]], None] | None = None, **variables: str
    ) -> Iterator[Server]:
        """A `serve` or a `demo`, in a process group of its own, once it has said in JSON that it is ready.

        `meanwhile` is done first, while it starts.
        """
        process = subprocess.Popen(
            [PROGRAM, *arguments, "--json"], cwd=self.folder, env=environment(**variables), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            if meanwhile is not None:
                meanwhile(process)
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.communicate(timeout=10)[1])
            yield Server(process, json.loads(line))
        finally:
            stop(process)


class Server:
    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.url: str = ready["url"]

    def kill(self) -> None:
        """SIGKILL to the server and its workers, all at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that a test started, with all that it started; politely first."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
