"""Simulated time: events in order, coroutines driven by hand, and the trace of what happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine, Generator
from random import Random
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MS = 1_000_000
"""Nanoseconds."""


def between(random: Random, low: int, high: int) -> int:
    """A number from `low` up to `high`; `randrange` costs four times as much."""
    return low + int(random.random() * (high - low))


class Wait(Generic[T]):
    """What a simulated coroutine awaits: set once, by an event."""

    __slots__ = ("_error", "_resume", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._resume: Callable[[], None] | None = None

    def __await__(self) -> Generator[Wait[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # set when done

    def set(self, value: T | None = None) -> None:
        self._finish(value, None)

    def fail(self, error: BaseException) -> None:
        self._finish(None, error)

    def _finish(self, value: T | None, error: BaseException | None) -> None:
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        if self._resume is not None:
            self._resume()

    def then(self, resume: Callable[[], None]) -> None:
        self._resume = resume


class Loop:
    """One run of a schedule. All chance comes from its seed, through one stream of numbers for each name, so that
    leaving an action out moves nothing that has nothing to do with it."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.now = 0
        self._seed = seed
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._streams: dict[str, Random] = {}
        self._trace: list[str] | None = [] if tracing else None

    def random(self, name: str) -> Random:
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Random(f"{self._seed} {name}")  # noqa: S311 - chance that can be repeated
        return stream

    def at(self, when: int, act: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, act, args))

    def after(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, act, args))

    def run(self, until: int) -> None:
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, act, args = heapq.heappop(events)
            act(*args)
        self.now = until

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it until it waits, and on whenever what it waits for is there."""

        def resume() -> None:
            try:
                waiting: Wait[Any] = coroutine.send(None)
            except StopIteration:
                return
            waiting.then(resume)

        resume()

    def say(self, who: str, what: str) -> None:
        if self._trace is not None:
            self._trace.append(f"{self.now / MS:10.3f} ms  {who:<8} {what}")

    @property
    def trace(self) -> list[str]:
        return self._trace or []
