"""Another process on the same database, for the tests: `sqlite_process.py VERB DATABASE`.

`end`: ends each session whose id comes in, a line each, and answers with the journal's number.
`work`: signs people in and ends every other session without an end, and says what was acknowledged.
`flood`: signs people in without a pause, many at once, until the input ends.
`full`: ends sessions while the disk is full, then when it is not any more.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

from sessile.clock import SystemClock
from sessile.errors import RevocationUncertain, StoreUnavailable
from sessile.kernel.assurance import Method
from sessile.kernel.event import SYSTEM
from sessile.kernel.ids import new_session_id
from sessile.kernel.issue import Draft
from sessile.kernel.principal import new_principal
from sessile.kernel.session import SessionKind
from sessile.near import NearCache
from sessile.stores.protocol import End
from sessile.stores.sqlite import SQLiteStore
from sessile.testing.world import new_digest


async def end(store: SQLiteStore) -> None:
    for line in sys.stdin:
        ended = await store.end(End(session=line.strip(), cause="foreign"))
        say(str(ended.mark))


async def work(store: SQLiteStore) -> None:
    principal = new_principal(f"p{new_digest().hex()}", now=SystemClock().now())
    await store.register(principal, SYSTEM)

    async def one(last: bool) -> None:
        draft = browser(principal.uid)
        await store.begin(draft)
        say(f"begun {draft.id}")
        if last:
            await store.end(End(session=draft.id, cause="done"))
            say(f"ended {draft.id}")

    while True:
        await asyncio.gather(*(one(number % 2 == 0) for number in range(8)))


async def flood(store: SQLiteStore) -> None:
    principal = new_principal(f"p{new_digest().hex()}", now=SystemClock().now())
    await store.register(principal, SYSTEM)

    async def one() -> None:
        while not asked_to_stop.done():
            await store.begin(browser(principal.uid))

    asked_to_stop = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    say("begun")
    await asyncio.gather(*(one() for _ in range(50)))


async def full(store: SQLiteStore) -> None:
    principal = new_principal("alice", now=SystemClock().now())
    await store.register(principal, SYSTEM)
    drafts = [browser(principal.uid) for _ in range(60)]
    for draft in drafts:
        await store.begin(draft)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, resource.RLIM_INFINITY))
    refused = 0
    for draft in drafts:
        try:
            await store.end(End(session=draft.id, cause="full"))
        except (StoreUnavailable, RevocationUncertain):
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for draft in drafts:
        await store.end(End(session=draft.id, cause="full"))
    over = [info.ended is not None for info in [await store.session(draft.id) for draft in drafts] if info]
    say(f"{refused > 0} {len(over) == len(drafts) and all(over)}")


def browser(uid: str) -> Draft:
    return Draft(
        id=new_session_id(), digest=new_digest(), kind=SessionKind.BROWSER, uid=uid, methods=(Method.PASSWORD,)
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(verb: str, database: str) -> None:
    store = SQLiteStore(Path(database), clock=SystemClock())
    await store.open(NearCache())
    await {"end": end, "work": work, "flood": flood, "full": full}[verb](store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
