"""A directory beside an engine that is restored from a copy: it has lost rows that the engine has in force, and will
give their numbers away again (review 1: «any restore of a backup»)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sessile.authority import Authority
from sessile.errors import NotFound, SessileError
from sessile.kernel.event import Event
from sessile.receipt import Issued
from tests.engines_redis import server, valkey_binary

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[[], Authority]]:
    with server(valkey_binary(), tmp_path / "engine") as engine:
        yield lambda: Authority(engine.url, directory=f"sqlite:///{tmp_path}/directory.db")


class Directory:
    def __init__(self, folder: Path) -> None:
        self.path, self._copy = folder / "directory.db", folder / "copy.db"

    def copy(self) -> None:
        closing, connect = contextlib.closing, sqlite3.connect
        with closing(connect(self.path)) as here, closing(connect(self._copy)) as there:
            here.backup(there)

    def restore(self) -> None:
        for name in ("directory.db-wal", "directory.db-shm"):
            self.path.with_name(name).unlink(missing_ok=True)
        beside = self.path.with_name("restored.db")
        shutil.copy(self._copy, beside)
        beside.replace(self.path)


@pytest.mark.requirement("ASVS V7.4.1")
@pytest.mark.parametrize("lost", [1, 3], ids=["the-same-number", "a-lower-number"])
async def test_an_ending_is_never_taken_for_the_one_that_had_its_number(
    make: Callable[[], Authority], tmp_path: Path, lost: int
) -> None:
    """Review 1. Nodes run on. The next ending has a number that the engine's last one has, or a lower one than that;
    when `revoke` has returned, or has found nothing left, nobody is let in by what it was to end."""
    directory = Directory(tmp_path)
    async with make() as one, make() as two:
        held = [await one.begin("alice", method="password") for _ in range(lost + 2)]
        directory.copy()
        for issued in held[:lost]:
            await one.revoke(session=issued.active.session.id, cause="test")
        directory.restore()
        with contextlib.suppress(NotFound):
            await one.revoke(session=held[-1].active.session.id, cause="test")
        for authority in (one, two):
            assert not await authority.check(held[-1].token)
            assert not any([await authority.check(issued.token) for issued in held[:lost]])
        # Both go on, without a restart: the others are signed out, and nothing stands in the way of a new sign-in.
        again = await _until_begun(one)
        assert await two.check(again.token)
        await two.revoke(session=again.active.session.id, cause="test")
        assert not await one.check(again.token)


async def test_nodes_end_everybody_once_and_go_on(make: Callable[[], Authority], tmp_path: Path) -> None:
    """Review 1: though nothing is ended meanwhile. Also by a node that starts on it, at its first attempt."""
    directory = Directory(tmp_path)
    async with make() as one, make() as two:
        held = [await one.begin(f"person-{number}", method="password") for number in range(8)]
        directory.copy()
        for issued in held[:4]:
            await one.revoke(session=issued.active.session.id, cause="test")
        directory.restore()
        await _until(lambda: _nobody(two, held))
        async with make() as three:
            assert await _nobody(three, held)
            again = await three.begin("person-1", method="password")
            for authority in (one, two):
                assert await _until_in(authority, again)
            causes = [event.cause for event in await _record(one)]
            assert causes.count("the directory went back in time") == 1


async def _record(authority: Authority) -> list[Event]:
    return list(await authority.store.events(limit=200))


async def _nobody(authority: Authority, held: list[Issued]) -> bool:
    return not any([await authority.check(issued.token) for issued in held])


async def _until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not await so():  # type: ignore[misc]
        assert time.monotonic() < deadline, "it does not come to that"
        await asyncio.sleep(0.05)


async def _until_in(authority: Authority, issued: Issued) -> bool:
    await _until(lambda: authority.check(issued.token))
    return True


async def _until_begun(authority: Authority) -> Issued:
    deadline = time.monotonic() + 10
    while True:
        try:
            return await authority.begin("alice", method="password")
        except SessileError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
