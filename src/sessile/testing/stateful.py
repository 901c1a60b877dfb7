"""Random histories of a store, side by side with the memory store: the same answers, and nothing comes back."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from sessile.errors import SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState, decide
from sessile.kernel.event import SYSTEM
from sessile.kernel.ids import ALPHABET
from sessile.kernel.issue import Draft, Fence, TooDeep, Wider
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import Principal, Status, new_principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo, SessionKind, Tie
from sessile.kernel.token import placed
from sessile.stores import Backend
from sessile.stores.memory import MemoryStore
from sessile.stores.protocol import Begun, End, Ended, Replaced
from sessile.testing.clock import ManualClock
from sessile.testing.world import DAY, HOUR, MINUTE, PARTITION, SECOND, MakeStore, Node, at_home, entry

PEOPLE = ("alice", "bob")
OTHERS = ("agent:a", "service:ci")
STEPS = (SECOND, SECOND, MINUTE, MINUTE, 10 * MINUTE, 59 * MINUTE, HOUR, 30 * DAY)
names = st.sampled_from(PEOPLE)


# A history in which every second step ends everything says little: there have to be tokens first.
often_enough = precondition(lambda machine: len(machine.issued) >= 5 * (machine.broad + 1))


def against_memory(make_store: MakeStore) -> type[StoreMachine]:
    """The machine for stores of this making; each history has a fresh one."""
    fresh = (f"history{number}" for number in itertools.count())

    class Machine(StoreMachine):
        @staticmethod
        def make(clock: ManualClock) -> Backend:
            return make_store(next(fresh), clock)

    return Machine


class Issued(msgspec.Struct, frozen=True):
    """A token that was handed out: its digest, and the session that it names."""

    digest: bytes
    session: str


class StoreMachine(RuleBasedStateMachine):
    """Two stores and one clock. Every call goes to both; their answers, and every check of every token, agree."""

    make: Callable[[ManualClock], Backend]
    tokens: Bundle[Issued] = Bundle("tokens")
    fences: Bundle[tuple[Fence, Fence]] = Bundle("fences")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.nodes = [Node(store, self.clock) for store in (MemoryStore(clock=self.clock), self.make(self.clock))]
        for node in self.nodes:
            self.run(node.open())
        self.counter = itertools.count(1)
        self.version = itertools.count(2)
        self.parents: dict[str, str] = {}
        self.kinds: dict[str, SessionKind] = {}
        self.uids: dict[str, str] = {}
        self.owners: dict[str, str | None] = {}
        self.issued: dict[bytes, str] = {}
        self.broad = 0
        self.ends: dict[str, datetime] = {}
        """The last instant at which the session may be alive, whatever is done to it."""
        self.over: set[str] = set()
        """Sessions that an act has ended: for good."""
        self.lapsed: set[str] = set()
        """Sessions that were seen dead for whatever reason: for good as well, while the policy stays."""
        self.denied: set[bytes] = set()
        """Tokens that were denied: the same."""

    def teardown(self) -> None:
        for node in self.nodes:
            self.run(node.store.close())
        self.runner.close()

    # --- calling both ---------------------------------------------------------------------------------------

    def run(self, awaited: Awaitable[Any]) -> Any:
        async def one() -> Any:
            return await awaited

        return self.runner.run(one())

    def both(self, call: Callable[[Backend], Awaitable[Any]]) -> Any:
        """What the second store answered; that the memory store answered the same is asserted."""
        # Every call has an instant of its own, so that "the oldest" is never a matter of taste.
        self.clock.advance(timedelta(milliseconds=1))
        return self.each(*(lambda node=node: call(node.store) for node in self.nodes))

    def each(self, *calls: Callable[[], Awaitable[Any]]) -> Any:
        answers = []
        for call in calls:
            try:
                answers.append(self.run(call()))
            except (SessileError, Wider, TooDeep) as refused:
                answers.append(refused)
        shown = [comparable(answer) for answer in answers]
        # As with checks: a store may forget a tombstone earlier than another, and then says only no, not why.
        forgotten = any(isinstance(answer, Exception) and _reason(answer) is Reason.UNKNOWN for answer in answers)
        if not forgotten or type(answers[0]) is not type(answers[1]):
            assert shown[0] == shown[1], f"the memory store answered {shown[0]}, this one {shown[1]}"
        return answers[1]

    def known_to_both(self, session: str) -> bool:
        """Not swept: for how long a tombstone is kept beyond the least is each store's own."""
        return None not in [self.run(node.store.session(session)) for node in self.nodes]

    def new_digest(self) -> bytes:
        return placed(hashlib.sha256(b"%d" % next(self.counter)).digest(), PARTITION)

    def new_session_id(self, giver: Issued | None) -> str:
        number, digits = next(self.counter), ""
        for _ in range(26):
            number, digit = divmod(number, len(ALPHABET))
            digits = ALPHABET[digit] + digits
        return "ses_" + (giver.session[4] if giver else PARTITION) + digits

    # --- who there is ---------------------------------------------------------------------------------------

    @initialize(limit=st.sampled_from([None, 2]), at_limit=st.sampled_from(AtLimit))
    def people(self, limit: int | None, at_limit: AtLimit) -> None:
        for name in PEOPLE + OTHERS:
            owner = None if name in PEOPLE else self.uids[PEOPLE[0]]
            principal = at_home(new_principal(name, now=self.clock.now(), owner=owner))
            self.uids[name] = principal.uid
            self.both(functools.partial(self._register, principal))
        policy = Policy.aal2(max_sessions=limit, at_limit=at_limit)
        self.both(lambda store: store.set_policy(policy, SYSTEM))

    async def _register(self, principal: Principal, store: Backend) -> None:
        await store.register(principal, SYSTEM)

    # --- beginning ------------------------------------------------------------------------------------------

    def begin(self, draft: Draft, *drafts: Draft) -> Any:
        self.clock.advance(timedelta(milliseconds=1))
        one, two = self.nodes
        begun = self.each(lambda: one.store.begin(draft), lambda: two.store.begin((draft, *drafts)[-1]))
        if isinstance(begun, Exception):
            return multiple()
        session = begun.snapshot.session
        self.over |= set(begun.ended)
        if draft.replaces is not None:
            self.over.add(draft.replaces)
        self.kinds[draft.id], self.owners[draft.id] = draft.kind, draft.uid
        if session.parent is not None:
            assert session.parent not in self.over | self.lapsed, "a child began under what is over"
            self.parents[draft.id] = session.parent
        if draft.kind is not SessionKind.BROWSER:
            self.ends[draft.id] = session.expires
        self.issued[draft.digest] = draft.id
        return Issued(draft.digest, draft.id)

    @rule(target=fences, name=names)
    def fence(self, name: str) -> Any:
        found = [self.run(node.store.fence(name)) for node in self.nodes]
        return multiple() if None in found else tuple(fence for _, fence in found)

    @rule(target=tokens, name=names, replaces=st.none() | tokens, lifetime=st.sampled_from([None, 10 * MINUTE]))
    def sign_in(self, name: str, replaces: Issued | None, lifetime: timedelta | None) -> Any:
        return self.begin(
            Draft(
                id=self.new_session_id(None), digest=self.new_digest(), kind=SessionKind.BROWSER,
                uid=self.uids[name], methods=(Method.PASSWORD,), lifetime=lifetime,
                replaces=replaces.session if replaces else None,
            )
        )  # fmt: skip

    @rule(target=tokens, found=fences)
    def sign_in_within_a_fence(self, found: tuple[Fence, Fence]) -> Any:
        draft = Draft(
            id=self.new_session_id(None), digest=self.new_digest(), kind=SessionKind.BROWSER,
            uid=found[0].uid, methods=(Method.PASSWORD,), fence=found[0],
        )  # fmt: skip
        return self.begin(draft, msgspec.structs.replace(draft, fence=found[1]))

    @rule(target=tokens)
    def visit(self) -> Any:
        return self.begin(Draft(id=self.new_session_id(None), digest=self.new_digest(), kind=SessionKind.ANONYMOUS))

    @rule(
        target=tokens, giver=tokens, to=st.sampled_from(OTHERS), tie=st.sampled_from(Tie),
        lifetime=st.sampled_from([None, 10 * MINUTE, 30 * DAY]), scopes=st.sampled_from([(), ("a",), ("operator",)]),
    )  # fmt: skip
    def hand_out(self, giver: Issued, to: str, tie: Tie, lifetime: timedelta | None, scopes: tuple[str, ...]) -> Any:
        kind = SessionKind.DELEGATED if tie is Tie.PARENT else SessionKind.KEY
        return self.begin(
            Draft(
                id=self.new_session_id(giver), digest=self.new_digest(), kind=kind, uid=self.uids[to],
                giver=giver.digest, tie=tie, lifetime=lifetime, scopes=frozenset(scopes),
            )
        )  # fmt: skip

    # --- tokens ---------------------------------------------------------------------------------------------

    @rule(target=tokens, token=tokens)
    def offer(self, token: Issued) -> Any:
        salt = self.new_digest()
        # As the authority does: the successor follows from the old token and the salt.
        successor = placed(hashlib.sha256(token.digest + salt).digest(), PARTITION)
        found = self.both(lambda store: store.offer(token.digest, salt, successor))
        if found is None:
            return multiple()
        derived = placed(hashlib.sha256(token.digest + found).digest(), PARTITION)
        self.issued[derived] = token.session
        return Issued(derived, token.session)

    @rule(target=tokens, token=tokens)
    def rotate(self, token: Issued) -> Any:
        successor = self.offer(token)
        if isinstance(successor, Issued):
            self.confirm(successor)
        return successor

    @rule(token=tokens)
    def confirm(self, token: Issued) -> None:
        self.both(lambda store: store.confirm(token.digest))

    @rule(target=tokens, token=tokens, method=st.sampled_from([None, Method.TOTP]))
    def replace(self, token: Issued, method: Method | None) -> Any:
        if self.kinds[token.session] is not SessionKind.BROWSER:
            return multiple()
        digest = self.new_digest()
        found = self.both(lambda store: store.replace(token.digest, digest, method, SYSTEM))
        if isinstance(found, Exception):
            return multiple()
        assert token.session not in self.over | self.lapsed, "what is over was replaced"
        self.issued[digest] = token.session
        return Issued(digest, token.session)

    @rule(token=tokens, key=st.sampled_from(["one", "two"]))
    def bind(self, token: Issued, key: str) -> None:
        self.both(lambda store: store.bind(token.session, key, SYSTEM))

    @rule(token=tokens, ago=st.sampled_from([timedelta(0), -HOUR, SECOND, 30 * MINUTE, 59 * MINUTE]))
    def touch(self, token: Issued, ago: timedelta) -> None:
        self.both(lambda store: store.touch({token.session: self.clock.now() - ago}))

    @rule(token=tokens, data=st.binary(max_size=3))
    def write_data(self, token: Issued, data: bytes) -> None:
        if not self.known_to_both(token.session):
            return
        self.both(lambda store: self._write_data(store, token.session, data))

    async def _write_data(self, store: Backend, session: str, data: bytes) -> tuple[bool, bytes]:
        version, _ = await store.read_data(session)
        return await store.write_data(session, version, data), (await store.read_data(session))[1]

    # --- endings --------------------------------------------------------------------------------------------

    @rule(token=tokens, contain=st.sampled_from([None, timedelta(0), MINUTE, DAY]))
    def end_session(self, token: Issued, contain: timedelta | None) -> None:
        if not self.known_to_both(token.session):
            return
        since = None if contain is None else self.clock.now() - contain
        self.both(lambda store: store.end(End(session=token.session, cause="end", contain_since=since)))
        self.over.add(token.session)

    @often_enough
    @rule(
        name=st.sampled_from(PEOPLE + OTHERS), status=st.sampled_from([None, Status.DISABLED, Status.ACTIVE]),
        contain=st.sampled_from([None, MINUTE, DAY]),
    )  # fmt: skip
    def end_principal(self, name: str, status: Status | None, contain: timedelta | None) -> None:
        self.broad += 1
        uid = self.uids[name]
        since = None if contain is None else self.clock.now() - contain
        done = self.both(lambda store: store.end(End(uid=uid, status=status, cause="end", contain_since=since)))
        if not isinstance(done, Exception):  # what nobody answers for is not enabled
            self.over |= {session for session, owner in self.owners.items() if owner == uid}

    @rule(target=tokens, token=tokens, rotate=st.booleans())
    def change_password(self, token: Issued, rotate: bool) -> Any:
        uid = self.owners[token.session]
        if uid is None or self.kinds[token.session] is not SessionKind.BROWSER:
            return multiple()
        digest = self.new_digest() if rotate else None
        end = End(uid=uid, keep=token.session, keep_digest=digest, cause="password")
        if isinstance(self.both(lambda store: store.end(end)), Exception):
            return multiple()
        assert token.session not in self.over | self.lapsed, "what is over was kept"
        self.over |= {session for session, owner in self.owners.items() if owner == uid} - {token.session}
        if digest is None:
            return multiple()
        self.issued[digest] = token.session
        return Issued(digest, token.session)

    @often_enough
    @rule(kinds=st.sets(st.sampled_from(SessionKind), min_size=1, max_size=2))
    def end_everyone(self, kinds: set[SessionKind]) -> None:
        self.broad += 1
        self.both(lambda store: store.end(End(everyone=frozenset(kinds), cause="end")))
        self.over |= {session for session, kind in self.kinds.items() if kind in kinds}

    @often_enough
    @rule(
        idle=st.sampled_from([None, MINUTE, HOUR]), overall=st.sampled_from([HOUR, DAY, 30 * DAY]),
        limit=st.sampled_from([None, 1, 2]), at_limit=st.sampled_from(AtLimit),
        key=st.sampled_from([HOUR, 90 * DAY]),
    )  # fmt: skip
    def set_policy(
        self, idle: timedelta | None, overall: timedelta, limit: int | None, at_limit: AtLimit, key: timedelta
    ) -> None:
        self.broad += 1
        policy = Policy(
            version=next(self.version), idle=idle, overall=overall, max_sessions=limit, at_limit=at_limit,
            key_lifetime=key,
        )  # fmt: skip
        self.both(lambda store: store.set_policy(policy, SYSTEM))
        # A limit that is in force no more ended nothing; the one as issued goes on to hold (`ends`).
        self.lapsed.clear()
        self.denied.clear()

    # --- time and upkeep ------------------------------------------------------------------------------------

    @rule(by=st.sampled_from(STEPS))
    def wait(self, by: timedelta) -> None:
        self.clock.advance(by)

    @rule(limit=st.sampled_from([1, 500]))
    def sweep(self, limit: int) -> None:
        for node in self.nodes:
            assert self.run(node.store.sweep(limit)) <= limit

    # --- what always holds ----------------------------------------------------------------------------------

    @invariant()
    def both_answer_every_check_alike_and_nothing_comes_back(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        now = self.clock.now()
        alive: set[str] = set()
        for digest, session in self.issued.items():
            reasons = []
            for node in self.nodes:
                with node.near.reading() as reading:
                    found = await node.store.read(digest)
                    reasons.append(denied.reason if (denied := decide(found, now)) is not None else None)
                    if found is not None and reasons[-1] is None:
                        node.near.put(digest, entry(digest, found, self.clock), reading)
                current = node.store.current(self.clock.elapsed())
                cached = node.near.get(digest)
                if current and cached is not None and self.clock.elapsed() < cached.good_until:
                    assert reasons[-1] is None, f"the near cache says yes to what is {reasons[-1]}"
                if found is not None and reasons[-1] is None:
                    assert found.session.id == session, "a token names another session than it was issued for"
                    assert found.token_state is not TokenState.SUPERSEDED
            # A store may forget a tombstone earlier than another: then the one says why, the other only no.
            if Reason.UNKNOWN not in reasons:
                assert reasons[0] == reasons[1], f"by memory {reasons[0]}, by this store {reasons[1]}"
            assert (reasons[0] is None) == (reasons[1] is None), reasons
            if reasons[1] is None:
                assert digest not in self.denied, "a token that was denied is let in"
                alive.add(session)
            else:
                self.denied.add(digest)
        assert not alive & (self.over | self.lapsed), "what ended came back"
        for session in alive:
            assert now < self.ends.get(session, now + SECOND), "late"
            parent = self.parents.get(session)
            while parent is not None:
                info = await self.nodes[1].store.session(parent)
                assert info is not None, "a parent was swept under a living child"
                assert info.live, "a child outlived its parent"
                parent = self.parents.get(parent)
        for session in self.kinds:
            infos = [await node.store.session(session) for node in self.nodes]
            assert [info is not None and info.live for info in infos].count(True) in (0, 2)
            if None not in infos:
                assert comparable(infos[0]) == comparable(infos[1])
            if not any(info is not None and info.live for info in infos):
                self.lapsed.add(session)

    @invariant()
    def both_list_alike(self) -> None:
        for uid in (None, self.uids.get("alice")):
            one, two = [self.run(node.store.sessions(uid=uid, limit=1000)) for node in self.nodes]
            assert [info.id for info in one] == [info.id for info in two]


def comparable(answer: Any) -> object:
    """An answer without what each store draws or counts for itself."""
    match answer:
        case Exception():
            return type(answer).__name__, _reason(answer)
        case Begun():
            return comparable(answer.snapshot.session), frozenset(answer.ended)
        case Replaced():
            return comparable(answer.snapshot)
        case Ended():
            return answer.at, answer.revoked, frozenset(answer.sessions)
        case SessionInfo():
            return answer
        case msgspec.Struct() if hasattr(answer, "session"):
            return comparable(answer.session)
        case msgspec.Struct() if hasattr(answer, "epoch"):
            return msgspec.structs.replace(answer, epoch=b"", everyone=b"")
        case _:
            return answer


def _reason(refused: Exception) -> Reason | None:
    denied = getattr(refused, "denied", None)
    return denied.reason if denied is not None else None
