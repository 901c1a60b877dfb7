"""Leases: credentials in outside systems that hang in the tree of sessions, and end with it.

`Leases` registers and mints them, shows how they stand, and holds the worker that ends them outside (`nhi.outbox`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from sessile.errors import Conflict, LimitExceeded, NotFound, Refused, refused
from sessile.kernel.decide import Active, Denied, Requirement, Snapshot, demand, is_live
from sessile.kernel.event import Actor, EventName, actor_of
from sessile.kernel.ids import check_session_id, new_session_id
from sessile.kernel.issue import Draft, TooDeep, Wider, positive
from sessile.kernel.lease import EndsBy, Lease, Outcome
from sessile.kernel.principal import OPERATOR
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionInfo, SessionKind, Tie
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.nhi import contain
from sessile.nhi.connector import SECONDS, Connector, ConnectorFailed, Minted, Mints, Rotates
from sessile.nhi.outbox import Outbox, Sealing, confirmed, lease_event, place
from sessile.stores.protocol import Page

if TYPE_CHECKING:
    from sessile.authority import Authority

logger = logging.getLogger("sessile")

FRESH = timedelta(minutes=5)
"""How recent the giver's authentication must be for a lease that outlives its session."""
MINTING = timedelta(minutes=3)
"""How long making a credential may take outside."""
MINT_SECONDS = 60.0
_ATTEMPTS = 5


class LeaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A lease to show: its session, where it lives outside, and how far its end has got there."""

    id: str
    connector: str
    shown: str
    """What the outside system calls it."""
    state: Literal["living", "pending", "lingering", "confirmed"]
    """`pending`: it should be over and is not confirmed yet. `lingering`: all was done, and it lives until `until`."""
    principal: str | None
    origin: str | None
    parent: str | None
    label: str
    created: datetime | None
    expires: datetime | None
    ends_by: EndsBy
    until: datetime | None
    """When it ends outside by itself, at the latest; None: not known, or never."""
    by_hand: str
    """What a person has to do to end it earlier; empty: the connector does it."""
    over: datetime | None
    tries: int
    error: str
    next_try: datetime | None
    overdue: bool
    confirmed: datetime | None
    outcome: Outcome | None
    successor: bool
    """Rotation made a new secret, which nobody has taken yet."""


class Leased(msgspec.Struct, frozen=True):
    """A lease that was handed out. Its repr hides the secret."""

    info: LeaseInfo
    secret: Mapping[str, str] | None = None
    """What its holder needs; seen here, once. None: the credential was there before."""

    def __repr__(self) -> str:
        return f"Leased({self.info.id}, {self.info.shown!r})"


class Leases:
    """What can be done about leases, with the connectors of this process.

    Args:
        seal: seals handles and secrets at rest.
        connectors: by the name that they are configured by.
    """

    def __init__(self, authority: Authority, seal: Sealing, connectors: Mapping[str, Connector]) -> None:
        self._authority = authority
        self._seal = seal
        self.connectors = connectors
        self._outbox = Outbox(authority, seal, connectors, resume=lambda: contain.resume(authority))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Work on what is due from now on, on the running loop. Each connector is tried beside, and what is wrong
        logged: one that is away now keeps nobody from starting."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        async def try_out(name: str, connector: Connector) -> None:
            if (wrong := await _wrong(connector)) is not None:
                logger.error("connector %s: %s", name, wrong)

        await asyncio.gather(self._outbox.run(), *(try_out(*one) for one in self.connectors.items()))

    async def close(self) -> None:
        """Stop working and let go of connections. What was being tried is taken up again, by whoever works then."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        for connector in self.connectors.values():
            await connector.close()

    async def work(self) -> int:
        """Do what is due now, once. Returns how many ends were confirmed. Raises StoreUnavailable."""
        await self._authority.open()
        return await self._outbox.work()

    # -- handing out --------------------------------------------------------------------------------------------

    async def register(
        self, active: Active, *, connector: str, handle: str, owner: str | None = None,
        lifetime: timedelta | None = None, label: str = "", ends_by: EndsBy = EndsBy.REVOKE, tie: Tie = Tie.ORIGIN,
        client: Client | None = None,
    ) -> Leased:  # fmt: skip
        """Put a credential that is there already into the tree, so that it ends with it.

        Args:
            connector: the giver holds the scope `lease:CONNECTOR` by name, or is an operator.
            handle: what the connector knows the credential by. It may be a secret, and is sealed.
            owner: who has it: a service or an agent that the giver owns; None: the giver itself.
            ends_by: `rotate` where others need the credential too.
            tie: `parent`: it dies with this session. `origin`: only by its own end, or when this one is contained.

        Raises:
            Refused: no such scope, not the giver's agent, or the giver's authentication is older than `FRESH` and the
                lease would outlive its session. Conflict: the giver's session is over. NotFound: no such connector.
            ConnectorFailed: it could not be asked. ValueError: not such a handle, or the connector cannot rotate.
        """
        outside = self._may(active, connector, tie)
        if ends_by is EndsBy.ROTATE and not isinstance(outside, Rotates):
            raise ValueError(f"{connector} cannot rotate: let the lease end by revoking")
        described = await outside.describe(handle)
        now = self._authority.clock.now()
        lifetime = positive(lifetime)
        if described.until is not None:
            if described.until <= now:
                raise ValueError("that credential is over already")
            lifetime = min(lifetime or described.until - now, described.until - now)
        lease = Lease(
            session="", connector=connector, shown=described.shown[:200], ends_by=ends_by, until=described.until,
            by_hand=described.by_hand[:300],
        )  # fmt: skip
        session = await self._begin(active, lease, described.handle or handle, owner, lifetime, label, tie, client)
        return Leased(await self.show(session.id))

    async def mint(
        self, active: Active, *, connector: str, owner: str | None = None, lifetime: timedelta | None = None,
        label: str = "", tie: Tie = Tie.ORIGIN, client: Client | None = None,
    ) -> Leased:  # fmt: skip
        """Make a new credential outside. Its secret is in what this returns, once, and kept nowhere.

        If the giver is revoked meanwhile, nobody gets the secret, and what was made is ended. Raises as `register`.
        """
        outside = self._may(active, connector, tie)
        if not isinstance(outside, Mints):
            raise ValueError(f"{connector} makes no credentials: register one that is there")
        handle = outside.plan()
        lease = Lease(
            session="", connector=connector, shown=handle, minting=self._authority.clock.now() + MINTING
        )  # fmt: skip
        session = await self._begin(active, lease, handle, owner, positive(lifetime), label, tie, client)
        try:
            minted = await self._made(outside, session, handle)
            if not (await self._authority.session(session.id)).live:
                raise Conflict("the lease was ended while its credential was being made")
        except BaseException:
            # Whatever there may be outside is known by its planned handle, and ended like any other.
            await asyncio.shield(
                self._authority.revoke(session=session.id, cause="not made", by=active, wait=False)
            )  # fmt: skip
            raise
        return Leased(await self.show(session.id), minted.secret)

    async def _made(self, outside: Mints, session: SessionInfo, handle: str) -> Minted:
        try:
            async with asyncio.timeout(MINT_SECONDS):
                minted = await outside.mint(handle, session.expires)
        except TimeoutError:
            raise ConnectorFailed("the credential could not be made in time: try again") from None
        sealed = self._seal.seal(minted.handle.encode(), *place(session.id))
        await self._authority.store.found_lease(session.id, handle=sealed, shown=minted.handle, until=None)
        return minted

    def _may(self, active: Active, name: str, tie: Tie) -> Connector:
        session = active.session
        # Never by `*`: what a connector reaches is more than what an application offers its people.
        if not {f"lease:{name}", OPERATOR} & session.scopes:
            raise refused(session, f"a lease of {name} needs the scope lease:{name}")
        found = self.connectors.get(name)
        if found is None:
            raise NotFound(f"no connector is named {name!r}")
        if tie is Tie.ORIGIN:
            stale = demand(session, Requirement(fresh=FRESH), self._authority.clock.now())
            if stale is not None:
                raise Refused(
                    "a lease that outlives its session needs an authentication of the last five minutes: step up"
                    " first, or let it die with the session",
                    stale,
                )
        return found

    async def _begin(
        self, active: Active, lease: Lease, handle: str, owner: str | None, lifetime: timedelta | None, label: str,
        tie: Tie, client: Client | None,
    ) -> SessionInfo:  # fmt: skip
        name = owner or active.session.principal or ""
        target = await self._authority._receiver(active, name, frozenset(), itself=True, purpose=label)
        session_id = new_session_id(active.session.partition)
        lease = msgspec.structs.replace(lease, handle=self._seal.seal(handle.encode(), *place(session_id)))
        draft = Draft(
            # It opens nothing here: nobody ever sees this token.
            id=session_id, digest=digest(new_token(TokenKind.KEY, session_id[4])), kind=SessionKind.LEASE,
            uid=target.uid, scopes=frozenset(), lifetime=lifetime, client=client or Client(), label=label[:200],
            giver=active.digest, tie=tie, lease=lease,
        )  # fmt: skip
        try:
            await self._authority.store.begin(draft)
        except Wider as error:
            raise Refused(str(error), Denied(reason=Reason.OUT_OF_SCOPE)) from None
        except TooDeep as error:
            raise LimitExceeded(str(error)) from None
        return await self._authority.session(session_id)

    # -- looking ------------------------------------------------------------------------------------------------

    async def show(self, session_id: str) -> LeaseInfo:
        """One lease, as it stands. Raises NotFound, ValueError."""
        lease = await self._authority.store.lease(check_session_id(session_id))
        if lease is None:
            raise NotFound(f"no lease {session_id}")
        return await self._info(lease)

    async def of(self, uid: str | None, *, after: str | None = None, limit: int = 100) -> Page[LeaseInfo]:
        """The living leases that sessions of a principal handed out, newest first; a page may hold fewer than `limit`
        and still have a next one."""
        page = await self._authority.store.sessions(giver=uid, after=after, limit=limit)
        ids = [one.id for one in page if one.kind is SessionKind.LEASE]
        rows = {one.session: one for one in await self._authority.store.leases(sessions=ids, limit=1000)}
        return Page([await self._info(rows[id]) for id in ids if id in rows], page.next)

    async def all(
        self, *, pending: bool = False, after: str | None = None, limit: int = 100
    ) -> Page[LeaseInfo]:  # fmt: skip
        """Every lease whose end is not confirmed; `pending`: only those that should be over. Pages as in `of`."""
        page = await self._authority.store.leases(pending=pending, after=after, limit=limit)
        found = [await self._info(one) for one in page]
        return Page([one for one in found if not pending or one.state in ("pending", "lingering")], page.next)

    async def _info(self, lease: Lease) -> LeaseInfo:
        session = await self._authority.store.session(lease.session)
        return lease_info(lease, session, self._authority.clock.now())

    # -- ending -------------------------------------------------------------------------------------------------

    async def confirm(self, session_id: str, *, cause: str, by: Active | Actor | None = None) -> LeaseInfo:
        """A person says that the credential is over outside: nobody tries to end it any more.

        Raises:
            NotFound: no such lease. Conflict: its end is confirmed, or it is not over: revoke it first.
        """
        for _ in range(_ATTEMPTS):
            lease, snapshot = await self._read(session_id)
            if lease.confirmed is not None:
                raise Conflict("its end is confirmed already")
            if snapshot is not None and is_live(snapshot, snapshot.now):
                raise Conflict("this lease is not over: revoke it first")
            after = confirmed(lease, Outcome.BY_HAND, self._authority.clock.now())
            event = lease_event(
                EventName.LEASE_ENDED, lease, snapshot, by=actor_of(by), cause=cause, outcome=Outcome.BY_HAND
            )
            if await self._authority.store.close_lease(lease, after, event):
                await contain.resume(self._authority)
                return await self.show(session_id)
        raise Conflict("the lease is being worked on: try again")

    async def take_successor(self, session_id: str, *, by: Active) -> Mapping[str, str]:
        """The secret of the credential that rotation put in the place of this one: shown once, then forgotten. The
        record says who took it. Whoever asks was checked by the caller.

        Raises:
            NotFound: no such lease. Conflict: there is none, or somebody took it.
        """
        lease, snapshot = await self._read(session_id)
        if not lease.successor:
            raise Conflict("there is no new secret to take, or somebody took it")
        minted = msgspec.json.decode(self._seal.open(lease.successor, *place(session_id)), type=Minted)
        event = lease_event(EventName.LEASE_SUCCESSOR_TAKEN, lease, snapshot, by=actor_of(by), successor=minted.handle)
        if not await self._authority.store.close_lease(lease, msgspec.structs.replace(lease, successor=b""), event):
            raise Conflict("somebody took it a moment ago")
        return minted.secret

    async def _read(self, session_id: str) -> tuple[Lease, Snapshot | None]:
        lease = await self._authority.store.lease(check_session_id(session_id))
        if lease is None:
            raise NotFound(f"no lease {session_id}")
        found = await self._authority.store.handed_out(root=session_id, limit=1)
        return lease, next(iter(found), None)


async def probe(connectors: Mapping[str, Connector]) -> dict[str, str | None]:
    """Try connectors, and let go of them: by name, what is wrong and what would mend it; None: nothing."""

    async def tried(connector: Connector) -> str | None:
        try:
            return await _wrong(connector)
        finally:
            await connector.close()

    found = await asyncio.gather(*map(tried, connectors.values()))
    return dict(zip(connectors, found, strict=True))


async def _wrong(connector: Connector) -> str | None:
    try:
        async with asyncio.timeout(SECONDS * 1.5):
            await connector.probe()
    except TimeoutError:
        return "it does not answer in time"
    except (ConnectorFailed, ValueError) as error:
        return str(error)
    return None


def lease_info(lease: Lease, session: SessionInfo | None, now: datetime) -> LeaseInfo:
    """A lease to show."""
    state: Literal["living", "pending", "lingering", "confirmed"]
    if lease.confirmed is not None:
        state = "confirmed"
    elif session is not None and session.live:
        state = "living"
    else:
        state = "pending" if lease.lingers is None else "lingering"
    return LeaseInfo(
        id=lease.session, connector=lease.connector, shown=lease.shown, state=state,
        principal=session.principal if session else None, origin=session.origin if session else None,
        parent=session.parent if session else None, label=session.label if session else "",
        created=session.created if session else None, expires=session.expires if session else None,
        ends_by=lease.ends_by, until=lease.lingers or lease.until, by_hand=lease.by_hand, over=lease.over,
        tries=lease.tries, error=lease.error, next_try=lease.due if state in ("pending", "lingering") else None,
        overdue=state == "pending" and lease.is_overdue(now), confirmed=lease.confirmed, outcome=lease.outcome,
        successor=bool(lease.successor),
    )  # fmt: skip
