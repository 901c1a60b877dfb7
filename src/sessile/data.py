"""The application's data of a session: a row of its own with a version, never part of what a check reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from sessile.errors import Conflict, LimitExceeded, StoreUnavailable
from sessile.near import NearCache
from sessile.stores.limits import CONNECT_SECONDS
from sessile.stores.protocol import Store

MAX_DATA_BYTES = 64 * 1024
_ATTEMPTS = 8


def encode(value: object) -> bytes:
    """JSON, at most 64 KiB.

    Raises:
        LimitExceeded: longer than that.
        TypeError: something in it has no JSON form.
    """
    data = msgspec.json.encode(value)
    if len(data) > MAX_DATA_BYTES:
        raise LimitExceeded(f"a session's data is at most {MAX_DATA_BYTES} bytes; keep the rest in your own tables")
    return data


class SessionData(MutableMapping[str, Any]):
    """`request.session`: a dict of JSON values.

    What changed is merged key by key when it is saved, so that two requests of one session that set different
    keys both get their way; of two that set the same key the later one does. With a local store it is read
    when first used; otherwise the middleware reads it before the application runs, where that has ever looked at it.
    """

    __slots__ = ("_before", "_now", "_read", "_session_id", "_version", "used")

    def __init__(self, read: Callable[[str], tuple[int, bytes]], session_id: str) -> None:
        # Every request has one, few are looked at: the rest is set by the first look.
        self._read = read
        self._session_id = session_id
        self.used = False
        """Whether anybody has looked at it."""
        self._version: int
        self._before: dict[str, Any]
        self._now: dict[str, Any]

    def _values(self) -> dict[str, Any]:
        if not self.used:
            self._version, data = self._read(self._session_id)
            self.used = True
            # Decoded twice: a change deep inside a value must not change what it is compared with.
            self._before, self._now = _decode(data), _decode(data)
        return self._now

    async def load(self, store: Store) -> None:
        """Read it now, from a store that cannot be read without await. Raises StoreUnavailable."""
        found = await store.read_data(self._session_id)
        self._read = lambda _: found

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError("keys of session data are strings")
        self._values()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __repr__(self) -> str:
        return f"SessionData({sorted(self._now)})" if self.used else "SessionData(not read)"

    def follow(self, other: SessionData) -> None:
        """Become the data of another session: after a sign-in the same dict goes on for the new one."""
        self._read, self._session_id, self.used = other._read, other._session_id, other.used
        if self.used:
            self._version, self._before, self._now = other._version, other._before, other._now

    @property
    def changed(self) -> bool:
        """Whether there is something to save."""
        return self.used and encode(self._now) != encode(self._before)

    async def save(self, store: Store, session_id: str) -> bool:
        """Write what changed. False if the session has ended meanwhile; then nothing is written.

        Raises:
            LimitExceeded, TypeError: see `encode`.
            Conflict: other requests kept winning.
            StoreUnavailable: the store is away.
        """
        if not self.used:
            return True  # what nobody has looked at has not changed
        changes = {k: v for k, v in self._now.items() if k not in self._before or self._before[k] != v}
        gone = self._before.keys() - self._now.keys()
        version, values = self._version, self._now
        for _ in range(_ATTEMPTS):
            if await store.write_data(session_id, version, encode(values)):
                self._version, self._before = version + 1, _decode(encode(values))
                return True
            read, data = await store.read_data(session_id)
            if read == version:
                return False
            version = read
            values = {k: v for k, v in (_decode(data) | changes).items() if k not in gone}
        raise Conflict("too many requests of this session write its data at once; try again")


def read_at_once(another: Callable[[], Store], session_id: str) -> tuple[int, bytes]:
    """What a remote store holds, without await: by a store of its own, in a thread of its own, while the caller's loop
    stands still. For what happens once in a process's life.

    Raises:
        StoreUnavailable: it does not answer in time.
    """

    async def read() -> tuple[int, bytes]:
        store = another()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await store.open(NearCache(1))
                return await store.read_data(session_id)
        except TimeoutError:
            raise StoreUnavailable("the store does not answer") from None
        finally:
            await store.close()

    with ThreadPoolExecutor(1, "sessile-data") as thread:
        return thread.submit(asyncio.run, read()).result()


def _decode(data: bytes) -> dict[str, Any]:
    return msgspec.json.decode(data, type=dict[str, Any]) if data else {}
