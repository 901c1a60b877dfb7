"""Minting and delegating against revoking and containing the same session: many times on each store, no survivor.

A thousand each; on the engines two hundred, where it is not CI that runs it: a thousand take up to a minute there.
`RACES=1000` makes it a thousand on all.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Conflict, Issued, Reason
from tests.conftest import in_ci
from tests.engines_redis import binaries, binary, server

AT_ONCE = 10
"""Races that run beside each other: enough for commits that share, and no engine is ever too busy to answer."""
ENGINES = ["memory", "sqlite", "postgresql", "redis"]


def races(engine: str) -> int:
    return int(os.environ.get("RACES", "1000" if in_ci() or engine in ("memory", "sqlite") else "200"))


@pytest.fixture(params=ENGINES)
async def authority(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Authority]:
    with ExitStack() as stack:
        more: dict[str, Any] = {}
        match request.param:
            case "memory":
                url = "memory:"
            case "sqlite":
                url = f"sqlite:///{tmp_path}/sessile.db"
            case "postgresql":
                url = request.getfixturevalue("postgres").url("postgres", schema="nhi_races")
            case _:
                engine = stack.enter_context(server(binary(binaries()[0]), tmp_path / "engine"))
                url, more = f"{engine.url}/0", {"directory": f"sqlite:///{tmp_path}/sessile.db"}
        async with Authority(url, **more) as opened:
            yield opened


@pytest.mark.requirement("NHI1-b")
@pytest.mark.timeout(300)
async def test_nothing_that_was_handed_out_survives_the_end_of_its_giver(
    authority: Authority, request: pytest.FixtureRequest
) -> None:
    """Review 11. A key outlives an ordinary end by design; what a containment ends, it does not."""
    for name in ("agent:a", "service:ci"):
        await authority.register(name, owner=(await authority.begin("alice")).active.session.principal)
    draw = random.Random(11)  # noqa: S311 - an order, not a secret

    async def race(number: int) -> list[Issued]:
        """What was handed out, if the end was not first."""
        giver = (await authority.begin("alice")).active
        what, end = (("mint", "contain"), ("delegate", "contain"), ("delegate", "revoke"))[number % 3]
        steps = draw.randrange(4)

        async def hand_out() -> list[Issued]:
            for _ in range(steps):
                await asyncio.sleep(0)
            try:
                if what == "mint":
                    return [await authority.mint_key(giver, owner="service:ci", scopes={"x"})]
                return [await authority.delegate(giver, to="agent:a", scopes={"x"})]
            except Conflict:
                return []

        async def finish() -> None:
            if end == "contain":
                await authority.contain(session=giver.session.id, cause="stolen", wait=False)
            else:
                await authority.revoke(session=giver.session.id, cause="logout", wait=False)

        made, _ = await asyncio.gather(hand_out(), finish())
        assert await hand_out() == [], "and nothing after it"
        return made

    count = races(request.node.callspec.params["authority"])
    for start in range(0, count, AT_ONCE):
        for made in await asyncio.gather(*(race(n) for n in range(start, min(start + AT_ONCE, count)))):
            for issued in made:
                found = await authority.check(issued.token)
                assert not found, "a survivor"
                assert found.reason is Reason.REVOKED
