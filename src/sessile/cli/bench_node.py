"""`sessile bench`'s processes: each accepts sessions until it denies them, and says when.

Such a process is told on standard input, a JSON document a line: first where the store is, then tokens to watch. It
answers on standard output in the same way. Instants are nanoseconds of the monotonic clock, which all processes of a
system share.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time

import msgspec

from sessile.authority import Authority
from sessile.cli.common import refuse
from sessile.kernel.decide import Denied
from sessile.kernel.reason import Reason

LOOK_SECONDS = 0.0005
"""Between two looks at all tokens: the finest that is measured."""
_ANSWER_SECONDS = 60.0
_ENDING_SECONDS = 5.0


class Place(msgspec.Struct, frozen=True):
    """Where the store is."""

    url: str
    directory: str | None = None
    """With Redis and Valkey."""

    def authority(self, *, create: bool, capacity: int = 100_000) -> Authority:
        return Authority(self.url, directory=self.directory, create=create, capacity=capacity)


class Watch(msgspec.Struct, frozen=True):
    tokens: list[str]
    seconds: float
    """Until it gives up those that are still accepted."""


class Seen(msgspec.Struct):
    """What one process saw of one token."""

    accepted: int = 0
    """When the last check began that accepted it."""
    denied: int | None = None
    """When the first check was over that denied it as ended; None: none did."""


async def watch(authority: Authority, wanted: Watch) -> list[Seen]:
    """Check each token again and again until it is denied."""
    seen = {token: Seen() for token in wanted.tokens}
    for token in wanted.tokens:
        if not await authority.check(token):
            raise RuntimeError("a live session was denied")
    _say({"ready": True})
    left = list(wanted.tokens)
    until = time.monotonic() + wanted.seconds
    while left and time.monotonic() < until:
        for token in left:
            began = time.monotonic_ns()
            result = await authority.check(token)
            if not isinstance(result, Denied):
                seen[token].accepted = began
            elif result.reason is Reason.REVOKED:
                seen[token].denied = time.monotonic_ns()
        left = [token for token in left if seen[token].denied is None]
        await asyncio.sleep(LOOK_SECONDS)
    return list(seen.values())


def _say(what: object) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


async def main() -> None:
    loop = asyncio.get_running_loop()
    place = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.readline), type=Place)
    async with place.authority(create=False) as authority:
        _say({"ready": True})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _say(await watch(authority, msgspec.json.decode(line, type=Watch)))


class Nodes:
    """The other end of the pipes: so many processes, each with connections and a near cache of its own."""

    def __init__(self, place: Place, processes: int) -> None:
        self._place = place
        self._wanted = processes
        self._all: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Nodes:
        command = (sys.executable, "-m", "sessile.cli.bench_node")
        pipe = asyncio.subprocess.PIPE
        try:
            for _ in range(self._wanted):
                self._all.append(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
            # The URL may carry a password: it goes over the pipe, not into the list of processes.
            self._tell(self._place)
            await self._answers()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._all:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._all:
            try:
                await asyncio.wait_for(process.wait(), _ENDING_SECONDS)
            except (TimeoutError, asyncio.CancelledError):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    async def watch(self, tokens: list[str], *, seconds: float) -> None:
        """Returns when every process has accepted each of them."""
        self._tell(Watch(tokens, seconds))
        await self._answers()

    async def seen(self) -> list[list[Seen]]:
        """By process, what it saw of each token."""
        return [msgspec.convert(answer, list[Seen]) for answer in await self._answers()]

    def _tell(self, what: object) -> None:
        for process in self._all:
            if process.stdin is not None:
                process.stdin.write(msgspec.json.encode(what) + b"\n")

    async def _answers(self) -> list[object]:
        lines = await asyncio.wait_for(asyncio.gather(*map(_line, self._all)), _ANSWER_SECONDS)
        return [msgspec.json.decode(line) for line in lines]


async def _line(process: asyncio.subprocess.Process) -> bytes:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        refuse("one of the processes that check ended early; what it said is above")
    return line


if __name__ == "__main__":
    # Ctrl-C is for the one that started this one, whose end closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main())
