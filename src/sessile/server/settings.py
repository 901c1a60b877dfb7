"""What a server is started with. Serialisable, so that every worker process gets the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from sessile.authority import Authority
from sessile.factors.addresses import check_address
from sessile.kernel.policy import Policy
from sessile.stores import REDIS
from sessile.web.client import TrustedPeers
from sessile.web.cookie import CookieSpec
from sessile.web.hosts import LOOPBACK, AllowedHosts, configured_origin

ENVIRONMENT = "SESSILE_SETTINGS"
"""The variable that hands the settings, as JSON, to worker processes."""


class DemoPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may sign in to a demo; the login page shows all of it, the password too."""

    name: str
    password: str
    role: str
    """In words."""
    hint: str
    """What to try as this person."""


class DemoGuide(msgspec.Struct, frozen=True, kw_only=True):
    people: tuple[DemoPerson, ...]


class Mail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How mail is sent. Its repr shows no password.

    Raises:
        ValueError: a value does not fit.
    """

    server: str
    """`smtps://user:password@host:465` (TLS from the first byte) or `smtp://…:587` (STARTTLS; without it only to this
    machine: nothing leaves it unencrypted)."""
    sender: str
    """The From address."""
    contact: str = ""
    """An address that people may write to who disown what a notice says."""

    def __post_init__(self) -> None:
        found = urlsplit(self.server)
        try:
            port = found.port
        except ValueError:
            port = -1
        if found.scheme not in ("smtp", "smtps") or not found.hostname or port == -1 or found.path not in ("", "/"):
            raise ValueError("SESSILE_SMTP is smtps://user:password@host:465 or smtp://user:password@host:587")
        for name, address in (("SESSILE_MAIL_FROM", self.sender), ("SESSILE_MAIL_CONTACT", self.contact)):
            if address or name == "SESSILE_MAIL_FROM":
                try:
                    check_address(address)
                except ValueError:
                    raise ValueError(f"{name} is an address, such as sessile@example.org") from None

    def __repr__(self) -> str:
        return f"Mail({urlsplit(self.server).hostname}, from {self.sender})"

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Mail | None:
        """`SESSILE_SMTP`, `SESSILE_MAIL_FROM` and `SESSILE_MAIL_CONTACT`; None: no mail is sent. Raises ValueError."""
        server = variables.get("SESSILE_SMTP", "")
        if not server:
            return None
        return cls(
            server=server, sender=variables.get("SESSILE_MAIL_FROM", ""),
            contact=variables.get("SESSILE_MAIL_CONTACT", ""),
        )  # fmt: skip


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server's settings.

    Raises:
        ValueError: a value does not fit; the message names the cure and shows no password.
    """

    database: str = "sqlite:///sessile.db"
    """URL of the store: `sqlite:///path`, `postgresql://…` or `memory:`."""
    sessions: str | None = None
    """`redis://…` where the sessions live there; None: in the database, which is the directory in any case."""
    origins: tuple[str, ...] = ()
    """The public origins, as browsers see them (`https://console.example.com`). Needed behind a proxy."""
    allowed_hosts: tuple[str, ...] = LOOPBACK
    """Host headers that are answered, beside those of `origins`."""
    trusted_proxies: tuple[str, ...] = ()
    touched_paths: tuple[str, ...] = ()
    """Patterns (`/secrets/*`) of the paths that forward-auth notes as touched; needs trusted proxies."""
    secret_scanning: str | None = None
    """Public keys of a secret scanner: an address, or a file with what it answers. None: no reports are taken."""
    """Networks whose X-Forwarded-* headers are believed."""
    key_file: Path | None = None
    """The server's secret key; None: beside the SQLite file, `sessile.db` → `sessile.key`."""
    cookie_name: str = "__Host-sessile"
    policy: Policy | None = None
    """What the default policy is; None: what the store has, or `Policy.aal2()`."""
    demo: DemoGuide | None = None
    mail: Mail | None = None
    """None: no mail is sent. Its links lead to the first of `origins`."""
    password_list: Path | None = None
    """Passwords that nobody may take, one a line, beside those that are known to all attackers."""

    places: Path | None = None
    """A file in MaxMind's format that tells where addresses are (`sessile[places]`); None: they stay addresses."""
    connectors: Path | None = None
    """The file that names the connectors of leases (`nhi.connectors`); None: there are none."""

    def __post_init__(self) -> None:
        for origin in self.origins:
            configured_origin(origin)
        AllowedHosts(self.allowed_hosts, self.origins)
        TrustedPeers(self.trusted_proxies)
        CookieSpec(name=self.cookie_name)
        if self.sessions not in (None, self.database) and str(self.sessions).partition(":")[0] not in REDIS:
            raise ValueError("sessions= is the URL of a Redis or Valkey, or left out")
        if self.mail is not None and not self.origins:
            raise ValueError(
                "mails lead people back here: say the public address, --origin https://console.example.com"
            )

    @property
    def key_path(self) -> Path | None:
        """Where the secret key is kept; None for a store that dies with the process, and so does its key."""
        if self.key_file is not None:
            return self.key_file
        scheme, _, path = self.database.partition(":///")
        if scheme == "sqlite":
            return Path(path).absolute().with_suffix(".key")
        # Beside an engine there is no folder of the database's: each node is given the same key in its own.
        return None if self.database == "memory:" else Path("sessile.key").absolute()

    def authority(self, **more: Any) -> Authority:
        """What the server and the command line open. No I/O. Raises ValueError."""
        if self.sessions is None or self.sessions == self.database:
            return Authority(self.database, policy=self.policy, **more)
        return Authority(self.sessions, directory=self.database, policy=self.policy, **more)

    def to_json(self) -> str:
        return msgspec.json.encode(self, enc_hook=_encode).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError for anything but what `to_json` writes."""
        return msgspec.json.decode(text, type=cls, dec_hook=_decode)


def _encode(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: Any) -> Path:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError("a path is a string")
