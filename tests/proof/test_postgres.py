"""Several processes on one real PostgreSQL, under load: stopped, killed, cut off, the engine restarted and restored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sessile import Authority
from tests.engines import HASTY, Postgres, new_postgres
from tests.proof.proxy import Proxy
from tests.proof.trial import Outcome, kills, pauses, running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def engine() -> Iterator[Postgres]:
    """One engine for this module, which the tests stop and start."""
    with new_postgres(*HASTY) as postgres:
        yield postgres


def through(proxy: Proxy, database: str) -> str:
    return f"postgresql://sessile@127.0.0.1:{proxy.port}/{database}"


@contextlib.asynccontextmanager
async def proxies(engine: Postgres, count: int) -> AsyncIterator[list[Proxy]]:
    """One for each node."""
    async with contextlib.AsyncExitStack() as stack:
        made = [Proxy(("127.0.0.1", engine.port), b"LISTEN") for _ in range(count)]
        for proxy in made:
            await stack.enter_async_context(proxy.run())
        yield made


def show(capsys: pytest.CaptureFixture[str], what: str, outcome: Outcome) -> None:
    with capsys.disabled():
        print(f"\n  PostgreSQL, {what}: {outcome}")


@pytest.mark.requirement("ASVS V7.4.1")
async def test_nodes_that_are_stopped_killed_and_cut_off(engine: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 3, 8, 9: a node that missed an invalidation has stopped trusting its cache when `revoke` returns."""
    engine.database("cuts")
    async with proxies(engine, 3) as between:
        authority = Authority(engine.url("cuts"))
        async with running(authority, [through(proxy, "cuts") for proxy in between]) as trial:
            await trial.begin(120)
            await trial.revoke_some(0.1)
            await pauses(trial)
            for proxy, everything in zip(between, (False, True, False), strict=True):
                async with trial.fault():
                    # The connection that brings the invalidations, or all of a node's.
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


async def test_an_engine_that_is_restarted(engine: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine goes away, as if the power had failed, and comes back with all it had acknowledged: nobody is signed
    out, nothing revoked comes back."""
    engine.database("restarts")
    async with running(Authority(engine.url("restarts")), [engine.url("restarts")] * 2) as trial:
        await trial.begin(90)
        await trial.revoke_some(0.2)
        async with trial.fault():
            revoking = asyncio.create_task(trial.revoke_some(0.2))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(engine.stop, signal.SIGQUIT)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(engine.start)
            await revoking
        await asyncio.sleep(4)
        await trial.revoke_some(0.2)
        outcome = await trial.balance()
    show(capsys, "engine killed and restarted", outcome)
    assert outcome.revocations > 30
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0)


async def test_an_engine_that_went_back_in_time(engine: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    """Review 1: restarted from an old copy, the engine holds sessions that were revoked since. Nobody gets in by them:
    the nodes see that it went back, and end everybody's."""
    engine.database("restored")
    async with running(Authority(engine.url("restored")), [engine.url("restored")] * 2) as trial:
        await trial.begin(60)
        old = engine.folder / "old"
        async with trial.fault():
            await asyncio.to_thread(engine.stop)
            await asyncio.to_thread(engine.copy_to, old)
            await asyncio.to_thread(_give, engine, old)
            await asyncio.to_thread(engine.start)
        await trial.revoke_some(0.5)
        revoked = trial.revoked
        async with trial.fault():
            await asyncio.to_thread(engine.stop)
            data, engine.data = engine.data, old
            try:
                await asyncio.to_thread(engine.start)
                await asyncio.sleep(5)
                outcome = await trial.balance()
            finally:
                await asyncio.to_thread(engine.stop)
                engine.data = data
                await asyncio.to_thread(engine.start)
    show(capsys, "engine restored from an old copy", outcome)
    assert revoked > 20
    assert outcome.late_accepts == 0


def _give(engine: Postgres, folder: Path) -> None:
    """The copy belongs to whom the engine runs as."""
    if os.getuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, "nobody")


async def test_a_session_begun_at_one_node_is_accepted_at_another_at_once(engine: Postgres) -> None:
    engine.database("atonce")
    async with Authority(engine.url("atonce")) as here, Authority(engine.url("atonce")) as there:
        for number in range(100):
            issued = await here.begin(f"person-{number}", method="password")
            assert await there.check(issued.token)


# -- a quorum of standbys -----------------------------------------------------------------------------------------


class Cluster:
    """Three members, `one` the primary, over a proxy for each pair that replicates."""

    def __init__(self, one: Postgres, two: Postgres, three: Postgres, links: list[Proxy]) -> None:
        self.one, self.two, self.three = one, two, three
        self.links = links

    def members(self, *engines: Postgres, database: str = "postgres") -> str:
        hosts = ",".join(f"127.0.0.1:{engine.port}" for engine in engines)
        return f"postgresql://sessile@{hosts}/{database}?reach=quorum"

    def isolate(self) -> None:
        """The primary lives on, and answers whoever asks it; no standby hears of it any more."""
        for link in self.links:
            link.swallow()

    def promote(self) -> tuple[Postgres, Postgres]:
        """As a failover manager does: of those that are left, the one with most; the other follows it."""
        new, other = sorted((self.two, self.three), key=_received, reverse=True)
        name = other.folder.name
        new.sql("SELECT pg_promote(true, 30)")
        # Set in the command line by the fixture: what is set by ALTER SYSTEM would not count.
        other.stop()
        other.start(
            f"primary_conninfo={other.followed(name, new.port)}", f"cluster_name={name}", *_waits_for(name), *HASTY
        )
        return new, other


def _received(engine: Postgres) -> int:
    return int(str(engine.sql("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn")[0][0]))


def _waits_for(name: str) -> list[str]:
    others = ", ".join(each for each in ("one", "two", "three") if each != name)
    return [f"synchronous_standby_names=ANY 1 ({others})"]


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    with new_postgres("cluster_name=one", *_waits_for("one"), *HASTY) as one:
        async with contextlib.AsyncExitStack() as stack:
            links, standbys = [], []
            for name in ("two", "three"):
                link = await stack.enter_async_context(Proxy(("127.0.0.1", one.port), b"START_REPLICATION").run())
                standby = await asyncio.to_thread(one.standby, name, link.port, *_waits_for(name), *HASTY)
                stack.callback(standby.stop, signal.SIGQUIT)
                links.append(link)
                standbys.append(standby)
            try:
                yield Cluster(one, *standbys, links)
            finally:
                one.stop(signal.SIGQUIT)


@pytest.mark.requirement("ASVS V7.4.1")
async def test_an_old_primary_that_is_alive_and_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Review 2: a standby is promoted while the old primary lives on and answers whoever still asks it. Its pings get
    no majority any more: a node that knows only it lets nobody in; those that know all members follow the new one."""
    async with cluster() as engines:
        old, everywhere = engines.members(engines.one), engines.members(engines.one, engines.two, engines.three)
        async with running(Authority(everywhere), [old, everywhere, everywhere]) as trial:
            await trial.begin(75)
            await trial.revoke_some(0.2)
            healthy = await trial.balance()
            async with trial.fault():
                engines.isolate()
                await asyncio.to_thread(engines.promote)
                assert engines.one.sql("SELECT pg_is_in_recovery()") == [(False,)]
                await trial.revoke_some(0.4)
                isolated = await trial.balance()
            promoted = [await trial.last_let_in(node) for node in (0, 1, 2)]
            await asyncio.sleep(1)
            later = [await trial.last_let_in(node) for node in (0, 1, 2)]
    show(capsys, "three members, in health", healthy)
    show(capsys, "the old primary alive and alone", isolated)
    assert (healthy.late_accepts, healthy.false_denials, healthy.unavailable_in_health) == (0, 0, 0)
    assert isolated.revocations > 30
    assert (isolated.late_accepts, isolated.false_denials) == (0, 0)
    assert trial.reaches == {"quorum"}
    assert later[0] == promoted[0], "who knows only the old primary lets nobody in"
    assert later[1] > promoted[1], "who knows all members follows the new one"
    assert later[2] > promoted[2]
