"""Several processes on a real cluster of three Valkey primaries, under load, while a slot is moved between them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sessile import Authority
from sessile.kernel.ids import ALPHABET
from tests.conftest import need
from tests.engines_redis import Cluster, cluster, valkey_binary
from tests.proof.proxy import Proxy
from tests.proof.trial import Outcome, Trial, running

pytestmark = pytest.mark.timeout(300)


def show(capsys: pytest.CaptureFixture[str], what: str, outcome: Outcome) -> None:
    with capsys.disabled():
        print(f"\n  Valkey, cluster of three, {what}: {outcome}")


async def key_by_key(engine: Cluster, trial: Trial, partition: str, to: int) -> None:
    """While it is under way, nothing in it is changed; the others go on."""
    await asyncio.to_thread(engine.begin_move, partition, to)
    revoking = asyncio.create_task(trial.revoke_some(0.15))
    for _ in range(10_000):
        await asyncio.sleep(0.02)
        if not await asyncio.to_thread(engine.move_keys, 10):
            break
    await asyncio.to_thread(engine.end_move)
    await revoking


async def at_once(engine: Cluster, trial: Trial, partition: str, to: int) -> None:
    revoking = asyncio.create_task(trial.revoke_some(0.15))
    await asyncio.to_thread(engine.move_at_once, partition, to)
    await revoking


@pytest.mark.requirement("ASVS V7.4.1")
async def test_a_slot_that_is_moved_away_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 7: the server that had it goes on answering pings. Nobody is let in by what it was the last to say, and
    nobody is told that he is not signed in while its keys are under way."""
    directory = f"sqlite:///{tmp_path}/directory.db"
    with cluster(valkey_binary(), tmp_path / "cluster") as engine:
        async with running(
            Authority(engine.url, directory=directory), [engine.url] * 2, options={"directory": directory}
        ) as trial:
            await trial.begin(120)
            partition, _ = Counter(session[4] for session in trial.sessions).most_common(1)[0]
            of = engine.owner(partition)
            await trial.revoke_some(0.1)
            for to, move in (((of + 1) % 3, key_by_key), (of, at_once)):
                async with trial.fault():
                    await move(engine, trial, partition, to)
                assert engine.owner(partition) == to
                await trial.revoke_some(0.1)
            await asyncio.sleep(4)
            await trial.revoke_some(0.1)
            outcome = await trial.balance()
    show(capsys, "a slot moved key by key, and back at once", outcome)
    _sound(outcome, trial)


async def test_a_primary_that_is_stopped_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 2, 9: its replica takes over, without what had not come to it, which is applied again before anybody is
    let in there. When it goes on it believes for a moment that it is a primary. Nodes follow without a restart."""
    directory = f"sqlite:///{tmp_path}/directory.db"
    with cluster(valkey_binary(), tmp_path / "cluster", 3, replicas=1) as engine:
        async with running(
            Authority(engine.url, directory=directory), [engine.url] * 2, options={"directory": directory}
        ) as trial:
            await trial.begin(90)
            await trial.revoke_some(0.1)
            partition = next(one for one in ALPHABET if engine.owner(one) == 1)
            async with trial.fault():
                engine.servers[1].signal(signal.SIGSTOP)
                await trial.revoke_some(0.3)
                await asyncio.to_thread(engine.until_taken_over, 1)
                await trial.revoke_some(0.2)
                engine.servers[1].signal(signal.SIGCONT)
                await trial.revoke_some(0.2)
            await asyncio.sleep(4)
            assert engine.owner(partition) == 4
            await trial.revoke_some(0.3)
            outcome = await trial.balance()
    show(capsys, "a primary stopped, replaced, and going on", outcome)
    _sound(outcome, trial)


ASIDE = "127.0.0.2"
"""Where one node sees the servers: behind proxies at ports of the same numbers, so that it can be cut off from some."""


@contextlib.asynccontextmanager
async def ways(engine: Cluster) -> AsyncIterator[list[Proxy]]:
    """To each server, at `ASIDE`. Servers that name no host are looked for where the one was that told of them."""
    async with contextlib.AsyncExitStack() as stack:
        made = [Proxy(("127.0.0.1", one.port), b"TRACKING", (ASIDE, one.port)) for one in engine.servers]
        for proxy in made:
            try:
                await stack.enter_async_context(proxy.run())
            except OSError:
                need(
                    ASIDE,
                    f"a second loopback address: ip addr add {ASIDE}/8 dev lo, or on macOS ifconfig lo0 alias {ASIDE}",
                )
        yield made


@pytest.mark.requirement("ASVS V7.4.1")
async def test_a_shards_old_primary_that_is_alive_and_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 2, 7: each primary with two replicas, and a quorum. One is replaced while it lives on, and answers whoever
    still asks it. A node that knows only it lets nobody in, though it is asked for the shard that it goes on serving;
    the others follow the new one without a restart."""
    directory, quorum = f"sqlite:///{tmp_path}/directory.db", "/0?reach=quorum&members=3"
    options = ("--cluster-preferred-endpoint-type", "unknown-endpoint", "--enable-debug-command", "local")
    with cluster(valkey_binary(), tmp_path / "cluster", 3, *options, replicas=2) as engine:
        everywhere = engine.url + quorum
        async with (
            ways(engine) as between,
            running(
                Authority(everywhere, directory=directory),
                [everywhere.replace("127.0.0.1", ASIDE), everywhere, everywhere], options={"directory": directory},
            ) as trial,
        ):  # fmt: skip
            await trial.begin(90)
            await trial.revoke_some(0.15)
            healthy = await trial.balance()
            old = 1
            partition = next(session[4] for session in trial.sessions if engine.owner(session[4]) == old)
            async with trial.fault():
                for way in (way for n, way in enumerate(between) if n != old):
                    way.swallow()
                await asyncio.to_thread(engine.replace, old)
                await trial.revoke_some(0.5)
                told = engine.servers[old].ask("GET", f"{{s:{partition}}}mark")
                assert not told.startswith("-"), "it goes on answering"
                isolated = await trial.balance()
            before = [await trial.last_let_in(node) for node in (0, 1, 2)]
            await asyncio.sleep(0.5)
            after = [await trial.last_let_in(node) for node in (0, 1, 2)]
    show(capsys, "with a quorum, in health", healthy)
    show(capsys, "a shard's old primary alive and alone", isolated)
    assert (healthy.late_accepts, healthy.false_denials, healthy.unavailable_in_health) == (0, 0, 0), trial.falsely
    assert isolated.revocations > 40
    assert (isolated.late_accepts, isolated.false_denials) == (0, 0), trial.falsely
    assert trial.reaches == {"quorum"}
    assert after[0] == before[0], "who knows only the old primary lets nobody in"
    assert after[1] > before[1]
    assert after[2] > before[2]


def _sound(outcome: Outcome, trial: Trial) -> None:
    assert outcome.revocations > 40
    assert outcome.checks > 1000
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0), trial.falsely
