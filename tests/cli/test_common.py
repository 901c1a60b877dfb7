"""What all commands share: the database, the common options, exit statuses, and how they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from sessile.cli.common import BadUsage, duration
from tests.program import PROGRAM, Program, environment

ACTING = [
    ("user", "list"),
    ("user", "show", "alice"),
    ("user", "disable", "alice"),
    ("user", "enable", "alice"),
    ("user", "delete", "alice", "--erase"),
    ("user", "passwd", "alice", "--password-stdin"),
    ("user", "change", "service:ci", "--owner", "alice"),
    ("sessions", "list"),
    ("sessions", "waiting"),
    ("sessions", "show", "ses_" + "0" * 27),
    ("sessions", "tree", "ses_" + "0" * 27),
    ("sessions", "revoke", "ses_" + "0" * 27),
    ("revoke", "--principal", "alice"),
    ("revoke", "--everyone", "--yes"),
    ("key", "list"),
    ("key", "revoke", "ses_" + "0" * 27),
    ("key", "mint", "--owner", "service:ci", "--by", "alice", "--scope", "read", "--password-stdin"),
    ("audit", "tail"),
    ("audit", "export"),
    ("policy", "show"),
    ("policy", "explain", "ses_" + "0" * 27),
    ("doctor",),
]


@pytest.mark.parametrize("command", ACTING, ids=lambda command: " ".join(command[:2]))
def test_what_acts_on_a_database_makes_none(empty: Program, command: tuple[str, ...]) -> None:
    """Review 6c: a revocation in the wrong folder must not report success on an empty database."""
    said = empty.fails(1, *command, input="orange boats at noon\n")
    assert f"no database at {empty.database}" in said
    assert list(empty.folder.iterdir()) == []


def test_the_common_options_stand_before_or_after(sessile: Program, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Program(tmp_path_factory.mktemp("other"))
    url = f"sqlite:///{sessile.database}"
    before = other.ok("--database", url, "--json", "user", "list")
    between = other.ok("user", "--json", "--database", url, "list")
    after = other.ok("user", "list", "--json", "--database", url)
    assert before == between == after
    assert other.run("user", "list", "--json", SESSILE_DATABASE=url).stdout == before
    # What stands nearest to the verb wins.
    assert other.ok("--database", "sqlite:///nothing.db", "user", "list", "--json", "--database", url) == before


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (("--database", "mysql://u:hunter2@h/d", "user", "list"), "sqlite:///relative.db"),
        (("--database", "memory:", "user", "list"), "one process"),
        (("--sessions", "memcached://u:hunter2@h", "user", "add", "dora"), "else leave it away"),
        (("revoke",), "exactly one of"),
        (("revoke", "--principal", "alice", "--everyone"), "exactly one of"),
        (("revoke", "--principal", "alice", "--keys"), "--everyone"),
        (("revoke", "--session", "alice"), "ses_"),
        (("revoke", "--everyone", "--yes", "--lock-sign-in", "soon"), "15m"),
        (("revoke", "--principal", "alice", "--cause", ""), "cause"),
        (("user", "add", "a b"), "white space"),
        (("user", "add", "dora", "--role", "admin", "--password-stdin"), "--scope"),
        (("user", "add", "dora"), "--password-stdin"),
        (("user", "add", "dora", "--scope", 'a"b', "--password-stdin"), "scope"),
        (("user", "add", "service:ci", "--password-stdin"), "no password"),
        (("user", "frobnicate"), "--help"),
        (("user", "list", "--frobnicate"), "--help"),
        (("key", "revoke", "slk_whatever"), "its id"),
        (("sessions", "list", "--limit", "0"), "--limit"),
        (("serve", "--port", "99999"), "--port"),
        (("serve", "--host", "192.0.2.1"), "--origin"),
        (("serve", "--origin", "not an origin"), "origin"),
    ],
)
def test_bad_usage_is_one_line_that_names_the_cure(sessile: Program, arguments: tuple[str, ...], cure: str) -> None:
    said = sessile.fails(2, *arguments, input="orange boats at noon\n")
    assert cure in said
    assert "hunter2" not in said


def test_a_noun_alone_shows_its_verbs_and_does_nothing(empty: Program) -> None:
    done = empty.run("user")
    assert done.returncode == 2
    assert "passwd" in done.stdout


def test_the_version_is_said(empty: Program) -> None:
    assert empty.ok("--version") == f"sessile {metadata.version('sessile')}\n"
    assert "no such option" in empty.fails(2, "user", "--version")


@pytest.mark.parametrize("command", ["demo", "serve", "revoke", "doctor", "user add", "audit tail", "key mint"])
def test_every_command_explains_itself(empty: Program, command: str) -> None:
    help = empty.ok(*command.split(), "--help")
    assert "--database" in help
    assert "\x1b" not in help


@pytest.mark.parametrize("file", ["text", "other program's"])
def test_another_file_is_left_alone(empty: Program, file: str) -> None:
    if file == "text":
        empty.database.write_text("minutes of the meeting\n" * 500)
    else:
        import sqlite3

        db = sqlite3.connect(empty.database)
        db.execute("CREATE TABLE recipes (name TEXT)")
        db.commit()
        db.close()
    before = empty.database.read_bytes()
    empty.fails(1, "revoke", "--principal", "alice")
    empty.fails(1, "user", "add", "alice", "--password-stdin", input="orange boats at noon\n")
    assert empty.database.read_bytes() == before


def test_a_reader_that_goes_away_is_no_error(sessile: Program) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [PROGRAM, "audit", "export"], cwd=sessile.folder, env=environment(), stdout=write, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


def test_an_interrupt_is_clean(sessile: Program) -> None:
    with subprocess.Popen(
        [PROGRAM, "audit", "tail", "-f"], cwd=sessile.folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == ""


def test_what_others_wrote_does_not_steer_the_terminal(sessile: Program) -> None:
    """Causes come from whoever ended something; a terminal must show them, not obey them."""
    sessile.ok("revoke", "--principal", "alice", "--cause", "\x1b]0;owned\x07\x1b[2Jgone\nforged line")
    said = sessile.ok("audit", "tail")
    assert "gone" in said
    assert "\x1b" not in said
    assert "\x07" not in said
    assert not any(line.startswith("forged") for line in said.splitlines())


def test_times_are_local_for_people_and_utc_for_machines(sessile: Program) -> None:
    [alice, _] = sessile.items("user", "list")
    assert alice["created"].endswith("Z")
    there = sessile.run("user", "show", "alice", TZ="Pacific/Kiritimati").stdout
    here = sessile.run("user", "show", "alice", TZ="UTC").stdout
    assert there != here
    assert alice["created"][11:19] in here


def test_a_file_that_is_not_ours_to_read_is_said_plainly(sessile: Program, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    said = sessile.fails(1, "user", "list", "--database", f"sqlite:///{folder}")
    assert str(folder) in said


def test_durations() -> None:
    assert duration("90s").total_seconds() == 90
    assert duration("1d12h") == duration("36h")
    assert duration("15m").total_seconds() == 900
    for wrong in ("", "0s", "15", "m", "-5m", "1.5h", "5 m", "15m15h"):
        with pytest.raises(BadUsage):
            duration(wrong)


def test_a_command_is_quick_to_start(empty: Program) -> None:
    """Nothing that only the server needs is loaded for the others."""
    listed = subprocess.run(
        [PROGRAM.with_name("python"), "-X", "importtime", "-c", "import sessile.cli.commands"],
        env=environment(), cwd=empty.folder, capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    loaded = {line.rsplit("|", 1)[-1].strip() for line in listed.splitlines()}
    assert not loaded & {"fastapi", "starlette", "uvicorn", "jinja2", "uvloop"}
