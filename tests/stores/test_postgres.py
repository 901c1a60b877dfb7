"""What is peculiar to PostgreSQL: announcements, connections that die, an engine that is away or went back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from sessile import Authority, Policy
from sessile.asgi import CookieSpec, SessileMiddleware
from sessile.errors import Conflict, RevocationUncertain, SessileError, StoreUnavailable
from sessile.kernel.decide import Active, Denied
from sessile.kernel.event import SYSTEM
from sessile.kernel.ids import new_session_id
from sessile.kernel.issue import Draft
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.stores.postgres import PostgresStore
from sessile.stores.postgres.address import is_majority, parse
from sessile.stores.protocol import End
from tests.conftest import need
from tests.engines import HASTY, Postgres, free_port, new_postgres
from tests.stores.changing import delta_while_nodes_run

# ruff: noqa: ASYNC110 - what is waited for is the engine's, and sets no event

pytestmark = pytest.mark.anyio

_schemas = (f"own{number}" for number in itertools.count())


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.url("postgres", schema=next(_schemas))


@pytest.fixture
def own() -> Iterator[Postgres]:
    """An engine of the test's own, to be stopped and started."""
    with new_postgres(*HASTY) as server:
        yield server


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Authority]:
    authority = Authority(url)
    await authority.open()
    try:
        yield authority
    finally:
        await authority.close()


def store(authority: Authority) -> PostgresStore:
    assert isinstance(authority.store, PostgresStore)
    return authority.store


async def trusted(authority: Authority, wanted: bool = True) -> None:
    """Wait until the near cache is trusted, or is not."""
    async with asyncio.timeout(20):
        while authority.store.current(authority.clock.elapsed()) is not wanted:
            await asyncio.sleep(0.005)


async def answered(authority: Authority, token: str) -> Active | Denied:
    """The first answer that is not «ask again»."""
    async with asyncio.timeout(20):
        while True:
            found = await authority.check(token)
            if not isinstance(found, Denied) or found.reason is not Reason.UNAVAILABLE:
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("names", "majority"),
    [
        ("ANY 1 (two, three)", True), ("any 1(two,three)", True), ('ANY 1 ("two", "three")', True), ("two", True),
        ("FIRST 2 (two, three, four)", True), ("2 (two, three, four, five)", True), ("ANY 1 (two, three, four)", False),
        ("two, three", True), ("two, three, four", False), ("", False), ("*", False), ("ANY 1 (*)", False),
    ],
)  # fmt: skip
async def test_what_makes_a_majority(names: str, majority: bool) -> None:
    """Review 2: of any two that acknowledge, the primary counted, one belongs to both."""
    assert is_majority(names) is majority


async def test_of_several_hosts_one_is_used_at_a_time() -> None:
    address = parse("postgresql://u:hunter2@one:5433,two:5434/db?reach=quorum&schema=s&target_session_attrs=primary")
    assert (address.quorum, address.schema, address.hosts) == (True, "s", 2)
    assert "hunter2" not in f"{address!r}{address.shown}"
    used = []
    for _ in range(3):
        used.append(conninfo_to_dict(address.main))
        address.turn()
    assert [(each["host"], each["port"]) for each in used] == [("one", "5433"), ("two", "5434"), ("one", "5433")]
    assert {each["target_session_attrs"] for each in used} == {"primary"}, "what the URL says counts"
    assert conninfo_to_dict(parse("postgresql://one/db").main)["target_session_attrs"] == "read-write"
    with pytest.raises(ValueError, match="ports"):
        parse("postgresql://one:1,two:2,three:3/db?host=a,b")


async def test_no_check_on_another_node_is_active_after_a_revocation_returned(url: str) -> None:
    """Hundreds of rounds, with the session in the other node's memory each time."""
    async with opened(url) as one, opened(url) as other:
        # A small Δ, so that the rounds are many.
        await store(one).change_delta(timedelta(milliseconds=20))
        late = cached = 0
        for _ in range(200):
            issued = await one.begin("alice", method="password")
            assert await other.check(issued.token), "at once, at every node"
            await trusted(other)
            await other.check(issued.token)
            cached += other.peek(issued.token) is not None
            await one.revoke(session=issued.active.session.id, cause="lost")
            late += other.peek(issued.token) is not None or bool(await other.check(issued.token))
        assert late == 0
        assert cached > 150


async def test_no_answer_to_a_ping_overtakes_an_announcement(url: str) -> None:
    """What was acknowledged before a ping was sent has been applied when its answer counts; without any wait."""
    async with opened(url) as one, opened(url) as other:
        overtaken = 0
        for _ in range(40):
            issued = await one.begin("bob", method="password")
            await trusted(other)
            await other.check(issued.token)
            await one.revoke(session=issued.active.session.id, cause="lost", wait=False)
            acknowledged = other.clock.elapsed()
            follower = store(other).follower
            async with asyncio.timeout(5):
                # The answer to a ping that was sent after the acknowledgement.
                while follower.trust.deadline < acknowledged + 500_000_000:
                    await asyncio.sleep(0)
            overtaken += other.peek(issued.token) is not None
        assert overtaken == 0


async def test_a_connection_that_is_cut_is_not_trusted_until_it_stands_again(url: str) -> None:
    async with opened(url) as authority:
        issued = await authority.begin("alice", method="password")
        await trusted(authority)
        assert await authority.check(issued.token)
        assert authority.peek(issued.token) is not None
        channel = f"sessile_{store(authority).address.schema}"
        with psycopg.connect(store(authority).address.main, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s", (f'LISTEN "{channel}"',)
            )
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%sessile_ping%%'"
                " AND query LIKE %s", (f"%{store(authority).address.schema}.journal%",),
            )  # fmt: skip
        await trusted(authority, wanted=False)
        assert authority.peek(issued.token) is None
        assert await authority.check(issued.token), "the engine is there: it is asked"
        await trusted(authority)
        assert await authority.check(issued.token)
        assert authority.peek(issued.token) is not None


async def test_an_engine_that_is_away_is_no_logout(own: Postgres) -> None:
    async with opened(own.url("postgres")) as authority:
        issued = await authority.begin("alice", method="password")
        own.stop()
        await trusted(authority, wanted=False)
        denied = await authority.check(issued.token)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.UNAVAILABLE
        own.start()
        assert isinstance(await answered(authority, issued.token), Active), "without a restart of ours"
        await trusted(authority)
        await authority.revoke(session=issued.active.session.id, cause="lost")
        assert not await answered(authority, issued.token)


async def test_start_up_waits_for_an_engine_that_is_away(own: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    own.stop()
    authority = Authority(own.url("postgres"))
    opening = asyncio.create_task(authority.open())
    async with asyncio.timeout(20):
        while not any("waiting for PostgreSQL at 127.0.0.1" in each.message for each in caplog.records):
            await asyncio.sleep(0.01)
    assert not opening.done()
    assert all("sessile@" not in each.message for each in caplog.records), "where, and no more of the URL"
    await asyncio.to_thread(own.start)
    await opening
    issued = await authority.begin("alice", method="password")
    assert await authority.check(issued.token)
    await authority.close()


async def test_an_engine_that_is_stopped_in_its_tracks_is_503_and_no_logout(own: Postgres) -> None:
    """Its connections stay open and nothing is answered. Until Δ has passed memory answers, after it nobody is let in,
    nobody is signed out, and nobody is made to wait for long; then it goes on by itself."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await scope["sessile"].require()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with opened(own.url("postgres")) as authority:
        app = SessileMiddleware(page, authority, cookie=CookieSpec(), allowed_hosts=["localhost"])
        issued = await authority.begin("alice", method="password")
        await trusted(authority)
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        cookie = {"cookie": f"__Host-sessile={issued.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost", headers=cookie) as browser:
            assert (await browser.get("/")).status_code == 200
            own.pause(True)
            try:
                stopped = authority.clock.elapsed()
                revoking = asyncio.create_task(authority.revoke(session=issued.active.session.id, cause="lost"))
                while authority.clock.elapsed() <= stopped + 500_000_000:
                    await asyncio.sleep(0.01)
                assert not authority.store.current(authority.clock.elapsed())
                answers = await asyncio.gather(*[browser.get("/") for _ in range(20)])
                assert {each.status_code for each in answers} == {503}
                assert all(int(each.headers["retry-after"]) > 0 for each in answers)
                assert not any("set-cookie" in each.headers for each in answers)
                assert not revoking.done(), "nothing is promised that was not acknowledged"
            finally:
                own.pause(False)
            with contextlib.suppress(RevocationUncertain):
                await revoking
            await authority.revoke(session=issued.active.session.id, cause="lost")
            denied = await answered(authority, issued.token)
            assert isinstance(denied, Denied)
            assert denied.reason is Reason.REVOKED
            again = await authority.begin("alice", method="password")
            assert isinstance(await answered(authority, again.token), Active), "without a restart of ours"


async def test_a_store_that_was_restored_from_a_copy_lets_nobody_in(own: Postgres) -> None:
    """Review 9: what was ended since the copy would come back. Everybody ends, once, with an event."""
    async with opened(own.url("postgres")) as one, opened(own.url("postgres")) as other:
        kept = await one.begin("alice", method="password")
        ended = await one.begin("bob", method="password")
        own.stop()
        shutil.copytree(own.data, own.folder / "copy")
        own.start()
        assert isinstance(await answered(one, ended.token), Active)
        await one.revoke(session=ended.active.session.id, cause="stolen")
        await trusted(other)
        own.stop()
        shutil.rmtree(own.data)
        shutil.move(own.folder / "copy", own.data)
        if own.data.owner() != own.folder.owner():
            for path in (own.data, *own.data.rglob("*")):
                shutil.chown(path, own.folder.owner(), own.folder.group())
            own.data.chmod(0o700)
        own.start()
        for node in (one, other):
            for issued in (ended, kept):
                assert isinstance(await answered(node, issued.token), Denied)
        causes = [event.cause for event in await one.store.events(limit=1000)]
        assert causes.count("the store went back in time") == 1
        again = await one.begin("alice", method="password")
        assert isinstance(await answered(other, again.token), Active)


async def test_a_pooler_that_swallows_announcements_is_found_out(postgres: Postgres, url: str) -> None:
    """Every check asks the engine then; with the engine's own address beside, checks are from memory again."""
    async with Deaf(postgres.port) as port:
        deaf = url.replace(f":{postgres.port}/", f":{port}/")
        async with opened(deaf) as authority, opened(url) as other:
            issued = await authority.begin("alice", method="password")
            await asyncio.sleep(0.5)
            assert not authority.store.current(authority.clock.elapsed())
            assert await authority.check(issued.token)
            assert authority.peek(issued.token) is None
            await other.revoke(session=issued.active.session.id, cause="lost")
            assert not await authority.check(issued.token)
        async with opened(f"{deaf}&listen={quote(url.partition('?')[0], safe='')}") as authority:
            issued = await authority.begin("alice", method="password")
            await trusted(authority)
            assert await authority.check(issued.token)
            assert authority.peek(issued.token) is not None


@contextlib.contextmanager
def pooler(engine: Postgres, mode: str) -> Iterator[int]:
    """A PgBouncer before the engine, with few connections to it that everybody shares; its port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        need("PgBouncer", "apt-get install pgbouncer")
    port = free_port()
    folder = engine.folder / f"pooler-{port}"
    folder.mkdir()
    (folder / "users").write_text('"sessile" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={engine.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users\n"
        f"pool_mode = {mode}\ndefault_pool_size = 3\nlogfile = {folder}/log\n"
    )
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody")
    process = subprocess.Popen([program, "-q", str(folder / "ini")], **engine.as_user())
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


async def test_behind_pgbouncer_in_transaction_mode(postgres: Postgres, url: str) -> None:
    """Review 3: the connection that listens is another one at every statement. That is found out, by a try and not by a
    setting: every check asks the engine, and nobody is let in late. With the engine's own address beside, checks are
    from memory, and all else goes through the pooler."""
    with pooler(postgres, "transaction") as port:
        pooled = url.replace(f":{postgres.port}/", f":{port}/")
        async with opened(pooled) as authority, opened(url) as other:
            issued = [await authority.begin("alice", method="password") for _ in range(3)]
            assert [bool(await authority.check(each.token)) for each in issued * 10] == [True] * 30
            assert authority.peek(issued[0].token) is None, "from memory nothing is answered"
            (said,) = [each for each in await store(authority).health() if each.check == "announcements"]
            assert (said.level, "listen=" in said.cure) == ("warn", True)
            await other.revoke(session=issued[0].active.session.id, cause="lost")
            assert not await authority.check(issued[0].token)
            assert await authority.check(issued[1].token)
            await authority.revoke(principal="alice", cause="lost")
            assert not await other.check(issued[1].token)
        async with (
            opened(f"{pooled}&listen={quote(url.partition('?')[0], safe='')}") as authority,
            opened(url) as other,
        ):
            again = await authority.begin("alice", method="password")
            await trusted(authority)
            assert await authority.check(again.token)
            assert authority.peek(again.token) is not None
            assert "announcements" in [each.check for each in await store(authority).health() if each.level == "ok"]
            await other.revoke(session=again.active.session.id, cause="lost")
            assert authority.peek(again.token) is None


def _announce_until_full(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as loud, contextlib.suppress(psycopg.errors.ProgramLimitExceeded):
        for number in range(1000):
            loud.execute("SELECT pg_notify('somebody', repeat('x', 7000) || %s)", (number,))
        raise AssertionError("it has room for more")


async def test_a_queue_of_announcements_that_is_full() -> None:
    """Review 24: somebody listens and does not read, until nothing can be announced any more. Endings go on, and are in
    force when they return; nobody is signed out by it, and memory is trusted again when there is room, by itself."""
    with new_postgres("max_notify_queue_pages=64") as engine:  # PostgreSQL 17
        url = engine.url("postgres")
        async with opened(url) as one, opened(url) as other:
            held = [await one.begin(name, method="password") for name in ("alice", "bob", "carol")]
            for issued in held:
                assert await other.check(issued.token)
                assert other.peek(issued.token)
            with psycopg.connect(url, autocommit=True) as stuck:
                stuck.execute("LISTEN somebody")
                stuck.execute("BEGIN")
                stuck.execute("SELECT 1")
                _announce_until_full(url)
                for issued in held[:2]:
                    receipt = await one.revoke(session=issued.active.session.id, cause="test")
                    assert receipt.revoked == 1
                    assert not await other.check(issued.token)
                    assert isinstance(await answered(other, held[2].token), Active)
                assert (await other.store.statistics())["queue_ppm"] > 900_000
            await trusted(other)
            assert isinstance(await answered(other, held[2].token), Active)
            await one.revoke(session=held[2].active.session.id, cause="test")
            assert not await other.check(held[2].token)


async def test_what_the_doctor_says_of_an_engine(postgres: Postgres, url: str) -> None:
    """Review 1: settings under which it may forget what it acknowledged (this engine runs without fsync)."""
    async with opened(url) as authority:
        found = {each.check: each for each in await store(authority).health()}
        assert found["durable"].level == "fail"
        assert found["standbys"].level == found["announcements"].level == found["queue"].level == "ok"
    async with opened(url) as authority:
        address = store(authority).address
        address.quorum = True
        (standbys,) = [each for each in await store(authority).health() if each.check == "standbys"]
        assert standbys.level == "fail"
        assert "ANY 1" in standbys.cure


class Deaf:
    """A proxy that passes on everything but the engine's NotificationResponse, as a pooler's connections do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._seen: set[int] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, forth]

        async def there() -> None:
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    forth.write(data)
            forth.close()

        async def here() -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    kind = await back.readexactly(1)
                    if kind in b"NS" and not self._started(back):
                        writer.write(kind)  # the answer to SSLRequest or GSSENCRequest
                        continue
                    length = await back.readexactly(4)
                    body = await back.readexactly(int.from_bytes(length, "big") - 4)
                    self._seen.add(id(back))
                    if kind != b"A":
                        writer.write(kind + length + body)
            writer.close()

        for each in (there(), here()):
            task = asyncio.get_running_loop().create_task(each)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _started(self, back: asyncio.StreamReader) -> bool:
        return id(back) in self._seen


@pytest.mark.parametrize("milliseconds", [100, 900])
async def test_the_delay_is_changed_while_nodes_run(url: str, milliseconds: int) -> None:
    """Review 4."""
    to = timedelta(milliseconds=milliseconds)
    async with opened(url) as one, opened(url) as other:
        assert store(one).delta == store(other).delta == timedelta(milliseconds=500)
        await delta_while_nodes_run(one, other, store(one).change_delta, to)
        await trusted(other)
        assert store(other).delta == to
        assert store(other).follower.trust.deadline - other.clock.elapsed() <= milliseconds * 1_000_000
        with pytest.raises(ValueError, match="between"):
            await store(one).change_delta(timedelta(0))


async def test_whatever_ends_something_waits_until_no_node_goes_by_it_or_says_from_when_on(url: str) -> None:
    """Review 8: `revoke` is not the only one. A token that a step-up ends, a session that a sign-in replaces or for
    which there is no room, and a policy: each is in force everywhere when Δ has passed since its acknowledgement."""
    async with opened(url) as one, opened(url) as other:
        delta, elapsed = store(one).delta, one.clock.elapsed

        async def waited(act: Any) -> Any:
            began = elapsed()
            done = await act
            assert elapsed() - began >= delta / timedelta(microseconds=1) * 1000
            return done

        await waited(one.set_policy(Policy.aal1(max_sessions=2, version=2)))
        first = await one.begin("alice", method="password")
        assert (first.ended, first.effective) == ((), None), "nothing ended, nothing is waited for"
        await trusted(other)
        assert await other.check(first.token)
        assert other.peek(first.token) is not None
        stepped = await waited(one.elevate(first.active, method="totp", wait=True))
        assert other.peek(first.token) is None
        at_once = await one.elevate(stepped.active, method="totp")
        assert at_once.effective is not None
        assert at_once.effective - at_once.active.session.rotated >= delta, "it says from when on"
        again = await waited(one.begin("alice", replaces=at_once.active, wait=True))
        assert again.ended == (first.active.session.id,)
        second = await one.begin("alice")
        third = await waited(one.begin("alice", wait=True))
        assert third.ended == (again.active.session.id,)
        assert third.effective is not None
        assert [bool(await other.check(each.token)) for each in (at_once, again, second, third)] == [
            False,
            False,
            True,
            True,
        ]


async def test_writers_of_every_kind_never_deadlock(url: str, postgres: Postgres) -> None:
    """Eight at once, on few sessions and principals, in any order."""
    nodes = [Authority(url) for _ in range(2)]
    for node in nodes:
        await node.open()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        before = db.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'").fetchone()
    people = [await nodes[0].register(name) for name in ("alice", "bob", "carol")]
    agent = await nodes[0].register("agent:a", owner="alice")
    held = [await nodes[0].begin(each.name, method="password") for each in people]
    refused = 0

    async def act(node: Authority, what: int, chosen: random.Random) -> None:
        it, who, which = node.store, chosen.choice(people), chosen.choice(held)
        session = which.active.session
        fresh = digest(new_token(TokenKind.BROWSER, session.partition))
        match what:
            case 0:
                await it.touch({each.active.session.id: node.clock.now() for each in held})
            case 1:
                await it.end(End(session=session.id, cause="x"))
            case 2:
                await it.end(End(uid=who.uid, cause="x", status=Status.ACTIVE))
            case 3:
                await it.end(End(everyone=frozenset({SessionKind.LEASE}), cause="x"))
            case 4:
                draft = Draft(
                    id=new_session_id(), digest=fresh, kind=SessionKind.BROWSER, uid=who.uid, replaces=session.id
                )
                await it.begin(draft)
            case 5:
                await node.delegate(which.active, to=agent.name, scopes=set())
            case 6:
                await it.offer(which.active.digest, b"s" * 32, fresh)
            case 7:
                await node.elevate(which.active, method="totp")
            case 8:
                await it.write_data(session.id, 0, b"{}")
            case 9:
                await it.describe(who.uid, owner=None, purpose="x", by=SYSTEM)
            case _:
                await it.sweep()

    async def writer(seed: int) -> None:
        nonlocal refused
        chosen = random.Random(seed)  # noqa: S311 - a schedule
        for _ in range(25):
            try:
                await act(nodes[seed % 2], chosen.randrange(11), chosen)
            except StoreUnavailable:
                raise
            except SessileError:
                refused += 1

    await asyncio.gather(*(writer(seed) for seed in range(8)))
    for node in nodes:
        await node.close()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute("SELECT pg_stat_force_next_flush()")
        assert db.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'").fetchone() == before
    assert refused < 150


async def test_nodes_that_start_at_once_make_one_schema(url: str) -> None:
    nodes = [Authority(url) for _ in range(4)]
    await asyncio.gather(*(node.open() for node in nodes))
    issued = await nodes[0].begin("alice", method="password")
    assert [bool(await node.check(issued.token)) for node in nodes] == [True] * 4
    for node in nodes:
        await node.close()


async def test_session_data_is_there_without_await(url: str) -> None:
    """`request.session` of two requests, the second one at another node."""

    async def application(scope: dict[str, Any], _: object, send: Any) -> None:
        scope["session"]["seen"] = scope["session"].get("seen", 0) + 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(scope["session"]["seen"]).encode()})

    async with opened(url) as one, opened(url) as other:
        issued = await one.begin("alice", method="password")
        for node, expected in ((one, "1"), (other, "2"), (one, "3")):
            transport = httpx.ASGITransport(SessileMiddleware(application, node))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                answer = await client.get("/", headers={"cookie": f"{CookieSpec().name}={issued.token}"})
            assert (answer.status_code, answer.text) == (200, expected)


async def test_a_forked_child_opens_its_own_connections(url: str) -> None:
    """Review 5: it trusts nothing of the parent's, and the parent's connections outlive it."""
    async with opened(url) as authority:
        issued = await authority.begin("alice", method="password")
        await trusted(authority)
        assert await authority.check(issued.token)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                threading.Thread(target=lambda: None)  # nothing of the parent's loop is used
                found: list[object] = []

                def run() -> None:
                    found.append(authority.peek(issued.token) is None and bool(asyncio.run(one_check())))

                async def one_check() -> Active | Denied:
                    return await authority.check(issued.token)

                thread = threading.Thread(target=run)
                thread.start()
                thread.join(20)
                status = 0 if found == [True] else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        assert authority.peek(issued.token) is not None or await authority.check(issued.token)
        await authority.revoke(session=issued.active.session.id, cause="lost")
        assert not await authority.check(issued.token)


async def test_the_engine_itself_refuses_an_agent_without_an_owner(url: str) -> None:
    """What was there before stays as it is, may end, and is given an owner; it is not taken from any other."""
    async with Authority(url) as node:
        alice = await node.register("alice")
        await node.register("agent:a", owner="alice")
        with psycopg.connect(parse(url).main, autocommit=True) as db:
            db.execute(f"SET search_path = {parse(url).schema}".encode())
            copied = (
                "INSERT INTO principal SELECT 'prn_' || %s, %s, kind, created, status, epoch, policy, scopes, NULL,"
                " purpose, NULL, NULL FROM principal WHERE name = 'agent:a'"
            )
            for sql, values in (
                (copied, ("new", "agent:new")),
                ("UPDATE principal SET owner = NULL WHERE name = %s", ("agent:a",)),
            ):
                with pytest.raises(psycopg.errors.RaiseException, match="has an owner"):
                    db.execute(sql, values)
            db.execute("ALTER TABLE principal DISABLE TRIGGER principal_has_an_owner")
            db.execute(copied, ("old", "agent:old"))
            db.execute("ALTER TABLE principal ENABLE TRIGGER principal_has_an_owner")
        await node.disable("agent:old", cause="x")
        with pytest.raises(Conflict):
            await node.enable("agent:old")
        assert (await node.describe("agent:old", owner="alice")).owner == alice.uid
        await node.enable("agent:old")
