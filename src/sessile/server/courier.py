"""The courier: reads the audit record behind a cursor that all nodes share, and sends what it has to tell.

Any number of nodes may run one. Each event is queued by one of them, with the cursor; each mail is one's at a time. A
node that stops in between loses nothing: at worst a mail goes out twice.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from sessile.authority import Authority
from sessile.errors import SessileError
from sessile.kernel.event import Event, EventName
from sessile.server.mail import MailFailed, compose, send
from sessile.server.notices import Notices
from sessile.server.settings import Mail as MailSettings
from sessile.stores.mail import Mail

logger = logging.getLogger("sessile")

CURSOR: Final = "mail"
POLL_SECONDS: Final = 2.0
"""Its own beat, whatever requests do: whether a mail is sent is not to be heard in their answers."""
LATE: Final = timedelta(days=1)
"""What is older when the courier comes to it is not told: mail was off then."""
_EVENTS: Final = 1_000
_AT_ONCE: Final = 5


class Courier:
    """Sends an authority's mails."""

    def __init__(self, authority: Authority, mail: MailSettings, notices: Notices) -> None:
        self._authority = authority
        self._mail = mail
        self._notices = notices
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop. What was not sent is sent by another node, or later."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def round(self) -> None:
        """Queue what happened, and send what is due. Raises StoreUnavailable."""
        while await self._collect():
            pass
        store = self._authority.store
        while await store.waiting_mails():  # a look, before what would be a write each time
            taken = await store.take_mails(_AT_ONCE)
            done = await asyncio.gather(*(self._deliver(mail) for mail in taken), return_exceptions=True)
            failed = [one for one in done if isinstance(one, BaseException)]
            if failed:
                raise failed[0]
            if not taken:
                return

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except SessileError as error:
                logger.warning("no mail is sent for now, trying again: %s", error)
            except Exception:  # one mail that cannot be made is no reason to send none
                logger.exception("mail: unexpected error")
            await asyncio.sleep(POLL_SECONDS)

    async def _collect(self) -> bool:
        """Queue what a page of the record has to tell; whether there may be more."""
        store = self._authority.store
        cursor = await store.cursor(CURSOR)
        now = self._authority.clock.now()
        if cursor is None:
            latest = await store.events(latest=True, limit=_EVENTS)
            fresh = [event.seq for event in latest if event.at is not None and event.at > now - LATE]
            begin = min(fresh) - 1 if fresh else (latest[0].seq if latest else 0)
            await store.queue_mails(CURSOR, None, begin, [])
            return True
        events = await store.events(after=cursor, limit=_EVENTS)
        if not events:
            return False
        mails: list[Mail] = []
        late = 0
        for event in events:
            if event.at is None or event.at <= now - LATE:
                late += 1
                continue
            try:
                mails += await self._notices.of(event)
            except SessileError:
                raise
            except Exception:  # the ones behind it are to be told all the same
                logger.exception("mail: event %d (%s) is not told", event.seq, event.name)
        if await store.queue_mails(CURSOR, cursor, events[-1].seq, mails):
            if late:
                logger.warning("mail: %d events were over a day old when mail came to them, and are not told", late)
            await self._notices.queued(events)
        return len(events) == _EVENTS

    async def _deliver(self, mail: Mail) -> None:
        store, clock = self._authority.store, self._authority.clock
        if clock.now() >= mail.until:
            await self._give_up(mail, "its time is over")
            return
        said = await self._notices.text(mail)
        if said is None:
            await store.settle_mail(mail.id)
            return
        subject, text = said
        message = compose(self._mail, id=mail.id, to=mail.address, subject=subject, text=text, clock=clock)
        try:
            await send(self._mail, message)
        except MailFailed as error:
            if error.for_good:
                await self._give_up(mail, str(error))
            else:
                logger.warning("mail %s is not sent, trying again (%d): %s", mail.id, mail.attempts, error)
            return
        await store.settle_mail(mail.id)

    async def _give_up(self, mail: Mail, why: str) -> None:
        logger.error("mail %s is given up: %s", mail.id, why)
        principal = await self._authority.store.principal(uid=mail.uid)
        event = Event(
            name=EventName.MAIL_UNDELIVERED, principal=None if principal is None else principal.name, uid=mail.uid,
            cause=why, details={"event": mail.seq, "attempts": mail.attempts},
        )  # fmt: skip
        await self._authority.store.settle_mail(mail.id, event)
