"""The contract between the authority and a store. Passing `sessile.testing.StoreConformance` is the proof.

Rules for every method:

* A mutation is atomic, with the events it causes and its journal row; the method returns after the
  acknowledgement that makes it durable. A mutation that raises changed nothing.
* `now` is the store's clock (aware UTC), read inside the transaction; callers never pass it.
* Not found is `NotFound`; a store that cannot answer raises `StoreUnavailable` and is asked again later. No
  other exception of a driver passes through.
* Events are made by `kernel.event`'s functions, so that every store records the same.
* Whatever can turn a yes into a no (end, rotation by event, confirm, bind, epoch, status, policy) appends a row to
  the **journal** in the same transaction and is announced to the near cache as the object it touched:
  `s:<session id>`, `p:<uid>`, `policy:<name>` or `all`. Nothing else is announced.
* Revocation wins: a touch, an offer, a confirm, a bind or a replace of a session that has ended changes nothing.
* Tokens reach a store as digests only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from sessile.kernel.assurance import Method
from sessile.kernel.containment import Cut
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import SYSTEM, Actor, Event, EventName
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.kernel.session import Session, SessionInfo, SessionKind
from sessile.kernel.tries import Exhausted, Limit
from sessile.near import NearCache

T = TypeVar("T")

PREDECESSORS = 8
"""How many rotated-out tokens of a session are remembered; older ones are unknown."""
TOMBSTONE = timedelta(days=7)
"""How long past its end a session is kept at least, so that whoever comes with its token is told why."""
PAGE = 100
"""Rows of a page, at most 1,000."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: Sequence[T]
    next: str | None = None
    """Opaque; give it as `after` to get the page that follows. None: this was the last."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Begun(msgspec.Struct, frozen=True):
    snapshot: Snapshot
    ended: tuple[str, ...] = ()
    """Sessions that it ended: the one that it replaces, and those that the concurrency limit ended."""
    at: datetime | None = None
    """The store's clock at the acknowledgement. This and what follows, as in `Ended`, where something ended."""
    delta: timedelta = timedelta(0)
    reach: Literal["engine", "quorum"] = "engine"


class Replaced(msgspec.Struct, frozen=True):
    """A rotation by an event: the session with its new token; the old one ends as `Ended` says."""

    snapshot: Snapshot
    at: datetime | None = None
    delta: timedelta = timedelta(0)
    reach: Literal["engine", "quorum"] = "engine"


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What proves a principal, as stored: a password's Argon2id string, a sealed TOTP secret. Hidden in its repr."""

    uid: str
    kind: str
    id: str = ""
    """Distinguishes several of a kind; empty for the only one."""
    value: bytes
    changed: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential({self.kind} of {self.uid})"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One ending. Exactly one of `session`, `uid` and `everyone` is set."""

    session: str | None = None
    uid: str | None = None
    everyone: frozenset[SessionKind] = frozenset()
    cause: str
    by: Actor = SYSTEM
    status: Status | None = None
    """With `uid`: the principal's status from now on. Its epoch changes in any case, also when it is enabled."""
    contain_since: datetime | None = None
    """Also end, by whichever tie, what was handed out from this instant on."""
    containment: str | None = None
    """With `contain_since`: write the cut under this id, unless there is one; see `Directory.containment`. Nothing is
    counted then: what it reached is walked afterwards."""
    keep: str | None = None
    """With `uid`: this session of the principal goes on, under the new epoch (the one that changes a password).

    If it is over by now, `end` raises Conflict with `denied` and nothing is changed: of two changes at once, from
    two sessions, the first one wins.
    """
    keep_digest: bytes | None = None
    """The token that `keep` has from now on; its earlier ones are superseded."""
    keep_method: Method | None = None
    """The authentication event that `keep` gets with it: the password that was asked for before it was changed."""
    credential: Credential | None = None
    """With `uid`: set together with the new epoch."""
    scopes: frozenset[str] | None = None
    policy: str | None = None
    """With `uid`: the principal's scopes or policy from now on."""
    lock_sign_in: timedelta | None = None
    """With `everyone`: for so long `begin` refuses browser sessions, save those of operators."""


class Ended(msgspec.Struct, frozen=True):
    at: datetime
    """The store's clock at the acknowledgement."""
    mark: int
    revoked: int | None
    """How many live sessions it ended: with `session` descendants by `parent` included, with `uid` the principal's
    own; None where they were not counted: an epoch ended them, a containment, or they were more than are looked at
    (SQL: 256, so that ending a hundred thousand takes no longer)."""
    sessions: tuple[str, ...] = ()
    """Their ids, at most 100; where they were not counted some of them, as far as their own rows tell."""
    delta: timedelta = timedelta(0)
    """Δ as the ending's own transaction read it: so long another node may still trust its near cache."""
    reach: Literal["engine", "quorum"] = "engine"
    """What acknowledged it: one engine, or a majority of its servers."""
    durable: bool = True
    """Whether it is on disk wherever it was acknowledged. False: in memory there, and on disk in the directory beside,
    from which it is applied again."""


class Erased(msgspec.Struct, frozen=True):
    """What was erased of a principal that had been deleted."""

    uid: str
    sessions: int
    """Tombstones of its sessions."""
    events: int
    """Events that say nothing of it any more but its uid."""
    at: datetime
    """The store's clock in the transaction."""


class ContainmentState(StrEnum):
    UNKNOWN = "unknown"
    """The root is cut; what hangs below it has not been walked to the end yet."""
    PARTIAL = "partial"
    """Walked, and something is not over yet."""
    CLOSED = "closed"
    """All that it reached is over."""


class Contained(msgspec.Struct, frozen=True, kw_only=True):
    """A containment as stored."""

    cut: Cut
    state: ContainmentState = ContainmentState.UNKNOWN
    report: bytes | None = None
    """JSON, written by `Directory.settle_containment`."""


class Store(Protocol):
    """Sessions, and what their checks read: principals' status and epoch, policies, the epoch of everybody."""

    local: bool
    """Its coroutines for reading (`read`, `read_data`) never suspend: no network, no thread hop."""
    partitioned: bool
    """Partitions may be lost one by one: entries of the near cache are also registered under `t:<partition>`."""
    delta: timedelta
    """How long after an acknowledged ending another node may still trust its cache; zero: not at all."""

    async def open(self, near: NearCache) -> None:
        """Connect, migrate, and from now on keep `near` told. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of everything. Idempotent."""

    def current(self, now: int, partition: str | None = None) -> bool:
        """Whether `near` may be trusted by a check that starts at `now` (nanoseconds of `Clock.elapsed`): all of it, or
        what it has of a partition (see `partitioned`).

        A strict store brings `near` up to the last commit of any process before it says yes. False when that
        cannot be done without waiting. Called at every check: no I/O beyond a local read.
        """

    async def read(self, digest: bytes) -> Snapshot | None:
        """All that a decision needs about the token, of one instant, as of the last commit. None: unknown token."""

    async def begin(self, draft: Draft) -> Begun:
        """Begin a session (`kernel.issue.issue`). In one transaction:

        the principal exists (else NotFound) and is active (else Conflict with `denied`, reason disabled), the
        fence, if any, still holds (else Conflict); sign-in is not locked (else Conflict); the giver, if any, read by
        its digest, still counts by `kernel.decide.holds` (else Conflict with `denied`) and does so until the commit;
        the policy's `max_sessions` counts live browser sessions: LimitExceeded, or the least recently seen end
        with cause `limit`; the session that it `replaces` ends with cause `replaced`, and its application data
        moves along if that one was anonymous; the tombstones of all ancestors are kept at least until the new
        session's end. Raises issue's Wider and TooDeep as they are, Conflict for an id or a digest that is taken.
        """

    async def offer(self, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
        """Offer an age-based successor to the holder of `presented`.

        Returns the salt in force: the given one, or the one of a successor that is already pending (the caller
        derives the same token from it). None if `presented` is not the current token of its session, or does not
        count by `holds`.
        """

    async def confirm(self, successor: bytes) -> None:
        """The successor was presented: it becomes current, and the current token a predecessor since now.

        Idempotent; nothing if it is no pending successor any more.
        """

    async def replace(self, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
        """Rotation by an event: `digest` becomes the current token; every other token of the session that still
        counted (current, successor, predecessor within its grace) is superseded. `kernel.issue.elevate` makes
        the session's new value.

        Raises Conflict with `denied` unless `presented` counts by `holds(…, stepping_up=True)`.
        """

    async def retire(self, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
        """A key that another takes the place of: it counts until `until` (at most its own limit), and a use after
        that is a replay (`kernel.issue.retire`). Returns its new value.

        Raises NotFound; Conflict unless it is a key, alive, and was not rotated out before.
        """

    async def bind(self, session_id: str, device_key: str, by: Actor) -> bool:
        """Bind a browser's session to a key that its browser proved (`kernel.issue.bound`): `device_key` is the key's
        RFC 7638 thumbprint, in the session's client from now on. True also if it is bound to this very key already;
        nothing is written then. False: the session is unknown, over, no browser's, or bound to another key.

        A yes may turn into a no, and so it is announced. Nobody waits Δ for it: until then another node may still
        accept the token without the key.
        """

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        """Move `last_seen` forward, each session by itself, and only if it is alive now, by the store's clock and its
        idle limit too: an act that is written too late revives nothing. An instant in the future counts as now."""

    async def end(self, end: End) -> Ended:
        """End a session, all of a principal, or everybody's of some kinds. Idempotent: what has ended stays as
        it was and counts as 0; the first cause and instant are kept (containment still widens).

        Raises NotFound for a session or uid that never was; Conflict: an agent or a service is enabled, and nobody can
        answer for it.
        """

    async def erase(self, uid: str, cause: str, by: Actor) -> Erased:
        """Take the name, what it is for, the clients, the labels and the application's data of a deleted principal out
        of all that remains of it: its own row, its tombstones, reports and, but for its uid, the audit record
        (`kernel.personal`), in which an event is written. Idempotent.

        Raises NotFound, and Conflict unless it is deleted.
        """

    async def sessions(
        self, *, uid: str | None = None, giver: str | None = None, root: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[SessionInfo]:  # fmt: skip
        """Sessions of a principal; or those that sessions of the principal `giver` handed out directly, by either
        tie; or the tree below (and with) `root`, by both ties; or all. Newest first; a tree comes givers first.

        Without `ended` only those alive. Nobody's anonymous sessions are listed with all.
        """

    async def handed_out(
        self, *, root: str | None = None, uid: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[Snapshot]:
        """A session, or all of a principal's, and all that these handed out, by both ties: givers first, those that
        are over too. Each as a decision would find it; `token_state` tells nothing."""

    async def session(self, session_id: str) -> SessionInfo | None:
        """One session, alive or a tombstone."""

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        """The application's data and its version; (0, b"") if none was written."""

    async def write_data(self, session_id: str, version: int, data: bytes) -> bool:
        """Write if the version is still `version`. False if it is not, or the session has ended."""

    async def sweep(self, limit: int = 500) -> int:
        """Delete up to `limit` sessions that are over and whose tombstone nobody needs, and old journal rows.

        Returns how many sessions. Short transactions: requests are not stalled.
        """


class Verified(msgspec.Struct, frozen=True):
    """How far the audit record is as it was written."""

    seq: int = 0
    """The last event that was looked at and is as it was written."""
    chain: bytes = bytes(32)
    """What ties that event to all before it, SHA-256."""
    broken: int | None = None
    """The number of the first event that was changed, removed or added; None: none so far."""
    more: bool = False


class Tally(msgspec.Struct, frozen=True):
    """How many events of a name an hour had."""

    hour: datetime
    """Its beginning, aware UTC."""
    name: EventName
    count: int


class Directory(Protocol):
    """What is durable and lives in SQL: principals, policies, credentials, tries, the audit record, facts."""

    hear: Callable[[Sequence[Event]], None] | None
    """Called with the events of each change of this store, after its commit, in their order; None: nobody listens.
    On the loop that asked for the change, also if whoever asked was cancelled meanwhile. It does not raise."""

    async def fence(self, name: str) -> tuple[Principal, Fence] | None:
        """The active principal of that canonical name, and what a sign-in is fenced with. None: unknown.

        A disabled principal is returned too; `begin` refuses it.
        """

    async def principal(self, *, name: str | None = None, uid: str | None = None) -> Principal | None:
        """By canonical name (never a deleted one) or by uid."""

    async def principals(
        self, *, kind: PrincipalKind | None = None, search: str = "", owner: str | None = None,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[Principal]:  # fmt: skip
        """By name, ascending; `search` is a part of the name. Deleted ones are left out."""

    async def register(self, principal: Principal, by: Actor, credential: Credential | None = None) -> None:
        """Raises Conflict if the name is taken, or an agent or a service has no owner who can answer for it
        (`stores.owning`); NotFound: no such owner."""

    async def describe(self, uid: str, *, owner: str | None, purpose: str, by: Actor) -> Principal:
        """Change who answers for a principal and what it is for. Ends nothing.

        Raises NotFound: no such principal, or owner. Conflict: a new owner cannot answer for it.
        """

    async def policy(self, name: str) -> Policy | None: ...

    async def policies(self) -> Sequence[Policy]: ...

    async def set_policy(self, policy: Policy, by: Actor) -> Ended:
        """Write a policy. Raises Conflict unless it is new or its version is higher than the stored one's."""

    async def credential(self, uid: str, kind: str, id: str = "") -> Credential | None: ...

    async def credentials(self, uid: str) -> Sequence[Credential]:
        """All of a principal, by kind and id."""

    async def passkey(self, id: str) -> Credential | None:
        """The credential of the kind `passkey` and that id, whoever's it is: it signs in without a name."""

    async def set_credential(
        self, credential: Credential, event: Event | None = None, *, instead_of: bytes | None = None
    ) -> bool:
        """Write without ending anything: a first password, a rehash. `end` writes one that does.

        `instead_of`: only if this is the value stored by now, so that the rehash of a sign-in never brings back a
        password that was changed meanwhile. Returns whether it was written.

        Raises NotFound: no such principal. Conflict: a passkey of that id is another principal's.
        """

    async def remove_credential(
        self, uid: str, kind: str, id: str = "", event: Event | None = None, *, value: bytes | None = None
    ) -> bool:
        """Delete one, and only if its value is still `value`, where that is given. Ends nothing.

        Returns whether it was deleted: of two that delete it at once, one is told so. The event is written with it.
        """

    async def count_try(self, limits: Sequence[Limit]) -> Exhausted | None:
        """Count one try against every limit (`kernel.tries.count`), or, if one of them has none left, against none.

        Of any number at once, on all nodes, no more than the limit are let through.
        """

    async def give_back(self, limits: Sequence[Limit]) -> None:
        """A try that was counted was a success (`kernel.tries.succeeded`)."""

    async def forget_tries(self, keys: Sequence[bytes]) -> None:
        """Count anew: what was off is bound anew."""

    async def record(self, event: Event) -> None:
        """Append an event that no change of the store causes (a failed sign-in)."""

    async def events(
        self, *, after: int = 0, before: int | None = None, limit: int = PAGE, uid: str | None = None,
        session: str | None = None, names: Collection[EventName] = (), since: datetime | None = None,
        latest: bool = False,
    ) -> Sequence[Event]:  # fmt: skip
        """The audit record in order, between those numbered `after` and `before`; `latest`: the last `limit`, newest
        first.

        Only those about `uid` and `session`, with one of `names` (if any), since `since` (an aware datetime).
        """

    async def tallies(self, since: datetime) -> Sequence[Tally]:
        """How many events of each name there were in each hour, from the one that `since` is in; in order."""

    async def containment(self, id: str) -> Contained | None:
        """The containment of that id: the cut as the ending's own transaction wrote it, and what came of it."""

    async def open_containments(self, limit: int = PAGE) -> Sequence[str]:
        """Ids of those that are not closed, oldest first."""

    async def settle_containment(self, id: str, state: ContainmentState, report: bytes, event: Event) -> None:
        """Write how a containment stands. One that is closed stays as it is; the event is recorded only if the state
        changes. Raises NotFound."""

    async def verify_events(self, after: Verified) -> Verified:
        """Whether a page of the audit record follows from `after`, and so is as it was written. To go on, give what
        came back, as long as there is `more`; begin with `Verified()`, or with one that was kept elsewhere.
        """

    async def fact(self, name: str) -> bytes | None: ...

    async def set_fact(self, name: str, value: bytes) -> bytes:
        """Write unless there is one; return the one in force. Facts hold for every process of the store."""

    async def statistics(self) -> Mapping[str, int]:
        """Counts for `/metrics`: principals, sessions by kind, events, journal rows; SQLite's log in bytes."""
