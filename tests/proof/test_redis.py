"""Several processes on one real Valkey, with the directory in SQLite, under load: stopped, killed, cut off, the engine
restarted with what it had, and from an old snapshot."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sessile import Authority
from tests.engines_redis import Server, server, valkey_binary
from tests.proof.proxy import Proxy
from tests.proof.trial import Outcome, kills, pauses, running

pytestmark = pytest.mark.timeout(300)


def show(capsys: pytest.CaptureFixture[str], what: str, outcome: Outcome) -> None:
    with capsys.disabled():
        print(f"\n  Valkey, {what}: {outcome}")


@contextlib.asynccontextmanager
async def proxies(engine: Server, count: int) -> AsyncIterator[list[Proxy]]:
    """One for each node."""
    async with contextlib.AsyncExitStack() as stack:
        made = [Proxy(("127.0.0.1", engine.port), b"TRACKING") for _ in range(count)]
        for proxy in made:
            await stack.enter_async_context(proxy.run())
        yield made


@pytest.mark.requirement("ASVS V7.4.1")
async def test_nodes_that_are_stopped_killed_and_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 3, 8, 9: a node that missed an invalidation has stopped trusting its cache when `revoke` returns."""
    directory = f"sqlite:///{tmp_path}/directory.db"
    with server(valkey_binary(), tmp_path / "engine") as engine:
        async with proxies(engine, 3) as between:
            authority = Authority(engine.url, directory=directory)
            urls = [f"redis://127.0.0.1:{proxy.port}" for proxy in between]
            async with running(authority, urls, options={"directory": directory}) as trial:
                await trial.begin(120)
                await trial.revoke_some(0.1)
                await pauses(trial)
                for proxy, everything in zip(between, (False, True, False), strict=True):
                    async with trial.fault():
                        assert proxy.cut(marked_only=not everything)
                        await trial.revoke_some(0.1)
                async with trial.fault():
                    between[0].swallow()
                    await trial.revoke_some(0.1)
                    between[0].let_through()
                await kills(trial)
                await asyncio.sleep(4)
                await trial.revoke_some(0.1)
                outcome = await trial.balance()
    show(capsys, "3 nodes stopped, killed and cut off", outcome)
    assert outcome.revocations > 40
    assert outcome.checks > 1000
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0)


async def test_an_engine_that_forgot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 1: a snapshot, then revocations, then the power fails. The engine comes back with the snapshot; what had
    been revoked stays revoked, since the journal is applied again before anybody is let in; nobody else is shut out."""
    directory = f"sqlite:///{tmp_path}/directory.db"
    with server(valkey_binary(), tmp_path / "engine") as engine:
        authority = Authority(engine.url, directory=directory)
        async with running(authority, [engine.url] * 2, options={"directory": directory}) as trial:
            await trial.begin(90)
            await trial.revoke_some(0.2)
            assert engine.ask("SAVE").startswith("+OK")
            await trial.revoke_some(0.3)
            async with trial.fault():
                await asyncio.to_thread(engine.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(engine.start)
            await asyncio.sleep(4)
            await trial.revoke_some(0.2)
            outcome = await trial.balance()
    show(capsys, "engine killed, back from an old snapshot", outcome)
    assert outcome.revocations > 30
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0)


async def test_an_old_primary_that_is_alive_and_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 2: a replica is promoted and the other one follows it; the old primary lives on and answers everybody who
    still asks it. Its pings get no majority any more: a node on its side lets nobody in."""
    directory = f"sqlite:///{tmp_path}/directory.db"
    binary, quorum = valkey_binary(), "?reach=quorum&members=3"
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(server(binary, tmp_path / "old"))
        follow = ("--replicaof", "127.0.0.1", str(old.port))
        new, third = (stack.enter_context(server(binary, tmp_path / name, *follow)) for name in ("new", "third"))
        await _until(lambda: "connected_slaves:2" in old.ask("INFO", "replication"))
        authority = Authority(old.url + quorum, directory=directory)
        async with running(authority, [old.url + quorum] * 2, options={"directory": directory}) as trial:
            await trial.begin(60)
            await trial.revoke_some(0.2)
            async with trial.fault():
                new.ask("REPLICAOF", "NO", "ONE")
                third.ask("REPLICAOF", "127.0.0.1", str(new.port))
                await _until(lambda: "connected_slaves:1" in new.ask("INFO", "replication"))
                async with Authority(new.url + quorum, directory=directory) as elsewhere:
                    trial.authority = elsewhere
                    await trial.revoke_some(0.5)
                    assert "role:master" in old.ask("INFO", "replication")
                    outcome = await trial.balance()
                trial.authority = authority
    show(capsys, "old primary alive and alone", outcome)
    assert outcome.revocations > 20
    assert outcome.late_accepts == 0
    assert outcome.false_denials == 0


async def _until(so: Callable[[], bool]) -> None:
    for _ in range(200):
        if await asyncio.to_thread(so):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the replicas do not follow")


async def test_a_session_begun_at_one_node_is_accepted_at_another_at_once(tmp_path: Path) -> None:
    directory = f"sqlite:///{tmp_path}/directory.db"
    with server(valkey_binary(), tmp_path / "engine") as engine:
        async with (
            Authority(engine.url, directory=directory) as here,
            Authority(engine.url, directory=directory) as there,
        ):
            for number in range(100):
                issued = await here.begin(f"person-{number}", method="password")
                assert await there.check(issued.token)
