"""The contract for leases: where they live outside, and the work that their end means there; a part of what a directory
does.

The rules of `stores.protocol` hold. Besides: whatever announces an object makes every unconfirmed lease that hangs on
it (`kernel.lease.hangs_on`) due at once, in the same transaction; a policy and everybody make all of them due.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from sessile.kernel.event import Event
from sessile.kernel.lease import Lease
from sessile.stores.protocol import PAGE, Page


class Claimed(msgspec.Struct, frozen=True):
    """A lease that one worker has for a while."""

    lease: Lease
    claim: str
    woken: int
    """How often an ending had asked for a look, when it was claimed."""
    at: datetime
    """When that was, by the store's clock."""


class Leased(Protocol):
    """They begin with their session (`Draft.lease`), due at once."""

    async def lease(self, session_id: str) -> Lease | None: ...

    async def leases(
        self, *, sessions: Sequence[str] | None = None, pending: bool = False, after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Lease]:  # fmt: skip
        """By session id: of those sessions (confirmed ones too), else all unconfirmed ones; `pending`: only those that
        are known to be over, or are due."""

    async def claim_leases(
        self, *, limit: int, hold: timedelta, without: Collection[str] = ()
    ) -> Sequence[Claimed]:  # fmt: skip
        """Take some that are due, longest first, for `hold`; none of the connectors in `without`. Of any number of
        workers at once, one gets each."""

    async def settle_lease(self, claimed: Claimed, lease: Lease, due: datetime | None, event: Event | None) -> bool:
        """Write what became of a claimed lease and when it is due next (None: confirmed), and let it go.

        False, and nothing is written, if the claim ran out and was taken by another worker, or something ended
        meanwhile that the lease hangs on: then it stays due.
        """

    async def found_lease(self, session_id: str, *, handle: bytes, shown: str, until: datetime | None) -> None:
        """The credential was made: write what it is known by. It is due at once, and its end unconfirmed, whatever a
        worker that did not find it wrote meanwhile. Raises NotFound."""

    async def close_lease(self, before: Lease, after: Lease, event: Event) -> bool:
        """Write a lease whose end a person confirms, or whose successor was taken. False, and nothing is written, if
        it is not as it was read."""
