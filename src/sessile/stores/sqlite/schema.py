"""Making and migrating the file."""

from __future__ import annotations

import functools
import os
import sqlite3
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import msgspec

from sessile.errors import NotFound, StoreUnavailable
from sessile.kernel.principal import new_epoch
from sessile.kernel.session import SessionKind
from sessile.stores.sqlite.connection import connect, when_free
from sessile.stores.sqlite.filesystem import check_filesystem

APPLICATION_ID = 0x53657373
"""`PRAGMA application_id`: tells a database of ours from another program's. "Sess" in ASCII."""


@functools.cache
def migrations() -> tuple[str, ...]:
    """The SQL that takes a file from version 0 on, one step a version."""
    folder = files("sessile.stores.sqlite") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that the file is there, in WAL mode and of this code's version.

    Raises:
        NotFound: there is no file, and `create` is false; or its folder is not there.
        StoreUnavailable: on a network file system, by a newer Sessile, another program's, or not answering.
    """
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {path.parent}: make it first, or name another place for the database")
    check_filesystem(path.parent)
    if create:
        _make(path)
    elif not path.is_file():
        raise NotFound(
            f"there is no database at {path}: `sessile serve` and `sessile user add` make one; is the path right?"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnavailable(f"{path} may not be read and written by this user")
    db, _ = when_free(lambda: connect(path, query_only=False))
    try:
        when_free(lambda: _check_ours(db, path))
        when_free(lambda: _use_wal(db))
        for version, sql in enumerate(migrations(), start=1):
            when_free(functools.partial(_migrate, db, version, sql))
    finally:
        db.close()


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raises StoreUnavailable unless the file is of this code's version: it may have been replaced since `open`."""
    version = _pragma(db, "user_version")
    known = len(migrations())
    if version > known:
        raise StoreUnavailable(
            f"{path} was written by a newer Sessile (schema {version}, this one knows {known}): upgrade this one"
        )
    if version < known:
        raise StoreUnavailable(f"{path} is of an older schema ({version}): restart, which brings it up to date")


def _make(path: Path) -> None:
    # SQLite gives the files beside it (-wal, -shm) the same mode.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be made: {error.strerror}") from error


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    # In this order: another process may fill the file meanwhile, with the id in the same transaction as the tables.
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
    if tables and _pragma(db, "application_id") != APPLICATION_ID:
        raise StoreUnavailable(f"{path} is another program's database: name another file")
    if _pragma(db, "user_version") > len(migrations()):
        check_version(db, path)


def _use_wal(db: sqlite3.Connection) -> None:
    mode = db.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
    if mode != "wal":
        raise StoreUnavailable(f"the database cannot use SQLite's write-ahead log (it is in mode {mode!r})")


def _migrate(db: sqlite3.Connection, version: int, sql: str) -> None:
    if _pragma(db, "user_version") >= version:
        return
    db.execute("BEGIN EXCLUSIVE")
    try:
        # Another process may have done it while this one waited.
        if _pragma(db, "user_version") < version:
            for statement in _statements(sql):
                db.execute(statement)
            if version == 1:
                _seed(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _seed(db: sqlite3.Connection) -> None:
    epochs = {kind.value: new_epoch().hex() for kind in SessionKind}
    db.execute("INSERT INTO everyone (one, epochs) VALUES (1, ?)", (msgspec.json.encode(epochs).decode(),))
    db.execute("INSERT INTO journal (at, object) VALUES (?, 'all')", (time.time_ns() // 1000,))


def _statements(sql: str) -> Iterator[str]:
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchall()[0][0]
    return value
