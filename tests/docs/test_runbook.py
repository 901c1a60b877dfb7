"""Backup and restore as docs/operations.md says it."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sessile import Authority
from sessile.server.key import KeyUnusable, open_keys
from tests.program import PERSON_PASSWORD, Program

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


async def test_a_backup_is_an_older_state_and_the_runbook_ends_it(tmp_path: Path) -> None:
    live, backup = tmp_path / "live", tmp_path / "backup"
    live.mkdir()
    backup.mkdir()
    program = Program(live)
    program.ok("user", "add", "alice", "--password-stdin", input=PERSON_PASSWORD)
    url = f"sqlite:///{program.database}"
    async with Authority(url) as authority:
        before = await authority.begin("alice", method="password")
        key = await authority.mint_key(before.active, owner="service:ci", scopes={"read"})
        # What `sqlite3 … .backup` does, while the file is in use.
        with closing(sqlite3.connect(program.database)) as source, closing(sqlite3.connect(backup / "s.db")) as target:
            source.backup(target)
        await authority.revoke(principal="alice", cause="laptop stolen")
        await authority.revoke(session=key.active.session.id, cause="leaked")
        assert not await authority.check(before.token)
        assert not await authority.check(key.token)

    for suffix in ("-wal", "-shm"):
        program.database.with_name(program.database.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup / "s.db", program.database)
    async with Authority(url) as authority:
        assert await authority.check(before.token), "a restored backup lets in whom it let in then"
        assert await authority.check(key.token)

    runbook = re.search(r"^\$ sessile (revoke .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert runbook is not None
    program.ok(*shlex.split(runbook[1]))
    async with Authority(url) as authority:
        assert not await authority.check(before.token)
        assert not await authority.check(key.token)


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.ok("user", "add", "alice", "--password-stdin", input=PERSON_PASSWORD)
    made = [file for file in tmp_path.iterdir() if file.name.startswith("sessile")]
    assert made
    assert [file.name for file in made if file.stat().st_mode & 0o077] == []


async def test_a_key_that_is_lost_for_good_is_forgotten_as_the_runbook_says(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.ok("user", "add", "alice", "--password-stdin", input=PERSON_PASSWORD)
    url, key = f"sqlite:///{program.database}", tmp_path / "sessile.key"
    async with Authority(url) as authority:
        lost = await open_keys(authority.store, key)
    key.unlink()
    async with Authority(url) as authority:
        with pytest.raises(KeyUnusable):
            await open_keys(authority.store, key)
    statement = re.search(r'"(DELETE FROM fact [^"]*)"', PAGE.read_text(encoding="utf-8"))
    assert statement is not None
    with closing(sqlite3.connect(program.database)) as db:
        assert db.execute(statement[1]).rowcount == 1
        db.commit()
    async with Authority(url) as authority:
        assert await open_keys(authority.store, key) != lost
