"""A person's leaving in the console: each that is theirs is handed over or ends, seen before it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessile.kernel.principal import Status
from tests.server.conftest import BROWSER, MINUTE, Client, World, opened

PATH = "/console/principals/alice/offboard"


async def send(client: Client, step: str, chosen: dict[str, Any]) -> httpx.Response:
    return await client.post(PATH, data={"step": step, "form_token": await client.form_token("/account"), **chosen})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack)


@pytest.mark.requirement("NHI1-b", "NHI1-c")
async def test_each_is_handed_over_or_ends_after_it_was_shown(world: World) -> None:
    authority = world.authority
    for name in ("alice", "bob", "carol"):
        await world.person(name)
    alice = (await authority.begin("alice")).active
    gone, stays = [await authority.mint_key(alice, owner=f"service:{n}", scopes={"x"}, label=n) for n in ("ci", "cd")]
    await authority.delegate(alice, to="agent:a", scopes={"x"})
    olivia = await world.signed_in("olivia", operator=True, headers=BROWSER)
    assert PATH in (await olivia.get("/console/principals/alice")).text
    form = (await olivia.get(PATH)).text
    for shown in ("agent:a", "service:ci", "service:cd", gone.active.session.id, stays.active.session.id):
        assert shown in form
    assert 'name="cause"' in form

    chosen = {
        "to": "bob", "to service:cd": "carol", "end": [gone.active.session.id, "agent:a"], "cause": "left",
    }  # fmt: skip
    before = await authority.store.events(limit=1000)
    seen = (await send(olivia, "preview", chosen)).text
    assert "carol answers for service:cd." in seen
    assert "bob answers for service:ci." in seen
    assert "agent:a is disabled" in seen
    assert "ci of service:ci ends." in seen
    assert "cd of service:cd goes on: rotate it." in seen
    assert await authority.store.events(limit=1000) == before, "nothing was done"
    changed = (await send(olivia, "change", chosen)).text
    assert 'value="carol"' in changed, "what was chosen is still there"
    assert changed.count(" checked") == 2

    receipt = (await send(olivia, "do", chosen)).text
    assert "service:cd to carol" in receipt
    assert "service:ci to bob" in receipt
    assert stays.active.session.id in receipt
    assert receipt.count(gone.active.session.id) == 0
    assert not await authority.check(gone.token)
    assert await authority.check(stays.token)
    assert (await authority.principal("alice")).status is Status.DISABLED
    assert (await authority.principal("agent:a")).status is Status.DISABLED
    owners = [(await authority.principal(name)).owner for name in ("service:ci", "service:cd")]
    assert owners == [(await authority.principal(name)).uid for name in ("bob", "carol")]


async def test_what_is_not_offboarded(world: World) -> None:
    for name in ("alice", "bob"):
        await world.person(name)
    alice = (await world.authority.begin("alice")).active
    await world.authority.mint_key(alice, owner="service:ci", scopes={"x"})
    olivia = await world.signed_in("olivia", operator=True, headers=BROWSER)
    for wrong in ({"to": "nobody-here"}, {"to": "alice"}, {"to service:ci": "service:ci"}, {"to": "/"}):
        refused = await send(olivia, "do", {"cause": "left", **wrong})
        assert refused.status_code == 422
        assert 'aria-invalid="true"' in refused.text
    refused = await send(olivia, "do", {"to": "bob", "cause": " "})
    assert refused.status_code == 422
    assert (await world.authority.principal("alice")).status is Status.ACTIVE
    assert (await olivia.get("/console/principals/service:ci/offboard")).status_code == 404

    world.clock.advance(6 * MINUTE)  # the proof is too old for it
    for answer in (await olivia.get(PATH), await send(olivia, "do", {"to": "bob", "cause": "left"})):
        assert answer.status_code == 303
        assert answer.headers["location"] == "/account/step-up"
    assert (await world.authority.principal("alice")).status is Status.ACTIVE
