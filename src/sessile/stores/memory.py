"""The memory store: everything in this process, for tests, trials and as the plainest reading of the protocol.

Every mutation runs to its end in one turn of the event loop, validated first and written last, so it is atomic
without a lock. Nothing survives the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from sessile.clock import Clock
from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.kernel.assurance import Method
from sessile.kernel.containment import Before
from sessile.kernel.decide import Ancestor, Denied, Snapshot, TokenState, holds, info, is_live, rebound
from sessile.kernel.event import (
    SYSTEM,
    Actor,
    EventName,
    actor_in,
    begun_event,
    bound_event,
    changed_event,
    ended_event,
    ending_event,
    retired_event,
)  # fmt: skip
from sessile.kernel.issue import Draft, bound, confirm, elevate, issue
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import ERASED, OPERATOR, Principal, Status, new_epoch
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, SessionInfo, SessionKind
from sessile.kernel.trace import shown
from sessile.near import NearCache
from sessile.stores.containing import aside, before, cut_of, ending_of, widened
from sessile.stores.memory_directory import page, place
from sessile.stores.memory_erasing import deletion, erased_containment, erased_event, erased_events, erased_session
from sessile.stores.memory_leases import MemoryLeases
from sessile.stores.memory_listing import all_below, listed
from sessile.stores.memory_mail import MemoryMails
from sessile.stores.memory_noticing import MemoryNotices
from sessile.stores.memory_owning import MemoryOwning
from sessile.stores.memory_walking import MemoryWalks
from sessile.stores.memory_working import MemoryWorks
from sessile.stores.protocol import PAGE, PREDECESSORS, TOMBSTONE, Begun, Contained, End, Ended, Erased, Page, Replaced
from sessile.stores.retiring import retired

T = TypeVar("T")

_IDS = 100


class _Token(msgspec.Struct):
    session: str
    state: TokenState
    since: datetime


class MemoryStore(MemoryMails, MemoryLeases, MemoryNotices, MemoryWorks, MemoryOwning, MemoryWalks):
    """`Store` and `Directory` in dictionaries."""

    local = True
    partitioned = False
    delta = timedelta(0)

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._sign_in_locked: datetime | None = None
        self._sessions: dict[str, Session] = {}
        self._keep_until: dict[str, datetime] = {}
        self._tokens: dict[bytes, _Token] = {}
        self._salts: dict[str, bytes] = {}
        self._data: dict[str, tuple[int, bytes]] = {}

    async def open(self, near: NearCache) -> None:
        self._near = near
        near.drop(self._mark)

    async def close(self) -> None:
        """Keeps what it holds: it can be opened again."""

    def current(self, now: int, partition: str | None = None) -> bool:
        return True

    # -- reading ------------------------------------------------------------------------------------------------

    async def read(self, digest: bytes) -> Snapshot | None:
        return self._snapshot(digest, self._clock.now())

    def _snapshot(self, digest: bytes, now: datetime) -> Snapshot | None:
        return self._present(digest, now) if digest in self._tokens else None

    def _present(self, digest: bytes, now: datetime) -> Snapshot:
        token = self._tokens[digest]
        view = self._view(self._sessions[token.session], now)
        return msgspec.structs.replace(view, token_state=token.state, token_since=token.since)

    def _view(self, session: Session, now: datetime) -> Snapshot:
        return Snapshot(
            session=session, principal=self._principal(session.uid), policy=self._policy_of(session),
            ancestors=tuple(
                Ancestor(link, above, self._principal(link.uid), self._policy_of(above) if above else None)
                for link in session.lineage
                for above in (self._sessions.get(link.session),)
            ),
            everyone=dict(self._everyone), now=now, mark=self._mark,
        )  # fmt: skip

    def _policy_of(self, session: Session) -> Policy | None:
        principal = self._principal(session.uid)
        return self._policies.get(principal.policy if principal else "default")

    # -- beginning ----------------------------------------------------------------------------------------------

    async def begin(self, draft: Draft) -> Begun:
        now = self._clock.now()
        principal = self._beginner(draft, now)
        giver = self._snapshot(draft.giver, now) if draft.giver is not None else None
        if draft.giver is not None and (denied := holds(giver, now)) is not None:
            raise Conflict(f"the session that hands out is over: {denied.reason}", denied)
        policy = self._policies.get(principal.policy if principal else "default")
        if policy is None:
            raise Conflict("the principal's policy is missing from the store: set it again")
        session = issue(
            draft, principal=principal, policy=policy, everyone=self._everyone[draft.kind], giver=giver, now=now,
            resumed=self._snapshot(draft.resumes, now) if draft.resumes is not None else None,
        )  # fmt: skip
        replaced = self._sessions.get(draft.replaces) if draft.replaces is not None else None
        if draft.id in self._sessions or draft.digest in self._tokens:
            raise Conflict("a session has that id or token already")
        surplus = self._surplus(session, policy, replaced, now)

        touched = []
        if replaced is not None and replaced.ended is None:
            if replaced.kind is SessionKind.ANONYMOUS and replaced.id in self._data:
                self._data[session.id] = self._data.pop(replaced.id)
            by = actor_in(session)
            self._end_session(replaced, "replaced", by, now)
            self._append(ended_event(self._sessions[replaced.id], "replaced", by), now)
            self._add_walk(aside(replaced, "replaced", by, now))
            touched.append(f"s:{replaced.id}")
        for old in surplus:
            self._end_session(old, "limit", SYSTEM, now)
            self._append(ended_event(old, "limit", SYSTEM), now)
            self._add_walk(aside(old, "limit", SYSTEM, now))
            touched.append(f"s:{old.id}")
        self._sessions[session.id] = session
        self._keep_until[session.id] = session.expires + TOMBSTONE
        for link in session.lineage:
            self._keep_until[link.session] = max(self._keep_until[link.session], self._keep_until[session.id])
        self._tokens[draft.digest] = _Token(session.id, TokenState.CURRENT, now)
        if draft.lease is not None:
            self._add_lease(session, draft.lease, now)
        self._append(begun_event(session, giver.session if giver else None, draft.lease), now)
        if (seen := shown(session, giver.session if giver else None)) is not None:
            self._add_trace(seen)
        self._announce(*touched)
        return Begun(self._present(draft.digest, now), tuple(name.removeprefix("s:") for name in touched), now)

    def _beginner(self, draft: Draft, now: datetime) -> Principal | None:
        if draft.uid is None:
            return None
        principal = self._principals.get(draft.uid)
        if principal is None:
            raise NotFound("no such principal")
        if principal.status is not Status.ACTIVE:
            raise Conflict(f"{principal.name} is {principal.status}", Denied(reason=Reason.DISABLED))
        fence = draft.fence
        if fence is not None and (fence.uid, fence.epoch, fence.everyone) != (
            principal.uid, principal.epoch, self._everyone[SessionKind.BROWSER],
        ):  # fmt: skip
            raise Conflict("the password or the epoch changed while signing in: sign in again")
        locked, lockable = self._sign_in_locked, OPERATOR not in principal.scopes
        if draft.kind is SessionKind.BROWSER and lockable and locked is not None and now < locked:
            raise Conflict(f"sign-in is locked by an operator until {locked:%H:%M} UTC")
        return principal

    def _surplus(self, session: Session, policy: Policy, replaced: Session | None, now: datetime) -> list[Session]:
        if session.kind is not SessionKind.BROWSER or policy.max_sessions is None:
            return []
        live = [
            other
            for other in self._sessions.values()
            if other.uid == session.uid
            and other.kind is SessionKind.BROWSER
            and other is not replaced
            and is_live(self._view(other, now), now)
        ]
        over = len(live) + 1 - policy.max_sessions
        if over <= 0:
            return []
        if policy.at_limit is AtLimit.REFUSE:
            raise LimitExceeded(f"{session.principal} has {len(live)} sessions, as many as the policy allows: end one")
        return sorted(live, key=lambda other: (other.last_seen, other.id))[:over]

    # -- tokens -------------------------------------------------------------------------------------------------

    async def offer(self, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
        now = self._clock.now()
        snapshot = self._snapshot(presented, now)
        if snapshot is None or snapshot.token_state is not TokenState.CURRENT or holds(snapshot, now) is not None:
            return None
        session_id = snapshot.session.id
        if session_id not in self._salts:
            self._salts[session_id] = salt
            self._tokens[successor] = _Token(session_id, TokenState.SUCCESSOR, now)
        return self._salts[session_id]

    async def confirm(self, successor: bytes) -> None:
        now = self._clock.now()
        snapshot = self._snapshot(successor, now)
        if snapshot is None or snapshot.token_state is not TokenState.SUCCESSOR or not is_live(snapshot, now):
            return
        session = snapshot.session
        for token in self._tokens_of(session.id).values():
            if token.state is TokenState.CURRENT:
                token.state, token.since = TokenState.PREDECESSOR, now
        self._tokens[successor] = _Token(session.id, TokenState.CURRENT, now)
        self._sessions[session.id] = changed = confirm(session, now)
        del self._salts[session.id]
        self._forget_old(session.id)
        self._append(changed_event(EventName.SESSION_ROTATED, changed), now)
        self._announce(f"s:{session.id}")

    async def replace(self, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
        now = self._clock.now()
        snapshot = self._snapshot(presented, now)
        denied = holds(snapshot, now, stepping_up=True)
        if denied is not None:
            raise Conflict(f"this session cannot go on: {denied.reason}", denied)
        assert snapshot is not None  # noqa: S101 - `holds` denied otherwise
        assert snapshot.policy is not None  # noqa: S101
        session = snapshot.session
        self._supersede(session.id, snapshot.policy, now)
        changed = elevate(session, method, policy=snapshot.policy, now=now)
        if method is not None:
            changed = rebound(changed, snapshot.policy, by.client)
        self._put(changed)
        self._tokens[digest] = _Token(session.id, TokenState.CURRENT, now)
        self._forget_old(session.id)
        name = EventName.SESSION_ROTATED if method is None else EventName.SESSION_ELEVATED
        self._append(changed_event(name, changed, by, method), now)
        self._announce(f"s:{session.id}")
        return Replaced(self._present(digest, now), now)

    async def retire(self, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
        now = self._clock.now()
        if session_id not in self._sessions:
            raise NotFound(f"no session {session_id}")
        session = retired(self._view(self._sessions[session_id], now), until, now)
        self._sessions[session_id] = session
        self._append(retired_event(session, successor, by), now)
        self._announce(f"s:{session_id}")
        return session

    def _tokens_of(self, session_id: str) -> dict[bytes, _Token]:
        return {digest: token for digest, token in self._tokens.items() if token.session == session_id}

    def _supersede(self, session_id: str, policy: Policy, now: datetime) -> None:
        """Grace never crosses an event. A predecessor past its grace stays one: it is still a sign of theft."""
        for token in self._tokens_of(session_id).values():
            past = token.state is TokenState.PREDECESSOR and now >= token.since + policy.grace
            if token.state is not TokenState.SUPERSEDED and not past:
                token.state, token.since = TokenState.SUPERSEDED, now
        self._salts.pop(session_id, None)

    def _forget_old(self, session_id: str) -> None:
        old = [
            (token.since, digest)
            for digest, token in self._tokens_of(session_id).items()
            if token.state in (TokenState.PREDECESSOR, TokenState.SUPERSEDED)
        ]
        for _, digest in sorted(old, reverse=True)[PREDECESSORS:]:
            del self._tokens[digest]

    def _put(self, session: Session) -> None:
        self._sessions[session.id] = session
        self._keep_until[session.id] = max(self._keep_until[session.id], session.expires + TOMBSTONE)

    async def bind(self, session_id: str, device_key: str, by: Actor) -> bool:
        session, now = self._sessions.get(session_id), self._clock.now()
        changed = bound(self._view(session, now), device_key, now) if session is not None else None
        if changed is None:
            return False
        if changed != session:
            self._sessions[session_id] = changed
            self._append(bound_event(changed, by), now)
            self._announce(f"s:{session_id}")
        return True

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        now = self._clock.now()
        for session_id, at in seen.items():
            session = self._sessions.get(session_id)
            # As it is now, not as it was at the act: a late flush revives nothing that was denied meanwhile.
            at = min(at, now)
            if session is not None and at > session.last_seen and is_live(self._view(session, now), now):
                self._sessions[session_id] = msgspec.structs.replace(session, last_seen=at)

    # -- ending -------------------------------------------------------------------------------------------------

    async def end(self, end: End) -> Ended:
        now = self._clock.now()
        was = self._before(end)
        if end.session is not None:
            revoked, ids = self._end_one(end, end.session, now)
            touched = [f"s:{end.session}"]
        elif end.uid is not None:
            revoked, ids = self._end_principal(end, end.uid, now)
            touched = [f"p:{end.uid}"]
        else:
            revoked, ids = None, []
            for kind in end.everyone:
                self._everyone[kind] = new_epoch()
            if end.lock_sign_in is not None:
                self._sign_in_locked = now + end.lock_sign_in
            touched = ["all"]
        if end.containment is not None:
            revoked = None
        event = ending_event(
            self._target(end), cause=end.cause, by=end.by, status=end.status, contained=end.contain_since is not None,
            password=end.credential is not None, revoked=revoked, sessions=ids, containment=end.containment,
        )  # fmt: skip
        self._append(event, now)
        target = self._target(end)
        if target is not None and was is not None:
            self._add_walk(ending_of(end, target, was, now))
        self._destroy_work(end)
        self._announce(*touched)
        ended = Ended(now, self._mark, revoked, tuple(ids[:_IDS]))
        if was is not None and end.containment is not None:
            cut = cut_of(end, target, was, ended)
            self._containments.setdefault(cut.id, Contained(cut=cut))
        return ended

    def _before(self, end: End) -> Before | None:
        found = self._sessions.get(end.session) if end.session is not None else self._principal(end.uid)
        return before(found) if found is not None else None

    def _target(self, end: End) -> Session | Principal | None:
        return self._sessions[end.session] if end.session is not None else self._principal(end.uid)

    def _end_one(self, end: End, session_id: str, now: datetime) -> tuple[int, list[str]]:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"no session {session_id}")
        ids = [] if end.containment else [s.id for s in self._below(session) if is_live(self._view(s, now), now)]
        if end.contain_since is not None:
            since = min(end.contain_since, session.contained_since or end.contain_since)
            session = self._sessions[session_id] = msgspec.structs.replace(session, contained_since=since)
        self._end_session(session, end.cause, end.by, now)
        return len(ids), ids

    def _end_principal(self, end: End, uid: str, now: datetime) -> tuple[int, list[str]]:
        principal = self._principals.get(uid)
        if principal is None or (principal.status is Status.DELETED and end.status not in (None, Status.DELETED)):
            # What a deleted principal handed out can still be contained; itself it does not come back.
            raise NotFound("no such principal")
        if end.status is Status.ACTIVE:
            self._must_answer(principal, principal.owner)
        if end.policy is not None and end.policy not in self._policies:
            raise NotFound(f"no policy is named {end.policy!r}")
        kept = self._sessions.get(end.keep) if end.keep is not None else None
        if end.keep is not None:
            denied = holds(self._view(kept, now) if kept is not None else None, now, stepping_up=True)
            if denied is not None or kept is None or kept.uid != uid:
                raise Conflict("the session that was to go on is over", denied)
        ids = []
        if end.containment is None:
            ids = [s.id for s in self._of(uid) if is_live(self._view(s, now), now) and s is not kept]
        principal = self._principals[uid] = msgspec.structs.replace(
            principal,
            epoch=new_epoch(),
            status=end.status or principal.status,
            scopes=principal.scopes if end.scopes is None else end.scopes,
            policy=end.policy or principal.policy,
            **widened(principal, end.contain_since, now),
        )
        if end.status is Status.DELETED and self._names.get(principal.name) == uid:
            del self._names[principal.name]
        if principal.status is Status.DELETED:
            self._credentials = {key: kept for key, kept in self._credentials.items() if key[0] != uid}
        elif end.credential is not None:
            self._store_credential(end.credential, now)
        if kept is not None:
            policy = self._policies[principal.policy]
            if end.keep_digest is not None:
                self._supersede(kept.id, policy, now)
                self._tokens[end.keep_digest] = _Token(kept.id, TokenState.CURRENT, now)
                self._forget_old(kept.id)
            self._put(
                msgspec.structs.replace(elevate(kept, end.keep_method, policy=policy, now=now), epoch=principal.epoch)
            )
        return len(ids), ids

    def _end_session(self, session: Session, cause: str, by: Actor, now: datetime) -> None:
        if session.ended is None:
            self._sessions[session.id] = msgspec.structs.replace(session, ended=now, cause=cause, ended_by=by.name)

    def _below(self, session: Session) -> Iterator[Session]:
        """The session and all whose life hangs on it."""
        yield session
        for other in list(self._sessions.values()):
            if other.parent == session.id:
                yield from self._below(other)

    def _of(self, uid: str) -> Iterator[Session]:
        return (session for session in self._sessions.values() if session.uid == uid)

    async def erase(self, uid: str, cause: str, by: Actor) -> Erased:
        principal, now = self._principal(uid), self._clock.now()
        if principal is None:
            raise NotFound("no such principal")
        if principal.status is not Status.DELETED:
            raise Conflict(f"{principal.name} is {principal.status}: delete it first, then erase what is kept of it")
        deleted = deletion(self._events, uid)
        named = [one.id for one in self._of(uid) if one.principal != ERASED]
        self._sessions = {id: erased_session(one, uid, principal.name, deleted) for id, one in self._sessions.items()}
        for session in self._of(uid):
            self._data.pop(session.id, None)
        self._principals[uid] = msgspec.structs.replace(principal, name=ERASED, purpose="")
        self._mails = {id: mail for id, mail in self._mails.items() if mail[1].uid != uid}
        self._forget_uses({event.session for event in self._events if event.uid == uid})
        self._containments = {id: erased_containment(one, principal.name) for id, one in self._containments.items()}
        self._erase_walks(principal.name)
        self._events[:], count, others = erased_events(self._events, uid, principal.name, deleted)
        if count or named or principal.name != ERASED:
            self._append(erased_event(uid, cause, by, len(named), others), now)
        return Erased(uid, len(named), count, now)

    # -- looking ------------------------------------------------------------------------------------------------

    async def sessions(
        self, *, uid: str | None = None, giver: str | None = None, root: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[SessionInfo]:  # fmt: skip
        now, tree = self._clock.now(), root is not None
        found = listed(self._sessions.values(), uid, giver, root)
        shown = {place(s, tree): one for s in found if (one := self._info(s, now)).live or ended}
        return page(shown, after, limit, newest_first=not tree)

    async def handed_out(
        self, *, root: str | None = None, uid: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[Snapshot]:
        now = self._clock.now()
        found = page({place(s, True): s for s in all_below(self._sessions.values(), root, uid)}, after, limit)
        return Page([self._view(session, now) for session in found], found.next)

    async def session(self, session_id: str) -> SessionInfo | None:
        session = self._sessions.get(session_id)
        return self._info(session, self._clock.now()) if session is not None else None

    def _info(self, session: Session, now: datetime) -> SessionInfo:
        return info(self._view(session, now), now)

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        return self._data.get(session_id, (0, b""))

    async def write_data(self, session_id: str, version: int, data: bytes) -> bool:
        session = self._sessions.get(session_id)
        if session is None or not is_live(self._view(session, now := self._clock.now()), now):
            return False
        if self._data.get(session_id, (0, b""))[0] != version:
            return False
        self._data[session_id] = (version + 1, data)
        return True

    async def sweep(self, limit: int = 500) -> int:
        self._sweep_traces()
        now = self._clock.now()
        over = [
            session_id
            for session_id, keep_until in self._keep_until.items()
            if now >= keep_until and not is_live(self._view(self._sessions[session_id], now), now)
        ][:limit]
        for session_id in over:
            for digest in self._tokens_of(session_id):
                del self._tokens[digest]
            for table in (self._sessions, self._keep_until, self._salts, self._data):
                table.pop(session_id, None)
        self._sweep_work()
        return len(over)

    async def statistics(self) -> Mapping[str, int]:
        now = self._clock.now()
        counts = {f"sessions_{kind}": 0 for kind in SessionKind}
        for session in self._sessions.values():
            if is_live(self._view(session, now), now):
                counts[f"sessions_{session.kind}"] += 1
        counts |= {"principals": len(self._names), "events": len(self._events), "journal": self._mark}
        return counts | self._count_leases()
