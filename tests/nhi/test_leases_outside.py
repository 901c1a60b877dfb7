"""Leases through the API and on the command line, ended by the server's own worker in a real system."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessile.kernel.lease import OVERDUE
from tests.nhi.connectors.authorization_server import CLIENT, SECRET, AuthorizationServer
from tests.nhi.serving import Configured, client, turns
from tests.program import OPERATOR_PASSWORD, PERSON_PASSWORD


@pytest.fixture
def idp() -> Iterator[AuthorizationServer]:
    running = AuthorizationServer()
    yield running
    running.close()


@pytest.fixture
def program(tmp_path: Path, idp: AuthorizationServer) -> Configured:
    """Commands in a folder with connectors: `idp`, which is there, and `gone`, which nobody is."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    table = {"kind": "oauth", "url": idp.url, "client_id": CLIENT, "client_secret": {"file": f"{tmp_path}/secret"}}
    found = Configured(tmp_path, idp=table, gone={**table, "url": "http://127.0.0.1:9/revoke"})
    found.add("olivia", OPERATOR_PASSWORD, "--role", "operator")
    found.add("bob", PERSON_PASSWORD)
    return found


def test_from_lease_to_a_closed_report_by_the_api(program: Configured, idp: AuthorizationServer) -> None:
    """Two leases, the system of one is away: partial, with the cause; by hand, then closed. The worker is serve's."""
    idp.tokens |= {"one", "two"}
    with program.serving() as running, client(running, "olivia", OPERATOR_PASSWORD) as olivia:

        def lease(**body: Any) -> httpx.Response:
            return olivia.post("/api/v1/leases", json={"owner": "service:ci", **body})

        first = lease(connector="idp", handle="one", label="pipeline").json()
        second = lease(connector="gone", handle="two").json()
        assert (first["state"], first["secret"], first["principal"]) == ("living", None, "service:ci")
        assert "one" not in first["shown"]
        mine = olivia.get("/api/v1/leases").json()["items"]
        assert {one["id"] for one in mine} == {first["id"], second["id"]}
        for body, status in (
            ({"connector": "nobody", "handle": "x"}, 404), ({"connector": "idp", "handle": "two words"}, 422),
            ({"connector": "idp"}, 422), ({"connector": "idp", "handle": "x", "ends_by": "rotate"}, 422),
            ({"connector": "idp", "ends_by": "rotate"}, 422),
            ({"connector": "idp", "handle": "x", "owner": "bob"}, 403),
        ):  # fmt: skip
            answer = lease(**body)
            assert answer.status_code == status, (body, answer.text)
        with client(running, "bob", PERSON_PASSWORD) as bob:
            assert bob.post("/api/v1/leases", json={"connector": "idp", "handle": "x"}).status_code == 403
            for path in (f"/api/v1/leases/{first['id']}", "/api/v1/leases?everyone=true"):
                assert bob.get(path).status_code == (404 if first["id"] in path else 403)
            assert bob.delete(f"/api/v1/leases/{first['id']}").status_code == 404
            assert bob.post(f"/api/v1/leases/{first['id']}/confirm", json={"cause": "x"}).status_code == 403
            assert bob.post(f"/api/v1/leases/{first['id']}/successor").status_code == 404

        report = olivia.post("/api/v1/containments", json={"principal": "olivia", "cause": "stolen"}).json()
        with client(running, "olivia", OPERATOR_PASSWORD) as olivia:

            def show() -> Any:
                return olivia.get(f"/api/v1/containments/{report['id']}").json()

            turns(lambda: olivia.get(f"/api/v1/leases/{first['id']}").json(), "confirmed")
            assert idp.tokens == {"two"}
            found = turns(show, "partial")
            (living,) = found["living"]
            assert (living["id"], living["connector"]) == (second["id"], "gone")
            page = olivia.get(f"/console/containments/{report['id']}", headers={"accept": "text/html"}).text
            assert "The last try failed" in page
            pending = olivia.get("/api/v1/leases?pending=true").json()["items"]
            assert [one["id"] for one in pending] == [second["id"]]
            metrics = olivia.get("/metrics").text
            assert 'sessile_leases{state="unconfirmed"}' in metrics
            done = olivia.post(f"/api/v1/leases/{second['id']}/confirm", json={"cause": "ended at the provider"})
            assert (done.status_code, done.json()["outcome"]) == (200, "by_hand")
            assert show()["state"] == "closed"
            assert olivia.post(f"/api/v1/leases/{second['id']}/confirm", json={"cause": "x"}).status_code == 409
            assert olivia.delete(f"/api/v1/leases/{second['id']}").json()["revoked"] == 0


def test_the_command_line(program: Configured, idp: AuthorizationServer) -> None:
    idp.tokens |= {"one", "two"}
    (program.folder / "one").write_text("one\n")
    (program.folder / "two").write_text("two\n")
    with program.serving() as running:
        assert running.url

    def register(connector: str, name: str, *more: str) -> Any:
        return program.json(
            "lease", "register", "--connector", connector, "--by", "olivia", "--handle-file", name, "--password-stdin",
            *more, input=OPERATOR_PASSWORD + "\n",
        )  # fmt: skip

    first = register("idp", "one", "--owner", "service:ci", "--lifetime", "2h")
    second = register("gone", "two")
    assert first["state"] == "living"
    assert {one["id"] for one in program.items("lease", "list")} == {first["id"], second["id"]}
    program.ok("lease", "revoke", first["id"], "--cause", "done")
    assert idp.tokens == {"one", "two"}, "nobody worked yet"
    assert [one["id"] for one in program.items("lease", "pending")] == [first["id"]]
    done = program.run("lease", "work", "--json")
    assert (done.returncode, json.loads(done.stdout)["confirmed"]) == (0, 1)
    assert idp.tokens == {"two"}
    contained = program.json("contain", "--session", second["origin"], "--cause", "stolen")
    assert contained["state"] == "partial"
    assert "does not answer" in contained["living"][0]["error"]
    assert program.run("lease", "pending").returncode == 0, "not overdue"
    with contextlib.closing(sqlite3.connect(program.database, isolation_level=None)) as db:
        db.execute("UPDATE lease SET over = over - ?", (OVERDUE // timedelta(microseconds=1),))  # time goes by
    doctor = program.run("doctor")
    assert doctor.returncode == 1
    assert "connector gone" in doctor.stdout
    assert "1 credential in other systems should be over" in doctor.stdout
    assert "last error: the authorization server does not answer" in program.ok("contain", "--report", contained["id"])
    assert program.json("lease", "confirm", second["id"], "--cause", "by hand")["outcome"] == "by_hand"
    assert program.json("contain", "--report", contained["id"])["state"] == "closed"
    tried = program.run("lease", "connectors")
    assert tried.returncode == 1
    assert "does not answer" in tried.stdout
    (program.folder / "connectors.json").write_text("{")
    assert "cannot be read" in program.fails(1, "serve", "--port", "0")


def test_what_is_due_survives_the_server_being_killed(program: Configured, idp: AuthorizationServer) -> None:
    """kill -9 while the other system is down; after the restart it is back, and the end is confirmed."""
    idp.tokens.add("one")
    idp.broken = True
    with program.serving() as running, client(running, "olivia", OPERATOR_PASSWORD) as olivia:
        lease = olivia.post("/api/v1/leases", json={"connector": "idp", "handle": "one"}).json()
        assert olivia.delete(f"/api/v1/leases/{lease['id']}").status_code == 200
        running.kill()
    assert idp.tokens == {"one"}
    idp.broken = False
    with program.serving() as running, client(running, "olivia", OPERATOR_PASSWORD) as olivia:
        turns(lambda: olivia.get(f"/api/v1/leases/{lease['id']}").json(), "confirmed")
    assert idp.tokens == set()
