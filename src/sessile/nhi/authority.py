"""The part of the authority that is about the ones that are not people. Each story is a page beside this one."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sessile.kernel.budget import Budget, Standing
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.issue import positive
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import Client, SessionInfo, SessionKind, Tie
from sessile.kernel.token import TokenKind
from sessile.kernel.trace import Trace, TraceKind
from sessile.nhi import contain as containing
from sessile.nhi import impersonating, offboarding
from sessile.nhi import inventory as taking_stock
from sessile.nhi import keys as rotating
from sessile.nhi import leaks as leaking
from sessile.nhi.contain import Containment
from sessile.nhi.handing_out import HandingOut
from sessile.nhi.inventory import Item
from sessile.nhi.keys import OVERLAP
from sessile.nhi.leaks import Leak
from sessile.nhi.offboarding import Holdings, Offboarded
from sessile.receipt import Issued, Receipt
from sessile.stores.noticing import Noticed
from sessile.stores.protocol import End, Page


class NonHuman(HandingOut):
    """What `Authority` can do about agents, services and what is handed to them."""

    @abc.abstractmethod
    async def end(self, end: End, *, by: Active | Actor | None = None, wait: bool = True) -> Receipt: ...

    @abc.abstractmethod
    async def revoke(
        self, *, session: str | None = None, principal: str | None = None, everyone: bool = False, cause: str,
        by: Active | Actor | None = None, keys: bool = False, lock_sign_in: timedelta | None = None, wait: bool = True,
    ) -> Receipt: ...  # fmt: skip

    @abc.abstractmethod
    async def disable(
        self, name: str, *, cause: str, by: Active | Actor | None = None, wait: bool = True
    ) -> Receipt: ...

    @abc.abstractmethod
    async def session(self, session_id: str) -> SessionInfo: ...

    @abc.abstractmethod
    def settling(self, delta: timedelta) -> timedelta:
        """How long after its acknowledgement an ending is in force everywhere."""

    async def rotate_key(
        self, active: Active, key: str, *, overlap: timedelta = OVERLAP, lifetime: timedelta | None = None,
        label: str | None = None, client: Client | None = None,
    ) -> Issued:  # fmt: skip
        """Mint a key that takes the place of another, with the same owner and scopes. Both count for the overlap.

        The old one is over after it (at once, without one). A use after that is a sign of theft: what the old key
        handed out ends then, and the event names it; the new one and others beside it go on. The new key's origin is
        this session; it lives as long as the old one did from its beginning, at the latest until the policy's limit.

        Raises:
            NotFound: no such key. Conflict: it is over, or was rotated out before; this session is over.
            Refused: as `mint_key`. ValueError: a negative overlap or lifetime.
        """
        await self.open()
        return await rotating.rotate(
            self, active, key, overlap=overlap, lifetime=lifetime, label=label, client=client
        )  # fmt: skip

    async def last_uses(self, ids: Sequence[str]) -> Mapping[str, Trace]:
        """When and from where agents' and services' sessions were last used, by id: to the minute, each process for
        itself. Those that were not used are left out."""
        await self.open()
        return await rotating.last_uses(self, ids)

    async def impersonate(
        self, active: Active, name: str, *, cause: str, lifetime: timedelta | None = None, client: Client | None = None
    ) -> Issued:
        """Begin a session in which an operator acts as another person, for at most 15 minutes, and no longer than the
        operator's own. It has the person's scopes and its token is a browser's.

        `Session.impersonation` tells it from the person's own, and `act` names the operator; the person sees it among
        its sessions, and reads the cause. It is never fresh, changes no password and no factor, and hands out nothing.

        Raises:
            Refused: not an operator who proved itself in the last five minutes; the person has rights over Sessile;
                the operator lacks a scope of the person's. NotFound: nobody has that name.
            Conflict: the person is disabled, or the operator's session is over. ValueError: no cause.
        """
        await self.open()
        return await impersonating.impersonate(
            self, active, name, cause=cause, lifetime=positive(lifetime), client=client
        )  # fmt: skip

    async def set_budget(self, name: str, budget: Budget | None, *, by: Active | Actor | None = None) -> Standing:
        """How many calls an agent or a service may make from now on, over all of its sessions and nodes; None: any
        number. Calls of what it hands on count, too. In force here at once, and on other nodes within two seconds.

        Raises NotFound; ValueError: a person has none.
        """
        principal = await self.principal(name)
        if principal.kind is PrincipalKind.HUMAN:
            raise ValueError("budgets are for agents and services")
        standing = await self.store.set_budget(principal.uid, budget, actor_of(by))
        self.budgets.hear([standing])
        self._near.apply(self._near.mark, (f"p:{principal.uid}",))
        return standing

    async def budget(self, name: str) -> Standing | None:
        """How the budget of a principal stands; None: it never had one. Raises NotFound."""
        uid = (await self.principal(name)).uid
        _, standings = await self.store.spend({uid: 0}, self.clock.now() + timedelta(days=1))
        return next((one for one in standings if one.uid == uid), None)

    async def inventory(self, *, owner: str | None = None, after: str | None = None, limit: int = 100) -> Page[Item]:
        """A page of agents and services by name, with what they hold and what is wrong with them: all, or those that a
        person, or `team:NAME`, owns. Raises NotFound: the owner."""
        await self.open()
        return await taking_stock.inventory(self, owner=owner, after=after, limit=limit)

    async def holdings(self, name: str) -> Holdings:
        """What a person would leave behind: agents and services that nobody but it answers for, living keys and leases,
        secrets it saw. Of `team:NAME`, what the team owns. Raises NotFound."""
        await self.open()
        return await offboarding.holdings(self, name)

    async def show_secret(self, session: str, *, to: Active, how: str) -> None:
        """Record that somebody was shown the secret of a key or a lease, before it is shown. What is minted is recorded
        by itself. `how` is on what occasion, in a word (`revealed`)."""
        now = self.clock.now()
        if to.session.uid is not None:
            trace = Trace(subject=to.session.uid, kind=TraceKind.SHOWN, what=session, how=how, first=now, last=now)
            await self.store.notice([Noticed(trace)])

    async def found_in_the_open(self, token: str, *, where: str, reporter: str, client: Client | None = None) -> bool:
        """End a token that was found where none should be, and record where and by whom. Whether it is one of ours.

        It counts as no use of the token. `leaks` names what handed it out, to be contained.
        """
        await self.open()
        return await leaking.report(self, token, where=where, reporter=reporter, client=client)

    async def leaks(self, *, since: datetime | None = None) -> Sequence[Leak]:
        """Tokens that were found in the open, latest first; at most 1,000, for about a hundred days."""
        await self.open()
        return await leaking.leaks(self, since)

    async def hand_over(
        self, name: str, *, to: str, only: Iterable[str] | None = None, by: Active | Actor | None = None
    ) -> tuple[Principal, ...]:
        """Let another person, or `team:NAME`, answer for the agents and services that nobody but this one (a person or
        `team:NAME`) answers for: all of them, or `only` those. Ends nothing; their keys are to be rotated (`holdings`).

        Raises NotFound: no such one, or it does not answer for that alone. Conflict: `to` is no other person who is
        active, nor a team in which somebody else is.
        """
        await self.open()
        return await offboarding.hand_over(self, name, to, only, by)

    async def offboard(
        self, name: str, *, to: str | None = None, end_keys: bool = False, cause: str,
        by: Active | Actor | None = None,
    ) -> Offboarded:  # fmt: skip
        """Disable a person, and leave nothing of theirs without somebody who answers for it. The agents and services
        that nobody else answers for, those of teams in which nobody else is active included, are handed over to `to` (a
        person, or `team:NAME`), or, without it, disabled too. `end_keys` also ends the keys and leases that they handed
        out or saw; without it these are listed, to be rotated. If it fails midway, repeat it.

        Raises:
            NotFound: no such person. Conflict: `to` is no other person who is active, nor a team in which somebody else
            is. RevocationUncertain: repeat it.
        """
        await self.open()
        return await offboarding.offboard(self, name, to=to, end_keys=end_keys, cause=cause, by=by)

    async def hand_out(
        self, active: Active, kind: SessionKind, token_kind: TokenKind, to: Principal, tie: Tie, *,
        scopes: frozenset[str], lifetime: timedelta | None, label: str, client: Client | None,
    ) -> Issued:  # fmt: skip
        """Begin a child session of `active`. Whether it may is up to the caller; the store decides on the rest."""
        return await self._begin(
            kind, token_kind, active=active, uid=to.uid, tie=tie, scopes=scopes, lifetime=lifetime, label=label,
            client=client,
        )  # fmt: skip

    async def add_up_budgets(self) -> None:
        """Report the calls of this process, and hear of the others'. The upkeep does so once a second."""
        for uid in await self.budgets.sync(self.store):
            self._near.apply(self._near.mark, (f"p:{uid}",))

    async def contain(
        self, *, session: str | None = None, principal: str | None = None, since: datetime | None = None,
        cause: str, by: Active | Actor | None = None, disable: bool = False, dry_run: bool = False, wait: bool = True,
    ) -> Containment:  # fmt: skip
        """After a compromise: end a session, or all of a principal's, and what it handed out since an instant by
        whichever tie, keys included. It works as well on a session that has already ended.

        The root is cut first, in one commit; from then on nothing below passes a check or can be minted. What that
        reached is walked afterwards, for the report. If this call is cancelled or its process dies after the cut, any
        process on the store finishes the report.

        Args:
            since: an aware datetime; None: all that was ever handed out. Delegations end whatever their age.
            cause: why, for the report, the audit record and the person (at most 200 characters).
            disable: with `principal`: it cannot sign in any more either.
            dry_run: change nothing and say what would be reached.

        Raises:
            NotFound: no such session or principal. ValueError: not exactly one of the two, or not an id.
            RevocationUncertain: the store did not acknowledge the cut; repeat it.
        """
        await self.open()
        return await containing.contain(
            self, session=session, principal=principal, since=since, cause=cause, by=by, disable=disable,
            dry_run=dry_run, wait=wait,
        )  # fmt: skip

    async def containment(self, id: str) -> Containment:
        """The report of a containment, as it stands by now. Raises NotFound."""
        await self.open()
        return await containing.show(self, id)
