"""Every door that disables leads to the same end, and every dead token looks the same from outside."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from sessile import Authority, Conflict, Issued, NotFound, Policy, SessionKind
from sessile.receipt import Receipt
from sessile.server import Settings, create_app
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import HOUR
from tests.program import Program
from tests.server.conftest import BROWSER, CHEAP, MINUTE, World, opened

CAUSE = "left the company"


class Told(NamedTuple):
    """A receipt, as far as every door tells of it."""

    revoked: int | None
    cause: str
    by: str
    sessions: list[str]
    handed_out: list[str]


def of_json(receipt: Any) -> Told:
    living = [one["id"] for one in receipt["handed_out"]]
    return Told(receipt["revoked"], receipt["cause"], receipt["by"], sorted(receipt["sessions"]), living)


async def by_library(world: World) -> Told:
    receipt: Receipt = await world.authority.disable("alice", cause=CAUSE, by=await operator(world))
    living = [one.id for one in receipt.handed_out]
    return Told(receipt.revoked, receipt.cause, receipt.by, sorted(receipt.sessions), living)


async def by_api(world: World) -> Told:
    olivia = await world.signed_in("olivia", operator=True)
    answer = await olivia.patch("/api/v1/principals/alice", json={"status": "disabled", "cause": CAUSE})
    assert answer.status_code == 200, answer.text
    return of_json(answer.json()["receipt"])


async def by_command(world: World) -> Told:
    program = Program(world.folder)
    return of_json(await asyncio.to_thread(program.json, "user", "disable", "alice", "--cause", CAUSE))


async def by_console(world: World) -> Told:
    olivia = await world.signed_in("olivia", operator=True, headers=BROWSER)
    page = (await olivia.submit("/console/principals/alice/disable", cause=CAUSE)).text
    ended, living = page.split('id="living"')
    found = re.search(r"<h1>\D*(\d+) session", page)
    by = re.search(r"<dt>By</dt><dd>(\w+)</dd>", page)
    assert found is not None
    assert by is not None
    assert CAUSE in ended
    ids = re.compile(r"ses_[0-9a-z]{27}")
    listed = re.findall(r"<li><code>(ses_[0-9a-z]{27})</code>", ended)
    return Told(int(found[1]), CAUSE, by[1], sorted(listed), list(dict.fromkeys(ids.findall(living))))


async def by_containment(world: World) -> Told:
    """Of this door the report says what ended, and nothing goes on."""
    report = await world.authority.contain(
        principal="alice", cause=CAUSE, by=await operator(world), disable=True, since=world.server.now()
    )
    assert report.radius is not None
    assert report.receipt is not None
    own = [one for one in report.radius.sessions if one.fate == "ends" and one.principal == "alice"]
    living = [one.id for one in report.radius.sessions if one.fate == "stays"]
    return Told(len(own), report.cause, report.receipt.by, sorted(one.id for one in own), living)


async def operator(world: World) -> Any:
    if await world.authority.store.principal(name="olivia") is None:
        await world.person("olivia", operator=True)
    return (await world.authority.begin("olivia")).active


@pytest.mark.requirement("NHI1-b")
@pytest.mark.parametrize("door", [by_library, by_api, by_command, by_console, by_containment])
async def test_every_door_that_disables_leads_to_the_same_end(
    door: Callable[[World], Awaitable[Told]], tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        # By the real clock: the command line is another process.
        app = create_app(Settings(database=f"sqlite:///{tmp_path}/sessile.db"), hasher=CHEAP)
        await stack.enter_async_context(app.router.lifespan_context(app))
        world = World(app, ManualClock(), stack, tmp_path)
        authority = world.authority
        await world.person("alice")
        one, two = await authority.begin("alice"), await authority.begin("alice")
        agent = await authority.delegate(one.active, to="agent:a", scopes={"x"})
        below = await authority.delegate(agent.active, to="agent:b", scopes={"x"})
        key = await authority.mint_key(two.active, owner="service:ci", scopes={"x"})
        dead = (one, two, agent, below)
        told = await door(world)
        by = "cli" if door is by_command else "olivia"
        assert told == Told(
            2, CAUSE, by, sorted(each.active.session.id for each in (one, two)), [key.active.session.id]
        )
        assert (await authority.principal("alice")).status == "disabled"
        assert await reasons(authority, *dead) == ["disabled"] * 4
        assert await reasons(authority, key) == [None]
        await authority.enable("alice")
        assert await reasons(authority, *dead) == ["revoked"] * 4, "enabling brings nothing back"


async def reasons(authority: Authority, *issued: Issued) -> list[str | None]:
    checked = [await authority.check(each.token) for each in issued]
    return [None if found else found.reason for found in checked]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack)


Ends = Callable[[World, Issued, Issued], Awaitable[Any]]
DEATHS: dict[str, Ends] = {
    "revoked": lambda w, child, top: w.authority.revoke(session=child.active.session.id, cause="x"),
    "the one above": lambda w, child, top: w.authority.revoke(session=top.active.session.id, cause="logout"),
    "contained": lambda w, child, top: w.authority.contain(session=top.active.session.id, cause="x"),
    "disabled": lambda w, child, top: w.authority.disable("agent:a", cause="x"),
    "deleted": lambda w, child, top: w.authority.delete("agent:a", cause="x"),
    "giver disabled": lambda w, child, top: w.authority.disable("alice", cause="x"),
    "epoch": lambda w, child, top: w.authority.end(End(uid=child.active.session.uid, cause="x")),
    "replaced": lambda w, child, top: w.authority.begin("alice", replaces=top.active),
    "found in the open": lambda w, child, top: w.authority.found_in_the_open(child.token, where="x", reporter="y"),
    "giver contained": lambda w, child, top: w.authority.contain(principal="alice", cause="x"),
    "everyone": lambda w, child, top: w.authority.revoke(everyone=True, keys=True, cause="x"),
}


HOURS = 5
"""How long the child lives."""


async def expire(world: World, *_: Issued) -> None:
    world.clock.advance(HOURS * HOUR)


async def idle(world: World, *_: Issued) -> None:
    world.clock.advance(2 * HOUR)


async def make_room(world: World, child: Issued, top: Issued) -> None:
    await world.authority.set_policy(Policy.aal1(version=9, max_sessions=1))
    await world.authority.begin("alice")


async def shorten(world: World, *_: Issued) -> None:
    world.clock.advance(2 * MINUTE)
    await world.authority.set_policy(Policy.aal1(version=9, overall=MINUTE, key_lifetime=MINUTE, idle=None))


async def rotate_out(world: World, child: Issued, top: Issued) -> None:
    """A use after the overlap: theft. Of a delegation there is no such thing; it ends with its parent."""
    if child.active.session.kind is SessionKind.DELEGATED:
        await world.authority.rotate(top.active)
        await world.authority.revoke(session=top.active.session.id, cause="x")
    else:
        await world.authority.rotate_key(top.active, child.active.session.id, overlap=MINUTE)
        world.clock.advance(2 * MINUTE)


async def forget(world: World, child: Issued, top: Issued) -> None:
    """So long over that nothing is left of it."""
    await world.authority.revoke(session=child.active.session.id, cause="x")
    world.clock.advance(HOURS * HOUR + 400 * 24 * HOUR)
    await world.authority.store.sweep()


LATER: dict[str, Ends] = {
    "expired": expire, "idle": idle, "limit": make_room, "policy": shorten, "rotated out": rotate_out,
    "forgotten": forget,
}  # fmt: skip


async def test_every_dead_token_introspects_to_the_same_bytes(tmp_path: Path) -> None:
    """RFC 7662, section 2.2: why it is dead is nobody's business there."""
    said: dict[str, bytes] = {}
    for name, end in {**DEATHS, **LATER}.items():
        async with AsyncExitStack() as stack:
            folder = tmp_path / name
            folder.mkdir()
            world = await opened(folder, stack)
            asker = await _asker(world)
            await world.person("alice")
            top = await world.authority.begin("alice")
            ask: dict[str, Any] = {"scopes": {"x"}, "lifetime": HOURS * HOUR}
            key = await world.authority.mint_key(top.active, owner="agent:a", **ask)
            delegated = await world.authority.delegate(top.active, to="agent:a", **ask)
            for child in (key, delegated):
                assert (await _ask(asker, child.token)).json()["active"] is True
            for child in (key, delegated):
                with contextlib.suppress(NotFound, Conflict):  # where it has ended both
                    await end(world, child, top)
            for child in (key, delegated):
                answer = await _ask(await _asker(world), child.token)
                assert answer.status_code == 200
                said[f"{name}, {child.active.session.kind}"] = answer.content
    # By design an ordinary end of the giver leaves its keys alive.
    alive = {what for what, content in said.items() if b'"active":true' in content}
    assert alive == {f"{what}, key" for what in ("the one above", "giver disabled", "replaced", "limit", "idle")}
    assert {content for what, content in said.items() if what not in alive} == {b'{"active":false}'}


@pytest.mark.parametrize("token", ["nonsense", "slk_" + "0" * 50, "slb_" + "0" * 50, "\u00fc", "x" * 4096])
async def test_what_never_was_a_token_introspects_to_the_same_bytes(world: World, token: str) -> None:
    answer = await _ask(await _asker(world), token)
    assert (answer.status_code, answer.content) == (200, b'{"active":false}')


async def _asker(world: World) -> httpx.AsyncClient:
    key = await world.authority.mint_key(await operator(world), owner="service:api", scopes={"introspect"})
    return await world.bearing(key.token)


async def _ask(asker: httpx.AsyncClient, token: str) -> httpx.Response:
    return await asker.post("/api/v1/introspect", data={"token": token})
