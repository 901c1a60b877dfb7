"""Several processes on a real Valkey primary with two replicas and three sentinels: the primary is cut off from all of
them and lives on, and the sentinels make another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sessile import Authority
from tests.engines_redis import Sentinel, Server, server, valkey_binary
from tests.proof.proxy import Proxy
from tests.proof.trial import running

pytestmark = pytest.mark.timeout(300)


async def until(so: Callable[[], bool]) -> None:
    for _ in range(400):
        if await asyncio.to_thread(so):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


@pytest.mark.requirement("ASVS V7.4.1")
async def test_a_failover_with_the_old_primary_alive_and_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Review 2. Two nodes ask the sentinels, and follow the new primary without a restart. A third one is on the old
    primary's side, which answers it all along and knows of no revocation since: it lets nobody in."""
    binary, directory, quorum = valkey_binary(), f"sqlite:///{tmp_path}/directory.db", "?reach=quorum&members=3"
    async with contextlib.AsyncExitStack() as stack:
        old = stack.enter_context(server(binary, tmp_path / "old"))
        # All that replicas, sentinels and their nodes know of it is this way to it.
        way = await stack.enter_async_context(Proxy(("127.0.0.1", old.port), b"TRACKING").run())
        follow = ("--replicaof", "127.0.0.1", str(way.port), "--replica-announce-ip", "127.0.0.1")
        # The proxy runs on this loop: nothing that needs it may be waited for in it.
        replicas = []
        for name in ("one", "two"):
            started = await asyncio.to_thread(_start, binary, tmp_path / name, follow)
            stack.callback(started.stop)
            replicas.append(started)
        await until(lambda: old.ask("INFO", "replication").count("state=online") == 2)
        sentinels = []
        for number in range(3):
            sentinel = await asyncio.to_thread(Sentinel, binary, tmp_path / f"sentinel{number}", way.port)
            stack.callback(sentinel.stop)
            sentinels.append(sentinel)
        for sentinel in sentinels:
            await until(lambda: _sees(sentinel, "num-slaves", "2") and _sees(sentinel, "num-other-sentinels", "2"))  # noqa: B023
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        by_sentinel, beside = f"redis+sentinel://{hosts}/service/0{quorum}", f"redis://127.0.0.1:{old.port}/0{quorum}"
        authority = Authority(by_sentinel, directory=directory)
        async with running(authority, [by_sentinel, by_sentinel, beside], options={"directory": directory}) as trial:
            await trial.begin(90)
            await trial.revoke_some(0.15)
            async with trial.fault():
                way.swallow()
                await until(lambda: any("role:master" in one.ask("INFO", "replication") for one in replicas))
                # It lives, and answers whoever still asks it.
                assert "role:master" in old.ask("INFO", "replication")
                await trial.revoke_some(0.4)
                assert "role:master" in old.ask("INFO", "replication")
                sentinels[0].stop()
                await trial.revoke_some(0.2)
                way.let_through()
                await until(lambda: "role:slave" in old.ask("INFO", "replication"))
            await asyncio.sleep(4)
            away_on_the_old_side = trial.nodes.pop()
            await trial.revoke_some(0.3)
            outcome = await trial.balance()
            trial.nodes.append(away_on_the_old_side)
            outside = await trial.balance()
    with capsys.disabled():
        print(f"\n  Valkey, failover by sentinels, the old primary alive and alone: {outcome}")
    assert outcome.revocations > 40
    assert outcome.checks > 1000
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0), trial.falsely
    assert (outside.late_accepts, outside.false_denials) == (0, 0), trial.falsely


def _start(binary: str, folder: Path, options: tuple[str, ...]) -> Server:
    return Server(binary, folder, *options)


def _sees(sentinel: Sentinel, field: str, value: str) -> bool:
    words = sentinel.ask("SENTINEL", "MASTER", "service").split("\r\n")
    return field in words and words[words.index(field) + 2] == value
