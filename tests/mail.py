"""A real SMTP server for tests, on a thread: what it was handed, and what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import email.policy
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Coroutine, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

LINK = re.compile(r"https?://\S+")


class Post:
    """Keeps the mails it takes. `refuse`: what to answer instead, by recipient; `user`: who has to log in."""

    def __init__(self, user: tuple[bytes, bytes] | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse: dict[str, str] = {}
        self.user = user
        self.port = 0
        self.arrived = threading.Event()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (answer := self.refuse.get(address)) is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=email.policy.default)
        message["X-From"], message["X-To"] = envelope.mail_from, ", ".join(envelope.rcpt_tos)
        wrapped = server.transport is not None and server.transport.get_extra_info("ssl_object") is not None
        message["X-TLS"] = "yes" if wrapped else "no"
        self.mails.append(message)
        self.arrived.set()
        return "250 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(success=(data.login, data.password) == self.user, handled=False)

    def to(self, address: str) -> list[EmailMessage]:
        return [one for one in self.mails if one["To"] == address]

    def subjects(self) -> list[tuple[str, str]]:
        return sorted((str(one["To"]), str(one["Subject"])) for one in self.mails)


def text(message: EmailMessage) -> str:
    found = message.get_content()
    assert isinstance(found, str)
    return found.replace("\r\n", "\n")


def link(message: EmailMessage, part: str) -> str:
    """The path of the one link with `part` in it."""
    (found,) = [one for one in LINK.findall(text(message)) if part in one]
    return "/" + str(found).split("/", 3)[3]


class _Listening(Controller):
    """On a port that is ours from the beginning."""

    def __init__(self, handler: Post, host: str, **options: Any) -> None:
        self._socket = socket.create_server((host, 0))
        super().__init__(handler, hostname=host, port=self._socket.getsockname()[1], **options)

    def _create_server(self) -> Coroutine[Any, Any, asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._socket, ssl=self.ssl_context)


@contextlib.contextmanager
def post(
    *,
    host: str = "127.0.0.1",
    user: tuple[bytes, bytes] | None = None,
    tls: ssl.SSLContext | None = None,
    at_once: bool = False,
) -> Iterator[Post]:
    """`tls`: offered by STARTTLS, or spoken from the first byte (`at_once`)."""
    handler = Post(user)
    # It would rather not take a password without TLS: here it never leaves the machine.
    warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS", UserWarning)
    controller = _Listening(
        handler, host, ssl_context=tls if at_once else None,
        tls_context=None if at_once else tls, require_starttls=tls is not None and not at_once,
        authenticator=handler.authenticate if user is not None else None, auth_required=user is not None,
        auth_require_tls=False, ready_timeout=30,
    )  # fmt: skip
    controller.start()
    try:
        handler.port = controller.port
        yield handler
    finally:
        controller.stop()
