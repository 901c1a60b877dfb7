"""Roles of a PostgreSQL: made for a lease, with a password that is valid as long as it, and ended with their open
connections.

The handle is the role's name. `VALID UNTIL` stops new sign-ins only, so that the end of a lease matters all the same.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from sessile.nhi.connector import SECONDS, ConnectorFailed, Description, Minted

try:
    import psycopg
    from psycopg import sql
    from psycopg.conninfo import conninfo_to_dict
except ImportError as error:  # pragma: no cover - an install without the extra
    raise ImportError("this connector needs psycopg: pip install 'sessile[postgres]'") from error

T = TypeVar("T")

_ATTEMPTS = 5
_BYTES = 63
"""Of a name, at most."""
_END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"


class PostgresRoles:
    """See `Connector`, `Rotates`, `Mints`.

    Args:
        url: of the database, without a password.
        prefix: only roles whose names begin so are touched.
        grants: roles that a minted role is a member of.
        reassign_to: who gets what a dropped role owns, in this database; None: a role that owns something stays,
            without sign-in.

    Raises:
        ValueError: the URL carries a password, or is none; no prefix.
    """

    def __init__(
        self, url: str, password: str | None, *, prefix: str = "lease_", grants: tuple[str, ...] = (),
        reassign_to: str | None = None,
    ) -> None:  # fmt: skip
        try:
            found: dict[str, Any] = dict(conninfo_to_dict(url))
        except psycopg.ProgrammingError:
            raise ValueError("url is postgresql://user@host/database") from None
        if found.pop("password", None):
            raise ValueError('url carries no password: name it as password = { file = "/path" }')
        if not prefix.strip() or len(prefix.encode()) > 30:
            raise ValueError("prefix has 1 to 30 bytes: it keeps every other role safe")
        self._connection = {**found, "password": password, "connect_timeout": 5, "application_name": "sessile leases"}
        self._prefix = prefix
        self._grants = grants
        self._reassign_to = reassign_to

    async def probe(self) -> None:
        def look(db: psycopg.Connection[Any]) -> None:
            own = "SELECT rolcreaterole OR rolsuper, rolsuper FROM pg_roles WHERE rolname = current_user"
            may, super_ = db.execute(own).fetchall()[0]
            if not may:
                raise ConnectorFailed("PostgreSQL: this user may make no roles: ALTER ROLE … CREATEROLE")
            signal = db.execute("SELECT pg_has_role(current_user, 'pg_signal_backend', 'MEMBER')").fetchall()[0][0]
            if not (super_ or signal):
                raise ConnectorFailed(
                    "PostgreSQL: this user may end no others' connections: GRANT pg_signal_backend TO …"
                )
            wanted = [*self._grants, *([self._reassign_to] if self._reassign_to else [])]
            rows = db.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (wanted,)).fetchall()
            if missing := sorted(set(wanted) - {name for (name,) in rows}):
                raise ConnectorFailed(f"PostgreSQL: there is no role {', '.join(missing)}: make it, or correct grants")

        await self._run(look)

    async def describe(self, handle: str) -> Description:
        name = self._ours(handle)

        def look(db: psycopg.Connection[Any]) -> Description:
            if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchall():
                raise ValueError(f"PostgreSQL knows no role {name}")
            # VALID UNTIL is for new sign-ins only: what is open stays open, and so it is not the end.
            return Description(shown=name)

        return await self._run(look)

    async def revoke(self, handle: str) -> datetime | None:
        name = self._ours(handle)

        def end(db: psycopg.Connection[Any]) -> None:
            if self._shut_out(db, name):
                self._drop(db, name)

        await self._run(end)
        return None

    async def rotate(self, handle: str) -> Minted:
        """The role keeps its name and what it may do; the password is new and whoever was connected is not any more."""
        name, password = self._ours(handle), _password()

        def change(db: psycopg.Connection[Any]) -> None:
            if not self._shut_out(db, name):
                raise ConnectorFailed(f"PostgreSQL knows no role {name} any more: nothing to rotate")
            role = sql.Identifier(name)
            db.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, _verifier(db, name, password)))

        await self._run(change)
        return self._minted(name, password)

    def plan(self) -> str:
        return self._prefix + secrets.token_hex(8)

    async def mint(self, handle: str, until: datetime) -> Minted:
        name, password = self._ours(handle), _password()

        def make(db: psycopg.Connection[Any]) -> None:
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} VALID UNTIL {}").format(
                sql.Identifier(name), _verifier(db, name, password), sql.Literal(until.astimezone(UTC).isoformat())
            )
            if self._grants:
                groups = sql.SQL(", ").join(map(sql.Identifier, self._grants))
                statement = sql.SQL("{} IN ROLE {}").format(statement, groups)
            db.execute(statement)

        await self._run(make)
        return self._minted(name, password)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _minted(self, name: str, password: str) -> Minted:
        where = {key: str(self._connection[key]) for key in ("host", "port", "dbname") if self._connection.get(key)}
        return Minted(handle=name, secret={**where, "user": name, "password": password})

    def _ours(self, handle: str) -> str:
        if not handle.startswith(self._prefix) or len(handle.encode()) > _BYTES or "\0" in handle:
            raise ValueError(f"the handle is the name of a role that begins with {self._prefix}")
        return handle

    def _shut_out(self, db: psycopg.Connection[Any], name: str) -> bool:
        """No sign-in any more, and nobody is left inside. False: there is no such role."""
        # In this order: whoever signs in between the two is ended with the others.
        try:
            db.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(name)))
        except psycopg.errors.UndefinedObject:
            return False
        for _ in range(3):
            ended = [done for (done,) in db.execute(_END, (name,)).fetchall()]
            if not ended:
                return True
        raise ConnectorFailed(f"PostgreSQL: a connection of {name} does not end: it cannot sign in any more")

    def _drop(self, db: psycopg.Connection[Any], name: str) -> None:
        role = sql.Identifier(name)
        try:
            with db.transaction():
                if self._reassign_to is not None:
                    heir = sql.Identifier(self._reassign_to)
                    # Who made a role administers it, but has to be a member of it to give away what it owns.
                    db.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
                    db.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(role, heir))
                    db.execute(sql.SQL("DROP OWNED BY {}").format(role))
                db.execute(sql.SQL("DROP ROLE {}").format(role))
        except psycopg.errors.UndefinedObject:
            pass
        except psycopg.errors.DependentObjectsStillExist:
            # It opens nothing any more, which is what was to be done; what it owns is somebody's work.
            db.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(role))

    async def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        return await asyncio.to_thread(self._connected, work)

    def _connected(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        try:
            db = psycopg.connect(**self._connection, autocommit=True)
        except psycopg.Error as error:
            raise ConnectorFailed(f"PostgreSQL lets nobody in: {' '.join(str(error).split())[-200:]}") from None
        try:
            with db:
                db.execute("SELECT set_config('statement_timeout', %s, false)", (str(int(SECONDS * 500)),))
                return _again(work, db)
        except psycopg.Error as error:
            # Its own words may repeat a statement, and with it a password.
            state = error.diag.message_primary or type(error).__name__
            raise ConnectorFailed(f"PostgreSQL does not do it: {state[:200]}") from None


def _again(work: Callable[[psycopg.Connection[Any]], T], db: psycopg.Connection[Any]) -> T:
    """Do it, once more where somebody else did the same to the same role in that instant: nobody waits there."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work(db)
        except psycopg.errors.InternalError_:  # "tuple concurrently updated"
            time.sleep(0.1)
    return work(db)


def _password() -> str:
    return secrets.token_urlsafe(32)


def _verifier(db: psycopg.Connection[Any], name: str, password: str) -> sql.Literal:
    """What PostgreSQL keeps of a password: the password itself is never in a statement, which may be logged."""
    verifier = db.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return sql.Literal(verifier.decode())
