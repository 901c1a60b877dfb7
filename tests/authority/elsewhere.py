"""Another process on the same store: `python -m tests.authority.elsewhere URL`, a line of JSON asked, one answered."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sessile import Authority, Denied

Answer = Callable[..., Awaitable[Any]]


async def serve(url: str) -> None:
    """Answer until the asker closes our standard input."""
    async with Authority(url, create=False) as authority:

        async def check(token: str) -> str | None:
            result = await authority.check(token)
            return result.reason.value if isinstance(result, Denied) else None

        async def revoke(**selector: Any) -> int | None:
            return (await authority.revoke(cause="elsewhere", **selector)).revoked

        async def disable(name: str) -> int | None:
            return (await authority.disable(name, cause="elsewhere")).revoked

        async def begin(name: str) -> str:
            return str((await authority.begin(name)).token)

        does: dict[str, Answer] = {"check": check, "revoke": revoke, "disable": disable, "begin": begin}
        print(json.dumps("ready"), flush=True)  # noqa: T201 - this is how it answers
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, arguments = json.loads(line)
            print(json.dumps(await does[name](**arguments)), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
