"""`sessile doctor`: each thing that is wrong is found, and the cure is said."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Policy
from sessile.clock import SystemClock
from sessile.near import NearCache
from sessile.server.key import open_keys
from sessile.stores import open_url
from tests.mail import post
from tests.program import Program


def findings(program: Program, status: int) -> dict[str, dict[str, Any]]:
    done = program.run("doctor", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is (status == 0)
    return {finding["check"]: finding for finding in answer["checks"]}


async def with_key(program: Program) -> Path:
    """Do what the first start of a server does about its key."""
    store = open_url(f"sqlite:///{program.database}", clock=SystemClock(), create=False)
    path = program.database.with_suffix(".key")
    await store.open(NearCache(1))
    await open_keys(store, path)
    await store.close()
    return path


def test_a_sound_installation_is_sound(sessile: Program) -> None:
    found = findings(sessile, 0)
    assert {finding["level"] for finding in found.values()} == {"ok"}
    assert {"database", "schema", "integrity", "journal", "file system", "permissions", "secret key", "clock", "policy",
            "operators", "owners", "sweeping", "versions", "free space", "mail"} == set(found)  # fmt: skip
    said = sessile.ok("doctor")
    assert str(sessile.database) in said
    assert "cure" not in said


def test_open_permissions_fail(sessile: Program) -> None:
    sessile.database.chmod(0o644)
    assert findings(sessile, 1)["permissions"]["cure"] == f"chmod 600 {sessile.database}"
    assert "chmod 600" in sessile.run("doctor").stdout


def test_damage_fails(sessile: Program) -> None:
    db = sqlite3.connect(sessile.database)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = os.path.getsize(sessile.database)
    with sessile.database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    assert "backup" in findings(sessile, 1)["integrity"]["cure"]


def test_another_kind_of_file_fails(empty: Program) -> None:
    empty.database.write_text("minutes of the meeting")
    assert findings(empty, 1)["kind"]["level"] == "fail"


def test_a_newer_schema_fails(sessile: Program) -> None:
    db = sqlite3.connect(sessile.database)
    db.execute("PRAGMA user_version = 999")
    db.close()
    assert "upgrade" in findings(sessile, 1)["schema"]["cure"]


async def test_the_key_has_to_be_the_one(sessile: Program) -> None:
    """Review 17: a server with another key would refuse everybody's forms."""
    path = await with_key(sessile)
    assert findings(sessile, 0)["secret key"]["level"] == "ok"
    right = path.read_text()
    path.chmod(0o644)
    assert "chmod 600" in findings(sessile, 1)["secret key"]["cure"]
    path.chmod(0o600)
    path.write_text("0" * 64 + "\n")
    assert findings(sessile, 1)["secret key"]["level"] == "fail"
    path.unlink()
    assert "backup" in findings(sessile, 1)["secret key"]["cure"]
    assert not path.exists()  # looking makes none
    path.touch(0o600)
    path.write_text(right)
    assert findings(sessile, 0)["secret key"]["level"] == "ok"


@pytest.mark.requirement("ASVS V7.1.1")
async def test_a_policy_beyond_the_standard_needs_a_reason(sessile: Program) -> None:
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        loose = Policy.aal2(idle=timedelta(hours=8), version=2)
        await authority.set_policy(loose)
        found = findings(sessile, 0)["policy"]
        assert found["level"] == "warn"
        assert "1 hour of inactivity" in found["found"]
        await authority.set_policy(Policy.aal2(idle=timedelta(hours=8), version=3, reason="night shifts"))
    found = findings(sessile, 0)["policy"]
    assert found["level"] == "ok"
    assert "night shifts" in found["found"]


def test_orphans_and_missing_operators_are_named(empty: Program) -> None:
    for name in ("alice", "bob"):
        empty.add(name)
    empty.ok("user", "add", "service:ci", "--owner", "bob", "--purpose", "builds")
    empty.ok("user", "disable", "bob")
    found = findings(empty, 0)
    assert found["operators"]["level"] == "warn"
    assert "service:ci" in found["owners"]["found"]
    empty.ok("user", "change", "service:ci", "--owner", "alice")
    assert findings(empty, 0)["owners"]["level"] == "ok"
    empty.ok("user", "disable", "alice")
    assert findings(empty, 0)["owners"]["level"] == "warn"


async def test_a_clock_that_was_wrong_is_found(sessile: Program) -> None:
    class Fast(SystemClock):
        def now(self):  # type: ignore[no-untyped-def]
            return super().now() + timedelta(hours=2)

    async with Authority(f"sqlite:///{sessile.database}", create=False, clock=Fast()) as authority:
        await authority.begin("alice", method="password")
    found = findings(sessile, 1)["clock"]
    assert "NTP" in found["cure"]


def test_mail_is_looked_at(sessile: Program) -> None:
    def mail(**variables: str) -> tuple[int, str]:
        done = sessile.run("doctor", "--json", **variables)
        (found,) = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "mail"]
        return done.returncode, f"{found['level']} {found['found']}"

    assert mail() == (0, "ok none is sent: SESSILE_SMTP is not set; sessile user passwd NAME --link helps")
    with post(user=(b"sessile", b"se:cret")) as server:
        sender = {"SESSILE_MAIL_FROM": "sessile@example.org"}
        at = f"127.0.0.1:{server.port}"
        assert mail(SESSILE_SMTP=f"smtp://sessile:se%3Acret@{at}", **sender) == (
            0, "ok the mail server answers; 0 mails to send"
        )  # fmt: skip
        status, said = mail(SESSILE_SMTP=f"smtp://sessile:wrong@{at}", **sender)
        assert (status, said) == (1, "fail the mail server answered 535")
        status, said = mail(SESSILE_SMTP=f"smtp://sessile:se%3Acret@{at}")
        assert status == 1
        assert "SESSILE_MAIL_FROM" in said
    status, said = mail(SESSILE_SMTP=f"smtp://sessile:hidden@{at}", **sender)
    assert status == 1
    assert "cannot be used" in said
    assert "hidden" not in said
