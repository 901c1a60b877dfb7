"""What only an engine beside a directory can do wrong: lose a revocation, say yes from a lost connection, go away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from sessile.authority import Authority
from sessile.errors import RevocationUncertain, SessileError, StoreUnavailable
from sessile.kernel.decide import Active, Denied
from sessile.kernel.event import SYSTEM
from sessile.kernel.ids import ALPHABET, home, partition_of
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind
from sessile.receipt import Issued
from sessile.stores.limits import CONNECT_SECONDS, STATEMENT_SECONDS
from sessile.stores.protocol import End
from sessile.stores.redis import RedisStore
from sessile.stores.redis.health import examine
from sessile.stores.redis.line import Line
from sessile.stores.redis.servers import Servers
from sessile.stores.redis.wire import Wire
from tests.engines import Postgres
from tests.engines_redis import Server, binaries, binary, server, valkey_binary
from tests.stores.changing import delta_while_nodes_run

pytestmark = pytest.mark.anyio


@pytest.fixture(params=binaries())
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with server(binary(request.param), tmp_path / "engine") as running:
        yield running


@pytest.fixture
def make(engine: Server, tmp_path: Path) -> Callable[[], Authority]:
    return lambda: Authority(f"{engine.url}/0", directory=f"sqlite:///{tmp_path}/directory.db")


@pytest.fixture
async def one(make: Callable[[], Authority]) -> AsyncIterator[Authority]:
    async with make() as authority:
        yield authority


@pytest.fixture
async def two(make: Callable[[], Authority], one: Authority) -> AsyncIterator[Authority]:
    async with make() as authority:
        yield authority


def store_of(authority: Authority) -> RedisStore:
    assert isinstance(authority.store, RedisStore)
    return authority.store


def line_of(authority: Authority) -> tuple[Line, Wire]:
    """The line to the one server there is, and its connection."""
    following = store_of(authority)._following
    assert following is not None
    (line,) = following.lines.values()
    assert line.wire is not None
    return line, line.wire


async def until(true: Callable[[], object], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.02)


async def trusted(authority: Authority) -> None:
    await until(lambda: authority.store.current(authority.clock.elapsed()))


async def reason(authority: Authority, issued: Issued) -> Reason | None:
    found = await authority.check(issued.token, touch=False)
    return found.reason if isinstance(found, Denied) else None


async def until_reason(authority: Authority, issued: Issued, wanted: Reason | None, seconds: float = 10.0) -> None:
    """Until then it is unavailable, and nothing else."""
    deadline = time.monotonic() + seconds
    while (found := await reason(authority, issued)) is not wanted:
        assert found is Reason.UNAVAILABLE
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_session_is_where_its_principal_is(one: Authority) -> None:
    """And with it all that it hands out: every check, and every minting, is one script in one slot."""
    issued = await one.begin("alice")
    alice = await one.principal("alice")
    session = issued.active.session
    child = await one.delegate(issued.active, to="agent:a", scopes=["x"])
    assert session.partition == partition_of(session.id) == home(alice.uid) == issued.token[4]
    assert child.active.session.partition == session.partition == child.token[4]


async def test_begun_here_accepted_there_at_once(one: Authority, two: Authority) -> None:
    issued = await one.begin("alice")
    assert await two.check(issued.token)
    await trusted(two)
    assert two.peek(issued.token)


@pytest.mark.parametrize("how", ["session", "principal", "everyone"])
async def test_what_was_revoked_on_one_node_is_over_on_the_other(one: Authority, two: Authority, how: str) -> None:
    """With `wait=False` and by the announcement alone the other denies soon; with the wait, at the return."""
    for _ in range(5):
        issued = await one.begin("alice")
        assert await two.check(issued.token)
        await trusted(two)
        receipt = await one.revoke(
            session=issued.active.session.id if how == "session" else None,
            principal="alice" if how == "principal" else None,
            everyone=how == "everyone", cause="test",
        )  # fmt: skip
        assert two.peek(issued.token) is None
        assert await reason(two, issued) is Reason.REVOKED
        assert receipt.effective >= receipt.at


async def test_no_check_says_yes_after_a_revocation_returned(one: Authority, two: Authority) -> None:
    """Hundreds of sessions, each checked on the other node without a pause while it is revoked here."""
    rounds, at_once = 3, 80
    late = checks = 0
    over: set[str] = set()

    async def check_on(issued: Issued) -> None:
        nonlocal late, checks
        for _ in range(10_000):
            before = issued.active.session.id in over
            found = await two.check(issued.token, touch=False)
            checks += 1
            late += bool(found) and before
            if not found and before:
                return
            await asyncio.sleep(0.002)

    async def revoke(issued: Issued) -> None:
        await one.revoke(session=issued.active.session.id, cause="test")
        over.add(issued.active.session.id)

    for number in range(rounds):
        held = [await one.begin(f"person{number}-{each % 7}") for each in range(at_once)]
        await asyncio.gather(*map(check_on, held), *map(revoke, held))
    assert (late, len(over)) == (0, rounds * at_once)
    assert checks > 2 * rounds * at_once


async def test_a_tracked_connection_that_is_cut_ends_trust_and_comes_back(one: Authority, engine: Server) -> None:
    """Review 3."""
    issued = await one.begin("alice")
    assert await one.check(issued.token)
    await trusted(one)
    line, wire = line_of(one)
    assert ":1" in engine.ask("CLIENT", "KILL", "ID", wire.client)
    await asyncio.wait_for(asyncio.shield(wire.closed), 5)
    assert not one.store.current(one.clock.elapsed())
    assert len(one._near) == 0
    assert await reason(one, issued) in (None, Reason.UNAVAILABLE)
    await trusted(one)
    assert line.wire is not wire
    assert await one.check(issued.token)


async def test_a_connection_that_tracks_no_more_ends_trust(one: Authority, engine: Server) -> None:
    """Review 3: the socket lives, and answers; the subscription is gone."""
    await trusted(one)
    _, wire = line_of(one)
    await wire.call("CLIENT", "TRACKING", "OFF")
    await until(lambda: not one.store.current(one.clock.elapsed()))


async def test_no_pong_overtakes_an_invalidation(one: Authority, two: Authority) -> None:
    """A probe of what the proof rests on: an ending that was acknowledged before a ping was sent has been announced
    by the time the ping is answered."""
    following = store_of(two)._following
    assert following is not None
    line, wire = line_of(two)
    for _ in range(200):
        issued = await one.begin("alice")
        ended = await one.store.end(End(session=issued.active.session.id, cause="probe"))
        await line._ask(wire, ALPHABET)
        told = following._last_told[issued.active.session.partition]
        assert told >= ended.mark


async def test_everything_is_flushed(one: Authority, engine: Server) -> None:
    """Sessions are lost, nobody is let in by what was cached, and sign-in goes on."""
    issued = await one.begin("alice")
    assert await one.check(issued.token)
    engine.ask("FLUSHALL")
    await until(lambda: one.peek(issued.token) is None)
    await until_reason(one, issued, Reason.UNKNOWN)
    assert await one.check((await one.begin("alice")).token)


@pytest.mark.parametrize("how", ["session", "disable", "everyone"])
async def test_an_engine_that_lost_a_revocation_is_believed_only_after_it_was_applied_again(
    one: Authority, engine: Server, how: str
) -> None:
    """Review 1: SAVE, revoke, kill -9, restart from the snapshot."""
    issued, other = await one.begin("alice"), await one.begin("bob")
    engine.ask("SAVE")
    if how == "session":
        await one.revoke(session=issued.active.session.id, cause="test")
    elif how == "disable":
        await one.disable("alice", cause="test")
    else:
        await one.revoke(everyone=True, cause="test")
    engine.kill()
    with contextlib.suppress(SessileError):
        await one.store.read(issued.active.digest)
    engine.start()
    wanted = Reason.DISABLED if how == "disable" else Reason.REVOKED
    await until_reason(one, issued, wanted)
    assert await reason(one, other) is (Reason.REVOKED if how == "everyone" else None)


async def test_an_engine_that_lost_a_binding_is_believed_only_after_it_was_applied_again(
    one: Authority, engine: Server
) -> None:
    """Else a token that was stolen counts again without the key of its browser."""
    issued = await one.begin("alice")
    engine.ask("SAVE")
    assert await one.store.bind(issued.active.session.id, "key", SYSTEM)
    engine.kill()
    with contextlib.suppress(SessileError):
        await one.store.read(issued.active.digest)
    engine.start()
    await until_reason(one, issued, None)
    found = await one.session(issued.active.session.id)
    assert found.client.device_key == "key"


async def test_a_new_node_on_an_engine_that_went_back(
    make: Callable[[], Authority], one: Authority, engine: Server
) -> None:
    """It has seen nothing itself: the journal tells it."""
    issued = await one.begin("alice")
    engine.ask("SAVE")
    await one.revoke(session=issued.active.session.id, cause="test")
    await one.close()
    engine.kill()
    engine.start()
    async with make() as fresh:
        assert await reason(fresh, issued) is Reason.REVOKED


async def test_an_engine_that_is_away_is_no_logout(one: Authority, engine: Server) -> None:
    issued = await one.begin("alice")
    assert await one.check(issued.token)
    engine.ask("SAVE")
    engine.kill()
    await until(lambda: not one.store.current(one.clock.elapsed()))
    assert await reason(one, issued) is Reason.UNAVAILABLE
    with pytest.raises(StoreUnavailable):
        await one.begin("alice")
    engine.start()
    await until_reason(one, issued, None)


async def test_an_engine_that_is_stopped(one: Authority, engine: Server) -> None:
    """It holds the connection and answers nothing: trust runs out by the clock."""
    issued = await one.begin("alice")
    assert await one.check(issued.token)
    await trusted(one)
    engine.signal(signal.SIGSTOP)
    try:
        await until(lambda: one.peek(issued.token) is None, 2.0)
        assert await reason(one, issued) is Reason.UNAVAILABLE
    finally:
        engine.signal(signal.SIGCONT)
    await until_reason(one, issued, None)


async def test_nobody_waits_again_for_an_engine_that_has_not_answered(one: Authority, engine: Server) -> None:
    """A crowd of requests is answered within what one of them may wait, and later ones at once."""
    held = [await one.begin(f"person-{number}") for number in range(60)]
    engine.signal(signal.SIGSTOP)
    try:
        await until(lambda: not one.store.current(one.clock.elapsed()))
        began = time.monotonic()
        found = await asyncio.gather(*[reason(one, issued) for issued in held])
        assert set(found) == {Reason.UNAVAILABLE}
        assert time.monotonic() - began < STATEMENT_SECONDS + CONNECT_SECONDS
        began = time.monotonic()
        for issued in held:
            assert await reason(one, issued) is Reason.UNAVAILABLE
        assert time.monotonic() - began < CONNECT_SECONDS + 1
    finally:
        engine.signal(signal.SIGCONT)
    for issued in held:
        await until_reason(one, issued, None)


async def test_an_ending_while_the_engine_is_away_comes_into_force_with_it(
    one: Authority, two: Authority, engine: Server
) -> None:
    """Review 12: the journal has it; whoever asked for it is told that it is uncertain."""
    issued = await one.begin("alice")
    assert await one.check(issued.token)
    uid = (await one.principal("alice")).uid
    engine.ask("SAVE")
    engine.kill()
    with pytest.raises((StoreUnavailable, RevocationUncertain)):
        await one.store.end(End(uid=uid, status=Status.DISABLED, cause="test"))
    engine.start()
    await until_reason(two, issued, Reason.DISABLED)


async def test_ending_somebody_with_very_many_sessions_asks_the_engine_for_no_more(
    one: Authority, engine: Server
) -> None:  # fmt: skip
    """Of more than 256 sessions ten are looked at, as of ten."""
    for name, sessions in (("few", 10), ("many", 300)):
        for _ in range(sessions):
            await one.begin(name)
    asked, named = {}, {}
    for name in ("few", "many"):
        engine.ask("CONFIG", "RESETSTAT")
        ended = await one.store.end(End(uid=(await one.principal(name)).uid, cause="x"))
        said = engine.ask("INFO", "commandstats")
        asked[name] = sum(int(calls) for calls in re.findall(r"cmdstat_(?:get|mget|zrange):calls=(\d+)", said))
        named[name] = len(ended.sessions)
    assert named == {"few": 10, "many": 10}
    assert asked["few"] > 10
    assert asked["many"] <= asked["few"] + 2


async def test_a_process_that_died_before_it_applied_what_it_journalled(
    one: Authority, two: Authority, tmp_path: Path
) -> None:
    """Review 12: any node applies it within a second, and the first to open does before anything else."""
    issued = await one.begin("alice")
    assert await two.check(issued.token)
    store = store_of(one)

    async def dies(*_: object) -> None:
        raise StoreUnavailable("the process is gone")

    assert store._reach is not None
    store._reach.apply = dies  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        await store.end(End(session=issued.active.session.id, cause="test"))
    with sqlite3.connect(tmp_path / "directory.db") as db:
        assert db.execute("SELECT count(*) FROM event WHERE session = ?", (issued.active.session.id,)).fetchone() == (
            2,
        )
    db.close()
    await until_reason_is_revoked(two, issued)


async def until_reason_is_revoked(authority: Authority, issued: Issued) -> None:
    deadline = time.monotonic() + 5
    while await reason(authority, issued) is not Reason.REVOKED:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def calls(engine: Server, command: str) -> int:
    """How often the engine has carried that out."""
    told = engine.ask("INFO", "commandstats").partition(f"cmdstat_{command}:calls=")[2]
    return int(told.partition(",")[0] or "0")


async def test_what_a_token_needed_before_is_read_by_name(one: Authority, two: Authority, engine: Server) -> None:
    """Without the script that finds it; and whatever was written meanwhile is seen."""
    top, nobody = await one.begin("alice"), await one.begin(None)
    below = await one.delegate(top.active, to="agent:a", scopes=["x"])
    held = (top, below, nobody)
    await trusted(two)
    found = [await two.store.read(each.active.digest) for each in held]
    scripts = calls(engine, "evalsha")
    for each, before in zip(held * 20, found * 20, strict=True):
        after = await two.store.read(each.active.digest)
        assert before is not None
        assert after is not None
        assert after.now > before.now
        assert replace(after, now=before.now, mark=before.mark) == before
    assert calls(engine, "evalsha") - scripts < 10 * len(held)  # a few pings
    now = datetime.now(UTC)
    await one.store.touch({top.active.session.id: now})
    touched = await two.store.read(top.active.digest)
    assert touched is not None
    assert touched.session.last_seen == now
    await one.store.end(End(session=top.active.session.id, cause="test"))
    assert await reason(two, top) is await reason(two, below) is Reason.REVOKED
    assert await reason(two, nobody) is None
    await one.store.end(End(everyone=frozenset(SessionKind), cause="test"))
    assert await reason(two, nobody) is Reason.REVOKED


async def test_a_principal_that_got_another_policy_is_not_read_with_the_old_one(one: Authority, two: Authority) -> None:
    issued = await one.begin("alice")
    uid = issued.active.session.uid
    await trusted(two)
    assert await two.store.read(issued.active.digest)
    await one.set_policy(Policy.aal2(name="strict", assurance=2))
    await one.store.end(End(uid=uid, policy="strict", cause="test"))
    found = await two.store.read(issued.active.digest)
    assert found is not None
    assert found.policy is not None
    assert found.policy.name == "strict"
    assert await reason(two, issued) is Reason.REVOKED


async def test_what_a_server_says_that_is_a_primary_no_more_counts_for_no_longer_than_what_is_cached(
    tmp_path: Path,
) -> None:
    """It has all rows still, and would go on answering."""
    with server(valkey_binary(), tmp_path / "old") as old, server(valkey_binary(), tmp_path / "new") as new:
        assert new.ask("REPLICAOF", "127.0.0.1", str(old.port)).startswith("+OK")
        await until(lambda: "state=online" in old.ask("INFO", "replication"))
        async with Authority(old.url, directory=f"sqlite:///{tmp_path}/directory.db") as authority:
            issued = await authority.begin("alice")
            await trusted(authority)
            for _ in range(2):
                assert await authority.store.read(issued.active.digest)
            await until(lambda: issued.active.session.id in new.ask("KEYS", "*ses_*"))
            assert new.ask("REPLICAOF", "NO", "ONE").startswith("+OK")
            assert old.ask("REPLICAOF", "127.0.0.1", str(new.port)).startswith("+OK")
            await until(lambda: not authority.store.current(authority.clock.elapsed()))
            assert issued.active.session.id in old.ask("KEYS", "*ses_*")
            with pytest.raises(StoreUnavailable):
                await authority.store.read(issued.active.digest)


async def test_scripts_that_the_engine_forgot_are_sent_again(one: Authority, engine: Server) -> None:
    issued = await one.begin("alice")
    engine.ask("SCRIPT", "FLUSH")
    await until_reason(one, issued, None)
    assert (await one.begin("bob")).active


async def test_another_directory_is_not_served(one: Authority, engine: Server, tmp_path: Path) -> None:
    """Nor does it empty what is not its own."""
    issued = await one.begin("alice")
    other = Authority(f"{engine.url}/0", directory=f"sqlite:///{tmp_path}/other.db")
    store_of(other)._patience = timedelta(seconds=1)
    with pytest.raises(StoreUnavailable, match="another directory"):
        await other.open()
    assert isinstance(await one.check(issued.token), Active)


async def test_the_engine_drops_what_is_over_by_itself(one: Authority, engine: Server) -> None:
    """Every key of a session has an end; epochs have none."""
    await one.begin("alice")
    uid = (await one.principal("alice")).uid
    place = f"{{s:{home(uid)}}}"
    keys = [key for key in engine.ask("KEYS", f"\\{place}*").split("\r\n") if key.startswith(place)]
    ends = {key.removeprefix(place)[:4]: int(engine.ask("PTTL", key).removeprefix(":")) for key in keys}
    for forever in ("prn_", "poli", "ever", "mark", "delt"):
        assert ends[forever] == -1
    # Its SHA-256 need not be text: the token's key is the one that is left.
    assert ends["ses_"] > 0
    assert ends["of:p"] > 0


async def test_an_engine_that_is_full_still_ends(one: Authority, two: Authority, engine: Server) -> None:
    """Review 25: without room, nobody can sign in; whoever is in stays, from memory too, until he is signed out."""
    stays, issued = await one.begin("alice", method="password"), await one.begin("bob", method="password")
    everyone = await one.begin("carol", method="password")
    assert engine.ask("CONFIG", "SET", "maxmemory", "100kb").startswith("+OK")
    with pytest.raises(StoreUnavailable, match="memory"):
        await one.begin("dave", method="password")
    await trusted(two)
    assert await two.check(issued.token)
    assert two.peek(issued.token)
    await one.revoke(session=issued.active.session.id, cause="test")
    assert await reason(two, issued) is Reason.REVOKED
    await one.disable("carol", cause="test")
    assert await reason(two, everyone) is Reason.DISABLED
    await trusted(two)  # by now by pings that came after it was full
    assert await two.check(stays.token)


async def test_what_its_user_may_do(engine: Server, tmp_path: Path) -> None:
    """As docs/operations.md says it."""
    engine.ask("ACL", "SETUSER", "sessile", "on", ">secret", "~{s:*", "~s!*", "~s~*", "+@all", "-@admin")
    url = engine.url.replace("redis://", "redis://sessile:secret@")
    async with Authority(f"{url}/0", directory=f"sqlite:///{tmp_path}/directory.db") as authority:
        issued = await authority.begin("alice")
        await trusted(authority)
        await authority.check(issued.token)
        assert authority.peek(issued.token)
        await authority.revoke(session=issued.active.session.id, cause="test")
        assert await reason(authority, issued) is Reason.REVOKED
        await authority.store.sweep()


async def test_without_a_directory_it_is_refused(engine: Server) -> None:
    with pytest.raises(ValueError, match="directory"):
        Authority(f"{engine.url}/0")
    with pytest.raises(ValueError, match="directory"):
        Authority("memory:", directory="sqlite:///x.db")


async def test_settings_that_lose_something_are_told(engine: Server, make: Callable[[], Authority]) -> None:
    """Review 1, 25: each with its cure."""
    async with make() as authority:
        store = store_of(authority)

        async def told() -> dict[str, str]:
            return {one.check: one.level for one in await store.health() if one.level != "ok" and one.cure}

        engine.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        engine.ask("CONFIG", "SET", "save", "3600 1")
        engine.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 4096 0 0")
        assert await told() == {"maxmemory-policy": "fail", "persistence": "fail", "output buffers": "warn"}
        engine.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        engine.ask("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        engine.ask("CONFIG", "SET", "appendonly", "yes")
        engine.ask("CONFIG", "SET", "appendfsync", "no")
        assert await told() == {"persistence": "warn"}
        engine.ask("CONFIG", "SET", "appendfsync", "everysec")
        assert await told() == {}


async def test_replicas_that_nobody_waits_for_are_told(tmp_path: Path) -> None:
    """Review 2: and majorities that cannot be, or need not meet."""
    with (
        server(valkey_binary(), tmp_path / "one") as primary,
        server(valkey_binary(), tmp_path / "two", "--replicaof", "127.0.0.1", str(primary.port)),
    ):
        await until(lambda: "connected_slaves:1" in primary.ask("INFO", "replication"))
        wire = await Wire.connect("127.0.0.1", primary.port, Servers(primary.url).login)
        try:
            for members, level in ((0, "warn"), (2, "ok"), (5, "fail")):
                told = {one.check: one for one in await examine(wire, members=members)}
                assert told["replicas"].level == level
                assert told["min-replicas-to-write"].level == "warn"
        finally:
            wire.close()


async def test_a_revocation_waits_for_a_majority(tmp_path: Path) -> None:
    """Review 2: a primary that no replica acknowledges is believed by nobody, and ends nothing for good."""
    with (
        server(valkey_binary(), tmp_path / "one") as primary,
        server(valkey_binary(), tmp_path / "two", "--replicaof", "127.0.0.1", str(primary.port)) as replica,
    ):
        url = f"{primary.url}/0?reach=quorum&members=2"
        async with Authority(url, directory=f"sqlite:///{tmp_path}/directory.db") as authority:
            issued, other = await authority.begin("alice"), await authority.begin("bob")
            assert await authority.check(issued.token)
            await trusted(authority)
            receipt = await authority.revoke(session=issued.active.session.id, cause="test")
            assert receipt.reach == "quorum"
            replica.signal(signal.SIGSTOP)
            try:
                await until(lambda: not authority.store.current(authority.clock.elapsed()))
                assert await reason(authority, other) is Reason.UNAVAILABLE
                with pytest.raises(StoreUnavailable):
                    await authority.store.end(End(session=other.active.session.id, cause="test"))
            finally:
                replica.signal(signal.SIGCONT)
            # Journalled or not, it is in force for all or for none.
            await until(lambda: authority.store.current(authority.clock.elapsed()))
            await until_reason(authority, issued, Reason.REVOKED)


async def test_a_revocation_waits_for_the_disks(tmp_path: Path) -> None:
    """Review 1: with `durable=yes` it is in the append-only files of a majority, and the receipt says so."""
    aof = ("--appendonly", "yes", "--appendfsync", "always")
    follow = ("--replicaof", "127.0.0.1")
    with (
        server(valkey_binary(), tmp_path / "one", *aof) as primary,
        server(valkey_binary(), tmp_path / "two", *aof, *follow, str(primary.port)) as replica,
    ):
        url = f"{primary.url}/0?reach=quorum&members=2&durable=yes"
        async with Authority(url, directory=f"sqlite:///{tmp_path}/directory.db") as authority:
            issued, other = await authority.begin("alice"), await authority.begin("bob")
            receipt = await authority.revoke(session=issued.active.session.id, cause="test")
            assert (receipt.reach, receipt.durable) == ("quorum", True)
            mark = f"{{s:{issued.active.session.partition}}}mark"
            written = primary.ask("GET", mark)
            replica.signal(signal.SIGSTOP)
            try:
                with pytest.raises(StoreUnavailable):
                    await authority.store.end(End(session=other.active.session.id, cause="test"))
            finally:
                replica.signal(signal.SIGCONT)
            # Both lose their power at once: neither has forgotten it.
            primary.kill()
            replica.kill()
            primary.start()
            assert primary.ask("GET", mark) >= written


async def test_without_waiting_for_the_disks_the_receipt_says_so(one: Authority) -> None:
    issued = await one.begin("alice")
    receipt = await one.revoke(session=issued.active.session.id, cause="test", wait=False)
    assert (receipt.reach, receipt.durable) == ("engine", False)


async def test_disks_that_cannot_be_waited_for_are_refused(engine: Server, tmp_path: Path) -> None:
    """With the cure: Redis has WAITAOF since 7.2, and it needs an append-only file."""
    authority = Authority(f"{engine.url}/0?durable=yes", directory=f"sqlite:///{tmp_path}/directory.db")
    store_of(authority)._patience = timedelta(seconds=1)
    version = engine.ask("INFO", "server").partition("redis_version:")[2].partition("\r\n")[0]
    old = "valkey" not in engine.binary and version < "7.2"
    with pytest.raises(StoreUnavailable, match="7.2.*upgrade" if old else "set appendonly yes"):
        await authority.open()


@pytest.mark.parametrize("milliseconds", [100, 900])
async def test_the_delay_is_changed_while_nodes_run(
    one: Authority, two: Authority, milliseconds: int, make: Callable[[], Authority]
) -> None:
    """Review 4."""
    to = timedelta(milliseconds=milliseconds)
    await delta_while_nodes_run(one, two, store_of(one).change_delta, to)
    assert store_of(two).delta == to
    follower = next(iter(store_of(two)._following.followers.values()))  # type: ignore[union-attr]
    await trusted(two)
    assert follower.trust.deadline - two.clock.elapsed() <= milliseconds * 1_000_000
    async with make() as fresh:
        assert store_of(fresh).delta == to
    with pytest.raises(ValueError, match="between"):
        await store_of(one).change_delta(timedelta(0))


async def test_a_forked_child_opens_its_own_connections(one: Authority) -> None:
    """Review 5: it trusts nothing of the parent's, and the parent's connections outlive it."""
    issued = await one.begin("alice", method="password")
    assert await one.check(issued.token)
    await trusted(one)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            found: list[object] = []

            async def check() -> bool:
                return bool(await one.check(issued.token))

            def run() -> None:
                found.append(one.peek(issued.token) is None and asyncio.run(check()))

            thread = threading.Thread(target=run)
            thread.start()
            thread.join(20)
            status = 0 if found == [True] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
    await trusted(one)
    assert one.peek(issued.token) or await one.check(issued.token)
    await one.revoke(session=issued.active.session.id, cause="lost")
    assert await reason(one, issued) is Reason.REVOKED


async def test_the_directory_may_be_postgresql(engine: Server, postgres: Postgres, tmp_path: Path) -> None:
    """Nodes on several machines then share it; the journal is numbered there."""
    database = f"beside_{tmp_path.name}".replace("-", "_").lower()[:60]
    postgres.database(database)
    make = [Authority(f"{engine.url}/0", directory=postgres.url(database)) for _ in range(2)]
    async with make[0] as one, make[1] as two:
        issued, other = await one.begin("alice"), await two.begin("bob")
        assert await two.check(issued.token)
        await one.disable("alice", cause="test")
        assert await reason(two, issued) is Reason.DISABLED
        await two.revoke(everyone=True, cause="test")
        assert await reason(one, other) is Reason.REVOKED
