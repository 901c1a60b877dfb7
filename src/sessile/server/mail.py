"""Mail: handed to one SMTP server, over TLS wherever it leaves this machine. Plain text."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from sessile.clock import Clock
from sessile.errors import SessileError
from sessile.server.settings import Mail
from sessile.web.hosts import LOOPBACK

SECONDS: Final = 20.0
"""For one mail, connecting included."""


class MailFailed(SessileError):
    """The mail server did not take it. `for_good`: trying again is of no use."""

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


def compose(mail: Mail, *, id: str, to: str, subject: str, text: str, clock: Clock) -> EmailMessage:
    """A mail as it goes out. The same `id` is the same mail, sent twice or not."""
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{id}@{mail.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notes in return
    message.set_content(text)
    return message


async def send(mail: Mail, message: EmailMessage) -> None:
    """Hand it over. Raises MailFailed, whose message names no address."""
    try:
        async with _client(mail) as client:
            await client.send_message(message, sender=mail.sender, recipients=[message["To"]])
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [refused.code for refused in error.recipients]
        raise MailFailed(_said(codes), for_good=all(code >= 500 for code in codes)) from None
    except aiosmtplib.SMTPResponseException as error:
        # What is wrong with the sender or the log-in is the operator's to mend: that is tried again.
        for_good = isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500
        raise MailFailed(_said([error.code]), for_good=for_good) from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise MailFailed(f"the mail server cannot be used: {type(error).__name__}") from None


async def try_server(mail: Mail) -> None:
    """Connect, log in, and leave again. Raises MailFailed."""
    try:
        async with _client(mail):
            pass
    except aiosmtplib.SMTPResponseException as error:
        raise MailFailed(_said([error.code])) from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise MailFailed(f"the mail server cannot be used: {type(error).__name__}") from None


def _client(mail: Mail) -> aiosmtplib.SMTP:
    server = urlsplit(mail.server)
    at_once, host = server.scheme == "smtps", server.hostname or ""
    return aiosmtplib.SMTP(
        hostname=host, port=server.port or (465 if at_once else 587), timeout=SECONDS, use_tls=at_once,
        # Not "if it can": whoever is in between would say that it cannot.
        start_tls=not at_once and host not in LOOPBACK,
        username=unquote(server.username) if server.username else None,
        password=unquote(server.password) if server.password else None,
    )  # fmt: skip


def _said(codes: Iterable[int]) -> str:
    return f"the mail server answered {', '.join(map(str, sorted(set(codes))))}"
