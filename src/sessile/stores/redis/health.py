"""Settings of an engine under which it may lose or drop what it must not."""

from __future__ import annotations

from sessile.stores.redis.wire import Wire, info_field


async def warnings(wire: Wire, *, quorum: bool) -> list[str]:
    """What is wrong, each with its cure. Only INFO is asked: hosted engines refuse CONFIG."""
    memory, persistence, replication = [
        await wire.call("INFO", section) for section in ("memory", "persistence", "replication")
    ]
    found = []
    policy = info_field(memory, "maxmemory_policy")
    if policy not in ("", "noeviction"):
        found.append(
            f"maxmemory-policy is {policy}: under pressure the engine would drop epochs and sessions; set noeviction"
        )
    if info_field(persistence, "aof_enabled") == "0":
        found.append(
            "no append-only file: after a crash sessions of the last minutes are lost (revocations are not: they are"
            " applied again); set appendonly yes"
        )
    if info_field(replication, "connected_slaves") not in ("", "0") and not quorum:
        found.append(
            "the engine has replicas, and revocations do not wait for them: an old primary that is cut off may accept"
            " until it is fenced; add ?reach=quorum&members=N to the URL, N being all servers together"
        )
    return found
