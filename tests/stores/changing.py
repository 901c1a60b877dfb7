"""Δ is changed while sessions are revoked: what must hold on every engine that has one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sessile import Authority, Issued


async def delta_while_nodes_run(
    one: Authority, two: Authority, change: Callable[[timedelta], Awaitable[None]], to: timedelta
) -> None:
    """Review 4: smaller or larger, no check says yes after a revocation returned, before, meanwhile and after; each
    waits for the smaller of the two at least, and after the change for the new one."""
    late = 0
    over: set[str] = set()

    async def check_on(issued: Issued) -> None:
        nonlocal late
        while True:
            before = issued.active.session.id in over
            found = await two.check(issued.token, touch=False)
            late += bool(found) and before
            if not found and before:
                return
            await asyncio.sleep(0.002)

    async def revoke(issued: Issued, after: float) -> timedelta:
        await asyncio.sleep(after)
        receipt = await one.revoke(session=issued.active.session.id, cause="test")
        over.add(issued.active.session.id)
        return receipt.effective - receipt.at

    held = [await one.begin(f"person-{number}", method="password") for number in range(24)]
    changing = asyncio.ensure_future(change(to))
    waited = await asyncio.gather(
        *[revoke(issued, 0.06 * number) for number, issued in enumerate(held)], *map(check_on, held)
    )
    await changing
    assert late == 0
    assert min(one for one in waited if one is not None) >= min(to, timedelta(milliseconds=500))
    assert await revoke(await one.begin("alice", method="password"), 0) >= to
