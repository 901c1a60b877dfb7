"""A trial: nodes under load, revocations from outside, faults in between; then the books are balanced.

What counts: a check that started after a revocation had returned and was let in (late accept); a denial of a session
that nobody had asked to revoke (false denial); a store that could not be asked although nothing was broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from sessile import Authority
from sessile.errors import RevocationUncertain, StoreUnavailable
from tests.proof.node import BUCKET_NS

NODE = Path(__file__).with_name("node.py")
ROOT = NODE.parents[2]
RECOVERY_NS = 4_000_000_000
"""After a fault, health is expected again: connections are made anew with a pause of at most a second in between."""


class Outcome(NamedTuple):
    revocations: int
    uncertain: int
    checks: int
    late_accepts: int
    false_denials: int
    unavailable_in_health: int

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._asdict().items())


class Process:
    """One node's process."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._arguments = [sys.executable, str(NODE), url, json.dumps(options)]
        self.reports: list[dict[str, Any]] = []
        self._tokens: dict[int, str] = {}
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )  # fmt: skip

    async def ask(self, **command: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask, command)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a node died: {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def watch(self, tokens: dict[int, str]) -> None:
        self._tokens |= tokens
        await self.ask(do="watch", tokens=tokens)

    async def report(self) -> None:
        self.reports.append(await self.ask(do="report"))

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def kill_and_restart(self) -> None:
        """What it has seen is kept: asked for before it dies."""
        await self.report()
        self.process.kill()
        self._wait()
        self._start()
        await self.watch({})
        await self.ask(do="watch", tokens=self._tokens)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self._wait()

    def _wait(self) -> None:
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


class Trial:
    """`authority` revokes, from this process; `nodes` check."""

    def __init__(self, authority: Authority, nodes: list[Process], seed: int) -> None:
        self.authority = authority
        self.nodes = nodes
        self.random = random.Random(seed)  # noqa: S311 - which fault comes when
        self._sessions: dict[int, str] = {}
        self._people: dict[int, str] = {}
        self._asked: dict[int, int] = {}
        self._returned: dict[int, int] = {}
        self._broken: list[list[int]] = []
        self.uncertain = 0
        self.falsely: list[tuple[str, str]] = []
        """Sessions that were denied without anybody's asking, and the reason given."""
        self.reaches: set[str] = set()
        """What the receipts said had acknowledged."""

    async def begin(self, count: int) -> None:
        """Sessions that every node checks from now on."""
        tokens = {}
        for number in range(len(self._sessions), len(self._sessions) + count):
            # Three sessions of each person: some are revoked one by one, some all at once.
            name = f"person-{number // 3}"
            issued = await self.authority.begin(name, method="password")
            self._sessions[number] = issued.active.session.id
            self._people[number] = name
            tokens[number] = str(issued.token)
        await asyncio.gather(*(node.watch(tokens) for node in self.nodes))

    @property
    def sessions(self) -> list[str]:
        """Ids of all that were begun."""
        return list(self._sessions.values())

    @property
    def revoked(self) -> int:
        """How many sessions are over by revocations that have returned."""
        return len(self._returned)

    async def revoke(self, number: int) -> None:
        """Revoke one session, or with it all of the person's."""
        if number in self._asked:
            return
        whole = self.random.random() < 0.4
        ended = [n for n, name in self._people.items() if name == self._people[number]] if whole else [number]
        now = time.monotonic_ns()
        for each in ended:
            self._asked.setdefault(each, now)
        while True:
            try:
                if whole:
                    receipt = await self.authority.revoke(principal=self._people[number], cause="trial")
                else:
                    receipt = await self.authority.revoke(session=self._sessions[number], cause="trial")
                self.reaches.add(receipt.reach)
                break
            except (RevocationUncertain, StoreUnavailable):
                self.uncertain += 1
                await asyncio.sleep(0.2)
        returned = time.monotonic_ns()
        for each in ended:
            self._returned.setdefault(each, returned)

    async def revoke_some(self, share: float, pause: float = 0.02) -> None:
        """Revoke a share of what is alive, several at a time."""
        alive = [number for number in self._sessions if number not in self._asked]
        chosen = self.random.sample(alive, int(len(alive) * share))
        gate = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with gate:
                await self.revoke(number)

        tasks = []
        for number in chosen:
            tasks.append(asyncio.create_task(one(number)))
            await asyncio.sleep(pause)
        await asyncio.gather(*tasks)

    @contextlib.asynccontextmanager
    async def fault(self) -> AsyncIterator[None]:
        """While something is broken, and until it has recovered, a store may be unavailable."""
        span = [time.monotonic_ns(), 1 << 63]
        self._broken.append(span)
        try:
            yield
        finally:
            span[1] = time.monotonic_ns() + RECOVERY_NS

    async def balance(self) -> Outcome:
        """Let the nodes look once more at everything, then count."""
        await asyncio.sleep(1.0)
        await asyncio.gather(*(node.report() for node in self.nodes))
        late = false = away = checks = 0
        for report in (report for node in self.nodes for report in node.reports):
            checks += report["checks"]
            for number, started in report["let_in"].items():
                late += started > self._returned.get(int(number), started)
            for number, reasons in report["denied"].items():
                asked = self._asked.get(int(number))
                wrong = [reason for reason, (first, _) in reasons.items() if asked is None or first < asked]
                false += len(wrong)
                self.falsely += [(self._sessions[int(number)], reason) for reason in wrong]
            away += sum(not self._was_broken(bucket * BUCKET_NS) for bucket in report["away"])
        return Outcome(len(self._returned), self.uncertain, checks, late, false, away)

    async def last_let_in(self, node: int) -> int:
        """When a node last let anybody in."""
        instants = (await self.nodes[node].ask(do="report"))["let_in"].values()
        return max(instants, default=0)

    def _was_broken(self, instant: int) -> bool:
        return any(began - BUCKET_NS <= instant <= ended for began, ended in self._broken)


Fault = Callable[[Trial], Awaitable[None]]


async def pauses(trial: Trial) -> None:
    """A node is stopped for longer than Δ while sessions end, and goes on."""
    node = trial.random.choice(trial.nodes)
    async with trial.fault():
        node.pause()
        try:
            await trial.revoke_some(0.15)
        finally:
            node.go_on()


async def kills(trial: Trial) -> None:
    """A node is killed and starts again."""
    async with trial.fault():
        await trial.random.choice(trial.nodes).kill_and_restart()
    await trial.revoke_some(0.15)


@contextlib.asynccontextmanager
async def running(
    authority: Authority, urls: list[str], *, options: dict[str, Any] | None = None, seed: int = 1
) -> AsyncIterator[Trial]:
    """A trial with one node process for each URL."""
    nodes = [Process(url, options or {}) for url in urls]
    try:
        async with authority:
            yield Trial(authority, nodes, seed)
    finally:
        for node in nodes:
            node.stop()
