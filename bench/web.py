"""What the middleware takes from an application: the share of bare Starlette's throughput that is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from bench import apps
from bench.checks import HOT
from bench.rounds import Figure, measure
from sessile import Authority, Policy

BARE = "bare Starlette"
BARE_PAGE = "bare Starlette, a page of thirty rows"
PAGE = "Sessile on SQLite, the same page"
WRAPPED = "a middleware that wraps `send` and does nothing"
SIGNED = "Starlette's SessionMiddleware (signed cookie)"
STARSESSIONS = "starsessions (server-side, in memory)"
CONNECTIONS = 16

Message = dict[str, Any]


async def _cookie_of(app: apps.AnyApp) -> str:
    """What a peer sets when a session begins."""
    sent: list[Message] = []
    await _call(app, "/remember", [], sent)
    headers = dict(sent[0]["headers"])
    return str(headers[b"set-cookie"].decode().partition(";")[0])


def scope(path: str, cookie: str | None) -> Message:
    """A browser's request, as uvicorn hands it over."""
    headers = [
        (b"host", b"localhost:8000"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
        (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (b"accept-language", b"en-GB,en;q=0.5"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"connection", b"keep-alive"),
        (b"sec-fetch-site", b"same-origin"),
        (b"sec-fetch-mode", b"navigate"),
        (b"sec-fetch-dest", b"document"),
    ]
    if cookie is not None:
        headers.append((b"cookie", cookie.encode()))
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 40000), "server": ("127.0.0.1", 8000), "state": {},
    }  # fmt: skip


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _call(app: apps.AnyApp, path: str, headers: list[tuple[bytes, bytes]], sent: list[Message]) -> None:
    async def send(message: Message) -> None:
        sent.append(message)

    asked = scope(path, None)
    asked["headers"] += headers
    await app(asked, _receive, send)


def _requests(app: apps.AnyApp, name: str, path: str, cookies: list[str | None]) -> Figure:
    asked = [scope(path, cookie) for cookie in cookies]
    status = 0

    async def send(message: Message) -> None:
        nonlocal status
        if "status" in message:
            status = message["status"]

    async def run(times: int) -> None:
        for number in range(times):
            await app({**asked[number % len(asked)]}, _receive, send)
            if status != 200:
                raise RuntimeError(f"{name}: {status}")

    return Figure(name, run)


async def _tokens(authority: Authority, count: int) -> list[str]:
    return [f"{apps.COOKIE}={(await authority.begin(f'person{n}')).token}" for n in range(count)]


async def measure_in_process(folder: Path, rounds: int) -> tuple[list[Figure], list[str]]:
    """ASGI calls without a server around them: the harshest view, for there is nothing else to pay for."""
    figures = [_requests(apps.bare(), BARE, "/", [None]), _requests(apps.wrapped(), WRAPPED, "/", [None])]
    missing: list[str] = []
    opened: list[Authority] = []
    for store, url in (("memory", "memory:"), ("SQLite", f"sqlite:///{folder}/web.db")):
        app = apps.sessile(url)
        authority: Authority = app.state.authority
        await authority.open()
        opened.append(authority)
        cookies: list[str | None] = [*await _tokens(authority, HOT)]
        figures += [
            _requests(app, f"Sessile on {store}, a page for everybody", "/", cookies),
            _requests(app, f"Sessile on {store}, the page asks who it is", "/whoami", cookies),
        ]
        if store == "SQLite":
            figures.append(_requests(app, "Sessile on SQLite, no cookie", "/", [None]))
    signed = apps.signed_cookie()
    cookie: str | None = await _cookie_of(signed)
    figures.append(_requests(signed, SIGNED, "/read", [cookie]))
    try:
        star = apps.starsessions()
    except ImportError:
        missing.append(f"{STARSESSIONS}: not installed (pip install starsessions)")
    else:
        cookie = await _cookie_of(star)
        figures.append(_requests(star, STARSESSIONS, "/read", [cookie]))
    await measure(figures, rounds)
    for authority in opened:
        await authority.close()
    return figures, missing


# -- over the wire -------------------------------------------------------------------------------------------------


@contextmanager
def _served(name: str, environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """uvicorn in a process of its own; its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"bench.apps:{name}", "--factory", "--port", str(port), "--no-access-log",
         "--log-level", "warning"],
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        _wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the server does not start")


def _load(port: int, path: str, cookie: str | None, seconds: float) -> int:
    """How many requests are answered in about `seconds`, over a few connections that stay open. Always one request
    under way on each: the server is never idle, and the client does next to nothing."""
    headers = "".join(f"{k.decode()}: {v.decode()}\r\n" for k, v in scope(path, cookie)["headers"])
    request = f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()
    with ExitStack() as stack:
        open_ = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        for each in open_:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answered, end = 0, time.perf_counter() + seconds
        for each in open_:
            each.sendall(request)
        while time.perf_counter() < end:
            for each in open_:
                _answer(each)
                answered += 1
                each.sendall(request)
        for each in open_:
            _answer(each)
        return answered + len(open_)


def _answer(connection: socket.socket) -> None:
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {data[:300]!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while length > len(body):
        body += connection.recv(65536)


def _processor_seconds(pid: int) -> float:
    """What a process has used, from Linux's scheduler; elsewhere it is not measured."""
    used = [int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(used) / 1e9


class Asked(NamedTuple):
    """What is asked of which application, and with whose cookie."""

    name: str
    app: str
    path: str
    cookie: str = "none"
    """`ours`: a person's session in the SQLite file; `own`: what the application sets when it is asked to remember."""


HELLO = [
    Asked(BARE, "bare", "/"),
    Asked(WRAPPED, "wrapped", "/"),
    Asked("Sessile on SQLite, a page for everybody", "sessile", "/", "ours"),
    Asked("Sessile on SQLite, the page asks who it is", "sessile", "/whoami", "ours"),
    Asked("Sessile in memory, a page for everybody", "sessile_in_memory", "/", "own"),
    Asked(SIGNED, "signed_cookie", "/read", "own"),
]
THIRTY_ROWS = [
    Asked(BARE_PAGE, "bare", "/page"),
    Asked(PAGE, "sessile", "/page", "ours"),
    Asked("Sessile in memory, the same page", "sessile_in_memory", "/page", "own"),
]


async def measure_over_loopback(
    folder: Path, starts: int, rounds: int, seconds: float, asked: list[Asked]
) -> tuple[list[Figure], list[Figure]]:
    """Seconds by the wall for each request, and the server's own processor seconds for each (none off Linux).

    The servers are started anew a few times: how the memory of one start happens to lie makes it a few hundredths
    quicker or slower than the next, for as long as it lives.
    """
    url = f"sqlite:///{folder}/loopback.db"
    async with Authority(url, policy=Policy.aal1()) as authority:
        [token] = await _tokens(authority, 1)
    wall = [Figure(each.name, _nothing) for each in asked]
    processor = [Figure(each.name, _nothing) for each in asked]
    for _ in range(starts):
        with ExitStack() as stack:
            apps_ = dict.fromkeys(each.app for each in asked)
            served = {app: stack.enter_context(_served(app, {"SESSILE_BENCH_URL": url})) for app in apps_}
            cookies = [
                {"none": None, "ours": token}[each.cookie] if each.cookie != "own" else _own_cookie(served[each.app][0])
                for each in asked
            ]
            for each, cookie in zip(asked, cookies, strict=True):
                _load(served[each.app][0], each.path, cookie, 0.3)
            for number in range(rounds):
                order = list(range(len(asked)))
                turn = number % len(order)
                for which in order[turn:] + order[:turn]:
                    port, pid = served[asked[which].app]
                    before, used = time.perf_counter(), _processor_seconds(pid)
                    answered = _load(port, asked[which].path, cookies[which], seconds)
                    wall[which].seconds.append((time.perf_counter() - before) / answered)
                    processor[which].seconds.append((_processor_seconds(pid) - used) / answered)
    return wall, processor if all(figure.least > 0 for figure in processor) else []


def _own_cookie(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/remember")
    set_cookie = connection.getresponse().headers["set-cookie"]
    connection.close()
    return str(set_cookie).partition(";")[0]


async def _nothing(_times: int) -> None:
    raise NotImplementedError("measured by a load from outside")
