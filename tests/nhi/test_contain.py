"""Containment: what it ends and what not, in which order, and what the report says of it."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Conflict, Issued, NotFound, Reason
from sessile.kernel.containment import Fate
from sessile.kernel.event import EventName
from sessile.nhi.walk import walk_all
from sessile.testing import ManualClock
from tests.authority.asking import MINUTE, TICK, cached, events, reason, reasons


async def fates(authority: Authority, **ask: Any) -> dict[str, Fate]:
    report = await authority.contain(cause="stolen", **ask)
    assert report.radius is not None
    return {one.id: one.fate for one in report.radius.sessions}


def key(issued: Issued) -> str:
    return issued.active.session.id


@pytest.mark.requirement("NHI1-b")
async def test_what_a_session_handed_out_dies_with_it_or_with_its_containment(authority: Authority) -> None:
    """Alice hands out a key and a delegation and signs out: delegation dead, key alive. Then contain: key dead."""
    alice = await authority.begin("alice")
    pipeline = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    agent = await authority.delegate(alice.active, to="agent:deploy", scopes={"deploy"})
    below = await authority.delegate(pipeline.active, to="agent:helper", scopes={"build"})
    await authority.revoke(session=key(alice), cause="logout")
    await cached(authority, pipeline.token)
    assert await reasons(authority, [alice, agent, pipeline, below]) == [Reason.REVOKED, Reason.REVOKED, None, None]
    report = await authority.contain(session=key(alice), cause="laptop stolen")
    assert await reasons(authority, [pipeline, below]) == [Reason.REVOKED] * 2
    assert report.state == "closed"
    assert report.radius is not None
    assert {one.id: one.fate for one in report.radius.sessions} == {
        key(alice): Fate.OVER, key(pipeline): Fate.ENDS, key(below): Fate.ENDS,
    }  # fmt: skip
    assert (report.radius.ends, report.radius.over) == ({"delegated": 1, "key": 1}, 2)
    assert report.radius.principals == ("agent:helper", "service:ci")
    assert report.receipt is not None
    assert (report.receipt.cause, report.receipt.revoked) == ("laptop stolen", 2)
    info = await authority.session(key(alice))
    assert info.cause == "logout", "the first cause is kept"


async def test_only_what_was_handed_out_since(authority: Authority, clock: ManualClock) -> None:
    alice = await authority.begin("alice")
    early = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    agent = await authority.delegate(alice.active, to="agent:deploy", scopes={"deploy"})
    clock.advance(MINUTE)
    since = clock.now()
    late = await authority.mint_key(alice.active, owner="service:cd", scopes={"build"})
    assert await fates(authority, session=key(alice), since=since) == {
        key(alice): Fate.ENDS, key(agent): Fate.ENDS, key(late): Fate.ENDS, key(early): Fate.STAYS,
    }  # fmt: skip
    assert await reasons(authority, [early, late, agent]) == [None, Reason.REVOKED, Reason.REVOKED]
    wider = await fates(authority, session=key(alice))
    assert wider == {key(alice): Fate.OVER, key(early): Fate.ENDS}, "what an earlier one ended is over"
    assert await reason(authority, early.token) is Reason.REVOKED


async def test_all_of_a_principal(authority: Authority, clock: ManualClock) -> None:
    one, two, bob = [await authority.begin(name) for name in ("alice", "alice", "bob")]
    keys = [await authority.mint_key(each.active, owner=f"service:{n}", scopes={"x"}) for n, each in
            enumerate((one, two, bob))]  # fmt: skip
    await authority.revoke(session=key(two), cause="logout")
    report = await authority.contain(principal="Alice", cause="stolen", disable=True)
    assert await reasons(authority, keys) == [Reason.REVOKED, Reason.REVOKED, None]
    assert (report.principal, report.session, report.state) == ("alice", None, "closed")
    assert report.radius is not None
    assert {one.id: one.fate for one in report.radius.sessions} == {
        key(one): Fate.ENDS, key(two): Fate.OVER, key(keys[0]): Fate.ENDS, key(keys[1]): Fate.ENDS,
    }  # fmt: skip
    with pytest.raises(Conflict, match="disabled"):
        await authority.begin("alice")
    clock.advance(TICK)
    await authority.enable("alice")
    assert await reasons(authority, [one, two, *keys[:2]]) == [Reason.REVOKED] * 4, "enabling brings nothing back"
    again = await authority.mint_key((await authority.begin("alice")).active, owner="service:new", scopes={"x"})
    assert await reason(authority, again.token) is None


async def test_a_dry_run_shows_the_same_and_changes_nothing(authority: Authority) -> None:
    alice = await authority.begin("alice")
    pipeline = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    before = await events(authority)
    shown = await authority.contain(session=key(alice), cause="stolen", dry_run=True)
    assert (shown.id, shown.state, shown.receipt) == (None, None, None)
    assert await events(authority) == before
    assert await reasons(authority, [alice, pipeline]) == [None, None]
    done = await authority.contain(session=key(alice), cause="stolen")
    assert done.radius == shown.radius


async def test_the_report_is_kept_and_recorded(authority: Authority) -> None:
    alice = await authority.begin("alice")
    await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    report = await authority.contain(session=key(alice), cause="stolen", by=alice.active)
    assert report.id is not None
    assert await authority.containment(report.id) == report
    cut, settled = [one for one in await events(authority) if one.name is not EventName.SESSION_OVER][-2:]
    assert (cut.name, cut.session, cut.details["containment"]) == ("session.contained", key(alice), report.id)
    assert (settled.name, settled.details["state"], settled.by.name) == ("containment.settled", "closed", "alice")
    assert (settled.details["containment"], settled.details["key_ended"]) == (report.id, 1)
    with pytest.raises(NotFound):
        await authority.containment("con_nothing")


async def test_what_makes_no_sense_is_refused(authority: Authority) -> None:
    alice = await authority.begin("alice")
    for ask in (
        {}, {"session": key(alice), "principal": "alice"}, {"session": "alice"},
        {"session": key(alice), "disable": True}, {"session": key(alice), "since": datetime(2026, 1, 1)},  # noqa: DTZ001
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            await authority.contain(cause="stolen", **ask)
    with pytest.raises(NotFound):
        await authority.contain(principal="alcie", cause="stolen")
    with pytest.raises(NotFound):
        await authority.contain(session="ses_" + "0" * 27, cause="stolen", dry_run=True)
    assert await reason(authority, alice.token) is None


async def test_the_root_is_refused_before_the_walk_and_nothing_is_minted_past_the_cut(tmp_path: Path) -> None:
    """Root first (review 11): a tree of 10,000 under one session, minted into while it is contained."""
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        root = await authority.begin("alice")
        for name in ("agent:a", "service:ci"):
            await authority.register(name, owner="alice")
        made = [root]
        while len(made) < 10_000:
            givers = made[:100]
            made += await asyncio.gather(
                *(authority.delegate(giver.active, to="agent:a", scopes={"x"}) for giver in givers for _ in range(5))
            )
        await cached(authority, root.token)
        minted: list[Issued] = []
        begun, refused = asyncio.Event(), asyncio.Event()

        async def mint() -> None:
            while True:
                minted.append(await authority.mint_key(root.active, owner="service:ci", scopes={"x"}))
                begun.set()

        async def ask() -> None:
            while await authority.check(root.token):  # noqa: ASYNC110 - the first refusal is what is asked for
                await asyncio.sleep(0)
            refused.set()

        minting = [asyncio.create_task(mint()) for _ in range(4)]
        asking = asyncio.create_task(ask())
        await begun.wait()
        containing = asyncio.create_task(authority.contain(session=key(root), cause="stolen"))
        await refused.wait()
        assert not containing.done(), "the first refusal comes while the tree is still being walked"
        ends = await asyncio.gather(asking, *minting, return_exceptions=True)
        assert {type(end) for end in ends[1:]} == {Conflict}
        assert not containing.done(), "and nothing can be minted"
        report = await containing
        assert report.state == "closed"
        assert report.radius is not None
        assert report.radius.ended == len(made) + len(minted)
        assert report.radius.ends["key"] == len(minted)
        assert set(await reasons(authority, [*minted, *made[::50]])) == {Reason.REVOKED}


async def test_a_report_that_nobody_finished_is_finished_by_the_next_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url) as authority:
        alice = await authority.begin("alice")
        pipeline = await authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
        await authority.contain(session=key(alice), cause="stolen")
    # As a process leaves it that is killed between the cut and the walk.
    with sqlite3.connect(tmp_path / "sessile.db") as db:
        ((id_,),) = db.execute("SELECT id FROM containment").fetchall()
        db.execute("UPDATE containment SET state = 'unknown', report = NULL")
    db.close()
    async with Authority(url) as authority:
        while (report := await authority.containment(id_)).state == "unknown":
            assert (report.radius, report.session) == (None, key(alice))
            await asyncio.sleep(0)
        assert report.state == "closed"
        assert report.radius is not None
        assert {one.id for one in report.radius.sessions if one.fate is Fate.ENDS} == {key(alice), key(pipeline)}


async def test_disabling_a_person_stops_the_agents_that_act_for_them_and_writes_nothing_of_theirs(
    tmp_path: Path,
) -> None:
    """Human, agent A, agent B: liveness is derived upward (review 11)."""
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        alice = await authority.begin("alice")
        one = await authority.delegate(alice.active, to="agent:a", scopes={"x"})
        two = await authority.delegate(one.active, to="agent:b", scopes={"x"})
        await cached(authority, two.token)

        def rows() -> list[Any]:
            db = sqlite3.connect(tmp_path / "sessile.db")
            try:
                of_b = "uid = (SELECT uid FROM principal WHERE name = 'agent:b')"
                return [
                    db.execute("SELECT * FROM principal WHERE name = 'agent:b'").fetchall(),
                    db.execute(f"SELECT * FROM session WHERE {of_b}").fetchall(),  # noqa: S608
                    db.execute(f"SELECT t.* FROM token t JOIN session ON seq = t.session WHERE {of_b}").fetchall(),  # noqa: S608
                ]  # fmt: skip
            finally:
                db.close()

        before = rows()
        assert all(before)
        await authority.disable("alice", cause="offboarded")
        assert await reasons(authority, [one, two]) == [Reason.DISABLED] * 2
        await walk_all(authority.store, pause=0)
        assert rows() == before, "an event is told of it afterwards, and is no row of theirs"
        await authority.enable("alice")
        assert await reasons(authority, [alice, one, two]) == [Reason.REVOKED] * 3
