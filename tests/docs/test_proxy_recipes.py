"""The recipes for reverse proxies in docs/operations.md, run with the proxies themselves."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.conftest import need
from tests.program import PERSON_PASSWORD, PROGRAM, Program, environment

ROOT = Path(__file__).parents[2]
PROXIES = ("nginx", "caddy")


def recipes(proxy: str) -> list[str]:
    """The page's recipes for a proxy: the one before Sessile, then the one for forward-auth."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{proxy}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 2, proxy
    return found


class World(NamedTuple):
    url: str
    """Where browsers go: the proxy."""
    program: Program


class Application(http.server.BaseHTTPRequestHandler):
    """What is protected: says which Remote-* headers it was given."""

    def do_GET(self) -> None:
        names = {name: value for name, value in self.headers.items() if name.lower().startswith("remote")}
        body = repr(sorted(names.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is pytest's."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def wait_for(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not answer: {log.read_text()}")


@contextmanager
def running(command: list[str], url: str, folder: Path, **variables: str) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**variables), stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        wait_for(url, process, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def adapted(recipe: str, sessile: int, application: int, proxy: int) -> str:
    """The recipe with this test's ports, and without the certificate."""
    # The Host header of a port that is not the default says it; nginx's $host never does.
    replaced = {
        "127.0.0.1:8000": f"127.0.0.1:{sessile}",
        "127.0.0.1:9000": f"127.0.0.1:{application}",
        "listen 443 ssl;": f"listen 127.0.0.1:{proxy};",
        "server_name console.example.com;": "server_name localhost;",
        "console.example.com {": f"http://localhost:{proxy} {{\n\tbind 127.0.0.1",
        "$host;": "$http_host;",
    }
    for old, new in replaced.items():
        recipe = recipe.replace(old, new)
    return recipe


def find(proxy: str) -> str:
    # Debian keeps nginx where only root's PATH looks.
    path = shutil.which(proxy, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        need(proxy, f"apt-get install {'nginx-light' if proxy == 'nginx' else proxy}")
    return path


def proxy_command(proxy: str, path: str, recipe: str, folder: Path) -> list[str]:
    config = folder / f"{proxy}.conf"
    if proxy == "caddy":
        config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + recipe)
        return [path, "run", "--adapter", "caddyfile", "--config", str(config)]
    user = "user root;\n" if os.geteuid() == 0 else ""
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi"))
    config.write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n"
        f"{places}scgi_temp_path {folder}/scgi;\n{recipe}\n}}\n"
    )
    return [path, "-p", str(folder), "-c", str(config)]


@contextmanager
def world(proxy: str, recipe: str, folder: Path) -> Iterator[World]:
    path = find(proxy)
    program = Program(folder)
    sessile, front = free_port(), free_port()
    application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    command = proxy_command(proxy, path, adapted(recipe, sessile, application.server_address[1], front), folder)
    program.ok("user", "add", "alice", "--password-stdin", input=PERSON_PASSWORD)
    url = f"http://localhost:{front}"
    serve = [str(PROGRAM), "serve", "--port", str(sessile), "--origin", url, "--trusted-proxy", "127.0.0.1"]
    thread = threading.Thread(target=application.serve_forever)
    thread.start()
    try:
        with (
            running(serve, f"http://127.0.0.1:{sessile}/healthz", folder),
            running(command, f"{url}/login", folder, XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder)),
        ):
            yield World(url, program)
    finally:
        application.shutdown()
        thread.join()
        application.server_close()


def sign_in(url: str) -> str:
    """The Cookie header of a session of alice's, begun through the proxy."""
    answer = httpx.post(
        f"{url}/api/v1/session",
        json={"username": "alice", "password": PERSON_PASSWORD},
        headers={"Origin": url, "X-Forwarded-For": "203.0.113.9"},
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.requirement("ASVS V4.1.3")
def test_sessile_behind_a_proxy(proxy: str, tmp_path: Path) -> None:
    with world(proxy, recipes(proxy)[0], tmp_path) as there:
        cookie = sign_in(there.url)
        me = httpx.get(f"{there.url}/api/v1/session", headers={"Cookie": cookie}).json()
        assert me["principal"] == "alice"
        assert me["client"]["ip"] == "127.0.0.1"  # neither the address that the client wrote nor another
        foreign = httpx.request(
            "DELETE", f"{there.url}/api/v1/session", headers={"Cookie": cookie, "Origin": "https://elsewhere.example"}
        )
        assert foreign.status_code == 403
        there.program.ok("revoke", "--principal", "alice")
        denied = httpx.get(f"{there.url}/api/v1/session", headers={"Cookie": cookie})
        assert (denied.status_code, denied.json()["reason"]) == (401, "revoked")


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_application_behind_forward_auth(proxy: str, tmp_path: Path) -> None:
    """Review 21: no client chooses what the application hears about it."""
    forged = {"Remote-User": "olga", "Remote_User": "olga", "Remote-Assurance": "3", "Remote-Session": "ses_forged"}
    with world(proxy, recipes(proxy)[1], tmp_path) as there:
        page = httpx.get(f"{there.url}/reports?of=today", headers={"Accept": "text/html", **forged})
        assert page.status_code == 302
        assert page.headers["location"] == f"{there.url}/login"
        assert "set-cookie" in page.headers  # remembers where the person wanted to go
        assert httpx.get(f"{there.url}/login").status_code == 200

        refused = httpx.get(f"{there.url}/reports", headers=forged)
        assert (refused.status_code, refused.json()["reason"]) == (401, "missing")
        assert httpx.post(f"{there.url}/reports", headers=forged).status_code == 401

        cookie = sign_in(there.url)
        allowed = httpx.get(f"{there.url}/reports", headers={"Cookie": cookie, **forged})
        assert allowed.status_code == 200
        assert "('Remote-User', 'alice')" in allowed.text
        assert "('Remote-Assurance', '1')" in allowed.text
        assert "olga" not in allowed.text
        assert "forged" not in allowed.text

        foreign = httpx.post(f"{there.url}/reports", headers={"Cookie": cookie, "Origin": "https://elsewhere.example"})
        assert foreign.status_code == 403

        there.program.ok("revoke", "--principal", "alice")
        denied = httpx.get(f"{there.url}/reports", headers={"Cookie": cookie})
        assert (denied.status_code, denied.json()["reason"]) == (401, "revoked")
