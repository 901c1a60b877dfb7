"""The part of the authority that ends things, and the one way in which anything does.

What can turn a yes into a no is on this list, and nothing else: `end` (of which `revoke`, `disable`, `enable`,
`delete`, containments and changed passwords are forms), `set_policy`, `elevate`, and a `begin` that replaces sessions
or makes room.
Each goes through `_carried`: acknowledged by the store, then in force everywhere when Δ has passed, which it waits for
(`wait`) or whose instant it states (`effective`). A confirmed rotation by age ends nothing at once: the token before
counts for the grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from sessile.checks import nanoseconds
from sessile.errors import RevocationUncertain, StoreUnavailable
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.ids import check_session_id
from sessile.kernel.issue import positive
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Status
from sessile.kernel.session import SessionKind
from sessile.leaving import Leaving
from sessile.receipt import Receipt
from sessile.settle import acknowledged, settled
from sessile.stores.protocol import Begun, End, Ended, Replaced
from sessile.trust import settle

Ends = TypeVar("Ends", Begun, Replaced, Ended)

CLOCK_DRIFT = 1e-3
"""Bound on the rate by which a node's clock may depart from true time (1,000 ppm; real ones stay below 200)."""
BROWSER_AND_DELEGATED = frozenset({SessionKind.BROWSER, SessionKind.DELEGATED, SessionKind.ANONYMOUS})


class Ending(Leaving):
    """What `Authority` can do to end access."""

    async def revoke(
        self, *, session: str | None = None, principal: str | None = None, everyone: bool = False, cause: str,
        by: Active | Actor | None = None, keys: bool = False, lock_sign_in: timedelta | None = None, wait: bool = True,
    ) -> Receipt:  # fmt: skip
        """End one session and all whose life hangs on it, all of a principal's, or everybody's.

        When this returns, no node accepts any of them; `wait=False` returns at once, and the receipt's
        `effective` names the instant. Idempotent.

        Args:
            cause: why, for the receipt, the audit record and the person (at most 200 characters).
            keys: with `everyone`: API keys too, not only browsers and delegations.
            lock_sign_in: with `everyone`: for so long only operators can sign in.

        Raises:
            NotFound: no such session or principal. ValueError: not exactly one of the three, or not an id.
            RevocationUncertain: the store did not acknowledge; repeat it.
        """
        if (session is not None) + (principal is not None) + everyone != 1:
            raise ValueError("name exactly one of session=, principal= and everyone=True")
        if (keys or lock_sign_in) and not everyone:
            raise ValueError("keys= and lock_sign_in= go with everyone=True")
        if session is not None:
            end = End(session=check_session_id(session), cause=cause)
        elif principal is not None:
            end = End(uid=(await self.principal(principal)).uid, cause=cause)
        else:
            kinds = BROWSER_AND_DELEGATED | ({SessionKind.KEY, SessionKind.LEASE} if keys else frozenset())
            end = End(everyone=kinds, cause=cause, lock_sign_in=positive(lock_sign_in))
        return await self.end(end, by=by, wait=wait)

    async def disable(self, name: str, *, cause: str, by: Active | Actor | None = None, wait: bool = True) -> Receipt:
        """The principal cannot sign in, and all of its sessions are over. The receipt lists the living keys and
        leases that it handed out, and the agents and services that nobody answers for now.

        Raises:
            NotFound: no such principal. RevocationUncertain: repeat it.
        """
        principal = await self.principal(name)
        receipt = await self.end(End(uid=principal.uid, status=Status.DISABLED, cause=cause), by=by, wait=wait)
        given = await self.store.sessions(giver=principal.uid, limit=1000)
        return msgspec.structs.replace(
            receipt, handed_out=tuple(s for s in given if s.origin and not s.parent),
            answers_for=tuple(one.name for one in await self.owned_alone(principal.uid)),
        )  # fmt: skip

    async def enable(self, name: str, *, cause: str = "enabled", by: Active | Actor | None = None) -> Receipt:
        """The principal can sign in again. What had ended stays ended. Raises NotFound; Conflict: an agent or a service
        for which nobody can answer (`describe` gives it another owner)."""
        return await self.end(End(uid=(await self.principal(name)).uid, status=Status.ACTIVE, cause=cause), by=by)

    async def end(self, end: End, *, by: Active | Actor | None = None, wait: bool = True) -> Receipt:
        """The one way in which anything ends; the methods above are its common forms."""
        actor = actor_of(by)
        if not end.cause or len(end.cause) > 200:
            raise ValueError("a cause has 1 to 200 characters")
        await self.open()
        end = msgspec.structs.replace(end, by=actor)
        ended = await self._carried(lambda: self.store.end(end), wait=wait)
        return self._receipt(ended, end.cause, actor)

    async def set_policy(self, policy: Policy, *, by: Active | Actor | None = None, wait: bool = True) -> Receipt:
        """Put a policy in force for every node and live session: when this returns, no node goes by the old one;
        `wait=False` returns at once, and the receipt's `effective` names the instant.

        Raises:
            Conflict: the stored version is not lower.
            RevocationUncertain: the store did not acknowledge, and may have taken it: look, or give a higher version.
        """
        await self.open()
        actor = actor_of(by)
        try:
            ended = await self._carried(lambda: self.store.set_policy(policy, actor), wait=wait, once=True)
        except StoreUnavailable as error:
            raise RevocationUncertain(f"the store did not acknowledge policy {policy.name!r}: {error}") from error
        return self._receipt(ended, "policy", actor)

    async def _carried(self, change: Callable[[], Awaitable[Ends]], *, wait: bool, once: bool = False) -> Ends:
        """Carry what ends something to its acknowledgement, whether its caller is cancelled or not, from whose receipt
        on Δ is waited out: also when there was nothing left to end, for another revoker's receipt is not ours.

        `once`: it is not idempotent, so not repeated. An outcome that is unknown is then an error, which promises
        nothing.
        """
        elapsed = self.clock.elapsed
        if once:
            done = await change()
            since = elapsed()
        else:
            done, since = await asyncio.shield(acknowledged(change, elapsed=elapsed, sleep=asyncio.sleep))
        if wait:
            await settled(since, nanoseconds(done.delta), drift=CLOCK_DRIFT, elapsed=elapsed, sleep=asyncio.sleep)
        return done

    def _effective(self, done: Begun | Replaced | Ended) -> datetime:
        """No node goes by what was before in a check that starts after this instant."""
        return (done.at or self.clock.now()) + self.settling(done.delta)

    def _receipt(self, ended: Ended, cause: str, by: Actor) -> Receipt:
        return Receipt(
            revoked=ended.revoked, cause=cause, by=by.name, at=ended.at, effective=self._effective(ended),
            reach=ended.reach, durable=ended.durable, sessions=ended.sessions,
        )  # fmt: skip

    def settling(self, delta: timedelta) -> timedelta:
        """How long after its acknowledgement an ending is in force everywhere, where the store's Δ is `delta`."""
        return timedelta(microseconds=settle(nanoseconds(delta), CLOCK_DRIFT) // 1000)
