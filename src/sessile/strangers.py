"""Networks that come with tokens nobody knows: asked to wait before they cost the store a read each."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

BURST = 300
"""Unknown tokens that a network may present at once."""
A_SECOND = 5
"""And again each second."""
_NETWORKS = 10_000
_SECOND_NS = 1_000_000_000


class Strangers:
    """A leaky bucket for each network, in this process. Bounded: of very many networks the oldest is forgotten."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, int]] = {}

    def wait(self, ip: str | None, now: int) -> bool:
        """Whether this network has to wait. `now` in nanoseconds of `Clock.elapsed`."""
        name = network(ip) if self._buckets else None
        found = self._buckets.get(name) if name is not None else None
        return found is not None and _level(found, now) >= BURST

    def unknown(self, ip: str | None, now: int) -> None:
        """A token from there was not known to the store."""
        name = network(ip)
        if name is None:
            return
        level = _level(self._buckets.pop(name, (0.0, now)), now) + 1
        if len(self._buckets) >= _NETWORKS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = (level, now)


@lru_cache(maxsize=4096)
def network(ip: str | None) -> str | None:
    """Where somebody asks from, as wide as one subscriber has it: an IPv4 address, an IPv6 /64. None: not known."""
    try:
        address = ipaddress.ip_address(ip) if ip else None
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return None if address is None else str(address)


def _level(bucket: tuple[float, int], now: int) -> float:
    level, since = bucket
    return max(0.0, level - (now - since) * A_SECOND / _SECOND_NS)
