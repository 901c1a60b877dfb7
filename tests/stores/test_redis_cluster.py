"""What only a cluster can do wrong: partitions are on different servers, and change from one to another."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sessile.authority import Authority
from sessile.errors import StoreUnavailable
from sessile.kernel.decide import Denied
from sessile.kernel.ids import ALPHABET
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.receipt import Issued
from sessile.stores.protocol import End
from sessile.stores.redis import RedisStore
from sessile.stores.redis.servers import Servers, slot
from tests.engines_redis import Cluster, binaries, binary, cluster
from tests.stores.test_redis import reason, until, until_reason

pytestmark = pytest.mark.anyio


@pytest.fixture(params=binaries(), scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(binary(request.param), tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def make(engine: Cluster, tmp_path: Path) -> Callable[[], Authority]:
    for server in engine.servers:
        server.ask("FLUSHALL")
    return lambda: Authority(engine.url, directory=f"sqlite:///{tmp_path}/directory.db")


@pytest.fixture
async def one(make: Callable[[], Authority]) -> AsyncIterator[Authority]:
    async with make() as authority:
        yield authority


@pytest.fixture
async def two(make: Callable[[], Authority], one: Authority) -> AsyncIterator[Authority]:
    async with make() as authority:
        yield authority


def trusts(authority: Authority, partition: str | None = None) -> bool:
    return authority.store.current(authority.clock.elapsed(), partition)


async def spread(authority: Authority, engine: Cluster) -> dict[int, Issued]:
    """A session on each of the servers, cached."""
    found: dict[int, Issued] = {}
    for number in range(200):
        if len(found) == len(engine.servers):
            break
        issued = await authority.begin(f"person-{number}", method="password")
        found.setdefault(engine.owner(issued.active.session.partition), issued)
    for issued in found.values():
        assert await authority.check(issued.token)
    await until(lambda: trusts(authority))
    return found


def test_the_url_of_a_cluster() -> None:
    assert Servers("redis+cluster://one,two:7001/3").login.database == 3
    with pytest.raises(ValueError, match=r"redis\+cluster"):
        Servers("redis://one,two:7001")


async def test_the_slots_are_those_of_the_engine(engine: Cluster) -> None:
    assert len({slot(partition) for partition in ALPHABET}) == len(ALPHABET)
    for partition in ALPHABET:
        assert engine.servers[0].ask("CLUSTER", "KEYSLOT", f"{{s:{partition}}}mark") == f":{slot(partition)}\r\n"


async def test_what_was_revoked_on_one_node_is_over_on_the_other(
    one: Authority, two: Authority, engine: Cluster
) -> None:
    """On every server: by the announcement, one for everybody is one for each partition."""
    for how in ("session", "principal", "everyone"):
        held = await spread(one, engine)
        assert len(held) == len(engine.servers)
        for issued in held.values():
            assert await two.check(issued.token)
        await until(lambda: trusts(two))
        for issued in held.values():
            await one.revoke(
                session=issued.active.session.id if how == "session" else None,
                principal=issued.active.session.principal if how == "principal" else None,
                everyone=how == "everyone", cause="test", wait=how != "everyone",
            )  # fmt: skip
            await until(lambda: two.peek(issued.token) is None)  # noqa: B023
            await until_reason(two, issued, Reason.REVOKED)


async def test_a_partition_that_is_moved(one: Authority, two: Authority, engine: Cluster) -> None:
    """Review 7. While its keys are under way nothing in it is changed, and nobody is told that he is not signed in;
    what is cached of the others is answered all along. Once it has moved, what was cached of it is gone."""
    held = await spread(one, engine)
    of, to = 0, 1
    moved, other = held[of], held[2]
    partition, beside = moved.active.session.partition, other.active.session.partition
    entries = len(one._near)
    engine.begin_move(partition, to)
    assert engine.move_keys(3) == 3
    for _ in range(2):
        for authority in (one, two):
            found = await authority.check(moved.token, touch=False)
            assert found or (isinstance(found, Denied) and found.reason is Reason.UNAVAILABLE)
        assert one.peek(other.token)
        assert trusts(one, beside)
        await asyncio.sleep(0.02)
    with pytest.raises(StoreUnavailable):
        await one.store.end(End(uid=moved.active.session.uid, status=Status.DISABLED, cause="test"))
    engine.move_keys()
    engine.end_move()
    assert engine.owner(partition) == to
    # It was journalled: it is in force soon after the partition is there.
    for authority in (two, one):
        deadline = asyncio.get_running_loop().time() + 10
        while (said := await reason(authority, moved)) is not Reason.DISABLED:
            assert said in (None, Reason.UNAVAILABLE)
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
    await until(lambda: trusts(one) and trusts(two))
    assert one.peek(moved.token) is None
    assert one.peek(other.token)
    assert 0 < len(one._near) < entries
    await one.enable(str(moved.active.session.principal), cause="test")
    again = await one.begin(str(moved.active.session.principal), method="password")
    assert again.active.session.partition == partition
    assert await two.check(again.token)


async def test_a_server_that_is_away_takes_only_its_own_partitions_with_it(one: Authority, engine: Cluster) -> None:
    held = await spread(one, engine)
    store = one.store
    assert isinstance(store, RedisStore)
    partition = held[1].active.session.partition
    for server in engine.servers:
        server.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    try:
        engine.servers[1].signal(signal.SIGSTOP)
        await until(lambda: not trusts(one, partition))
        assert not trusts(one)
        for number in (0, 2):
            assert one.peek(held[number].token)
        assert one.peek(held[1].token) is None
    finally:
        engine.servers[1].signal(signal.SIGCONT)
    await until_reason(one, held[1], None)
    await until(lambda: trusts(one))
