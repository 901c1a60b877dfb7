"""A program that begins and revokes sessions as fast as it can, until it is killed.

Each line on standard output is written in one piece: `begun TOKEN ID` and `revoked ID` once the library has said so,
`revoking ID` before it is asked. `begun` and `revoked` are what may not be forgotten.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from sessile import Authority

TASKS = 8


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


async def churn(authority: Authority, name: str, choice: random.Random) -> None:
    alive: list[str] = []
    while True:
        issued = await authority.begin(name, method="password")
        say("begun", issued.token, issued.active.session.id)
        alive.append(issued.active.session.id)
        if choice.random() < 0.1:
            # By the principal's epoch: one write for all of them.
            for session in alive:
                say("revoking", session)
            await authority.revoke(principal=name, cause="churn")
            for session in alive:
                say("revoked", session)
            alive.clear()
        elif choice.random() < 0.6:
            session = alive.pop(choice.randrange(len(alive)))
            say("revoking", session)
            await authority.revoke(session=session, cause="churn")
            say("revoked", session)


async def main(database: str, seed: str) -> None:
    choice = random.Random(seed)  # noqa: S311 - it chooses what to do, not a secret
    async with Authority(database, create=False) as authority:
        # A name a round and task, so that an ending by epoch ends only what this task has begun.
        await asyncio.gather(*(churn(authority, f"p{seed}-{task}", choice) for task in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
