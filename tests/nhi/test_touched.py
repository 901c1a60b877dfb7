"""What was touched: gathered beside the requests, bounded, and shown in the blast radius with by whom and when."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sessile import Authority
from sessile.kernel.trace import LONGEST, TraceKind
from sessile.nhi.traces import MOST
from sessile.testing import ManualClock
from tests.authority.asking import MINUTE, active, cached, happened
from tests.program import Program
from tests.server.conftest import opened


async def test_the_blast_radius_names_what_was_touched_by_whom_and_when(
    authority: Authority, clock: ManualClock
) -> None:
    alice, bob = await authority.begin("alice"), await authority.begin("bob")
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    alice.active.touch_resource("secret:old", "read")
    bob.active.touch_resource("secret:prod/db", "read")
    clock.advance(20 * MINUTE)
    since = clock.now()
    (await active(authority, key.token)).touch_resource("secret:prod/db", "read")
    seen = await cached(authority, agent.token)
    for _ in range(3):
        clock.advance(MINUTE)
        seen.touch_resource("tool:search", "call")
    seen.touch_resource("tool:admin", "call", decision="out_of_scope")
    report = await authority.contain(session=alice.active.session.id, since=since, cause="stolen", dry_run=True)
    assert report.radius is not None
    said = [
        (one.resource, one.action, one.decision, one.principal, one.times, one.first - since, one.last - since)
        for one in report.radius.touched
    ]
    # The key was handed out before then: it stays, and what it does is no part of the damage.
    assert sorted(said) == [
        ("tool:admin", "call", "out_of_scope", "agent:a", 1, 3 * MINUTE, 3 * MINUTE),
        ("tool:search", "call", "allowed", "agent:a", 3, MINUTE, 3 * MINUTE),
    ]
    whole = await authority.contain(session=alice.active.session.id, cause="stolen")
    assert whole.radius is not None
    assert {(one.resource, one.principal) for one in whole.radius.touched} == {
        ("tool:admin", "agent:a"), ("tool:search", "agent:a"), ("secret:prod/db", "service:ci"),
        ("secret:old", "alice"),
    }  # fmt: skip
    mine = await authority.contain(principal="agent:a", cause="x", dry_run=True)
    assert mine.radius is not None
    assert {one.principal for one in mine.radius.touched} == {"agent:a"}


async def test_an_agents_first_touch_of_a_sort_is_an_event_and_a_persons_is_none(authority: Authority) -> None:
    alice = await authority.begin("alice")
    agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
    for _ in range(5):
        agent.active.touch_resource("tool:search", "call")
        alice.active.touch_resource("tool:search", "call")
        await authority.traces.flush(authority.store, everything=True)
    assert (await happened(authority)).count("resource.touched") == 1


async def test_what_is_touched_is_text_and_bounded(authority: Authority) -> None:
    alice = await authority.begin("alice")
    for resource, action in (("", ""), ("x" * (LONGEST + 1), ""), ("a\nb", ""), ("a", "\x1b[2J")):
        with pytest.raises(ValueError, match="resource"):
            alice.active.touch_resource(resource, action)
    for n in range(MOST + 100):
        alice.active.touch_resource(f"path:/{n}")
    assert len(authority.traces) <= MOST
    await authority.traces.flush(authority.store)
    kept = await authority.store.traces(kind=TraceKind.TOUCH, limit=1000)
    assert len(kept) == 1000
    assert kept[0].times > 10_000, "what is not kept apart is counted together"
    for n in range(100):
        alice.active.touch_resource(f"path:/more/{n}")
    assert len(authority.traces) <= MOST


async def test_forward_auth_notes_the_paths_that_are_asked_for(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, trusted_proxies=("127.0.0.1",), touched_paths=("/secrets/*",))
        alice = await world.signed_in("alice")
        for uri in ("/secrets/db?reveal=1", "/secrets/db", "/public"):
            headers = {"X-Forwarded-Host": "console.localhost", "X-Forwarded-Uri": uri, "X-Forwarded-Method": "GET"}
            assert (await alice.get("/forward-auth", headers=headers)).status_code == 200
        await world.authority.traces.flush(world.authority.store)
        (one,) = await world.authority.store.traces(kind=TraceKind.TOUCH)
        assert (one.what, one.how, one.times) == ("path:console.localhost/secrets/db", "GET", 2)


async def test_the_command_line_shows_it(tmp_path: Path) -> None:
    program = Program(tmp_path)
    async with Authority(f"sqlite:///{program.database}") as authority:
        alice = await authority.begin("alice")
        agent = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
        agent.active.touch_resource("secret:prod/db", "read")
    said = program.ok("contain", "--session", alice.active.session.id, "--dry-run")
    assert "secret:prod/db  read  by agent:a" in said


async def test_whoever_asks_waits_for_what_is_being_written(authority: Authority) -> None:
    alice = await authority.begin("alice")
    for _ in range(20):
        resource = f"secret:{secrets.token_hex(4)}"
        alice.active.touch_resource(resource, "read")
        by_the_way = asyncio.create_task(authority.traces.flush(authority.store))
        await asyncio.sleep(0)
        await authority.traces.flush(authority.store, everything=True)
        found = await authority.store.traces(kind=TraceKind.TOUCH, what=[resource])
        assert [one.what for one in found] == [resource]
        await by_the_way
