"""Mails wait beside the accounts: in the directory."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.event import Event
from sessile.stores.mail import Mail
from sessile.stores.redis.journal import SQLDirectory


class RedisMails:
    """`Mails` of a store whose sessions are elsewhere than its accounts."""

    directory: SQLDirectory

    async def at_address(self, id: str) -> Sequence[str]:
        return await self.directory.at_address(id)

    async def cursor(self, name: str) -> int | None:
        return await self.directory.cursor(name)

    async def queue_mails(self, name: str, after: int | None, to: int, mails: Sequence[Mail]) -> bool:
        return await self.directory.queue_mails(name, after, to, mails)

    async def take_mails(self, limit: int) -> Sequence[Mail]:
        return await self.directory.take_mails(limit)

    async def settle_mail(self, id: str, event: Event | None = None) -> bool:
        return await self.directory.settle_mail(id, event)

    async def waiting_mails(self) -> int:
        return await self.directory.waiting_mails()
