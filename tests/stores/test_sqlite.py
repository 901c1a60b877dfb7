"""What is peculiar to SQLite: the file, other processes on it, the driver. The rest is the conformance suite's."""

# ruff: noqa: ASYNC222, ASYNC240 - the loop has nothing else to do while a test moves files and waits for a child

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from sessile.errors import Conflict, NotFound, RevocationUncertain, StoreUnavailable
from sessile.kernel.event import SYSTEM
from sessile.kernel.policy import Policy
from sessile.kernel.reason import Reason
from sessile.near import NearCache
from sessile.stores.protocol import End
from sessile.stores.sql.store import Lane
from sessile.stores.sqlite import SQLiteStore
from sessile.stores.sqlite.connection import Connection
from sessile.stores.sqlite.filesystem import check_filesystem
from sessile.stores.sqlite.transaction import Transaction
from sessile.stores.sqlite.writer import BATCH, QUEUE, Writer
from sessile.testing.clock import ManualClock
from sessile.testing.world import DAY, SECOND, Node, World

PROCESS = Path(__file__).with_name("sqlite_process.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessile.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
async def world(path: Path, clock: ManualClock) -> AsyncIterator[World]:
    world = World(SQLiteStore(path, clock=clock, create=True), clock)
    await world.open()
    await world.store.set_policy(Policy.aal2(), SYSTEM)
    yield world
    await world.store.close()


async def other_node(world: World, path: Path) -> Node:
    node = Node(SQLiteStore(path, clock=world.clock), world.clock)
    await node.open()
    return node


@contextmanager
def process(verb: str, path: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    running = subprocess.Popen(
        [sys.executable, str(PROCESS), verb, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        yield running, running.stdin, running.stdout
    finally:
        running.stdin.close()
        running.stdout.close()
        running.wait()


# -- the file -----------------------------------------------------------------------------------------------------


async def test_a_missing_file_is_named_and_not_made(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Review 6c: in the wrong folder a command must not revoke in an empty database, and say that it is done."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=str(tmp_path / "sessile.db")):
        await SQLiteStore(Path("sessile.db"), clock=clock).open(NearCache())
    assert list(tmp_path.iterdir()) == []


async def test_a_missing_folder_is_named(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(NotFound, match=str(tmp_path / "nowhere")):
        await SQLiteStore(tmp_path / "nowhere" / "sessile.db", clock=clock, create=True).open(NearCache())


async def test_only_its_owner_reads_the_file(world: World, path: Path) -> None:
    await world.person()
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        assert file.stat().st_mode & 0o777 == 0o600, file


async def test_a_file_that_is_empty_is_migrated(path: Path, clock: ManualClock) -> None:
    path.touch()
    world = World(SQLiteStore(path, clock=clock), clock)
    await world.open()
    await world.policy()
    await world.store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] > 0
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


async def test_many_processes_make_the_file_at_once(tmp_path: Path, clock: ManualClock) -> None:
    """Often: whoever looks while another fills the file must not take it for another program's."""
    for turn in range(30):
        path = tmp_path / f"{turn}.db"
        nodes = [Node(SQLiteStore(path, clock=clock, create=True), clock) for _ in range(8)]
        await asyncio.gather(*(node.open() for node in nodes))
        world = World(nodes[0].store, clock)
        alice = await world.person()
        for node in nodes:
            assert await node.store.principal(name="alice") == alice
            await node.store.close()


async def test_a_file_by_a_newer_version_is_left_alone(world: World, path: Path, clock: ManualClock) -> None:
    await world.store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1000")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="newer Sessile"):
        await SQLiteStore(path, clock=clock, create=True).open(NearCache())
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"SQLite format 3 it is not", "database"])
async def test_another_programs_file_is_left_alone(path: Path, clock: ManualClock, content: bytes | str) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE mine (a)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable):
        await SQLiteStore(path, clock=clock, create=True).open(NearCache())
    assert path.read_bytes() == before


async def test_a_file_that_was_replaced_is_noticed(world: World, path: Path) -> None:
    """Review 6b: a handle goes on answering from the old inode. Nobody is let in from it, and nothing written to it."""
    alice = await world.person()
    held = await world.sign_in(alice)
    assert await world.current()
    assert await world.keep(held)

    # As a restore does it: a copy from before, at the same place. Then the session is ended in that one.
    restored = path.with_name("restored.db")
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(restored)) as copy:
        live.backup(copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    restored.replace(path)
    other = await other_node(world, path)
    await other.store.end(End(session=held.id, cause="stolen"))

    world.clock.advance(SECOND)
    assert not await world.current()
    assert not world.kept(held)
    assert await world.reason(held) is Reason.REVOKED
    assert await world.current()
    # What this process writes now lands in the file that is there.
    again = await world.sign_in(alice)
    assert await other.reason(again) is None
    await other.store.close()


async def test_a_write_goes_to_the_file_that_is_there(world: World, path: Path) -> None:
    """Review 6b, before anybody has looked at the path again."""
    held = await world.sign_in(await world.person())
    restored = path.with_name("restored.db")
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(restored)) as copy:
        live.backup(copy)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    restored.replace(path)
    await world.end(held)
    other = await other_node(world, path)
    assert await other.reason(held) is Reason.REVOKED
    await other.store.close()


async def test_a_file_that_went_back_in_place_is_noticed(world: World, path: Path, tmp_path: Path) -> None:
    """A restore into the same inode: the journal's numbers are used again, for something else."""
    alice, bob = await world.person(), await world.person("bob")
    one, two = await world.sign_in(alice), await world.sign_in(bob)
    saved = tmp_path / "saved.db"
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(saved)) as copy:
        live.backup(copy)
    await world.end(one)
    assert await world.current()
    assert await world.keep(two)
    with closing(sqlite3.connect(saved)) as copy, closing(sqlite3.connect(path)) as live:
        copy.backup(live)
    other = await other_node(world, path)
    await other.store.end(End(session=two.id, cause="stolen"))  # gets the number that `one` had
    await other.store.close()
    assert await world.current()
    assert not world.kept(two)


async def test_a_file_that_is_gone_lets_nobody_in(world: World, path: Path) -> None:
    held = await world.sign_in(await world.person())
    assert await world.current()
    assert await world.keep(held)
    path.unlink()
    world.clock.advance(SECOND)
    assert not await world.current()
    for doing in (world.store.read(held.digest), world.end(held)):
        with pytest.raises(StoreUnavailable, match=str(path)):
            await doing
    assert not path.exists()


@pytest.mark.parametrize(
    ("mount", "kind"),
    [
        ("/data", "nfs4"),
        ("/data/shared folder", "cifs"),
        ("/data/shared folder/sessile", "fuse.sshfs"),
        ("/", "9p"),
    ],
)
def test_a_network_file_system_is_refused(tmp_path: Path, mount: str, kind: str) -> None:
    """Review 6d: the other machine's commits are not seen there."""
    mounts = tmp_path / "mountinfo"
    escaped = mount.replace(" ", "\\040")
    mounts.write_text(f"27 1 254:0 / / rw - ext4 /dev/vda rw\n90 27 0:50 / {escaped} rw shared:3 - {kind} x rw\n")
    with pytest.raises(StoreUnavailable, match="local disk"):
        check_filesystem(Path("/data/shared folder/sessile"), mounts)


def test_a_local_disk_inside_a_network_file_system_is_fine(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 0:50 / / rw - nfs4 x rw\n2 1 254:0 / /data rw - ext4 /dev/vda rw\n3 1 0:9 / /dat rw - nfs x\n"
    )
    check_filesystem(Path("/data/sessile"), mounts)


# -- other processes ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("ASVS V7.4.1")
async def test_another_process_ends_sessions_and_the_very_next_check_sees_it(world: World, path: Path) -> None:
    alice = await world.person()
    held = [await world.sign_in(alice) for _ in range(50)]
    with process("end", path) as (_, stdin, stdout):
        for each in held:
            assert await world.current()
            assert await world.keep(each)
            stdin.write(each.id + "\n")
            stdin.flush()
            mark = int(stdout.readline())
            assert await world.current()
            assert world.near.mark >= mark
            assert not world.kept(each)
            assert await world.reason(each) is Reason.REVOKED


async def test_a_page_that_waits_for_the_next_pins_nothing(world: World, path: Path) -> None:
    """Review 6a: with a half-read cursor every read of its connection would see the old snapshot."""
    alice = await world.person()
    held = [await world.sign_in(alice) for _ in range(5)]
    assert await world.current()
    assert await world.keep(held[0])
    first = await world.store.sessions(limit=2)
    events = await world.store.events(limit=2)
    other = await other_node(world, path)
    await other.store.end(End(session=held[0].id, cause="stolen"))
    await other.store.close()
    assert await world.current()
    assert not world.kept(held[0])
    assert await world.reason(held[0]) is Reason.REVOKED
    rest = await world.store.sessions(limit=5, after=first.next)
    assert held[0].id not in [info.id for info in rest]
    assert (await world.store.events(after=events[-1].seq, limit=1))[0].seq == events[-1].seq + 1


async def test_a_process_that_is_killed_loses_nothing_that_was_acknowledged(world: World, path: Path) -> None:
    told: list[list[str]] = []
    for round_ in range(8):
        with process("work", path) as (running, _, stdout):
            told += [stdout.readline().split() for _ in range(5 + 17 * round_)]
            running.send_signal(signal.SIGKILL)
            told += [line.split() for line in stdout.read().split("\n")[:-1]]
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert {verb for verb, _ in told} == {"begun", "ended"}
    ended = {session_id for verb, session_id in told if verb == "ended"}
    for session_id in {session_id for _, session_id in told}:
        info = await world.store.session(session_id)
        assert info is not None
        assert not (session_id in ended and info.live)
    assert chain_is_whole(path)


async def test_a_full_disk_refuses_and_recovers(world: World, path: Path) -> None:
    with process("full", path) as (_, _, stdout):
        assert stdout.read() == "True True\n"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert chain_is_whole(path)


def in_child(work: object) -> int:
    """Fork, run `work` in the child, and return the child's process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        assert callable(work)
        asyncio.new_event_loop().run_until_complete(work())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_fork_with_the_store_open(world: World, path: Path) -> None:
    """Review 5: each side has connections of its own, and sees what the other ends."""
    alice = await world.person()
    held = [await world.sign_in(alice) for _ in range(3)]
    assert await world.current()
    for each in held:
        assert await world.keep(each)
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()

    async def child() -> None:
        assert not world.kept(held[0]), "nothing of the parent's is trusted"
        assert not await world.current()
        assert await world.reason(held[0]) is None
        assert await world.current()
        assert await world.keep(held[1])
        await world.end(held[0])
        os.write(from_child, b".")
        os.read(to_child, 1)  # the parent has ended one
        assert await world.current()
        assert not world.kept(held[1])
        assert await world.reason(held[1]) is Reason.REVOKED

    pid = in_child(child)
    os.read(to_parent, 1)
    await world.end(held[1])
    os.write(from_parent, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for end in (to_child, from_parent, to_parent, from_child):
        os.close(end)
    assert await world.current()
    assert [world.kept(each) for each in held] == [False, False, True]
    assert await world.reason(held[0]) is Reason.REVOKED
    assert chain_is_whole(path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_holds_locks_of_its_own(world: World, path: Path) -> None:
    """Review 5: SQLite's locks are kept by process and are inherited by memory alone. A child that believed in its
    parent's would write into a log that another process deletes when it closes the file."""
    alice = await world.person()
    one, two = await world.sign_in(alice), await world.sign_in(alice)
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()

    async def child() -> None:
        await world.end(one)
        os.write(from_child, b".")
        os.read(to_child, 1)  # the parent has closed, and another process has come and gone
        await world.end(two)

    pid = in_child(child)
    os.read(to_parent, 1)
    await world.store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT count(*) FROM session").fetchall()
    os.write(from_parent, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for end in (to_child, from_parent, to_parent, from_child):
        os.close(end)
    other = await other_node(world, path)
    assert await other.reason(one) is Reason.REVOKED
    assert await other.reason(two) is Reason.REVOKED
    await other.store.close()


# -- the journal --------------------------------------------------------------------------------------------------


async def test_a_process_that_slept_past_the_journal_trusts_nothing(world: World, path: Path) -> None:
    """Rows it has not seen were swept: it cannot know what they said."""
    await world.policy(version=2, overall=30 * DAY, idle=None)
    held = [await world.sign_in(await world.person(name)) for name in ("alice", "bob", "carol")]
    assert await world.current()
    for each in held:
        assert await world.keep(each)
    other = await other_node(world, path)
    await other.store.end(End(session=held[0].id, cause="stolen"))
    world.clock.advance(8 * DAY)
    await other.store.end(End(session=held[1].id, cause="stolen"))
    await other.store.sweep()
    await other.store.close()
    assert await world.current()
    assert not any(world.kept(each) for each in held[:2])


async def test_the_journals_last_row_is_never_swept(world: World) -> None:
    held = await world.sign_in(await world.person())
    mark = (await world.end(held)).mark
    world.clock.advance(400 * DAY)
    await world.store.sweep()
    await world.store.sweep()
    assert await world.current()
    assert world.near.mark == mark
    assert (await world.end(await world.sign_in(await world.person("bob")))).mark > mark


# -- the writer ---------------------------------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_undoes_nothing(world: World) -> None:
    alice = await world.person()
    held = [await world.sign_in(alice) for _ in range(20)]
    ends = [asyncio.ensure_future(world.end(each)) for each in held]
    await asyncio.sleep(0)
    for each in ends:
        each.cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    await world.person("bob")  # waits in the same queue
    assert [await world.reason(each) for each in held] == [Reason.REVOKED] * 20


async def test_of_a_group_only_what_fails_is_undone(world: World) -> None:
    alice = await world.person()
    first = world.draft(alice.uid)
    again = world.draft(alice.uid, id=first.id)
    drafts = [world.draft(alice.uid) for _ in range(50)]
    results = await asyncio.gather(
        *(world.store.begin(draft) for draft in (*drafts[:25], first, again, *drafts[25:])), return_exceptions=True
    )
    assert [index for index, result in enumerate(results) if isinstance(result, BaseException)] == [26]
    assert isinstance(results[26], Conflict)
    assert await world.store.read(again.digest) is None
    assert len(await world.happened(uid=alice.uid)) == 1 + 51


async def test_what_was_accepted_is_finished_before_it_closes(world: World, path: Path) -> None:
    alice = await world.person()
    drafts = [world.draft(alice.uid) for _ in range(300)]
    beginning = [asyncio.ensure_future(world.store.begin(draft)) for draft in drafts]
    await asyncio.sleep(0)
    await world.store.close()
    await asyncio.gather(*beginning)
    with pytest.raises(StoreUnavailable):
        await world.store.begin(world.draft(alice.uid))
    other = await other_node(world, path)
    assert all([await other.store.read(draft.digest) for draft in drafts])
    await other.store.close()


async def test_another_process_that_writes_is_waited_for_on_no_loop(world: World, path: Path) -> None:
    """Checks go on meanwhile, and the write is done when the other one is."""
    held = await world.sign_in(await world.person())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ending = asyncio.ensure_future(world.end(held))
        await asyncio.sleep(0.05)
        assert await world.current()
        assert await world.reason(held) is None
        assert not ending.done()
        other.execute("COMMIT")
        await ending
    assert await world.reason(held) is Reason.REVOKED


async def test_an_ending_gets_its_turn_beside_a_process_that_writes_without_a_pause(world: World, path: Path) -> None:
    """Its wait is counted in the other's commits, not in time: by SQLite's own way of waiting it was thousands."""
    person = await world.person()
    held = [await world.sign_in(person) for _ in range(150)]
    waited = []
    with process("flood", path) as (_, _, stdout), closing(sqlite3.connect(path)) as db:
        stdout.readline()
        for each in held:
            before = last_event(db)
            await world.end(each)
            waited.append(last_event(db) - before)
    assert sum(waited) > len(held), "the other did not write meanwhile"
    assert max(waited) < 1000


def last_event(db: sqlite3.Connection) -> int:
    number: int = db.execute("SELECT max(seq) FROM event").fetchall()[0][0]
    return number


@pytest.fixture
async def writer(world: World, path: Path) -> AsyncIterator[Writer]:
    writer = Writer(Connection(path, query_only=False), world.clock, lambda db: None, lambda events: None)
    yield writer
    await asyncio.to_thread(writer.close)


async def test_an_ending_into_a_file_that_moved_meanwhile_is_uncertain(writer: Writer, path: Path) -> None:
    """Review 8: nobody is told that it is in force. What ends nothing was simply not done."""

    def move(tx: Transaction) -> None:
        path.rename(path.with_name("moved.db"))
        shutil.copyfile(path.with_name("moved.db"), path)

    begun, go = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        begun.set()
        go.wait(30)

    holding = asyncio.ensure_future(writer.run(hold))
    assert await asyncio.to_thread(begun.wait, 30)
    # What is asked for now waits behind that change, and so goes into one commit.
    both = asyncio.gather(
        writer.run(move, Lane.ENDINGS), writer.run(Transaction.mark, Lane.CHANGES), return_exceptions=True
    )
    await asyncio.sleep(0)
    go.set()
    await holding
    results = await both
    assert [type(result) for result in results] == [RevocationUncertain, StoreUnavailable]
    assert await writer.run(Transaction.mark) > 0


async def test_a_full_queue_refuses_but_lets_endings_in(writer: Writer) -> None:
    """Endings go first, whatever waits."""
    order: list[str] = []
    writer.pause()
    try:
        # One batch may be in the writer's hands already, beside the full queue.
        touches = [
            asyncio.ensure_future(writer.run(lambda tx: order.append("touch"), Lane.LATER))
            for _ in range(QUEUE + BATCH + 1)
        ]
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(writer.run(lambda tx: order.append("ending"), Lane.ENDINGS))
        await asyncio.sleep(0)
    finally:
        writer.resume()
    results = await asyncio.gather(*touches, return_exceptions=True)
    await ending
    refused = [result for result in results if result is not None]
    assert 1 <= len(refused) <= BATCH + 1
    assert {type(result) for result in refused} == {StoreUnavailable}
    assert len(order) == len(touches) - len(refused) + 1
    assert order.index("ending") <= BATCH


# -- the audit record ---------------------------------------------------------------------------------------------


def chain_is_whole(path: Path) -> bool:
    before, last = bytes(32), 0
    with closing(sqlite3.connect(path)) as db:
        for seq, body, chain in db.execute("SELECT seq, body, chain FROM event ORDER BY seq").fetchall():
            before = hashlib.sha256(before + body.encode()).digest()
            if before != chain or seq != last + 1 or json.loads(body)["seq"] != seq:
                return False
            last = seq
    return last > 0


@pytest.mark.parametrize("sql", ["UPDATE event SET body = '{}'", "DELETE FROM event WHERE seq = 2"])
async def test_events_are_only_appended(world: World, path: Path, sql: str) -> None:
    await world.end(await world.sign_in(await world.person()))
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match="only appended to"):
        db.execute(sql)
    assert chain_is_whole(path)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event SET body = replace(body, 'logout', 'nothing')",
        "DELETE FROM event WHERE seq = 2",
        "UPDATE event SET seq = 100 WHERE seq = 3",
    ],
)
async def test_whoever_takes_the_triggers_away_breaks_the_chain(world: World, path: Path, sql: str) -> None:
    await world.end(await world.sign_in(await world.person()))
    assert chain_is_whole(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("DROP TRIGGER event_is_never_deleted")
        assert db.execute(sql).rowcount >= 1
    assert not chain_is_whole(path)


async def test_long_logs_are_cut(world: World, path: Path) -> None:
    alice = await world.person()
    held = await world.sign_in(alice)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM session").fetchall()  # keeps the log from being written back
        for version in range(300):
            await world.store.write_data(held.id, version, os.urandom(64 * 1024))
        log = Path(f"{path}-wal")
        assert log.stat().st_size > 16 * 1024 * 1024
        reader.execute("COMMIT")
    await world.store.sweep()
    assert log.stat().st_size <= 16 * 1024 * 1024
    assert await world.store.read_data(held.id) != (0, b"")
