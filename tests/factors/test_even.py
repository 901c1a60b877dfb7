"""Answers that leave at whole steps: never before one is over, whatever came of the work."""

from __future__ import annotations

import asyncio
import time

import pytest

from sessile.factors.even import STEP, even


@even
async def work(seconds: float, *, fails: bool = False) -> str:
    await asyncio.sleep(seconds)
    if fails:
        raise LookupError("no")
    return "done"


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 1), (STEP * 0.1, 1), (STEP * 1.1, 2), (STEP * 3.5, 4)])
async def test_neither_a_result_nor_an_exception_comes_before_its_step(seconds: float, steps: int) -> None:
    for fails in (False, True):
        began = time.monotonic()
        if fails:
            with pytest.raises(LookupError):
                await work(seconds, fails=True)
        else:
            assert await work(seconds) == "done"
        assert time.monotonic() - began >= steps * STEP - 1e-6


async def test_others_go_on_meanwhile_and_a_cancellation_is_heard() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await work(0.0)
    assert turns > 2, "it waits in turns, and holds up nobody"
    beside.cancel()
    cancelled = asyncio.create_task(work(60))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    # Cancelled in the last turns, when nobody is there any more to be told.
    late = asyncio.create_task(work(0.0))
    await asyncio.sleep(STEP * 0.9)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    await asyncio.sleep(STEP)
