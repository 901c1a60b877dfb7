"""Leases where several nodes work: on PostgreSQL, and with the sessions in Valkey and the outbox beside the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sessile import Authority
from sessile.errors import StoreUnavailable
from sessile.stores.protocol import End
from tests.engines import Postgres
from tests.engines_redis import Server, server, valkey_binary
from tests.nhi.outside import Folder, folder, leases, operator

__all__ = ["folder"]

LEASES = 24


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    with server(valkey_binary(), tmp_path / "valkey") as running:
        yield running


@pytest.fixture(params=["postgres", "valkey"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Authority]]:
    """Two nodes on one store."""
    async with AsyncExitStack() as stack:
        if request.param == "postgres":
            engine: Postgres = request.getfixturevalue("postgres")
            made = [Authority(engine.url("postgres", schema="leases")) for _ in range(2)]
        else:
            url, directory = request.getfixturevalue("valkey").url, f"sqlite:///{tmp_path}/directory.db"
            made = [Authority(url, directory=directory) for _ in range(2)]
        yield [await stack.enter_async_context(one) for one in made]


async def test_each_end_is_one_workers_and_the_report_closes(nodes: list[Authority], folder: Folder) -> None:
    """Two nodes with two workers each; what one of them cut off the others end outside, each once."""
    here, there = nodes
    held = [leases(one, folder=folder) for one in (here, there)]
    alice = await operator(here)
    names = [folder.put(f"token-{n}") for n in range(LEASES)]
    for name in names:
        await held[0].register(alice.active, connector="folder", handle=name)
    assert await held[1].work() == 0
    report = await there.contain(session=alice.active.session.id, cause="stolen")
    assert (report.state, len(report.living)) == ("partial", LEASES)
    assert sum(await asyncio.gather(*(one.work() for one in held for _ in range(2)))) == LEASES
    assert sorted(folder.asked) == sorted(names), "each by one worker, once"
    assert not any(map(folder.holds, names))
    assert report.id is not None
    assert (await here.containment(report.id)).state == "closed"


async def test_it_is_due_although_the_engine_of_the_sessions_is_away(
    valkey: Server, tmp_path: Path, folder: Folder
) -> None:
    """Review 12: in the directory, in the transaction that journals the ending."""
    async with Authority(valkey.url, directory=f"sqlite:///{tmp_path}/directory.db") as authority:
        held = leases(authority, folder=folder)
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="folder", handle=folder.put("token"))
        assert await held.work() == 0
        uid = alice.active.session.uid
        assert uid is not None
        valkey.kill()
        with pytest.raises(StoreUnavailable, match="journalled"):
            await authority.store.end(End(uid=uid, cause="stolen", contain_since=alice.active.session.created))
        (due,) = await authority.store.leases(pending=True)
        assert due.session == lease.info.id
        assert folder.holds("token")
