"""`sessile demo`: a seeded world that is thrown away at the end, and a guide to it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sessile.cli.common import Cli, bold, faint, green
from sessile.errors import Refused

if TYPE_CHECKING:
    from sessile.cli.world import World

FIRST_PORT = 8000
_PORTS = 100


def demo(
    cli: Cli,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="8000, or the next free one.", show_default=False)
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text.")] = False,
) -> None:
    """Start a seeded, throw-away world and say where to look.

    People, an operator, a service, an agent, live sessions and a past, in a temporary database that `--database`
    does not touch; reachable from this machine only. Ctrl-C ends it and removes every trace.
    """
    if no_color:
        os.environ["NO_COLOR"] = "1"
    from sessile.cli.listen import serve_one
    from sessile.cli.world import build
    from sessile.server import DemoGuide, Settings, create_app

    sockets = _listen(port)
    bound = sockets[0].getsockname()[1]
    url = f"http://localhost:{bound}"
    # From here on a signal must not leave the folder behind.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="sessile-demo-"))
    try:
        database = f"sqlite:///{folder / 'sessile.db'}"
        world = asyncio.run(build(database))
        # Cookies know no ports: without its own name another server on localhost would get this one's (review 22).
        settings = Settings(
            database=database, cookie_name=f"__Host-sessile-{bound}", demo=DemoGuide(people=world.people)
        )

        def ready() -> None:
            if cli.json:
                cli.emit(_ready_json(url, database, world))
            else:
                print("\n".join(_guide(url, database, world)), flush=True)

        serve_one(create_app(settings), sockets, ready)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cli.say("The demo is over and its database removed.")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _listen(port: int | None) -> list[socket.socket]:
    """localhost on the port that was asked for, else on the first free one from 8000 on."""
    from sessile.cli.listen import listen

    if port is not None:
        return listen("localhost", port)
    for candidate in range(FIRST_PORT, FIRST_PORT + _PORTS - 1):
        try:
            return listen("localhost", candidate)
        except Refused:
            continue
    return listen("localhost", 0)


def _ready_json(url: str, database: str, world: World) -> dict[str, object]:
    return {
        "url": url,
        "database": database,
        "people": [
            {"name": one.name, "password": one.password, "role": one.role, "hint": one.hint} for one in world.people
        ],
        "tokens": {"agent:deploy": str(world.agent_token), "service:ci": str(world.key_token)},
    }


def _guide(url: str, database: str, world: World) -> list[str]:
    name = max(len(one.name) for one in world.people)
    password = max(len(one.password) for one in world.people)
    run = f"SESSILE_DATABASE={shlex.quote(database)} {shlex.quote(_program())}"
    agent = f'curl -s -H "Authorization: Bearer {world.agent_token}" {url}/api/v1/session'
    return [
        "",
        f"  {bold('Sessile demo')}   {green(bold(url))}",
        "",
        f"  {bold('Who may sign in')}   {faint('(also shown on the login page)')}",
        *(f"    {one.name.ljust(name)}   {green(one.password.ljust(password))}   {one.role}" for one in world.people),
        "",
        f"  {bold('Try this')}",
        "    1. Sign in as alice in two browsers (a private window counts as the second). On the account page",
        "       of one, end the other. Then click anything there.",
        "    2. An agent acts for alice, by a delegation from one of her sessions. In another terminal, see it let in:",
        "",
        f"         {agent}",
        "",
        "    3. Cut off alice. Then click anything as alice, and let the agent try again:",
        "",
        f"         {run} revoke --principal alice --cause 'laptop stolen'",
        "",
        "    4. Watch what happens, as it happens:",
        "",
        f"         {run} audit tail -f",
        "",
        "    5. Sign in as olga, an operator, and open the console: everybody, their sessions, the way to end them.",
        "",
        f"  {faint('Ctrl-C ends the demo; its database is removed with it.')}",
        "",
    ]


def _program() -> str:
    """The command that runs this one, from any folder."""
    started = shutil.which(sys.argv[0]) or sys.argv[0]
    on_path = shutil.which("sessile")
    if on_path is not None and os.path.realpath(on_path) == os.path.realpath(started):
        return "sessile"
    return str(Path(started).absolute())
