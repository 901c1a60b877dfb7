"""The mails of the memory store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from sessile.clock import Clock
from sessile.kernel.event import Event
from sessile.stores.mail import Mail, retry_after
from sessile.stores.memory_directory import MemoryDirectory

_HOLDERS = 10


class MemoryMails(MemoryDirectory):
    """`Mails` in dictionaries."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._cursors: dict[str, int] = {}
        self._mails: dict[str, tuple[datetime, Mail]] = {}

    async def at_address(self, id: str) -> Sequence[str]:
        return sorted(uid for uid, kind, one in self._credentials if (kind, one) == ("address", id))[:_HOLDERS]

    async def cursor(self, name: str) -> int | None:
        return self._cursors.get(name)

    async def queue_mails(self, name: str, after: int | None, to: int, mails: Sequence[Mail]) -> bool:
        if self._cursors.get(name) != after:
            return False
        self._cursors[name] = to
        self._mails |= {
            mail.id: (mail.due or self._clock.now(), msgspec.structs.replace(mail, due=None)) for mail in mails
        }
        return True

    async def take_mails(self, limit: int) -> Sequence[Mail]:
        now = self._clock.now()
        due = sorted((due, id) for id, (due, _) in self._mails.items() if due <= now)[:limit]
        taken = [msgspec.structs.replace(self._mails[id][1], attempts=self._mails[id][1].attempts + 1) for _, id in due]
        self._mails |= {mail.id: (now + retry_after(mail.attempts), mail) for mail in taken}
        return taken

    async def settle_mail(self, id: str, event: Event | None = None) -> bool:
        if self._mails.pop(id, None) is None:
            return False
        if event is not None:
            self._append(event, self._clock.now())
        return True

    async def waiting_mails(self) -> int:
        return len(self._mails)
