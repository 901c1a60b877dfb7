"""Environments are kept apart by a database for each: what one handed out is nothing in another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sessile import Authority
from sessile.kernel.event import EventName
from tests.server.conftest import World, is_problem, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack)


@pytest.mark.requirement("NHI8")
async def test_a_key_of_one_environment_is_unknown_in_another_and_that_is_recorded(
    world: World, tmp_path: Path
) -> None:
    async with Authority(f"sqlite:///{tmp_path}/staging.db") as staging:
        ann = (await staging.begin("ann")).active
        key = await staging.mint_key(ann, owner="service:ci", scopes={"x"})
    caller = await world.bearing(key.token)
    for path in ("/api/v1/session", "/api/v1/keys"):
        is_problem(await caller.get(path), 401, "unknown")
    await world.server.denials.write(world.authority.store)
    (event,) = await world.authority.store.events(names={EventName.REQUESTS_DENIED})
    assert event.details == {"unknown": 2}
