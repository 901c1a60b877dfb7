"""The part of the authority that is about principals who leave."""

from __future__ import annotations

from sessile.kernel.decide import Active
from sessile.kernel.event import Actor
from sessile.kernel.principal import Status
from sessile.nhi.authority import NonHuman
from sessile.receipt import Receipt
from sessile.stores.protocol import End


class Leaving(NonHuman):
    """What `Authority` can do about principals who leave. Disabling is the lock: there is no other."""

    async def delete(self, name: str, *, cause: str, by: Active | Actor | None = None, wait: bool = True) -> Receipt:
        """Disable for good: every session is over, passwords and factors are removed, and the name can be taken
        again, by another principal. A tombstone stays, so that nothing of it comes back.

        Raises:
            NotFound: no such principal. RevocationUncertain: repeat it.
        """
        return await self.end(
            End(uid=(await self.principal(name)).uid, status=Status.DELETED, cause=cause), by=by, wait=wait
        )
