"""`sessile serve`: where it listens, what it makes, how it stops."""

from __future__ import annotations

import signal
import socket

import httpx
import pytest

from tests.program import PERSON_PASSWORD, Program


def sign_in(url: str) -> httpx.Response:
    return httpx.post(f"{url}/api/v1/session", json={"username": "alice", "password": PERSON_PASSWORD}, timeout=30)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_answers_once_it_says_so_and_stops_when_told(sessile: Program, workers: str) -> None:
    with sessile.started("serve", "--port", "0", "--workers", workers) as server:
        assert server.ready["database"] == f"sqlite:///{sessile.database}"
        assert sign_in(server.url).status_code == 201
        assert server.stop() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url, timeout=10)
    assert sessile.database.with_suffix(".key").stat().st_mode & 0o777 == 0o600


def test_an_interrupt_is_a_clean_end(sessile: Program) -> None:
    with sessile.started("serve", "--port", "0") as server:
        server.process.send_signal(signal.SIGINT)
        _, errors = server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert errors == ""


def test_it_makes_its_database_and_says_who_is_missing(empty: Program) -> None:
    with empty.started("serve", "--port", "0") as server:
        server.stop()
        assert server.process.stderr is not None
        said = server.process.stderr.read()
    assert empty.database.exists()
    assert "sessile user add" in said


def test_a_taken_port_is_one_line_with_the_cure(sessile: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = sessile.fails(1, "serve", "--port", str(taken.getsockname()[1]))
    assert "--port" in said


def test_a_key_of_another_database_is_refused_at_once(sessile: Program) -> None:
    """Review 17: two servers with two keys would refuse each other's forms."""
    with sessile.started("serve", "--port", "0") as server:
        server.stop()
    key = sessile.database.with_suffix(".key")
    key.write_text("0" * 64 + "\n")
    assert "key" in sessile.fails(1, "serve", "--port", "0")


def test_only_known_hosts_are_answered(sessile: Program) -> None:
    """Review 22: a name that an attacker points at 127.0.0.1 is not this server's."""
    with sessile.started("serve", "--port", "0", "--origin", "https://console.example.com") as server:
        assert httpx.get(f"{server.url}/login", timeout=30).status_code == 200
        there = httpx.get(f"{server.url}/login", headers={"Host": "console.example.com"}, timeout=30)
        assert there.status_code == 200
        assert httpx.get(f"{server.url}/login", headers={"Host": "evil.example"}, timeout=30).status_code == 421


def test_workers_do_not_outlive_a_killed_parent(sessile: Program) -> None:
    with sessile.started("serve", "--port", "0", "--workers", "2") as server:
        server.process.kill()
        server.process.wait(timeout=10)
        port = int(server.url.rsplit(":", 1)[1])
        # They look each second; the port is free when the last one is gone.
        for _ in range(200):
            try:
                with socket.create_server(("127.0.0.1", port)):
                    return
            except OSError:
                signal.sigtimedwait([], 0.1)
        pytest.fail("a worker still holds the port")
