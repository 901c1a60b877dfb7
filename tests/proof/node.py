"""A node: a process of its own that checks tokens over and over, and remembers when each was last let in.

Instants are CLOCK_MONOTONIC in nanoseconds, which on one machine is the same clock for every process.
Commands come as JSON lines on standard input; one JSON line answers each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from sessile import Authority
from sessile.kernel.decide import Denied

BUCKET_NS = 50_000_000
"""How finely it is remembered when the store could not be asked."""


class Node:
    """What is watched, and what was seen."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.tokens: dict[int, str] = {}
        self.checks = 0
        self.let_in: dict[int, int] = {}
        self.denied: dict[int, dict[str, tuple[int, int]]] = {}
        self.away: set[int] = set()

    async def watch(self) -> None:
        while True:
            for number, token in list(self.tokens.items()):
                # Before the check: one that starts before a revocation returns may still be answered yes.
                started = time.monotonic_ns()
                result = await self.authority.check(token)
                self.checks += 1
                if isinstance(result, Denied):
                    self._deny(number, result.reason.value, started)
                else:
                    self.let_in[number] = started
            await asyncio.sleep(0.001)

    def _deny(self, number: int, reason: str, started: int) -> None:
        if reason == "unavailable":
            self.away.add(started // BUCKET_NS)
            return
        # As it was answered: a check that waited may have begun before anybody asked for the revocation.
        ended = time.monotonic_ns()
        first, _ = self.denied.setdefault(number, {}).get(reason, (ended, 0))
        self.denied[number][reason] = (first, ended)

    def report(self) -> dict[str, Any]:
        return {"checks": self.checks, "let_in": self.let_in, "denied": self.denied, "away": sorted(self.away)}


async def main(url: str, options: dict[str, Any]) -> None:
    authority = Authority(url, **options)
    await authority.open()
    node = Node(authority)
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watching = asyncio.create_task(node.watch())
    while line := await reader.readline():
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "watch":
            node.tokens |= {int(number): token for number, token in command["tokens"].items()}
        elif command["do"] == "report":
            if watching.done():
                watching.result()
            answer = node.report()
        print(json.dumps(answer), flush=True)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await authority.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
