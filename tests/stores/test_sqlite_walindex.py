"""Commits are seen in the memory that all connections share, and nothing that SQLite relies on is disturbed."""

# ruff: noqa: ASYNC240 - the loop has nothing else to do while a test moves files

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sessile.clock import SystemClock
from sessile.near import NearCache
from sessile.stores.sqlite import SQLiteStore
from sessile.stores.sqlite.follow import Follower
from sessile.stores.sqlite.walindex import header

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the database is asked: run this on Linux")

TRY_TO_WRITE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO things VALUES (1)")
    db.execute("COMMIT")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("written")
"""


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=0)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("CREATE TABLE IF NOT EXISTS things (a)")
    return db


def write_elsewhere(path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", TRY_TO_WRITE, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path)) as db:
        yield db


def test_every_commit_changes_it_and_nothing_else_does(path: Path, db: sqlite3.Connection) -> None:
    read = header(db)
    assert read is not None
    before = read()
    db.execute("SELECT * FROM things").fetchall()
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO things VALUES (0)")
    assert read() == before
    db.execute("ROLLBACK")
    assert read() == before
    seen = {before}
    for _ in range(3):
        db.execute("INSERT INTO things VALUES (0)")
        seen.add(read())
        assert write_elsewhere(path) == "written"
        seen.add(read())
    assert len(seen) == 7


def test_a_log_that_begins_anew_is_followed(path: Path, db: sqlite3.Connection) -> None:
    read = header(db)
    assert read is not None
    for _ in range(5):
        before = read()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert write_elsewhere(path) == "written"
        assert read() != before


def test_looking_drops_no_lock_of_sqlites(path: Path, db: sqlite3.Connection) -> None:
    """To close any descriptor of the file would drop the locks of this process on it, and another process would write
    into this one's transaction."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO things VALUES (0)")
    for _ in range(3):
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("SELECT * FROM things").fetchall()
            assert header(reader) is not None
        gc.collect()
    assert write_elsewhere(path) == "database is locked"
    db.execute("COMMIT")
    assert write_elsewhere(path) == "written"
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_is_removed_is_let_go(tmp_path: Path) -> None:
    def used(number: int) -> int:
        with closing(connect(tmp_path / f"{number}.db")) as db:
            assert header(db) is not None
        assert not (tmp_path / f"{number}.db-shm").exists()
        return len(os.listdir("/proc/self/fd"))

    first = used(0)
    assert {used(number) for number in range(1, 20)} == {first}


def test_the_file_that_is_there_is_mapped_once(db: sqlite3.Connection) -> None:
    assert header(db) is not None
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        header(db)
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_format_is_not_read(path: Path, db: sqlite3.Connection) -> None:
    with open(f"{path}-shm", "r+b", buffering=0) as other:
        shared = other.read(4)
        other.seek(0)
        other.write((int.from_bytes(shared, sys.byteorder) + 1).to_bytes(4, sys.byteorder))
        read = header(db)
        other.seek(0)
        other.write(shared)
    assert read is None


async def test_a_header_that_does_not_tell_is_found_out_within_a_second(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(path, clock=SystemClock(), create=True)
    await store.open(NearCache())
    follower, near = Follower(path), NearCache()
    follower.open(near)
    # A copy in its place, which SQLite goes by as little as this process goes by the right one after it.
    shared = Path(f"{path}-shm")
    shared.rename(f"{path}-aside")
    shutil.copy(f"{path}-aside", shared)
    follower.open(near)
    assert follower.current(0)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO journal (at, object) VALUES (0, 's:x')")
        wanted = db.execute("SELECT max(n) FROM journal").fetchone()[0]
    assert follower.current(999_999_999)
    assert near.mark != wanted, "the copy tells of nothing: else this test shows nothing"
    assert follower.current(1_000_000_000)
    assert near.mark == wanted
    assert "every check asks the database" in caplog.text
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO journal (at, object) VALUES (0, 's:y')")
    assert follower.current(1_000_000_001)
    assert near.mark == wanted + 1
    follower.close()
    await store.close()
