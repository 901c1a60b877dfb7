"""Settings of an engine under which it may lose or drop what it must not, each with its cure."""

from __future__ import annotations

from collections.abc import Iterator

from sessile.stores.health import Finding
from sessile.stores.redis.wire import Refused, Wire, info_field

_ROOM = 1 << 20
"""Bytes that may wait for a node which is slow for a moment."""


async def examine(wire: Wire, *, members: int) -> list[Finding]:
    """A primary's settings. Hosted engines refuse CONFIG: what only that tells is left out there."""
    sections = [wire.call("INFO", section) for section in ("memory", "persistence", "replication")]
    memory, persistence, replication = [await section for section in sections]
    config: dict[str, str] = {}
    names = ("save", "appendfsync", "client-output-buffer-limit", "min-replicas-to-write")
    try:
        for name in names:
            found = await wire.call("CONFIG", "GET", name)
            config |= {key.decode(): value.decode() for key, value in found.items()}
    except Refused:
        config = {}
    return [
        _eviction(info_field(memory, "maxmemory_policy")),
        _persistence(info_field(persistence, "aof_enabled") == "1", config),
        *_buffers(config),
        *_replicas(int(info_field(replication, "connected_slaves") or 0), members, config),
    ]


def _eviction(policy: str) -> Finding:
    if policy in ("", "noeviction"):
        return Finding("maxmemory-policy", "ok", "nothing is dropped under pressure")
    return Finding(
        "maxmemory-policy", "fail", f"{policy}: under pressure the engine would drop epochs and sessions",
        "set maxmemory-policy noeviction",
    )  # fmt: skip


def _persistence(aof: bool, config: dict[str, str]) -> Finding:
    lost = "(revocations are not: they are applied again)"
    if not aof:
        how = "snapshots only" if config.get("save") else "no append-only file"
        return Finding(
            "persistence", "fail", f"{how}: after a crash sessions since the last snapshot are lost {lost}",
            "set appendonly yes",
        )  # fmt: skip
    if config.get("appendfsync") == "no":
        return Finding(
            "persistence", "warn", f"appendfsync no: a loss of power takes the last half minute of sessions {lost}",
            "set appendfsync everysec",
        )  # fmt: skip
    return Finding("persistence", "ok", "an append-only file")


def _buffers(config: dict[str, str]) -> Iterator[Finding]:
    words = config.get("client-output-buffer-limit", "").split()
    limits = {words[place]: words[place + 1 : place + 4] for place in range(0, len(words) - 3, 4)}
    hard, soft = [int(limit) for limit in limits.get("normal", ("0", "0"))[:2]]
    if any(0 < limit < _ROOM for limit in (hard, soft)):
        yield Finding(
            "output buffers", "warn",
            f"client-output-buffer-limit normal {hard} {soft}: nodes that are slow for a moment are cut off, and read"
            " everything anew",
            f"set client-output-buffer-limit \"normal 0 0 0\", or at least {_ROOM} bytes",
        )  # fmt: skip
    elif limits:
        yield Finding("output buffers", "ok", "room for nodes that are slow for a moment")


def _replicas(connected: int, members: int, config: dict[str, str]) -> Iterator[Finding]:
    if members and connected < members // 2:
        yield Finding(
            "replicas", "fail", f"{connected} of {members - 1} replicas: no majority can acknowledge",
            "start the replicas that are missing, or give members= the number that there is",
        )  # fmt: skip
    elif members and connected + 1 > members:
        yield Finding(
            "replicas", "fail", f"{connected} replicas and members={members}: two majorities need not meet",
            f"members={connected + 1} in the URL",
        )  # fmt: skip
    elif members:
        yield Finding("replicas", "ok", f"{connected}: a majority of {members} acknowledges every revocation")
    elif connected:
        yield Finding(
            "replicas", "warn",
            f"{connected}, and revocations do not wait for them: an old primary that is cut off may accept until it is"
            " fenced",
            f"add ?reach=quorum&members={connected + 1} to the URL, the number of all servers together",
        )  # fmt: skip
    if (connected or members) and config.get("min-replicas-to-write") == "0":
        yield Finding(
            "min-replicas-to-write", "warn", "0: a primary that is cut off goes on taking sign-ins, which are lost",
            "set min-replicas-to-write 1",
        )  # fmt: skip
