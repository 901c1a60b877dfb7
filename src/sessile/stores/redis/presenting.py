"""What a check reads: the rows that its token needed the last time, by their names; else by the script that finds them.

A script costs the engine several times what the rows themselves cost it. Which rows those are seldom changes, and the
first lines of the rows say whether it has: a session's names its principal and all above it, a principal's its policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sessile.kernel.decide import Ancestor, Snapshot
from sessile.kernel.session import Link
from sessile.kernel.token import partition_of_digest
from sessile.stores.redis.engine import Found
from sessile.stores.redis.layout import everyone_of, policy_key, policy_of, principal_of, session_line, stored_of, tag
from sessile.stores.redis.reach import Reach
from sessile.stores.redis.wire import Refused, pack
from sessile.trust import Mark

MOST: Final = 20_000
"""Tokens of which it is remembered what they needed: under a kilobyte each. Of more the oldest is forgotten."""
_MARK, _EVERYONE, _TOKEN, _SESSION, _PRINCIPAL, _POLICY, _ABOVE = range(7)
"""Where the rows are; from the last on three of each session above."""
_TIME: Final = pack(("TIME",))


class _Needed(NamedTuple):
    command: bytes
    """`TIME`; and `MGET` of the mark, everybody's row, the token's, the session's and its principal's with its policy,
    and the same three of each above it. Packed for the wire."""
    heads: tuple[tuple[int, bytes], ...]
    """What the rows that name others have to begin with, if these are still all; and where they are."""
    absent: int
    """How many rows are asked for that never are: the principals of what belongs to nobody."""

    def are_all(self, rows: list[bytes | None]) -> bool:
        if rows.count(None) != self.absent:
            return False
        for place, head in self.heads:
            row = rows[place]
            if row is None or not row.startswith(head):
                return False
        return True


class Presenting:
    """`elapsed`: as of `Clock`."""

    def __init__(self, reach: Reach, elapsed: Callable[[], int]) -> None:
        self._reach = reach
        self._elapsed = elapsed
        self._followers = reach.following.followers
        self._engine = reach.engine
        self._servers = reach.engine.servers
        self._needed: dict[bytes, _Needed] = {}

    async def read(self, digest: bytes) -> Snapshot | None:
        """See `Store.read`."""
        partition = partition_of_digest(digest)
        needed, wire = self._needed.get(digest), self._servers.at(partition)
        follower, now = self._followers[partition], self._elapsed()
        if needed is not None and wire is not None and now < follower.trust.deadline:
            asked = follower.asking(now)
            time, answer = wire.send(needed.command, 2)
            try:
                rows, at = await answer, time.result()
            except Refused:  # why, the script is told
                rows = at = None
            # A replica answers too. So what it says counts as long as what is cached does, which an ending waits for:
            # by then this node knows, by its pings, that the server is a primary no more.
            if (
                rows is not None
                and needed.are_all(rows)
                and self._elapsed() < follower.trust.deadline
                and follower.admits(asked, wire.identity, Mark(int(rows[_MARK])))
                and (snapshot := _snapshot(digest, rows, self._engine.now(*at))) is not None
            ):
                return snapshot
        found = await self._reach.look(partition, [b"t" + digest])
        snapshot = found.present(digest)
        self._needed.pop(digest, None)
        if snapshot is not None:
            self._remember(digest, found, snapshot)
        return snapshot

    def _remember(self, digest: bytes, found: Found, snapshot: Snapshot) -> None:
        tagged = tag(found.partition).encode()
        session = snapshot.session
        words = [b"MGET", tagged + b"mark", tagged + b"everyone", tagged + b"t" + digest]
        heads = [(_TOKEN, session.id.encode()), (_SESSION, session_line(session))]
        absent = 0
        for id, uid, principal in (
            (session.id, session.uid, snapshot.principal),
            *[(above.link.session, above.link.uid, above.principal) for above in snapshot.ancestors],
        ):
            policy = policy_key(found.partition, principal.policy if principal is not None else "default")
            if uid is None:
                absent += 1
            else:
                # Behind `MGET` the words are the rows: the session's comes next, then its principal's.
                heads.append((len(words), policy.removeprefix(tagged + b"policy:") + b"\n"))
            words += [tagged + id.encode(), tagged + (uid or "-").encode(), policy]
        if len(self._needed) >= MOST:
            del self._needed[next(iter(self._needed))]
        self._needed[digest] = _Needed(_TIME + pack(tuple(words)), tuple(heads), absent)


def _snapshot(digest: bytes, rows: Sequence[Any], now: datetime) -> Snapshot | None:
    """None: the session does not know the token any more."""
    stored, principal = stored_of(rows[_SESSION]), rows[_PRINCIPAL]
    token = stored.token(digest)
    if token is None:
        return None
    session = stored.session
    return Snapshot(
        session=session, principal=None if principal is None else principal_of(principal),
        policy=policy_of(rows[_POLICY]), ancestors=_above(session.lineage, rows[_ABOVE:]) if session.lineage else (),
        everyone=everyone_of(rows[_EVERYONE]).epochs, token_state=token.state, token_since=token.since, now=now,
        mark=int(rows[_MARK]),
    )  # fmt: skip


def _above(lineage: Sequence[Link], rows: Sequence[Any]) -> tuple[Ancestor, ...]:
    each = zip(lineage, rows[::3], rows[1::3], rows[2::3], strict=True)
    return tuple([
        Ancestor(link, stored_of(row).session, None if principal is None else principal_of(principal), policy_of(rules))
        for link, row, principal, rules in each
    ])  # fmt: skip
