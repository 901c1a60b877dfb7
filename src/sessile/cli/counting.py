"""What a server on this database counts tries with, so that the command line can forget them."""

from __future__ import annotations

from sessile.authority import Authority
from sessile.cli.common import Cli
from sessile.factors.throttle import Throttle
from sessile.server.key import KeyUnusable, open_keys
from sessile.server.settings import Settings


async def counting(cli: Cli, authority: Authority) -> Throttle | None:
    """None: no server has counted anything here yet, or its key is not at hand, which is said."""
    if await authority.store.fact("key_check") is None:
        return None
    path = Settings(database=cli.url).key_path
    try:
        keys = await open_keys(authority.store, path)
    except KeyUnusable as error:
        cli.note(f"what was tried too often stays off, for want of the server's key: {error}")
        return None
    return Throttle(authority, keys[-1])
