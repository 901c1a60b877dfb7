"""A server and commands with connectors, as a stranger starts them, and people who ask them over HTTP."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.program import Program, Server
from tests.server.conftest import COOKIE


class Configured(Program):
    """With SESSILE_CONNECTORS in the environment of every command."""

    def __init__(self, folder: Path, **connectors: Any) -> None:
        super().__init__(folder)
        (folder / "connectors.json").write_text(json.dumps(connectors))

    def run(self, *arguments: str, input: str | None = None, **variables: str) -> Any:
        variables.setdefault("SESSILE_CONNECTORS", str(self.folder / "connectors.json"))
        return super().run(*arguments, input=input, **variables)

    def serving(self) -> contextlib.AbstractContextManager[Server]:
        return self.started("serve", "--port", "0", SESSILE_CONNECTORS=str(self.folder / "connectors.json"))


@contextlib.contextmanager
def client(running: Server, name: str, password: str) -> Iterator[httpx.Client]:
    """Somebody who has just signed in."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False) as made:
        answer = made.post("/api/v1/session", json={"username": name, "password": password})
        assert answer.status_code == 201, answer.text
        token = next(value for key, value in answer.headers.multi_items() if key == "set-cookie" and COOKIE in value)
        made.cookies.clear()
        made.headers["cookie"] = token.split(";")[0]
        yield made


def turns(ask: Callable[[], Any], wanted: str) -> Any:
    """What comes to that state by itself, in its time."""
    return when(ask, lambda found: found["state"] == wanted)


def when(ask: Callable[[], Any], comes: Callable[[Any], object]) -> Any:
    """The answer, once it is as wanted."""
    deadline = time.monotonic() + 90
    while not comes(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found
