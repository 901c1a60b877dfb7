"""What lies between nodes and engines: delays, links that are down, and ordered connections that can be cut."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from sessile.testing.simulator.loop import MS, Loop, between


class Network:
    """Links between two names each. While one is down, what is under way on an ordered connection is held, as TCP
    does; a request or an answer of its own is lost."""

    def __init__(self, loop: Loop, *, calm: bool) -> None:
        self.loop = loop
        self.calm = calm
        self._down: dict[tuple[str, str], int] = {}
        self._held: dict[tuple[str, str], list[tuple[Callable[..., None], tuple[Any, ...]]]] = {}

    def delay(self, random: Random) -> int:
        """0.1 to 3 ms; unless it is calm, now and then up to 400 ms."""
        if not self.calm and random.random() < 0.04:
            return between(random, 3 * MS, 400 * MS)
        return between(random, MS // 10, 3 * MS)

    def up(self, one: str, other: str) -> bool:
        return not self._down or _link(one, other) not in self._down

    def part(self, one: str, other: str, duration: int) -> None:
        """The link is down for so long."""
        link = _link(one, other)
        self._down[link] = self._down.get(link, 0) + 1
        self.loop.after(duration, self._heal, link)

    def _heal(self, link: tuple[str, str]) -> None:
        self._down[link] -= 1
        if not self._down[link]:
            del self._down[link]
            for act, args in self._held.pop(link, []):
                act(*args)

    def send(self, one: str, other: str, act: Callable[..., None], *args: Any) -> None:
        """By itself: overtakes and is overtaken, and is lost where the link is down."""

        def arrive() -> None:
            if self.up(one, other):
                act(*args)

        if self.up(one, other):
            self.loop.after(self.delay(self.loop.random(f"{one} {other}")), arrive)

    def hold(self, one: str, other: str, act: Callable[..., None], *args: Any) -> None:
        """Until the link is up again."""
        self._held.setdefault(_link(one, other), []).append((act, args))


def _link(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


class Channel:
    """One direction of an ordered connection."""

    def __init__(self, network: Network, sender: str, receiver: str, name: str) -> None:
        self._network = network
        self._ends = (sender, receiver)
        self._random = network.loop.random(name)
        self._last = 0
        self.closed = False

    def send(self, act: Callable[..., None], *args: Any) -> None:
        """`act` at the far end, after all that was sent before; never, once the channel is closed."""
        loop = self._network.loop
        self._last = max(self._last, loop.now + self._network.delay(self._random))
        loop.at(self._last, self._arrive, act, args)

    def _arrive(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.closed:
            return
        if self._network.up(*self._ends):
            act(*args)
        else:
            self._network.hold(*self._ends, self._arrive, act, args)
