"""The admin console as two processes with a real Valkey between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.engines_redis import free_port, server, valkey_binary
from tests.examples.conftest import started


class Jar:
    """A browser's cookie on http://localhost: browsers trust it there, httpx's own jar does not."""

    cookie = ""

    def send(self, request: httpx.Request) -> None:
        request.headers["Cookie"] = self.cookie

    def take(self, answer: httpx.Response) -> None:
        for one in answer.headers.get_list("set-cookie"):
            self.cookie = one.partition(";")[0]


class Node:
    def __init__(self, stack: ExitStack, url: str, password: str) -> None:
        self.stack, self.url, self.password = stack, url, password

    def signed_in(self, name: str) -> httpx.Client:
        jar = Jar()
        hooks: dict[str, list[Callable[..., None]]] = {"request": [jar.send], "response": [jar.take]}
        browser = httpx.Client(base_url=self.url, event_hooks=hooks, follow_redirects=True, timeout=30)
        self.stack.enter_context(browser)
        browser.headers["Sec-Fetch-Site"] = "same-origin"
        self.sign_in(browser, name)
        return browser

    def sign_in(self, browser: httpx.Client, name: str) -> httpx.Response:
        return browser.post("/login", data={"username": name, "password": self.password})


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        engine = stack.enter_context(server(valkey_binary(), tmp_path / "engine", "--appendonly", "yes"))
        options = [("admin_console", tmp_path, f"{engine.url}/0", "--port", str(free_port())) for _ in range(2)]
        yield [Node(stack, *stack.enter_context(started(*one))) for one in options]


@pytest.mark.requirement("ASVS V7.4.2", "ASVS V7.4.5")
def test_who_is_disabled_at_one_node_is_out_at_the_other(nodes: list[Node]) -> None:
    one, two = nodes
    olga, carol, dan = one.signed_in("olga"), two.signed_in("carol"), two.signed_in("dan")
    for browser in (carol, dan):
        for _ in range(3):  # answered from this node's memory by now
            assert "Your consoles" in browser.get("/").text
    assert carol.post("/people/dan/disable", data={"cause": "spite"}).status_code == 403

    receipt = olga.post("/people/carol/disable", data={"cause": "left the company"})
    assert "carol is out" in receipt.text
    out = carol.get("/")  # the very next request
    assert (out.status_code, "This account is disabled" in out.text) == (401, True)
    assert two.sign_in(carol, "carol").status_code == 401
    assert "Your consoles" in dan.get("/").text

    assert "carol: disabled, 0 live" in olga.get("/").text
    olga.post("/people/carol/enable")
    assert carol.get("/").url.path == "/login"  # what had ended stays ended
    assert "Your consoles" in two.sign_in(carol, "carol").text
