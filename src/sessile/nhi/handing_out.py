"""Handing out: delegations, which die with their giver, and keys, which outlive it."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sessile.errors import Conflict, Refused, refused
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Requirement, demand, holds
from sessile.kernel.event import actor_of
from sessile.kernel.issue import Fence, positive
from sessile.kernel.principal import (
    OPERATOR,
    Principal,
    PrincipalKind,
    canonical,
    check_scopes,
    covers,
    kind_of,
    new_principal,
)  # fmt: skip
from sessile.kernel.session import Client, SessionKind, Tie
from sessile.kernel.token import TokenKind
from sessile.nhi.owning import LONGEST_PURPOSE, Owning
from sessile.receipt import Issued

FRESH_FOR_MINTING: Final = timedelta(minutes=5)
"""How recent the giver's authentication must be to mint a key."""


class HandingOut(Owning):
    """What `Authority` hands to agents and services."""

    @abc.abstractmethod
    async def _begin(
        self, kind: SessionKind, token_kind: TokenKind, *, active: Active | None = None, uid: str | None = None,
        tie: Tie | None = None, methods: tuple[Method, ...] = (), scopes: frozenset[str] | None = None,
        lifetime: timedelta | None = None, label: str = "", client: Client | None = None, replaces: str | None = None,
        fence: Fence | None = None,
    ) -> Issued: ...  # fmt: skip

    async def delegate(
        self, active: Active, *, to: str, scopes: Iterable[str], lifetime: timedelta | None = None,
        label: str = "", client: Client | None = None,
    ) -> Issued:  # fmt: skip
        """Hand an agent or a service a child session, which dies with this one.

        `to` is one that the giver answers for: it owns it, or is a member of the team that does. A new name is
        registered with the giver as its owner, for the purpose that `label` says. Scopes are at most the giver's; a
        scope, like everything, is never implied.

        Raises:
            Refused: wider scopes, not the giver's agent, a person. Conflict: the giver's session is over.
            LimitExceeded: the chain is at the policy's limit. ValueError: not a name or a scope.
        """
        wanted = check_scopes(scopes)
        target = await self._receiver(active, to, wanted, purpose=label)
        return await self._begin(
            SessionKind.DELEGATED, TokenKind.DELEGATED, active=active, uid=target.uid, tie=Tie.PARENT,
            scopes=wanted, lifetime=positive(lifetime), label=label, client=client,
        )  # fmt: skip

    async def mint_key(
        self, active: Active, *, owner: str, scopes: Iterable[str], lifetime: timedelta | None = None,
        label: str = "", client: Client | None = None,
    ) -> Issued:  # fmt: skip
        """Mint a long-lived API key for a service or an agent. It outlives this session, unless that is contained.

        `owner` is whose key it is: one that the giver answers for, or the giver itself. It always expires, at the
        latest by the policy's `key_lifetime`.

        Raises:
            Refused: as `delegate`, or the giver's authentication is older than `FRESH_FOR_MINTING`.
            Conflict: the giver's session is over. ValueError: not a name or a scope.
        """
        stale = demand(active.session, Requirement(fresh=FRESH_FOR_MINTING), self.clock.now())
        if stale is not None:
            raise Refused("minting a key needs an authentication of the last five minutes: step up first", stale)
        wanted = check_scopes(scopes)
        target = await self._receiver(active, owner, wanted, itself=True, purpose=label)
        return await self._begin(
            SessionKind.KEY, TokenKind.KEY, active=active, uid=target.uid, tie=Tie.ORIGIN,
            scopes=wanted, lifetime=positive(lifetime), label=label, client=client,
        )  # fmt: skip

    async def _receiver(
        self, active: Active, name: str, wanted: frozenset[str], *, itself: bool = False, purpose: str = ""
    ) -> Principal:
        name = canonical(name)
        session = active.session
        target = await self.store.principal(name=name)
        if session.uid is None:
            raise refused(session, "an anonymous session hands out nothing")
        if itself and target is not None and target.uid == session.uid:
            return target
        if kind_of(name) is PrincipalKind.HUMAN:
            raise refused(
                session, "sessions are handed to agents and services (agent:NAME, service:NAME), never to people"
            )
        if session.impersonation:
            raise refused(session, "whoever acts as somebody else hands out nothing in their name")
        # What an agent registers belongs to whoever answers for the agent.
        giver = await self.store.principal(uid=session.uid)
        answers = giver.owner if giver is not None and giver.kind is not PrincipalKind.HUMAN else session.uid
        if target is None:
            # `begin` decides; but what has ended, or may not give this, must not take names either.
            snapshot = await self.store.read(active.digest)
            if (denied := holds(snapshot, self.clock.now())) is not None:
                raise Conflict(f"the session that hands out is over: {denied.reason}", denied)
            if not covers(session.scopes, wanted):
                raise refused(session, "a session hands out no scope that it does not have")
            if answers is None:
                raise refused(session, f"nobody answers for {session.principal}, so it makes no other: name its owner")
            new = new_principal(name, now=self.clock.now(), owner=answers, purpose=purpose[:LONGEST_PURPOSE])
            target = await self._registered(new, active)
        same = target.owner is not None and target.owner == answers
        if not same and OPERATOR not in session.scopes and not await self.answers(session.uid, target):
            raise refused(session, f"{name} belongs to somebody else: ask its owner or an operator")
        return target

    async def _registered(self, principal: Principal, by: Active) -> Principal:
        """The principal, or the one that somebody registered under its name a moment before."""
        try:
            await self.store.register(principal, actor_of(by))
        except Conflict:
            found = await self.store.principal(name=principal.name)
            if found is None:
                raise
            return found
        return principal
