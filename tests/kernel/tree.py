"""A world without a store: principals, policies and sessions in dictionaries, to take snapshots of, and what
hypothesis draws of them.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from sessile.kernel.assurance import Method
from sessile.kernel.decide import Ancestor, Denied, Snapshot, TokenState, decide
from sessile.kernel.ids import new_session_id
from sessile.kernel.issue import Draft, issue
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind, kind_of, new_epoch, new_principal
from sessile.kernel.session import Session, SessionKind, Tie

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Tree:
    """Mutable on purpose: a test changes one thing and looks at what `decide` says."""

    def __init__(self) -> None:
        self.now = START
        self.everyone = {kind: new_epoch() for kind in SessionKind}
        self.principals: dict[str, Principal] = {}
        self.policies: dict[str, Policy] = {}
        """By the principal's uid; of nobody, by the empty string."""
        self.sessions: dict[str, Session] = {}

    def person(self, name: str = "alice", policy: Policy | None = None, **changes: Any) -> Principal:
        if kind_of(name) is not PrincipalKind.HUMAN:
            changes.setdefault("owner", "prn_of_whoever_answers")
        principal = new_principal(name, now=self.now, **changes)
        self.principals[principal.uid] = principal
        self.policies[principal.uid] = policy or Policy.aal2()
        return principal

    def sign_in(self, who: Principal | None = None, **changes: Any) -> str:
        who = who or self.person()
        values: dict[str, Any] = {"kind": SessionKind.BROWSER, "methods": (Method.PASSWORD,), **changes}
        return self._begin(Draft(id=new_session_id(), digest=b"", uid=who.uid, **values), None)

    def visit(self, policy: Policy, **changes: Any) -> str:
        self.policies[""] = policy
        return self._begin(Draft(id=new_session_id(), digest=b"", kind=SessionKind.ANONYMOUS, **changes), None)

    def hand_out(self, giver: str, to: Principal | None = None, tie: Tie = Tie.PARENT, **changes: Any) -> str:
        to = to or self.person("agent:deploy")
        kind = SessionKind.DELEGATED if tie is Tie.PARENT else SessionKind.KEY
        values: dict[str, Any] = {"kind": kind, "tie": tie, "giver": b"", **changes}
        return self._begin(Draft(id=new_session_id(), digest=b"", uid=to.uid, **values), self.snapshot(giver))

    def _begin(self, draft: Draft, giver: Snapshot | None) -> str:
        self.sessions[draft.id] = issue(
            draft, principal=self.principals.get(draft.uid or ""), policy=self.policies[draft.uid or ""],
            everyone=self.everyone[draft.kind], giver=giver, now=self.now,
        )  # fmt: skip
        return draft.id

    def change(self, session: str, **changes: Any) -> None:
        self.sessions[session] = msgspec.structs.replace(self.sessions[session], **changes)

    def change_principal(self, uid: str | None, **changes: Any) -> None:
        assert uid is not None
        self.principals[uid] = msgspec.structs.replace(self.principals[uid], **changes)

    def snapshot(self, session: str, **changes: Any) -> Snapshot:
        found = self.sessions[session]
        ancestors = tuple(
            Ancestor(
                link, self.sessions.get(link.session), self.principals.get(link.uid or ""),
                self.policies.get(link.uid or ""),
            )
            for link in found.lineage
        )  # fmt: skip
        values: dict[str, Any] = {
            "session": found, "principal": self.principals.get(found.uid or ""),
            "policy": self.policies.get(found.uid or ""), "ancestors": ancestors, "everyone": self.everyone,
            "token_state": TokenState.CURRENT, "token_since": found.rotated, "now": self.now, "mark": 0,
        }  # fmt: skip
        return Snapshot(**{**values, **changes})

    def decide(self, session: str, at: datetime | None = None, **asked: Any) -> Denied | None:
        return decide(self.snapshot(session), at or self.now, **asked)

    def alive(self, session: str, at: datetime | None = None) -> bool:
        return self.decide(session, at) is None


ROUND = (SECOND, MINUTE, 15 * MINUTE, HOUR, 12 * HOUR, DAY, 30 * DAY)


@functools.cache
def spans(longest: timedelta = 60 * DAY) -> st.SearchStrategy[timedelta]:
    """Spans of time from a microsecond on, and often round ones."""
    any_span = st.integers(1, longest // TICK).map(lambda ticks: ticks * TICK)
    round_ones = [span for span in ROUND if span <= longest]
    return st.sampled_from(round_ones) | any_span if round_ones else any_span


every_tie = st.sampled_from(Tie)
depths = st.integers(0, 3)
shares = st.integers(1, 1000).map(lambda thousandths: thousandths / 1000)
lifetimes = st.none() | spans()


@st.composite
def policies(draw: st.DrawFn, idle: bool | None = None, least: timedelta = timedelta(0)) -> Policy:
    overall = least + draw(spans())
    has_idle = draw(st.booleans()) if idle is None else idle
    return Policy(
        overall=overall,
        idle=max(TICK, least + (overall - least) * draw(shares)) if has_idle else None,
        grace=draw(spans(10 * MINUTE)),
        key_lifetime=least + draw(spans(400 * DAY)),
    )


lively = policies(least=20 * MINUTE)
"""So that there is time to hand something out before all is over."""
short_or_any = st.sampled_from([20 * MINUTE, HOUR]) | lifetimes
steps = st.sampled_from([TICK, MINUTE, 10 * MINUTE])


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, str]:
    """A chain of up to four sessions, each begun and touched at some time, most of them alive; its last one."""
    tree = Tree()
    session = tree.sign_in(tree.person(policy=draw(lively)), lifetime=draw(short_or_any), methods=(Method.PASSWORD,))
    for depth in range(draw(depths)):
        if draw(st.booleans()):
            tree.now += draw(steps)
            tree.change(session, last_seen=tree.now)
        tree.now += draw(steps)
        if not tree.alive(session):
            break  # no store lets what is over hand out
        to = tree.person(f"agent:{depth}", policy=draw(lively))
        session = tree.hand_out(session, to, draw(every_tie), lifetime=draw(short_or_any))
    return tree, session


def around(instant: datetime) -> list[datetime]:
    """The last instant before, the instant, and the first after."""
    return [instant - TICK, instant, instant + TICK]
