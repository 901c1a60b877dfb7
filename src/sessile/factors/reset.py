"""A forgotten password: a one-time link, and whatever second factor the person has (NIST SP 800-63B-4, 4.2.2.2).

Asking says nothing and costs the same for everybody, known or not: it is counted, looked up and written to the record,
and whoever sends mail finds it there. The link proves the address, which is one proof: who has a second factor needs it
as well, by a code or by a session that it opened a moment ago. Nobody is signed in by any of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import NotFound, SessileError
from sessile.factors.addresses import Addresses
from sessile.factors.enrolled import FRESH, Factors, second_factors
from sessile.factors.even import even
from sessile.factors.links import Links, Purpose
from sessile.factors.password import Passwords
from sessile.factors.throttle import Throttle
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.principal import Principal, PrincipalKind, Status, canonical
from sessile.kernel.session import Client, SessionKind
from sessile.receipt import Receipt

KIND: Final = "reset"
CAUSE: Final = "recovery"
"""Of the ending that a new password by link brings."""


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """A code of a second factor was right. Hidden in its repr."""

    replacement: str = ""
    """For a recovery code: the one that takes its place, to be shown now and never again."""

    def __repr__(self) -> str:
        return "Proved()"


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """The password is a new one."""

    principal: Principal
    receipt: Receipt
    proved: Proved = Proved()


Prove = Callable[[Principal, str, Client | None], Awaitable[Proved | None]]
"""Takes a code of a second factor, once. Counts the try, writes an event where it is wrong. Raises Throttled."""


class SecondProofNeeded(SessileError):
    """The link is good, and this person has a second factor: a code of it is needed, or the one given is wrong."""

    def __init__(self, methods: Sequence[Method], message: str) -> None:
        super().__init__(message)
        self.methods = methods


class Reset:
    """New passwords for those who forgot theirs.

    Args:
        passwords, links, addresses, factors: of one authority.
        throttle: counts how often links are asked for.
        prove: takes a code of a second factor. None: nobody has one.
    """

    def __init__(
        self, passwords: Passwords, links: Links, addresses: Addresses, factors: Factors, throttle: Throttle,
        prove: Prove | None = None,
    ) -> None:  # fmt: skip
        self._passwords = passwords
        self._links = links
        self._addresses = addresses
        self._factors = factors
        self._throttle = throttle
        self._prove = prove
        self._authority: Authority = factors.authority

    def __repr__(self) -> str:
        return f"Reset({self._authority!r})"

    @even
    async def ask(self, named: str, *, client: Client | None = None) -> None:
        """Somebody forgot the password of this name or address. Returns the same, after the same work, for everybody.

        Raises:
            Throttled: this was asked for too often, whoever it is.
        """
        try:
            name = canonical(named)
        except ValueError:
            name = ""
        await self._throttle.ask(KIND, name or named.strip().casefold()[:256], client)
        principal, about = await self._whose(name, named)
        known = principal is not None
        await self._authority.store.record(
            Event(
                name=EventName.RECOVERY_REQUESTED, principal=principal.name if principal else None,
                uid=principal.uid if principal else None, by=Actor(name="anonymous", client=client or Client()),
                # What a stranger typed may be anything, a password too: it is not kept.
                details={"known": int(known)} if about is None else {"known": 1, "id": about},
            )
        )  # fmt: skip

    async def link(self, name: str, *, by: Active | Actor) -> str:
        """See `operators_link`."""
        return await operators_link(self._authority, name, by=by)

    async def mailed(self, uid: str) -> str:
        """The secret part of a link, for the mail that was asked for. Raises NotFound: no active person has the uid."""
        principal = await self._authority.store.principal(uid=uid)
        if principal is None or principal.status is not Status.ACTIVE or principal.kind is not PrincipalKind.HUMAN:
            raise NotFound("nobody to send a link to")
        return await self._links.make(principal, Purpose.PASSWORD)

    async def look(
        self, secret: str, active: Active | None = None, *, client: Client | None = None
    ) -> tuple[Principal, list[Method]]:
        """Whose link it is, and of which methods one more proof is needed. Raises LinkOver."""
        principal = (await self._links.find(secret, Purpose.PASSWORD, client=client)).principal
        return principal, await self._needed(principal, active)

    async def redeem(
        self, secret: str, new: str, *, code: str = "", active: Active | None = None, client: Client | None = None
    ) -> Redeemed:
        """The new password. Every session of the person ends, and every other link.

        Args:
            code: of a second factor, where the person has one.
            active: or the session of this browser, if a second factor opened it in the last five minutes.

        Raises:
            LinkOver. WeakPassword: says the rule; the link stays good. SecondProofNeeded, and it stays good.
            Throttled: of codes. Busy. RevocationUncertain: repeat it.
        """
        link = await self._links.find(secret, Purpose.PASSWORD, client=client)
        principal = link.principal
        credential = await self._passwords.prepared(principal, new)
        proved: Proved | None = Proved()
        if methods := await self._needed(principal, active):
            if not code:
                raise SecondProofNeeded(methods, "the link is one proof: a code of your second factor is needed too")
            proved = None if self._prove is None else await self._prove(principal, code, client)
            if proved is None:
                raise SecondProofNeeded(methods, "the code is wrong, or was used already")
        await self._links.follow(link, client=client)
        by = Actor(name=principal.name, uid=principal.uid, client=client or Client())
        receipt = await self._passwords.put(credential, by=by, cause=CAUSE)
        return Redeemed(principal=principal, receipt=receipt, proved=proved or Proved())

    async def _whose(self, name: str, named: str) -> tuple[Principal | None, str | None]:
        """The person of that name, or else of that address, and then its id. The same look-ups for everybody."""
        store = self._authority.store
        by_name = await store.principal(name=name)
        uid, id = await self._addresses.holder(named)
        by_address = await store.principal(uid=uid or "prn_unknown")
        found, about = (by_name, None) if by_name is not None else (by_address, id)
        if found is None or found.kind is not PrincipalKind.HUMAN or found.status is not Status.ACTIVE:
            return None, None
        return found, about

    async def _needed(self, principal: Principal, active: Active | None) -> list[Method]:
        methods = second_factors(await self._factors.of(principal.uid))
        session = None if active is None else active.session
        if session is None or session.uid != principal.uid or session.kind is not SessionKind.BROWSER:
            return methods
        since = self._authority.clock.now() - FRESH
        proofs = (one.method for one in session.authentications if one.at >= since)
        return [] if any(one not in (Method.PASSWORD, Method.FEDERATED) for one in proofs) else methods


async def operators_link(authority: Authority, name: str, *, by: Active | Actor) -> str:
    """The secret part of a link, for an operator to hand over. Raises NotFound, ValueError: not a person."""
    principal = await authority.principal(name)
    if principal.kind is not PrincipalKind.HUMAN:
        raise ValueError("services and agents have no password")
    secret = await Links(authority).make(principal, Purpose.PASSWORD)
    await authority.store.record(
        Event(name=EventName.RECOVERY_LINK, principal=principal.name, uid=principal.uid, by=actor_of(by))
    )
    return secret
