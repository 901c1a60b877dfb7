"""`sessile audit`: the record, from its end, as it grows, and as a whole."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest

from sessile import Authority
from tests.program import PROGRAM, Program, environment


@pytest.mark.requirement("ASVS V16.2.1", "ASVS V16.2.4")
def test_an_ending_is_in_the_record_with_who_and_why(sessile: Program) -> None:
    sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
    [event] = [json.loads(line) for line in sessile.ok("audit", "tail", "-n", "1", "--json").splitlines()]
    assert (event["name"], event["principal"], event["cause"]) == ("principal.revoked", "alice", "laptop stolen")
    assert event["by"]["name"] == "cli"
    assert event["by"]["client"]["label"]  # the account of the machine
    assert event["at"].endswith("Z")
    said = sessile.ok("audit", "tail", "-n", "1")
    assert "principal.revoked" in said
    assert "laptop stolen" in said


def test_the_latest_come_last(sessile: Program) -> None:
    for n in range(5):
        sessile.ok("revoke", "--principal", "alice", "--cause", f"drill {n}")
    lines = sessile.ok("audit", "tail", "-n", "3").splitlines()
    assert [line.split("drill ")[1][0] for line in lines] == ["2", "3", "4"]
    assert sessile.ok("audit", "tail", "-n", "0") == ""


async def test_it_is_narrowed_to_a_principal_or_a_session(sessile: Program) -> None:
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        issued = await authority.begin("olga", method="password")
    by_name = sessile.ok("audit", "tail", "--principal", "olga").splitlines()
    assert by_name
    assert all("olga" in line for line in by_name)
    [begun] = sessile.ok("audit", "tail", "--session", issued.active.session.id, "--json").splitlines()
    assert json.loads(begun)["name"] == "session.begun"
    sessile.fails(1, "audit", "tail", "--principal", "nobody")
    sessile.fails(2, "audit", "tail", "--session", "nobody")


def test_export_is_the_whole_record_in_order(sessile: Program) -> None:
    events = [json.loads(line) for line in sessile.ok("audit", "export").splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {"policy.changed", "principal.registered", "principal.password_set"} <= {event["name"] for event in events}
    rest = sessile.ok("audit", "export", "--after", "2").splitlines()
    assert [json.loads(line)["seq"] for line in rest] == [event["seq"] for event in events[2:]]


@pytest.mark.requirement("ASVS V16.4.2")
def test_a_record_that_was_changed_past_sessile_is_found_out(sessile: Program) -> None:
    sessile.ok("revoke", "--principal", "alice", "--cause", "laptop stolen")
    whole = sessile.json("audit", "verify")
    assert whole["ok"]
    with closing(sqlite3.connect(sessile.database, isolation_level=None)) as db:
        db.execute("DROP TRIGGER event_is_never_changed")
        db.execute("UPDATE event SET body = replace(body, 'laptop', 'tablet')")
    assert f"event {whole['events']} " in sessile.fails(1, "audit", "verify")
    found = json.loads(sessile.run("audit", "verify", "--json").stdout)
    assert (found["ok"], found["broken"]) == (False, whole["events"])


@pytest.mark.requirement("ASVS V16.4.2")
def test_a_record_that_was_cut_short_is_found_out_by_what_was_kept(sessile: Program) -> None:
    """Its rest is whole in itself: only who knows more can tell."""
    kept = sessile.ok("audit", "verify").splitlines()[-1]
    sessile.ok("revoke", "--principal", "alice")
    assert sessile.ok("audit", "verify", "--since", kept).splitlines()[-1] != kept
    with closing(sqlite3.connect(sessile.database, isolation_level=None)) as db:
        db.execute("DROP TRIGGER event_is_never_deleted")
        for table in ("event", "personal"):
            db.execute(f"DELETE FROM {table} WHERE seq >= ?", (kept.partition(":")[0],))  # noqa: S608
    sessile.ok("audit", "verify")
    sessile.fails(1, "audit", "verify", "--since", kept)
    # So is one that went on differently from there.
    sessile.ok("revoke", "--principal", "olga")
    sessile.ok("audit", "verify")
    sessile.fails(1, "audit", "verify", "--since", kept)
    sessile.fails(2, "audit", "verify", "--since", "yesterday")


def test_following_shows_what_another_process_does(sessile: Program) -> None:
    with subprocess.Popen(
        [PROGRAM, "audit", "tail", "-f", "-n", "1", "--json", "--principal", "alice"], cwd=sessile.folder,
        env=environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        before = json.loads(process.stdout.readline())
        sessile.ok("revoke", "--principal", "olga")
        sessile.ok("revoke", "--principal", "alice", "--cause", "while you watch")
        after = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    assert after["cause"] == "while you watch"
    assert after["seq"] > before["seq"]
