"""Several authorities on one store, in one process and in two; and handing out against ending, raced."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Conflict, Issued, Reason
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import active, cached, denied, reason, reasons

ROOT = Path(__file__).parents[2]


class Elsewhere:
    """Another process, asked over its standard input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str) -> Elsewhere:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.authority.elsewhere", url, cwd=ROOT, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        started = cls(process)
        assert await started._answer() == "ready"
        return started

    async def ask(self, name: str, /, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the other process ended"
        return json.loads(line)

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@pytest.fixture
async def here(sqlite_url: str) -> AsyncIterator[Authority]:
    async with Authority(sqlite_url) as authority:
        yield authority


@pytest.fixture
async def elsewhere(here: Authority, sqlite_url: str) -> AsyncIterator[Elsewhere]:
    other = await Elsewhere.start(sqlite_url)
    yield other
    await other.stop()


@pytest.mark.requirement("ASVS V7.4.1")
async def test_another_process_revokes_and_the_very_next_check_denies(here: Authority, elsewhere: Elsewhere) -> None:
    for turn in range(40):
        issued = await here.begin("alice")
        await cached(here, issued.token)
        selector: dict[str, Any] = {"session": issued.active.session.id} if turn % 2 else {"principal": "alice"}
        assert await elsewhere.ask("revoke", **selector) == 1
        assert here.peek(issued.token) is None
        assert (await denied(here, issued.token)).reason is Reason.REVOKED


async def test_what_is_revoked_here_is_denied_in_another_process(here: Authority, elsewhere: Elsewhere) -> None:
    for _ in range(40):
        token = await elsewhere.ask("begin", name="alice")
        for _ in range(2):
            assert await elsewhere.ask("check", token=token) is None
        proof = await active(here, token)
        await here.revoke(session=proof.session.id, cause="logout")
        assert await elsewhere.ask("check", token=token) == "revoked"


async def test_every_kind_of_ending_in_another_process(here: Authority, elsewhere: Elsewhere) -> None:
    person = await here.begin("alice")
    child = await here.delegate(person.active, to="agent:a", scopes={"x"})
    key = await here.mint_key(person.active, owner="service:ci", scopes={"x"})
    for each in (person, child, key):
        await cached(here, each.token)
    assert await elsewhere.ask("disable", name="alice") == 1
    assert await reasons(here, [person, child, key]) == [Reason.DISABLED, Reason.DISABLED, None]
    bob = await here.begin("bob")
    await cached(here, bob.token)
    assert await elsewhere.ask("revoke", everyone=True) is None
    assert await reasons(here, [bob, key]) == [Reason.REVOKED, None]
    assert await elsewhere.ask("revoke", everyone=True, keys=True) is None
    assert (await denied(here, key.token)).reason is Reason.REVOKED


async def test_what_another_process_begins_empties_no_cache(here: Authority, elsewhere: Elsewhere) -> None:
    issued = await here.begin("alice")
    entry = await cached(here, issued.token)
    for _ in range(10):
        await elsewhere.ask("begin", name="bob")
        assert here.peek(issued.token) is entry


async def test_two_authorities_in_one_process(sqlite_url: str, clock: ManualClock) -> None:
    async with Authority(sqlite_url, clock=clock) as one, Authority(sqlite_url, clock=clock) as two:
        for _ in range(20):
            issued = await one.begin("alice")
            for each in (one, two):
                await cached(each, issued.token)
            newer = await two.elevate(await active(two, issued.token), method="totp")
            assert (await denied(one, issued.token)).reason is Reason.SUPERSEDED
            await cached(one, newer.token)
            successor = await one.rotate(await active(one, newer.token))
            await cached(two, successor.token)
            await two.revoke(session=issued.active.session.id, cause="logout")
            assert await reasons(one, [issued, newer, successor]) == [Reason.REVOKED] * 3


async def test_what_was_acknowledged_is_there_after_a_restart(sqlite_url: str, clock: ManualClock) -> None:
    async with Authority(sqlite_url, clock=clock) as authority:
        kept, ended = await authority.begin("alice"), await authority.begin("alice")
        await authority.revoke(session=ended.active.session.id, cause="logout")
    async with Authority(sqlite_url, clock=clock, create=False) as authority:
        await active(authority, kept.token)
        assert (await denied(authority, ended.token)).reason is Reason.REVOKED


# -- handing out against ending --------------------------------------------------------------------------------------

RACES = 1000
AT_ONCE = 100


async def _race(number: int, *, first: Awaitable[Any], second: Awaitable[Any]) -> tuple[Any, Any]:
    """Both at once, one of them up to two thousand turns of the loop later; what they returned or raised.

    Every magnitude as often as any other: in memory a turn or two decide, where a commit is in between, hundreds.
    """
    chance = random.Random(number)  # noqa: S311 - an order, not a secret
    turns = chance.choice((-1, 1)) * int(2 ** chance.uniform(0, 11))

    async def after(turns: int, work: Awaitable[Any]) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await work

    one, two = await asyncio.gather(after(max(0, -turns), first), after(max(0, turns), second), return_exceptions=True)
    return one, two


@pytest.mark.requirement("ASVS V15.4.2", "ASVS V7.4.1")
@pytest.mark.parametrize("how", ["delegate, revoke", "delegate, disable", "mint, contain", "mint, disable owner"])
async def test_nothing_handed_out_survives_the_ending_it_raced_with(url: str, how: str) -> None:
    """Review 11: a thousand races for each store; two writers where the store has room for two."""
    async with Authority(url) as one, Authority(url) as two:
        ender = one if url == "memory:" else two
        survivors: list[Issued] = []
        minted = refused = 0
        for start in range(0, RACES // 4, AT_ONCE // 4):
            people = [f"person{number}" for number in range(start, start + AT_ONCE // 4)]
            held = await asyncio.gather(*[one.begin(name) for name in people])
            for name, each in zip(people, held, strict=True):
                await one.register(f"agent:{name}", owner=name)
                await active(one, each.token)
            results = await asyncio.gather(
                *[
                    _race(start + n, first=_hand_out(one, how, name, each), second=_end(ender, how, name, each))
                    for n, (name, each) in enumerate(zip(people, held, strict=True))
                ]
            )
            for made, ended in results:
                assert not isinstance(ended, BaseException), ended
                if isinstance(made, Issued):
                    minted += 1
                    if await reason(one, made.token) is None or await reason(ender, made.token) is None:
                        survivors.append(made)
                else:
                    assert isinstance(made, Conflict), made
                    refused += 1
        assert survivors == []
        assert minted + refused == RACES // 4
        assert minted, "the ending always came first: nothing was raced"
        assert refused, "the ending always came last: nothing was raced"


async def _hand_out(authority: Authority, how: str, name: str, held: Issued) -> Issued:
    if how.startswith("delegate"):
        return await authority.delegate(held.active, to=f"agent:{name}", scopes={"x"})
    return await authority.mint_key(held.active, owner=f"agent:{name}", scopes={"x"})


async def _end(authority: Authority, how: str, name: str, held: Issued) -> object:
    session = held.active.session
    match how.split(", ")[1]:
        case "revoke":
            return await authority.revoke(session=session.id, cause="logout")
        case "disable":
            return await authority.disable(name, cause="offboarded")
        case "contain":
            return await authority.end(End(session=session.id, cause="stolen", contain_since=session.created))
        case _:
            return await authority.disable(f"agent:{name}", cause="misbehaves")
