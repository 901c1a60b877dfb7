"""Answers that leave at whole steps: never before one is over, whatever came of the work."""

from __future__ import annotations

import asyncio
import time

import pytest

from sessile.factors import even as even_module
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


@pytest.mark.parametrize("last_turns", [False, True])
async def test_others_go_on_meanwhile_and_a_cancellation_is_heard(
    monkeypatch: pytest.MonkeyPatch, last_turns: bool
) -> None:
    monkeypatch.setattr(even_module, "STEP", 60.0)
    monkeypatch.setattr(even_module, "_COARSE", 60.0 if last_turns else 0.0)
    waiting = asyncio.create_task(work(0.0))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)  # the last look, when nobody is there any more to be told
