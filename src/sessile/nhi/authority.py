"""The part of the authority that is about the ones that are not people. Each story is a page beside this one."""

from __future__ import annotations

import abc
from datetime import datetime, timedelta

from sessile.checks import Checks
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor
from sessile.kernel.principal import Principal
from sessile.kernel.session import SessionInfo
from sessile.nhi import contain as containing
from sessile.nhi.contain import Containment
from sessile.receipt import Receipt
from sessile.stores.protocol import End


class NonHuman(Checks):
    """What `Authority` can do about agents, services and what is handed to them."""

    @abc.abstractmethod
    async def end(self, end: End, *, by: Active | Actor | None = None, wait: bool = True) -> Receipt: ...

    @abc.abstractmethod
    async def principal(self, name: str) -> Principal: ...

    @abc.abstractmethod
    async def session(self, session_id: str) -> SessionInfo: ...

    @abc.abstractmethod
    def settling(self, delta: timedelta) -> timedelta:
        """How long after its acknowledgement an ending is in force everywhere."""

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
