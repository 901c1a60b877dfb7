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

    looked_at = password[:LOOKED_AT]
    return 0 if not looked_at else int(zxcvbn(looked_at, user_inputs=list(words), max_length=LOOKED_AT)["score"])
