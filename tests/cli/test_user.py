"""`sessile user`: who may sign in, and who may not."""

from __future__ import annotations

import os
import pty
import subprocess

import httpx
import pytest

from sessile import Authority
from sessile.factors.password import Passwords, SignInFailed
from tests.program import PERSON_PASSWORD, PROGRAM, Program, environment

NEW = "seven quiet bridges"


async def can_sign_in(program: Program, name: str, password: str) -> bool:
    async with Authority(f"sqlite:///{program.database}", create=False) as authority:
        try:
            issued = await Passwords(authority).sign_in(name, password)
        except SignInFailed:
            return False
        return bool(await authority.check(issued.token))


async def test_a_person_is_added_and_can_sign_in(empty: Program) -> None:
    done = empty.run("user", "add", "Alice", "--password-stdin", input=PERSON_PASSWORD + "\n")
    assert done.returncode == 0
    assert done.stdout == "alice can sign in.\n"
    assert str(empty.database) in done.stderr  # it was made
    assert empty.database.stat().st_mode & 0o777 == 0o600
    assert await can_sign_in(empty, "alice", PERSON_PASSWORD)


def test_an_operator_may_do_all(sessile: Program) -> None:
    olga = sessile.json("user", "show", "olga")
    assert olga["role"] == "operator"
    assert olga["scopes"] == ["*", "operator"]
    assert sessile.json("user", "show", "alice")["role"] is None


def test_scopes_limit_a_person(sessile: Program) -> None:
    sessile.add("bob", NEW, "--scope", "read", "--scope", "write")
    assert sessile.json("user", "show", "bob")["scopes"] == ["read", "write"]


def test_services_and_agents_have_no_password_and_an_owner(sessile: Program) -> None:
    sessile.ok("user", "add", "service:ci", "--owner", "olga", "--purpose", "builds")
    assert "--owner NAME or team:NAME" in sessile.fails(2, "user", "add", "agent:deploy", "--purpose", "deploys")
    assert "--purpose" in sessile.fails(2, "user", "add", "agent:deploy", "--owner", "olga", "--purpose", " ")
    sessile.ok("user", "add", "agent:deploy", "--owner", "olga", "--purpose", "deploys")
    service = sessile.json("user", "show", "service:ci")
    assert (service["kind"], service["owner"], service["purpose"]) == ("service", "olga", "builds")
    assert service["scopes"] == []
    sessile.ok("user", "change", "agent:deploy", "--owner", "alice")
    assert sessile.json("user", "show", "alice")["answers_for"] == ["agent:deploy"]
    assert [one["id"] for one in sessile.items("user", "list", "--kind", "service")] == ["service:ci"]
    assert [one["id"] for one in sessile.items("user", "list", "--search", "oy")] == ["agent:deploy"]


def test_a_weak_password_adds_nobody(sessile: Program) -> None:
    said = sessile.fails(2, "user", "add", "bob", "--password-stdin", input="hunter2\n")
    assert "15 characters" in said
    assert "hunter2" not in said
    sessile.fails(1, "user", "show", "bob")


def test_a_name_is_taken_once(sessile: Program) -> None:
    assert "passwd" in sessile.fails(1, "user", "add", "ALICE", "--password-stdin", input=NEW + "\n")


async def test_a_new_password_ends_the_sessions(sessile: Program) -> None:
    assert await can_sign_in(sessile, "alice", PERSON_PASSWORD)
    receipt = sessile.json("user", "passwd", "alice", "--password-stdin", input=NEW + "\n")
    assert receipt["revoked"] == 1
    assert sessile.items("sessions", "list", "--principal", "alice") == []
    assert not await can_sign_in(sessile, "alice", PERSON_PASSWORD)
    assert await can_sign_in(sessile, "alice", NEW)


@pytest.mark.requirement("ASVS V7.4.2")
async def test_disabling_keeps_out_until_enabled(sessile: Program) -> None:
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        issued = await authority.begin("alice", method="password")
        assert await authority.check(issued.token)
        assert sessile.json("user", "disable", "alice", "--cause", "left")["cause"] == "left"
        denied = await authority.check(issued.token)
        assert not denied
        assert denied.reason == "disabled"
        assert not await can_sign_in(sessile, "alice", PERSON_PASSWORD)
        sessile.ok("user", "enable", "alice")
        assert not await authority.check(issued.token)  # what had ended stays ended
        assert await can_sign_in(sessile, "alice", PERSON_PASSWORD)


async def test_disabling_names_the_keys_that_live_on(sessile: Program) -> None:
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        issued = await authority.begin("alice", method="password", scopes={"*"})
        key = await authority.mint_key(issued.active, owner="service:ci", scopes={"read"})
    said = sessile.ok("user", "disable", "alice")
    assert key.active.session.id in said
    assert "Still alive" in said


def test_a_password_is_asked_for_twice_at_a_terminal(empty: Program) -> None:
    """Never on the command line, and a slip of the finger adds nobody."""

    def typed(first: str, second: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [PROGRAM, "user", "add", "alice"], cwd=empty.folder, env=environment(), stdin=theirs, stdout=theirs,
            stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            shown = b""
            for prompt, answer in ((b"New password of alice: ", first), (b"The same again: ", second)):
                while not shown.endswith(prompt):
                    shown += os.read(ours, 1)
                os.write(ours, answer.encode() + b"\n")
            try:
                while more := os.read(ours, 4096):
                    shown += more
            except OSError:  # the terminal is gone with its program
                pass
            process.wait(timeout=30)
        os.close(ours)
        return process.returncode, shown.decode()

    status, shown = typed(PERSON_PASSWORD, "something else here")
    assert status == 2
    assert "differ" in shown
    status, shown = typed(PERSON_PASSWORD, PERSON_PASSWORD)
    assert status == 0
    assert PERSON_PASSWORD not in shown
    assert [one["id"] for one in empty.items("user", "list")] == ["alice"]


def test_no_password_reaches_the_record(sessile: Program) -> None:
    sessile.ok("user", "passwd", "alice", "--password-stdin", input=NEW + "\n")
    for file in sessile.folder.iterdir():
        held = file.read_bytes()
        assert NEW.encode() not in held
        assert PERSON_PASSWORD.encode() not in held


def test_somebody_is_deleted_and_erased(sessile: Program) -> None:
    """Review 28: erasure. The name is free, the record proves itself and names nobody."""
    uid = sessile.json("user", "show", "alice")["uid"]
    assert "alice" in sessile.ok("audit", "tail")
    said = sessile.ok("user", "delete", "alice", "--cause", "asked for it")
    assert "alice" in said
    assert sessile.run("user", "show", "alice").returncode == 1
    assert sessile.run("user", "delete", uid).returncode == 2
    erased = sessile.json("user", "delete", uid, "--erase")
    assert erased["uid"] == uid
    assert erased["events"] > 0
    assert "alice" not in sessile.ok("audit", "tail", "-n", "100")
    assert sessile.json("audit", "verify")["ok"]
    sessile.add("alice", NEW)
    assert sessile.json("user", "show", "alice")["uid"] != uid
    both = sessile.json("user", "delete", "alice", "--erase")
    assert both["erased"]["uid"] != uid
    assert sessile.json("audit", "verify")["ok"]


@pytest.mark.requirement("ASVS V6.4.6", "63B-4 4.2.1-a")
async def test_an_operator_hands_over_a_link_and_knows_no_password(sessile: Program) -> None:
    done = sessile.run("user", "passwd", "alice", "--link", "--origin", "https://console.example.com")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("https://console.example.com/reset/prn_")
    assert "15 minutes" in done.stderr
    link = sessile.json("user", "passwd", "alice", "--link")
    assert link["minutes"] == 15
    assert link["link"].startswith("http://localhost:8000/reset/")
    assert await can_sign_in(sessile, "alice", PERSON_PASSWORD), "nothing is changed by a link"
    body = {"link": done.stdout.strip().rpartition("/")[2], "new": NEW}
    with sessile.started("serve", "--port", "0") as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            answers = [(await client.post("/api/v1/password/reset", json=body)).status_code for _ in range(2)]
    assert answers == [200, 410]
    assert await can_sign_in(sessile, "alice", NEW)
    assert sessile.ok("audit", "tail", "--json").count('"recovery.link_made"') == 2
    for wrong in (
        ["--link", "--password-stdin"], ["--origin", "https://x.example"], ["--link", "--origin", "x"], ["--void"],
    ):  # fmt: skip
        sessile.fails(2, "user", "passwd", "alice", *wrong)
    sessile.fails(1, "user", "passwd", "nobody", "--link")


@pytest.mark.requirement("63B-4 3.1.1.2-c", "63B-4 4.3-a")
async def test_a_password_in_other_hands_is_void_at_once(sessile: Program) -> None:
    link = sessile.json("user", "passwd", "alice", "--link", "--void")["link"]
    assert not await can_sign_in(sessile, "alice", PERSON_PASSWORD)
    body = {"link": link.rpartition("/")[2], "new": NEW}
    with sessile.started("serve", "--port", "0") as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.post("/api/v1/password/reset", json=body)).status_code == 200
    assert await can_sign_in(sessile, "alice", NEW)
    assert '"compromised"' in sessile.ok("audit", "tail", "--json")


async def test_addresses_are_given_when_somebody_is_added(empty: Program) -> None:
    empty.add("alice", NEW, "--email", "alice@example.org", "--email", "a.other@example.org")
    assert "alice@example" not in empty.fails(2, "user", "add", "service:ci", "--email", "alice@example.org")
    empty.fails(2, "user", "add", "bob", "--password-stdin", "--email", "nonsense", input=NEW + "\n")
    assert empty.ok("audit", "tail", "--json").count('"address.added"') == 2
    empty.fails(1, "user", "show", "bob")


async def test_what_waits_is_listed(sessile: Program) -> None:
    """Approvals and parked work, by what they are called; what they say is their people's."""
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        alice = await authority.begin("alice", method="password")
        asked = await authority.ask_approval(alice.active, "pay out", {"amount": "secret"}, assurance=1)
        parked = await authority.park(alice.token, "a letter", "secret")
        await authority.approve((await authority.begin("olga", method="password")).active, asked.id)
    shown = sessile.ok("sessions", "waiting")
    assert "secret" not in shown
    found = {one["id"]: one for one in sessile.items("sessions", "waiting", "--principal", "alice")}
    assert (found[asked.id]["principal"], found[asked.id]["giver"], found[asked.id]["state"]) == (
        "alice",
        "olga",
        "given",
    )
    assert (found[parked.id]["kind"], found[parked.id]["name"]) == ("parked", "a letter")
    assert sessile.items("sessions", "waiting", "--principal", "olga") == []
