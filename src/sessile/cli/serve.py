"""`sessile serve`: the server, on one machine."""

from __future__ import annotations

import asyncio
import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sessile.cli.common import BadUsage, Cli, count
from sessile.errors import EngineAway

if TYPE_CHECKING:
    from sessile.server import Settings


def serve(
    cli: Cli,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes, all on the one database.")] = 1,
    origins: Annotated[
        list[str], typer.Option("--origin", metavar="URL", help="As browsers see it: https://console.example.com")
    ] = [],  # noqa: B006 - typer copies it
    trusted_proxies: Annotated[
        list[str], typer.Option("--trusted-proxy", metavar="NETWORK", help="Whose X-Forwarded-* are believed.")
    ] = [],  # noqa: B006
    touched_paths: Annotated[
        list[str], typer.Option("--touched-path", metavar="PATTERN", help="Paths that forward-auth notes: /secrets/*")
    ] = [],  # noqa: B006
    places: Annotated[
        Path | None, typer.Option(metavar="FILE.mmdb", help="Tells where addresses are, in MaxMind's format.")
    ] = None,
) -> None:
    """Serve sign-in, account and console pages and the API.

    Makes the database and its secret key if there are none. Sends mail where SESSILE_SMTP names a mail server.
    """
    # Review 22: on loopback the allowed hosts are known; elsewhere only the operator can say what browsers call it.
    if not _is_loopback(host) and not origins:
        raise BadUsage(
            f"to listen on {host}, say by which address browsers reach it: --origin https://console.example.com"
        )
    # Only here: it is the slow part of starting, and no other command needs it.
    from sessile.cli.listen import listen, serve_many, serve_one
    from sessile.server import Settings, create_app
    from sessile.server.settings import ENVIRONMENT, Mail

    mail, listed = Mail.from_environment(os.environ), os.environ.get("SESSILE_PASSWORD_LIST")
    settings = Settings(
        database=cli.url, sessions=cli.elsewhere, origins=tuple(origins), trusted_proxies=tuple(trusted_proxies),
        mail=mail, password_list=Path(listed).absolute() if listed else None, connectors=cli.connectors,
        touched_paths=tuple(touched_paths), secret_scanning=os.environ.get("SESSILE_SECRET_SCANNING"),
        places=places.absolute() if places is not None else cli.places,
    )  # fmt: skip
    sockets = listen(host, port)
    asyncio.run(_prepare(cli, settings))
    bound = sockets[0].getsockname()
    url = f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"

    def ready() -> None:
        if cli.json:
            cli.emit(
                {
                    "url": url,
                    "database": cli.shown if cli.on_engine else settings.database,
                    "workers": workers,
                    "origins": list(origins),
                    "mail": mail is not None,
                }
            )
        else:
            print(f"Sessile listens on {url} ({count(workers, 'worker')}, {cli.shown}). Ctrl-C stops it.")
            if mail is None:
                print("No mail is sent, so nobody gets notices or links by mail: SESSILE_SMTP is not set.")
            sys.stdout.flush()

    if workers == 1:
        serve_one(create_app(settings), sockets, ready)
    else:
        os.environ[ENVIRONMENT] = settings.to_json()
        serve_many("sessile.server:from_environment", workers, sockets, ready)


async def _prepare(cli: Cli, settings: Settings) -> None:
    """Make what is missing, and fail here, in one line, rather than in every worker. An engine that is away is waited
    for."""
    from sessile.server.key import open_keys
    from sessile.server.places import Places

    Places(settings.places).close()
    while True:
        try:
            async with cli.authority(create=True) as authority:
                await open_keys(authority.store, settings.key_path)
                if not len(await authority.store.principals(limit=1)):
                    cli.note("nobody can sign in yet: sessile user add NAME --role operator")
            break
        except EngineAway as away:
            cli.note(f"{away}; still waiting")
    if settings.connectors is not None:
        from sessile.nhi.connectors import load

        # Only read here: the server tries them when it runs. One that is down keeps nobody from signing in.
        for connector in load(settings.connectors).values():
            await connector.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
