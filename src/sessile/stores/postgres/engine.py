"""Connections, their errors, and what a transaction begins with."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import psycopg

from sessile.errors import SessileError, StoreUnavailable
from sessile.stores.limits import STATEMENT_SECONDS

LOCKS = 0x53657373
"""The first half of every advisory lock of ours: "Sess" in ASCII. The second one is the schema's."""

# Which engine, in which life of it, and which table (a copy may be loaded beside or over it): changes at every start,
# failover and restore. Empty on a standby, which is never read.
BORN = (
    "CASE WHEN pg_is_in_recovery() THEN '' ELSE concat(extract(epoch FROM pg_postmaster_start_time()), '/',"
    " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)) END"
)
"""The engine's process and timeline: as long as that process lives it stays the primary of it."""
LIFE = f"CASE WHEN pg_is_in_recovery() THEN '' ELSE concat({BORN}, '/', j.tableoid) END"
NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""Microseconds since 1970."""
STANDBYS = "current_setting('synchronous_standby_names')"
"""Whose acknowledgement a commit waits for."""
DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', {local})"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
)
"""What was acknowledged survives the engine's end, whatever its default is."""


def last(schema: str) -> str:
    """The last row of the journal, as `j`."""
    return f"(SELECT n, head, tableoid FROM {schema}.journal ORDER BY n DESC LIMIT 1) j"  # noqa: S608 - ours


def begin(schema: str, *, read_only: bool) -> str:
    """The statements that begin a transaction, in one round trip. The last one tells the life, the clock and
    whose acknowledgement a commit waits for."""
    mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else "ISOLATION LEVEL READ COMMITTED READ WRITE"
    milliseconds = int(STATEMENT_SECONDS * 1000)
    durable = DURABLE.format(local="true")
    look = f"SELECT {LIFE}, {NOW}, {STANDBYS} FROM {last(schema)}"  # noqa: S608 - names of our own
    return (
        f"BEGIN {mode}; SET LOCAL search_path = {schema}; SET LOCAL statement_timeout = {milliseconds};"
        f" SET LOCAL idle_in_transaction_session_timeout = {5 * milliseconds};"
        f" {'' if read_only else durable + ';'} {look}"
    )  # fmt: skip


def connect(conninfo: str, *, pooled: bool) -> psycopg.Connection[Any]:
    """Autocommit: transactions are written out. Raises psycopg.Error."""
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None if pooled else 3)


def said(error: BaseException) -> str:
    """An error's first line. libpq's name hosts and users, never passwords."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def translated(error: psycopg.Error) -> SessileError | ValueError:
    """What a driver's error is to the store's users."""
    if isinstance(error, psycopg.DataError):
        return ValueError(f"PostgreSQL cannot store this text: {said(error)}")
    if isinstance(error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)):
        return StoreUnavailable("PostgreSQL is too busy: try again")
    if isinstance(error, (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.UndefinedTable)):
        return StoreUnavailable(f"this PostgreSQL is not the one to write to: {said(error)}")
    return StoreUnavailable(f"PostgreSQL does not answer: {said(error)}")


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """End a connection under whoever waits for it, from any thread: the wait ends with an error."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def abandon(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """In a forked child: let go without a goodbye, which would end the parent's connection."""
    with contextlib.suppress(psycopg.Error, OSError):
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nowhere, connection.fileno(), inheritable=False)
        os.close(nowhere)
