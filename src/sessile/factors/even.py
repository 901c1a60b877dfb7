"""Answers that leave at whole steps of time: what took a little longer for a name that is known is not seen.

The work is the same for everybody as far as it can be; a row that is found is decoded, and one that is not cannot be.
Such differences are less than a hundredth of a step, and that is how seldom one of them moves an answer into the next.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STEP: Final = 0.010
"""Seconds."""
_COARSE: Final = 0.002
"""Seconds. Event loops wait in whole milliseconds from when they begin to, which would show what was to be hidden."""


def even(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """`work`, whose result or exception comes when a whole number of steps has passed since it was called."""

    @functools.wraps(work)
    async def evened(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()  # a loop's own time may go by milliseconds
        try:
            return await work(*args, **kwargs)
        finally:
            due = began + math.ceil((time.monotonic() - began) / STEP) * STEP
            await asyncio.sleep(due - time.monotonic() - _COARSE)
            loop = asyncio.get_running_loop()
            is_due = loop.create_future()
            _look(loop, due, is_due)
            await is_due

    return evened


def _look(loop: asyncio.AbstractEventLoop, due: float, is_due: asyncio.Future[None]) -> None:
    """At the clock, in each turn of the loop."""
    if is_due.done():  # whoever waited was cancelled
        return
    if time.monotonic() < due:
        loop.call_soon(_look, loop, due, is_due)
    else:
        is_due.set_result(None)
