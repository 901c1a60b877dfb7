"""The part of the authority that is about principals who leave: deleting, and erasing what remains.

Locking somebody out for a while is `Authority.disable`. There is no second mechanism: a lock that ends sessions and
keeps from signing in is the same thing, and `enable` lifts it.
"""

from __future__ import annotations

import msgspec

from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, actor_of
from sessile.kernel.principal import Status
from sessile.nhi.authority import NonHuman
from sessile.receipt import Receipt
from sessile.stores.protocol import End, Erased


class Leaving(NonHuman):
    """What `Authority` can do about principals who leave."""

    async def delete(
        self, name: str, *, cause: str, by: Active | Actor | None = None, erase: bool = False, wait: bool = True
    ) -> Receipt:
        """Disable for good: every session is over, passwords and factors are removed, and the name can be taken
        again, by another principal. A tombstone stays, so that nothing of it comes back. The receipt lists the living
        keys and leases that it handed out, and the agents and services that nobody answers for now.

        With `erase` also `erase`, once the ending is in force; the receipt says so.

        Raises:
            NotFound: no such principal. RevocationUncertain: repeat it. StoreUnavailable: deleted, and perhaps not
            erased: `erase` it by its uid.
        """
        uid = (await self.principal(name)).uid
        receipt = await self.end(End(uid=uid, status=Status.DELETED, cause=cause), by=by, wait=wait)
        given = await self.store.sessions(giver=uid, limit=1000)
        receipt = msgspec.structs.replace(
            receipt, handed_out=tuple(s for s in given if s.origin and not s.parent),
            answers_for=tuple(one.name for one in await self.owned_alone(uid)),
        )  # fmt: skip
        if not erase:
            return receipt
        return msgspec.structs.replace(receipt, erased=await self.erase(uid, cause=cause, by=by))

    async def erase(self, uid: str, *, cause: str, by: Active | Actor | None = None) -> Erased:
        """Take what names a deleted principal out of all that remains of it: its name and purpose, the addresses,
        user agents and labels of its sessions, their data, and, but for its uid, the audit record, which still proves
        that it is as it was written (`sessile audit verify`). It cannot be undone. Idempotent.

        Args:
            uid: `Principal.uid`, since a deleted principal has no name any more.

        Raises:
            NotFound: there never was such a principal. Conflict: it is not deleted. ValueError: not a cause.
        """
        if not cause or len(cause) > 200:
            raise ValueError("a cause has 1 to 200 characters")
        await self.open()
        return await self.store.erase(uid, cause, actor_of(by))
