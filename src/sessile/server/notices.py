"""Which event tells whom what, by mail: everything that changes how a person signs in, and what looks like theft.

A notice goes to every confirmed address of the person (NIST SP 800-63B-4, 4.6) and says how to object.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Final
from urllib.parse import urlsplit

from sessile.errors import NotFound
from sessile.factors.addresses import Addresses
from sessile.factors.links import LIVES, Purpose
from sessile.factors.reset import Reset
from sessile.factors.two_steps import LIFETIME
from sessile.kernel.assurance import Method
from sessile.kernel.event import Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.principal import PrincipalKind, Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind
from sessile.server.places import Places
from sessile.server.settings import Mail as MailSettings
from sessile.server.texts_mail import MAILS, Notice
from sessile.server.wording import TEXTS
from sessile.stores import Backend
from sessile.stores.mail import Mail

KEPT: Final = timedelta(days=2)
"""How long a notice is worth sending."""
ONCE: Final = timedelta(hours=1)
"""Of what a guesser can bring about again and again, one notice in so long."""
_SECOND: Final = {Method.TOTP.value, "totp_used", Method.RECOVERY_CODE.value, Method.PASSKEY.value}
"""Causes of a failed sign-in after a right password."""
_LOOKED_AT: Final = 50
_MOST_LOOKED_AT: Final = 500
MANY_FAILURES: Final = 5
"""A sign-in that succeeds after so many that failed is told."""
ABSENCE: Final = timedelta(days=90)
"""And one after so long without any."""
_SUCCESSES: Final = frozenset({EventName.SESSION_BEGUN, EventName.SESSION_ELEVATED})


class Notices:
    """What becomes of events.

    Args:
        origin: the public address of the server, the only one that a mail links to.
    """

    def __init__(
        self, store: Backend, mail: MailSettings, origin: str, addresses: Addresses, reset: Reset, places: Places
    ) -> None:  # fmt: skip
        self._store = store
        self._mail = mail
        self._origin = origin
        self._addresses = addresses
        self._reset = reset
        self._places = places

    async def of(self, event: Event) -> Sequence[Mail]:
        """The mails that an event causes, each for one address."""
        if event.uid is None or event.at is None or not await self._is_told(event):
            return []
        principal = await self._store.principal(uid=event.uid)
        if principal is None or principal.kind is not PrincipalKind.HUMAN:
            return []
        to = [(one.id, one.address) for one in await self._addresses.of(event.uid) if one.confirmed is not None]
        until = event.at + KEPT
        if event.name is EventName.RECOVERY_REQUESTED:
            if principal.status is not Status.ACTIVE:
                return []
            if (only := event.details.get("id")) is not None:
                to = [(id, address) for id, address in to if id == only]
            until = event.at + LIVES[Purpose.PASSWORD]
        elif event.name in (EventName.ADDRESS_ADDED, EventName.ADDRESS_REMOVED):
            about = await self._addresses.get(event.uid, str(event.details.get("id")))
            if about is not None and (event.name is EventName.ADDRESS_ADDED or about.confirmed is not None):
                to = [*((id, address) for id, address in to if id != about.id), (about.id, about.address)]
        # Whether a sign-in is gone on with is known once its second step cannot be taken any more.
        due = event.at + LIFETIME if event.name is EventName.SIGN_IN_PENDING else None
        return [
            Mail(id=new_id("eml"), seq=event.seq, uid=event.uid, address=address, until=until, due=due)
            for _, address in to
        ]

    async def queued(self, events: Sequence[Event]) -> None:
        """They were queued: an address that was removed is needed no more."""
        for event in events:
            if event.name is EventName.ADDRESS_REMOVED and event.uid is not None:
                await self._addresses.forget(event.uid, str(event.details.get("id")))

    async def _is_told(self, event: Event) -> bool:
        if event.name is EventName.RECOVERY_REQUESTED:
            return True
        if event.name is EventName.SESSION_BEGUN:
            return await self._remarkable(event) is not None
        if event.name is EventName.SIGN_IN_PENDING:
            return True
        if event.name not in MAILS.notices:
            return False
        if event.name is EventName.DEVICE_ADDED:
            # One notice of one sign-in: the graver one.
            begun = await self._store.events(session=event.session, names=[EventName.SESSION_BEGUN], limit=1)
            return not begun or await self._remarkable(begun[0]) is None
        if event.name is EventName.SESSION_REVOKED:
            return event.cause == Reason.REPLAYED
        if event.name not in (EventName.SIGN_IN_FAILED, EventName.GUESSING):
            return True
        if not _counts(event):
            return False
        before = await self._store.events(uid=event.uid, latest=True, limit=_LOOKED_AT)
        return not any(
            one.seq < event.seq and one.name is event.name and _counts(one) and one.at and event.at
            and event.at - one.at < ONCE
            for one in before
        )  # fmt: skip

    async def _remarkable(self, event: Event) -> Notice | None:
        """What a sign-in is told as, if it succeeded after many failures or after a long absence (ASVS V6.3.5)."""
        if event.name is EventName.SIGN_IN_PENDING:
            return MAILS.left
        if event.name is not EventName.SESSION_BEGUN or event.details.get("kind") != SessionKind.BROWSER:
            return None
        names = [*_SUCCESSES, EventName.SIGN_IN_FAILED]
        before = await self._store.events(uid=event.uid, names=names, before=event.seq, latest=True, limit=_LOOKED_AT)
        failures = list(itertools.takewhile(lambda one: one.name not in _SUCCESSES, before))
        if len(failures) >= MANY_FAILURES:
            return MAILS.after_failures
        principal = await self._store.principal(uid=event.uid)
        last = next((one.at for one in before if one.name in _SUCCESSES), principal and principal.created)
        return MAILS.after_absence if last and event.at and event.at - last >= ABSENCE else None

    async def _is_left(self, event: Event) -> bool:
        """Whether a right password was followed by neither a sign-in nor a wrong code, which is told by itself; and
        this is the first such one for `ONCE`."""
        names = [EventName.SIGN_IN_PENDING, EventName.SESSION_BEGUN, EventName.SIGN_IN_FAILED]
        since = None if event.at is None else event.at - ONCE
        found = await self._store.events(uid=event.uid, names=names, since=since, limit=_MOST_LOOKED_AT)

        def left(pending: Event) -> bool:
            return not any(
                one.seq > pending.seq and one.by.client == pending.by.client
                and (one.name is EventName.SESSION_BEGUN or (one.name is EventName.SIGN_IN_FAILED and _counts(one)))
                for one in found
            )  # fmt: skip

        pending = [one for one in found if one.name is EventName.SIGN_IN_PENDING and one.seq <= event.seq]
        return left(event) and not any(left(one) for one in pending if one.seq < event.seq)

    async def text(self, mail: Mail) -> tuple[str, str] | None:
        """The subject and the text of a mail; None: there is nothing to say any more."""
        found = await self._store.events(after=mail.seq - 1, limit=1)
        principal = await self._store.principal(uid=mail.uid)
        if not found or found[0].seq != mail.seq or principal is None or principal.status is Status.DELETED:
            return None
        event, words = found[0], MAILS
        if event.name is EventName.SIGN_IN_PENDING and not await self._is_left(event):
            return None
        place = {"host": urlsplit(self._origin).hostname or "", "where": self._where(event), "when": _when(event)}
        try:
            if event.name is EventName.RECOVERY_REQUESTED:
                link = f"{self._origin}/reset/{await self._reset.mailed(mail.uid)}"
                minutes = int(LIVES[Purpose.PASSWORD].total_seconds() // 60)
                subject, said = words.reset_subject, words.reset.format(link=link, minutes=minutes, **place)
            elif event.name is EventName.ADDRESS_ADDED and await self._is_new(event, mail):
                secret = await self._addresses.link(principal, str(event.details.get("id")))
                hours = int(LIVES[Purpose.ADDRESS].total_seconds() // 3600)
                subject = words.confirm_subject
                said = words.confirm.format(link=f"{self._origin}/confirm/{secret}", hours=hours, **place)
            else:
                subject, said = self._notice(event, await self._remarkable(event), place)
        except NotFound:
            return None
        contact = self._mail.contact
        sign = (words.sign_contact if contact else words.sign).format(host=place["host"], contact=contact)
        return subject, "\n\n".join((words.hello.format(name=principal.name), said, f"-- \n{sign}")) + "\n"

    async def _is_new(self, event: Event, mail: Mail) -> bool:
        about = await self._addresses.get(mail.uid, str(event.details.get("id")))
        return about is not None and about.address == mail.address and about.confirmed is None

    def _notice(self, event: Event, remarkable: Notice | None, place: dict[str, str]) -> tuple[str, str]:
        words = MAILS
        notice = remarkable or words.notices[event.name]
        method = words.methods.get(str(event.details.get("method")), words.a_factor)
        address = str(event.details.get("address", ""))
        said = notice.said.format(method=method, address=address, **place)
        wrong = words.object.format(forgot=f"{self._origin}/forgot", account=f"{self._origin}/account")
        tell = words.object_contact if self._mail.contact else words.object_operator
        return notice.subject, "\n\n".join(
            (said, words.fine, wrong, tell.format(contact=self._mail.contact, host=place["host"]))
        )

    def _where(self, event: Event) -> str:
        place, when = self._places.plain(event.by.client), _when(event)
        return MAILS.where.format(when=when, place=place) if place else MAILS.when.format(when=when)


def _counts(event: Event) -> bool:
    return event.name is EventName.GUESSING or event.cause in _SECOND


def _when(event: Event) -> str:
    if event.at is None:
        return ""
    utc = event.at.astimezone(UTC)
    return f"{utc.day} {TEXTS.months[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"
