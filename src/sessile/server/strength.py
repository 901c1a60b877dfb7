"""How strong a password is that somebody types: a bounded number at once, by network too. Nothing is kept."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from sessile.factors.throttle import Throttled
from sessile.kernel.tries import Exhausted, Limit, Tries, count
from sessile.strangers import network

LOOKED_AT: Final = 64
"""Characters; more make no password weaker, and looking at them costs more than in proportion."""
BURST: Final = 40
EVERY: Final = timedelta(seconds=0.5)
WAITING: Final = 8
_NETWORKS: Final = 10_000
_SPELLED: Final = frozenset("4@8({[<369|!1/70$5+%2")
"""What zxcvbn takes for letters in disguise. It tries all ways to read them, and many different ones together would
keep it busy for seconds."""
_READ: Final = 4


class Strength:
    """Judges passwords for display, in this process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sessile-strength")
        self._waiting = 0
        self._tries: dict[str, Tries] = {}

    def admit(self, ip: str | None, now: datetime) -> None:
        """Count a question of this network. Raises Throttled."""
        name = network(ip) or ""
        found = count(self._tries.pop(name, None), Limit(key=b"", burst=BURST, every=EVERY), now)
        if isinstance(found, Exhausted):
            self._tries[name] = Tries(now + BURST * EVERY)
            raise Throttled(found.wait)
        if len(self._tries) >= _NETWORKS:
            del self._tries[next(iter(self._tries))]
        self._tries[name] = found

    async def score(self, password: str, *words: str) -> int:
        """0 (guessed at once) to 4 (very hard to guess), by zxcvbn; `words` are guessed first. Raises Throttled."""
        if self._waiting >= WAITING:
            raise Throttled(timedelta(seconds=1))
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, _score, password, words)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _score(password: str, words: tuple[str, ...]) -> int:
    from zxcvbn import zxcvbn  # its tables are large, and not every process judges passwords

    looked_at = readable(password)
    return 0 if not looked_at else int(zxcvbn(looked_at, user_inputs=list(words), max_length=LOOKED_AT)["score"])


def readable(password: str) -> str:
    """What of a password is looked at: bounded in length, and in how many letters in disguise it has."""
    looked_at = password[:LOOKED_AT]
    disguised = dict.fromkeys(char for char in looked_at if char in _SPELLED)
    for char in list(disguised)[_READ:]:
        looked_at = looked_at.replace(char, "\N{REPLACEMENT CHARACTER}")
    return looked_at
