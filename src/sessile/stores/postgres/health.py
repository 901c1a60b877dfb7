"""What is looked at in PostgreSQL: under which settings it may lose what it acknowledged, or stop announcing."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sessile.stores.health import Finding
from sessile.stores.postgres.address import Address, is_majority
from sessile.stores.sql.transaction import Db

_ASK = """
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
    pg_notification_queue_usage(), current_setting('max_connections')::integer,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    (SELECT json_agg(json_build_array(application_name, coalesce(sync_state, '')))::text FROM pg_stat_replication)
"""
_FULL, _HALF_FULL = 0.5, 0.1
_CROWDED = 0.8


def examine(db: Db, address: Address, deaf: bool) -> list[Finding]:
    """The engine that is asked. `deaf`: its announcements do not arrive."""
    version, fsync, pages, commit, names, queue, most, used, standbys = db.execute(_ASK).fetchall()[0]
    return [
        Finding("PostgreSQL", "ok", f"{version} at {address.shown}"),
        *_durable(fsync == "on" and pages == "on", commit),
        *_standbys(names, _decoded(standbys), address.quorum),
        _announcements(deaf, address),
        _queue(float(queue)),
        _connections(used, most),
    ]


def _decoded(text: str | None) -> list[tuple[str, str]]:
    return msgspec.json.decode(text, type=list[tuple[str, str]]) if text else []


def _durable(safe: bool, commit: str) -> Iterator[Finding]:
    if not safe:
        yield Finding(
            "durable", "fail", "fsync or full_page_writes is off: a loss of power may bring back what was revoked",
            "set both on",
        )  # fmt: skip
    elif commit in ("off", "local", "remote_write"):
        yield Finding(
            "durable", "ok", f"synchronous_commit is {commit}; Sessile's own changes commit with it on all the same"
        )
    else:
        yield Finding("durable", "ok", f"commits are on disk (synchronous_commit {commit})")


def _standbys(names: str, standbys: list[tuple[str, str]], quorum: bool) -> Iterator[Finding]:
    late = sorted({name or "one without a name" for name, state in standbys if state == "async"})
    if quorum:
        if not is_majority(names):
            yield Finding(
                "standbys", "fail", f"reach=quorum, but synchronous_standby_names = '{names}' is no majority",
                "of three members: ANY 1 (two, three) on the first, and its like on the others",
            )  # fmt: skip
        elif late:
            yield Finding(
                "standbys", "warn", f"{', '.join(late)} confirms nothing: never promote it", "name it, or take it away"
            )
        else:
            yield Finding("standbys", "ok", f"a majority confirms every ending ({names})")
    elif any(not state for _, state in standbys):
        yield Finding(
            "standbys", "warn", f"{len(standbys)} of which this role may not see how they are kept",
            "GRANT pg_monitor to it, or look at pg_stat_replication yourself",
        )  # fmt: skip
    elif late:
        yield Finding(
            "standbys", "fail", f"asynchronous: {', '.join(late)}. Promoted, it may lack what was revoked, and an old"
            " primary that is cut off accepts it until somebody fences it",
            "synchronous_standby_names = 'ANY 1 (…)' on three members, and reach=quorum in the URL",
        )  # fmt: skip
    elif standbys:
        yield Finding("standbys", "warn", "synchronous, but nodes do not ask for a majority", "reach=quorum in the URL")
    else:
        yield Finding("standbys", "ok", "none: one engine, one life of it at a time")


def _announcements(deaf: bool, address: Address) -> Finding:
    if not deaf:
        return Finding("announcements", "ok", "one node's announcement arrives at another's connection")
    return Finding(
        "announcements", "fail" if address.quorum else "warn",
        "do not arrive: a pooler in transaction mode? Every check asks PostgreSQL",
        "name the engine's own address: &listen=postgresql://…",
    )  # fmt: skip


def _queue(usage: float) -> Finding:
    full = f"{usage:.0%} of the queue of announcements is in use"
    if usage < _HALF_FULL:
        return Finding("queue", "ok", full)
    return Finding(
        "queue", "fail" if usage >= _FULL else "warn", f"{full}; when it is full, nothing can be revoked",
        "a session that listens is stuck in a transaction: see pg_stat_activity, and end it",
    )  # fmt: skip


def _connections(used: int, most: int) -> Finding:
    said = f"{used} of {most} in use"
    if used < _CROWDED * most:
        return Finding("connections", "ok", said)
    return Finding("connections", "warn", said, "raise max_connections, or put a pooler before all but `listen=`")
