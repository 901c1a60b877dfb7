"""Real uvicorn, real SQLite: what a copy of everything on disk is worth, and what the logs say."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest

from sessile.server import Settings, create_app
from sessile.server.state import Server
from tests.server.conftest import COOKIE, NEW, PASSWORD
from tests.server.running import running


@pytest.mark.requirement("ASVS V3.3.4", "ASVS V16.2.5", "CS-SESS-6")
def test_a_copy_of_the_database_lets_no_one_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another server of this process may have been started without its access log, or with less of it.
    access = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(access, "propagate", True)
    monkeypatch.setattr(access, "disabled", False)
    caplog.set_level(logging.DEBUG, logger=access.name)
    app = create_app(Settings(database=f"sqlite:///{tmp_path}/sessile.db"))
    server: Server = app.state.server
    secrets: list[str] = [PASSWORD, NEW]
    with caplog.at_level(logging.DEBUG), running(app) as found, httpx.Client(base_url=found.url) as client:
        found.call(server.authority.register("alice"))
        found.call(server.passwords.set("alice", PASSWORD))

        def handed(answer: httpx.Response) -> None:
            assert answer.status_code in (200, 201, 204), answer.text
            (header,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}=")]
            cookie = header.partition("=")[2].partition(";")[0]
            secrets.append(cookie)
            client.headers["Cookie"] = f"{COOKIE}={cookie}"

        handed(client.post("/api/v1/session", json={"username": "alice", "password": PASSWORD}))
        handed(client.post("/api/v1/session/step-up", json={"method": "password", "password": PASSWORD}))
        handed(client.put("/api/v1/password", json={"current": PASSWORD, "new": NEW}))
        for path, body in (
            ("keys", {"owner": "service:ci", "scopes": ["build"]}),
            ("delegations", {"to": "agent:bot", "scopes": ["read"]}),
        ):
            secrets.append(client.post(f"/api/v1/{path}", json=body).json()["token"])
        assert client.get("/api/v1/session").status_code == 200
        client.post("/api/v1/session", json={"username": "alice", "password": PASSWORD})
        on_disk = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".key"}
        assert server.key.hex().encode() not in b"".join(on_disk.values())
    on_disk |= {path.name + " after": path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".key"}
    everything = b"".join(on_disk.values())
    assert b"alice" in everything
    assert len(secrets) == 7
    # The client of this test logs what it gets: that is its holder's business.
    said = "\n".join(str(one.__dict__) for one in caplog.records if not one.name.startswith(("httpx", "httpcore")))
    assert "PUT" in said
    for secret in secrets:
        # Nor the random part alone, without its prefix and checksum.
        assert secret.encode() not in everything
        assert secret[5:-6].encode() not in everything
        assert secret not in said
