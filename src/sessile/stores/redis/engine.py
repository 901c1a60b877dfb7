"""What is asked of an engine, and what comes back: one script in one slot, whatever a decision needs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from sessile.clock import Clock, SystemClock
from sessile.errors import StoreUnavailable
from sessile.kernel.decide import Ancestor, Snapshot, TokenState
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal
from sessile.kernel.session import Session
from sessile.stores.redis.layout import (
    Everyone,
    Stored,
    announced,
    everyone_of,
    policy_key,
    policy_of,
    principal_of,
    stored_of,
    tag,
)  # fmt: skip
from sessile.stores.redis.servers import Servers
from sessile.stores.redis.wire import Refused, Wire
from sessile.trust import Delta

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.msgpack.Encoder().encode


def _text(value: bytes) -> msgspec.Raw:
    """Bytes as MessagePack's strings: the engines' Lua library knows no binary."""
    length = len(value)
    if length < 32:
        head = bytes((0xA0 | length,))
    elif length < 1 << 16:
        head = b"\xda" + length.to_bytes(2)
    else:
        head = b"\xdb" + length.to_bytes(4)
    return msgspec.Raw(head + value)


class Script(NamedTuple):
    source: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    if name == "end":
        # The same as any change, but for this: an engine whose memory is full refuses sign-ins, never endings.
        source = script("write").source.replace(b"#!lua", b"#!lua flags=allow-oom", 1)
    else:
        source = (files("sessile.stores.redis") / "scripts" / f"{name}.lua").read_bytes()
    # The name under which an engine keeps a script; nothing is secured by it.
    return Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())


SCRIPTS = ("read", "write", "end", "beat", "empty")


class Elsewhere(StoreUnavailable):
    """The partition is another server's by now, or on its way there: ask again in a moment."""


async def run(wire: Wire, name: str, *words: bytes | str) -> Any:
    """The result of a script. One that the engine has forgotten (a failover, SCRIPT FLUSH) is sent again."""
    source, sha = script(name)
    try:
        return await wire.call("EVALSHA", sha, *words)
    except Refused as error:
        if not str(error).startswith("NOSCRIPT"):
            raise
        return await wire.call("EVAL", source, *words)


class Stamp(msgspec.Struct, frozen=True):
    """Of a partition: when, by its engine's clock and by the store's, and what stood there."""

    engine: int
    """Microseconds since 1970."""
    now: datetime
    mark: int | None
    """None: nothing has ever been applied here, or all of it is lost."""
    delta: Delta
    directory: str
    """Which directory the partition belongs to."""


@cache
def parse_delta(raw: bytes | None) -> tuple[Delta, str]:
    trust, wait, directory = raw.decode().split(" ") if raw else ("0", "0", "")
    return Delta(int(trust), int(wait)), directory


def delta_row(delta: Delta, directory: str) -> bytes:
    return f"{delta.trust} {delta.wait} {directory}".encode()


class Found:
    """Rows of one partition, of one instant."""

    __slots__ = ("everyone_row", "identity", "partition", "rows", "stamp")

    def __init__(self, partition: str, stamp: Stamp, everyone: bytes | None, rows: list[Any], identity: str) -> None:
        self.partition = partition
        self.stamp = stamp
        self.everyone_row = everyone
        self.rows: dict[bytes, bytes | None] = dict(zip(rows[::2], rows[1::2], strict=True))
        self.identity = identity
        """Of the engine that answered, in its life."""

    @property
    def now(self) -> datetime:
        return self.stamp.now

    @property
    def everyone(self) -> Everyone:
        return everyone_of(self.everyone_row) if self.everyone_row is not None else Everyone({})

    def stored(self, session_id: str) -> Stored | None:
        row = self.rows.get(f"{tag(self.partition)}{session_id}".encode())
        return stored_of(row) if row is not None else None

    def named(self, digest: bytes) -> Stored | None:
        """The session that a token names."""
        session_id = self.rows.get(tag(self.partition).encode() + b"t" + digest)
        stored = self.stored(session_id.decode()) if session_id is not None else None
        return stored if stored is not None and stored.token(digest) is not None else None

    def principal(self, uid: str | None) -> Principal | None:
        row = self.rows.get(f"{tag(self.partition)}{uid}".encode()) if uid is not None else None
        return principal_of(row) if row is not None else None

    def policy(self, principal: Principal | None) -> Policy | None:
        """The policy in force for a principal, or for nobody."""
        row = self.rows.get(policy_key(self.partition, principal.policy if principal else "default"))
        return policy_of(row) if row is not None else None

    def view(self, stored: Stored) -> Snapshot:
        """The session as a decision sees it, whichever token names it."""
        return self._view(stored.session, TokenState.CURRENT, stored.session.rotated)

    def present(self, digest: bytes) -> Snapshot | None:
        stored = self.named(digest)
        token = stored.token(digest) if stored is not None else None
        if stored is None or token is None:
            return None
        return self._view(stored.session, token.state, token.since)

    def _view(self, session: Session, state: TokenState, since: datetime) -> Snapshot:
        principal = self.principal(session.uid)
        ancestors: tuple[Ancestor, ...] = ()
        if session.lineage:
            above = []
            for link in session.lineage:
                stored, whose = self.stored(link.session), self.principal(link.uid)
                policy = self.policy(whose) if stored is not None else None
                above.append(Ancestor(link, stored.session if stored else None, whose, policy))
            ancestors = tuple(above)
        return Snapshot(
            session=session, principal=principal, policy=self.policy(principal), ancestors=ancestors,
            everyone=self.everyone.epochs, token_state=state, token_since=since, now=self.now,
            mark=self.stamp.mark or 0,
        )  # fmt: skip


class Change:
    """What one script writes. Times to live are counted from the store's clock."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.late: datetime | None = None
        """By the store's clock: from then on nothing is changed any more."""
        self.before: int | None = None
        """Only if this is the mark."""
        self.after: int | None = None
        """The mark from now on."""
        self.rows: dict[bytes, bytes | None] = {}
        """Only if these rows are so."""
        self.indexes: list[tuple[bytes, bytes]] = []
        self.sets: dict[bytes, tuple[bytes, int]] = {}
        self.adds: list[tuple[bytes, int, bytes, int]] = []
        self.expiries: list[tuple[bytes, int]] = []
        self.removals: list[tuple[bytes, bytes]] = []
        self.deletions: list[bytes] = []
        self.objects: list[str] = []
        """What this may turn from a yes into a no."""

    @property
    def ends(self) -> bool:
        """Whether it belongs to an ending: it announces, moves the mark, or empties the partition."""
        return bool(self.objects) or self.after is not None or self.key("mark") in self.deletions

    def only_if_unchanged(self) -> None:
        """Everything that was read, and so whatever was decided on."""
        tagged = tag(self.found.partition)
        self.rows |= self.found.rows
        self.rows[f"{tagged}everyone".encode()] = self.found.everyone_row

    def key(self, name: str | bytes) -> bytes:
        tagged = tag(self.found.partition).encode()
        return tagged + (name if isinstance(name, bytes) else name.encode())

    def left(self, until: datetime) -> int:
        """Milliseconds, rounded up."""
        return max(1, -((self.found.now - until) // timedelta(milliseconds=1)))

    def put(self, name: str | bytes, value: bytes, until: datetime | None = None, *, same_end: bool = False) -> None:
        """`same_end`: it goes when it would have gone."""
        self.sets[self.key(name)] = (value, -1 if same_end else 0 if until is None else self.left(until))

    def _announcements(self, database: int) -> list[bytes]:
        # What is tracked is told of by its name alone, so the name says all.
        row = f"{self.before or 0}.{self.after}" if self.after is not None and self.after != self.before else ""
        return [f"{announced(database)}{tag(self.found.partition)}{row}:{name}".encode() for name in self.objects]

    def packed(self, database: int, *, guarded: bool) -> bytes:
        """`guarded`: nothing is written while the partition is on its way to another server."""
        late = None
        if self.late is not None:
            late = self.found.stamp.engine + (self.late - self.found.now) // _MICROSECOND
        return _encode(
            (
                tag(self.found.partition),
                False if late is None else late,
                False if self.before is None else str(self.before),
                False if self.after is None else str(self.after),
                [(_text(key), False if value is None else _text(value)) for key, value in self.rows.items()],
                [(_text(key), _text(ids)) for key, ids in self.indexes],
                [(_text(key), _text(value), ttl) for key, (value, ttl) in self.sets.items()],
                [(_text(key), score, _text(member), ttl) for key, score, member, ttl in self.adds],
                [(_text(key), ttl) for key, ttl in self.expiries],
                [(_text(index), _text(member)) for index, member in self.removals],
                [_text(key) for key in self.deletions],
                [_text(key) for key in self._announcements(database)],
                _text(self.key("guard")) if guarded else False,
            )
        )  # fmt: skip


class Outcome(NamedTuple):
    done: bool
    why: str = ""
    mark: int | None = None
    """Where that was why."""
    at: datetime | None = None
    delta: Delta = Delta(0, 0)


class Engine:
    """The engine's partitions, asked over whatever connection leads to them."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self.servers = servers
        # One clock for all nodes: the engine's. A clock that a test moves by hand is in the engine's place.
        self._now: Callable[[], datetime] | None = None if isinstance(clock, SystemClock) else clock.now

    def now(self, seconds: bytes, micros: bytes) -> datetime:
        """By the store's clock, where the engine's says so (`TIME`)."""
        return self._now() if self._now is not None else _START + timedelta(0, int(seconds), int(micros))

    def _stamp(self, seconds: bytes, micros: bytes) -> tuple[int, datetime]:
        return int(seconds) * 1_000_000 + int(micros), self.now(seconds, micros)

    async def read(self, partition: str, asked: Iterable[bytes | str] = ()) -> Found:
        """Raises StoreUnavailable. Whether the answer counts is for the follower to say."""
        wire = await self.servers.wire(partition)
        tagged = tag(partition)
        try:
            out = await run(wire, "read", "1", f"{tagged}mark", tagged, *asked)
        except Refused as error:
            raise self.refused(wire, partition, error) from None
        engine, now = self._stamp(out[0], out[1])
        delta, directory = parse_delta(out[3])
        mark = int(out[2]) if out[2] is not None else None
        return Found(partition, Stamp(engine, now, mark, delta, directory), out[4], out[5:], wire.identity)

    async def write(self, change: Change) -> Outcome:
        """Raises StoreUnavailable: it may or may not have been done."""
        partition = change.found.partition
        wire = await self.servers.wire(partition)
        if wire.identity != change.found.identity:
            if self.servers.clustered:
                return Outcome(False, "moved")
            raise StoreUnavailable("the engine is another one by now")
        try:
            packed = change.packed(self.servers.login.database, guarded=self.servers.clustered)
            out = await run(wire, "end" if change.ends else "write", "1", f"{tag(partition)}mark", packed)
        except Refused as error:
            refused = self.refused(wire, partition, error)
            if isinstance(refused, Elsewhere):
                return Outcome(False, "moved")
            raise refused from None
        try:
            await self.servers.quorum(wire)
        except Refused as error:
            raise self.refused(wire, partition, error) from None
        if out[0] == b"ok":
            _, at = self._stamp(out[1], out[2])
            return Outcome(True, at=at, delta=parse_delta(out[3])[0])
        mark = int(out[1]) if len(out) > 1 and out[1] is not None else None
        return Outcome(False, out[0].decode(), mark)

    async def call(self, partition: str, *words: str | bytes) -> Any:
        """A plain command on keys of the partition. Raises StoreUnavailable."""
        wire = await self.servers.wire(partition)
        try:
            return await wire.call(*words)
        except Refused as error:
            raise self.refused(wire, partition, error) from None

    async def run(self, partition: str, name: str, *words: str | bytes) -> Any:
        """A script on the partition; the first word is its key. Raises StoreUnavailable."""
        wire = await self.servers.wire(partition)
        try:
            return await run(wire, name, "1", *words)
        except Refused as error:
            raise self.refused(wire, partition, error) from None

    def refused(self, wire: Wire, partition: str, error: Refused) -> StoreUnavailable:
        """What an engine's error is to the store's users. Where it is no primary, the connection goes with it."""
        if elsewhere(error):
            self.servers.elsewhere(partition, error)
            return Elsewhere(f"partition {partition} is being moved: {error}")
        if str(error).split(" ", 1)[0] in ("READONLY", "CLUSTERDOWN", "MASTERDOWN", "LOADING"):
            wire.close()
            self.servers.elsewhere(partition)
        return StoreUnavailable(f"the engine refuses: {error}")


def elsewhere(error: Refused) -> bool:
    """Whether it says that a key is not, or not all of it, where it was asked for. In a script, where a key is missing
    while its slot is moved, the engine says the same: it may be at the other end."""
    text = str(error)
    return text.split(" ", 1)[0] in ("MOVED", "ASK", "TRYAGAIN") or "non local key" in text


async def pause(attempt: int) -> None:
    """Between two attempts at a change that others got ahead of."""
    if attempt > 1:
        await asyncio.sleep(random.random() * min(0.05, 0.001 * 2.0**attempt))  # noqa: S311 - jitter


ATTEMPTS = 40
"""How often a change is tried that others get ahead of."""
BUSY = "too many changes of the same session at once: try again"


def asking(kind: str, names: Sequence[str]) -> list[str]:
    return [kind + name for name in names]
