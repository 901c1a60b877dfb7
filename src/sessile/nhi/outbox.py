"""The work in outside systems: every lease that is over is ended there, and none is forgotten before that is confirmed.

What is due was written by the transaction that ended something (`stores.leasing`); a worker takes it, looks whether the
lease is over, and if so asks its connector. Each lease is on its own: one whose system is down holds up no other. Any
number of processes may work at once, and any of them may die at any moment.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from sessile.errors import SessileError
from sessile.kernel.decide import Snapshot, holds, horizon, is_live
from sessile.kernel.event import SYSTEM, Actor, Details, Event, EventName, about
from sessile.kernel.lease import EndsBy, Lease, Outcome
from sessile.nhi.connector import SECONDS, Connector, ConnectorFailed, Rotates
from sessile.nhi.in_vain import explained
from sessile.stores.leasing import Claimed

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

logger = logging.getLogger("sessile")

POLL_SECONDS = 1.0
"""How often a worker looks whether something is due."""
HOLD = timedelta(minutes=2)
"""How long a lease is one worker's; if that dies, another takes it up after this."""
AGAIN = timedelta(minutes=15)
"""How often a living lease is looked at, at least."""
YOUNG = timedelta(minutes=1)
"""A new lease is looked at once more when it is so old: something may have ended while it began."""
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=10)
_AT_ONCE = 16
"""Tries of one connector at once, about."""


class Sealing(Protocol):
    """Seals secrets under the server's keys, each for one place; see `factors.sealing`."""

    def seal(self, secret: bytes, *place: str) -> bytes: ...

    def open(self, sealed: bytes, *place: str) -> bytes: ...


def place(session_id: str) -> tuple[str, str]:
    """Where what is sealed of a lease belongs."""
    return "lease", session_id


def retry_after(tries: int) -> timedelta:
    """Until the next try: longer each time, and not the same for all that failed at once."""
    longest = min(LONGEST_RETRY, FIRST_RETRY * (1 << min(max(tries, 1) - 1, 20)))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing is guessed here


class Outbox:
    """One worker. `resume` is called when ends were confirmed: reports may be closed now."""

    def __init__(
        self, authority: NonHuman, seal: Sealing, connectors: Mapping[str, Connector],
        *, resume: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._authority = authority
        self._seal = seal
        self._connectors = connectors
        self._resume = resume

    async def run(self) -> None:
        """Work for ever. Survives a store that is away."""
        while True:
            try:
                await self.work()
            except SessileError as error:
                logger.warning("nothing could be ended in other systems, trying again: %s", error)
            except Exception:  # a mistake of ours must not leave everything that comes after it alive
                logger.exception("the work in other systems broke, going on")
            await asyncio.sleep(POLL_SECONDS)

    async def work(self) -> int:
        """Do what is due now. Returns how many ends were confirmed. Raises StoreUnavailable."""
        confirmed = 0
        under_way: dict[asyncio.Task[bool], str] = {}
        try:
            while True:
                # A system that hangs gets no more than so many tries at once, and the others theirs.
                full = [name for name, n in Counter(under_way.values()).items() if n >= _AT_ONCE]
                claimed = await self._authority.store.claim_leases(limit=_AT_ONCE, hold=HOLD, without=full)
                under_way |= {asyncio.create_task(self._one(one)): one.lease.connector for one in claimed}
                if claimed:
                    continue
                if not under_way:
                    return confirmed
                done, _ = await asyncio.wait(under_way, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del under_way[task]
                if ended := sum(map(_result, done)):
                    confirmed += ended
                    await self._resume()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, claimed: Claimed) -> bool:
        """Look at one lease. Returns whether its end was confirmed."""
        lease, now = claimed.lease, claimed.at
        found = await self._authority.store.handed_out(root=lease.session, limit=1)
        snapshot = next((one for one in found if one.session.id == lease.session), None)
        if snapshot is not None and is_live(snapshot, snapshot.now):
            due = min(horizon(snapshot), now + (YOUNG if now - snapshot.session.created < YOUNG else AGAIN))
            living = msgspec.structs.replace(lease, over=None, tries=0, error="", alarmed=False)
            await self._authority.store.settle_lease(claimed, living, due, None)
            return False
        if lease.over is None:
            # Written before the first try: what has to be done is visible, whatever the try does to this process.
            await self._authority.store.settle_lease(claimed, msgspec.structs.replace(lease, over=now), now, None)
            return False
        after, again = await self._tried(lease, now)
        event = None
        if after.confirmed is not None:
            event = lease_event(
                EventName.LEASE_ENDED, after, snapshot, cause=await self._why(snapshot), outcome=after.outcome or "",
                tries=after.tries,
            )  # fmt: skip
        elif after.alarmed and not lease.alarmed:
            why = await self._why(snapshot)
            event = lease_event(EventName.LEASE_OVERDUE, after, snapshot, cause=why, error=after.error)
            logger.error("lease %s (%s) should be over and is not: %s", after.session, after.shown, after.error)
        written = await self._authority.store.settle_lease(claimed, after, again, event)
        return written and after.confirmed is not None

    async def _why(self, snapshot: Snapshot | None) -> str | None:
        """Why the lease is over, as far as anybody knows."""
        denied = holds(snapshot, snapshot.now) if snapshot is not None else None
        if snapshot is None or denied is None:
            return None
        denied = await explained(self._authority.store, snapshot, denied)
        return denied.cause or denied.reason

    async def _tried(self, lease: Lease, now: datetime) -> tuple[Lease, datetime | None]:
        """The lease after another try to end it outside, and when it is due next."""
        if lease.lingers is not None:
            return self._lingering(lease, lease.lingers, now)
        lease = msgspec.structs.replace(lease, tries=lease.tries + 1)
        successor, lingers = b"", None
        try:
            async with asyncio.timeout(SECONDS * 1.5):
                if lease.ends_by is EndsBy.ROTATE:
                    successor = await self._rotated(lease)
                else:
                    lingers = await self._connector(lease).revoke(self._handle(lease))
        except Exception as error:
            if not isinstance(error, SessileError | TimeoutError | ValueError):
                logger.exception("a connector broke: %s", lease.connector)
            return self._failed(lease, error, now)
        if lingers is not None and lingers > now:
            return self._lingering(msgspec.structs.replace(lease, lingers=lingers, error=""), lingers, now)
        if lease.minting is not None and now < lease.minting:
            return msgspec.structs.replace(lease, error="it may still be in the making"), lease.minting
        outcome = Outcome.ROTATED if lease.ends_by is EndsBy.ROTATE else Outcome.ENDED
        return confirmed(lease, outcome, now, successor=successor), None

    def _lingering(self, lease: Lease, until: datetime, now: datetime) -> tuple[Lease, datetime | None]:
        return (confirmed(lease, Outcome.EXPIRED, now), None) if until <= now else (lease, until)

    def _failed(self, lease: Lease, error: Exception, now: datetime) -> tuple[Lease, datetime]:
        said = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
        if not isinstance(error, SessileError | TimeoutError | ValueError):
            said = f"the connector broke ({type(error).__name__})"  # its words may hold a secret
        after = msgspec.structs.replace(lease, error=" ".join(said.split())[:300])
        return msgspec.structs.replace(after, alarmed=lease.alarmed or after.is_overdue(now)), now + retry_after(
            lease.tries
        )

    async def _rotated(self, lease: Lease) -> bytes:
        connector = self._connector(lease)
        if not isinstance(connector, Rotates):
            raise ConnectorFailed(f"{lease.connector} cannot rotate any more: do it by hand, then confirm it")
        minted = await connector.rotate(self._handle(lease))
        return self._seal.seal(msgspec.json.encode(minted), *place(lease.session))

    def _connector(self, lease: Lease) -> Connector:
        found = self._connectors.get(lease.connector)
        if found is None:
            raise ConnectorFailed(
                f"no connector is named {lease.connector} here: configure it again, or end it by hand and confirm it"
            )
        return found

    def _handle(self, lease: Lease) -> str:
        return self._seal.open(lease.handle, *place(lease.session)).decode()


def _result(task: asyncio.Task[bool]) -> bool:
    try:
        return task.result()
    except SessileError as error:
        logger.warning("what became of a lease could not be written, trying again: %s", error)
        return False


def confirmed(lease: Lease, outcome: Outcome, now: datetime, *, successor: bytes = b"") -> Lease:
    """The lease with its end confirmed. The handle is of no more use, and forgotten."""
    return msgspec.structs.replace(
        lease, confirmed=now, outcome=outcome, over=lease.over or now, handle=b"", successor=successor, error="",
        lingers=None,
    )  # fmt: skip


def lease_event(
    name: EventName, lease: Lease, snapshot: Snapshot | None, *, by: Actor = SYSTEM, cause: str | None = None,
    **details: str | int,
) -> Event:  # fmt: skip
    """What happened to a lease: on what, for whom, by whom and why."""
    session = snapshot.session if snapshot is not None else None
    said: Details = {"connector": lease.connector, "shown": lease.shown, **details}
    if session is not None:
        said |= about(session, name.value, resource=lease.resource)
    return Event(
        name=name, principal=session.principal if session else None, uid=session.uid if session else None,
        session=lease.session, by=by, cause=cause, details=said,
    )  # fmt: skip
