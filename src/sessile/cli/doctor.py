"""`sessile doctor`: is everything as it has to be? A line a check, with the cure."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec
import typer

from sessile.authority import Authority
from sessile.cli.common import Cli, bold, clean, count, every, green, local, red, yellow
from sessile.errors import SessileError
from sessile.kernel.principal import OPERATOR, PrincipalKind, Status
from sessile.nhi.connectors import NotConfigured, load
from sessile.nhi.leases import probe
from sessile.server.key import KeyUnusable, open_keys
from sessile.server.mail import MailFailed, try_server
from sessile.server.places import PlacesFile, PlacesUnusable
from sessile.server.rules import beyond_standard
from sessile.server.settings import Mail, Settings
from sessile.stores.sqlite.filesystem import check_filesystem
from sessile.stores.sqlite.schema import APPLICATION_ID, migrations

Level = Literal["ok", "warn", "fail"]

_BACKLOG = 10_000
_MAILS = 100
_WAL_BYTES = 64 * 1024 * 1024
_FREE_BYTES = 256 * 1024 * 1024
_CLOCK = timedelta(seconds=5)
_PLACES_AGE = timedelta(days=90)


class Finding(msgspec.Struct, frozen=True):
    check: str
    level: Level
    found: str
    cure: str = ""


async def doctor(cli: Cli) -> None:
    """Look the installation over. Status 1 if something is wrong.

    Changes nothing but what opening does: a database of an older schema is brought up to date.
    """
    findings = [_versions()]
    if not cli.on_engine:
        path = cli.must_exist()
        findings += [*_machine(path), *_file(path)]
    if not any(finding.level == "fail" for finding in findings):
        async with cli.authority() as authority:
            findings += [finding async for finding in _contents(authority, cli.url)]
            findings += await _engine(authority)
            findings += [finding async for finding in _leases(authority, cli.connectors)]
            findings += _places(cli.places)
            if cli.elsewhere is not None:
                findings += [finding async for finding in _sessions(authority, cli)]
    failed = any(finding.level == "fail" for finding in findings)
    if cli.json:
        cli.emit({"ok": not failed, "database": cli.shown, "checks": findings})
    else:
        width = max(len(finding.check) for finding in findings)
        paint = {"ok": green, "warn": yellow, "fail": red}
        for finding in findings:
            level = paint[finding.level](finding.level.ljust(4))
            cli.say(f"{level}  {finding.check.ljust(width)}  {clean(finding.found)}")
            if finding.cure:
                cli.say(f"{' ' * (width + 8)}{bold('cure:')} {clean(finding.cure)}")
    if failed:
        raise typer.Exit(1)


def _versions() -> Finding:
    return Finding(
        "versions", "ok",
        f"Sessile {metadata.version('sessile')}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
    )  # fmt: skip


def _machine(path: Path) -> Iterator[Finding]:
    try:
        check_filesystem(path.parent)
        yield Finding("file system", "ok", "local to this machine")
    except SessileError as error:
        yield Finding("file system", "fail", str(error), "stop what uses it, then move it to a local disk")
    free = shutil.disk_usage(path.parent).free
    if free < _FREE_BYTES:
        yield Finding("free space", "warn", f"{_mib(free)} left", "make room: without it nothing can be revoked")
    else:
        yield Finding("free space", "ok", f"{_mib(free)} left")


def _file(path: Path) -> Iterator[Finding]:
    yield Finding("database", "ok", f"{path}, {_mib(path.stat().st_size)}")
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            yield Finding("kind", "fail", "no SQLite database", "name the right file with --database")
            return
    yield from _permissions(path)
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
    except sqlite3.Error as error:
        yield Finding("kind", "fail", f"cannot be opened: {error}", "check the permissions of the file and its folder")
        return
    try:
        yield from _inside(db)
    except sqlite3.Error as error:
        yield Finding("integrity", "fail", f"the file cannot be read: {error}", _RESTORE)
    finally:
        db.close()
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size > _WAL_BYTES:
        yield Finding(
            "write-ahead log",
            "warn",
            f"{_mib(wal.stat().st_size)}",
            "a reader holds it: restart what uses the file",
        )


_RESTORE = "stop the server, restore the last backup, then `sessile revoke --everyone --keys`: what it holds is old"


def _inside(db: sqlite3.Connection) -> Iterator[Finding]:
    def pragma(name: str) -> object:
        return db.execute(f"PRAGMA {name}").fetchall()[0][0]

    version, known = pragma("user_version"), len(migrations())
    if pragma("application_id") != APPLICATION_ID:
        yield Finding("kind", "fail", "another program's database", "name the right file with --database")
        return
    if version == known:
        yield Finding("schema", "ok", f"version {version}")
    else:
        yield Finding(
            "schema", "warn" if int(str(version)) < known else "fail", f"version {version}, this Sessile knows {known}",
            "older: opening it brings it up to date; newer: upgrade this Sessile",
        )  # fmt: skip
    damage = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)").fetchall()]
    if damage == ["ok"]:
        yield Finding("integrity", "ok", "SQLite's check finds nothing wrong")
    else:
        yield Finding("integrity", "fail", "; ".join(damage), _RESTORE)
    if (mode := pragma("journal_mode")) == "wal":
        yield Finding("journal", "ok", "write-ahead log")
    else:
        yield Finding("journal", "warn", f"mode {mode}", "opening it turns the write-ahead log on")
    due = db.execute("SELECT count(*) FROM session WHERE keep_until < ?", (time.time_ns() // 1000,)).fetchall()[0][0]
    if due > _BACKLOG:
        yield Finding(
            "sweeping",
            "warn",
            f"{count(due, 'session')} could be gone",
            "let a server run: it sweeps each minute",
        )
    else:
        yield Finding("sweeping", "ok", f"{count(due, 'session')} to sweep")


def _permissions(path: Path) -> Iterator[Finding]:
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if not file.exists():
            continue
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            yield Finding("permissions", "fail", f"{file.name} is open to others ({mode:04o})", f"chmod 600 {file}")
        elif not os.access(file, os.R_OK | os.W_OK):
            yield Finding("permissions", "fail", f"{file.name} is not this user's", "run as the user who owns it")
        elif file == path:
            yield Finding("permissions", "ok", f"{file.name} is the owner's alone ({mode:04o})")


async def _contents(authority: Authority, database: str) -> AsyncIterator[Finding]:
    yield await _key(authority, database)
    yield await _clock(authority)
    async for finding in _policies(authority):
        yield finding
    async for finding in _principals(authority):
        yield finding
    yield await _mail(authority)


async def _mail(authority: Authority) -> Finding:
    waiting = await authority.store.waiting_mails()
    try:
        mail = Mail.from_environment(os.environ)
    except ValueError as error:
        return Finding("mail", "fail", str(error), "set the variables as docs/operations.md says")
    if mail is None:
        if waiting:
            return Finding(
                "mail", "warn", f"{count(waiting, 'mail')} wait, and SESSILE_SMTP is not set here",
                "run doctor with the variables of the server",
            )  # fmt: skip
        return Finding("mail", "ok", "none is sent: SESSILE_SMTP is not set; sessile user passwd NAME --link helps")
    try:
        await try_server(mail)
    except MailFailed as error:
        return Finding("mail", "fail", str(error), "check SESSILE_SMTP: nobody gets notices or links meanwhile")
    if waiting > _MAILS:
        return Finding(
            "mail", "warn", f"{count(waiting, 'mail')} wait", "see the server's log: what is refused, and why"
        )
    return Finding("mail", "ok", f"the mail server answers; {count(waiting, 'mail')} to send")


def _places(path: Path | None) -> list[Finding]:
    if path is None:
        return []
    try:
        file = PlacesFile(path)
    except PlacesUnusable as error:
        what, _, cure = str(error).partition("; ")
        return [
            Finding("places", "fail", what, cure or "or leave SESSILE_PLACES away: addresses are shown as they are")
        ]
    age = datetime.now(UTC) - file.built
    found = f"{path.name}, {file.kind}, built {count(max(age.days, 0), 'day')} ago"
    file.close()
    if age > _PLACES_AGE:
        return [Finding("places", "warn", found, "take a newer one: addresses move; the server notices it by itself")]
    return [Finding("places", "ok", found)]


async def _engine(authority: Authority) -> list[Finding]:
    """PostgreSQL, where the sessions are in it."""
    if authority.store.local or authority.store.partitioned:
        return []
    from sessile.stores.postgres import PostgresStore  # its driver is an extra

    store = authority.store
    assert isinstance(store, PostgresStore)  # noqa: S101 - no other is neither
    return [Finding(*told) for told in await store.health()]


async def _key(authority: Authority, database: str) -> Finding:
    key = Settings(database=database).key_path
    if await authority.store.fact("key_check") is None:
        # `open_keys` would make one: that is the first server's to do.
        return Finding("secret key", "ok", "none yet: the first `sessile serve` makes it")
    try:
        await open_keys(authority.store, key)
    except KeyUnusable as error:
        what, _, cure = str(error).partition(": ")
        return Finding("secret key", "fail", what, cure)
    return Finding("secret key", "ok", f"{key} fits the database and is the owner's alone")


async def _leases(authority: Authority, connectors: Path | None) -> AsyncIterator[Finding]:
    counts = await authority.store.statistics()
    if counts["leases_overdue"]:
        yield Finding(
            "leases", "fail", f"{count(counts['leases_overdue'], 'credential')} in other systems should be over",
            "sessile lease pending says why; a server with SESSILE_CONNECTORS, or `sessile lease work`, ends them",
        )  # fmt: skip
    elif counts["leases"]:
        pending = counts["leases_pending"]
        yield Finding(
            "leases", "ok", f"{count(counts['leases'], 'credential')} in other systems, {pending} being ended"
        )
    if connectors is None:
        if counts["leases"]:
            yield Finding(
                "connectors", "warn", "none are configured here", "set SESSILE_CONNECTORS, as the server has it"
            )
        return
    try:
        found = await probe(load(connectors))
    except NotConfigured as error:
        yield Finding("connectors", "fail", str(error), "docs/leases.md says what the file may say")
        return
    for name, wrong in found.items():
        if wrong is None:
            yield Finding(f"connector {name}", "ok", "answers, and lets us end credentials")
        else:
            what, _, cure = wrong.partition(": ")
            yield Finding(f"connector {name}", "fail", what, cure)


async def _clock(authority: Authority) -> Finding:
    now = datetime.now(UTC)
    latest = await authority.store.events(latest=True, limit=1)
    if latest and latest[0].at is not None and latest[0].at > now + _CLOCK:
        return Finding(
            "clock", "fail", f"the latest event is of {local(latest[0].at)}, which is still to come",
            "set the clock right (NTP): with a wrong one sessions end too early or too late",
        )  # fmt: skip
    return Finding("clock", "ok", f"{local(now)}; nothing in the record is of the future")


async def _sessions(authority: Authority, cli: Cli) -> AsyncIterator[Finding]:
    """The engine that keeps the sessions, beside the database."""
    from sessile.stores.redis import RedisStore  # its parser is an extra

    store = authority.store
    assert isinstance(store, RedisStore)  # noqa: S101 - `elsewhere` is nothing else
    for told in await store.health():
        yield Finding(told.check, told.level, told.found, told.cure)
    if not cli.on_engine and not store.servers.near_by:
        yield Finding(
            "accounts", "warn", "in a file of this machine, the sessions elsewhere: no other machine can serve them",
            "with more than one machine put them into PostgreSQL: --database postgresql://…",
        )  # fmt: skip


async def _policies(authority: Authority) -> AsyncIterator[Finding]:
    for policy in await authority.store.policies():
        beyond = "; ".join(beyond_standard(policy))
        if not beyond:
            yield Finding("policy", "ok", f"{policy.name} is within SP 800-63B-4")
        elif policy.reason:
            yield Finding("policy", "ok", f"{policy.name}: {beyond}. Reason given: {policy.reason}")
        else:
            yield Finding(
                "policy", "warn", f"{policy.name}: {beyond}", "tighten it, or say why: Policy(…, reason=…, version=+1)"
            )


async def _principals(authority: Authority) -> AsyncIterator[Finding]:
    operators, orphans, total = 0, [], 0
    async for one in every(lambda after: authority.store.principals(after=after)):
        total += 1
        if one.status is Status.ACTIVE and OPERATOR in one.scopes:
            operators += 1
        if one.kind is not PrincipalKind.HUMAN:
            owner = await authority.owner(one)
            if owner is None or owner.gone:
                orphans.append(one.name)
    if operators:
        yield Finding("operators", "ok", f"{operators} of {count(total, 'principal')}")
    else:
        yield Finding(
            "operators", "warn", "nobody may end others' access in the console", "sessile user add NAME --role operator"
        )
    if orphans:
        yield Finding(
            "owners", "warn", f"nobody answers for {', '.join(orphans[:5])}{' and others' if len(orphans) > 5 else ''}",
            "sessile user change NAME --owner NAME",
        )  # fmt: skip
    else:
        yield Finding("owners", "ok", "every service and agent has somebody who answers for it")


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:,.1f} MiB"
