"""The connectors, a page each, and where they are configured: one file for all of them.

TOML (or JSON, by the file's name), a table per connector::

    [vault-prod]
    kind = "vault"
    url = "https://vault.internal:8200"
    token = { file = "/run/secrets/vault-token" }

A secret is never in this file: it is named, as `{ env = "NAME" }` or `{ file = "/path" }`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sessile.errors import SessileError
from sessile.nhi.connector import Connector

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LONGEST = 64 * 1024


class NotConfigured(SessileError):
    """The file of connectors cannot be used; the message names the place and the cure, and no secret."""


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is kept: exactly one of the two."""

    env: str | None = None
    """The variable that holds it."""
    file: Path | None = None
    """The file that holds it; the last line break is not part of it."""

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ValueError('name a secret as { env = "NAME" } or { file = "/path" }')

    def read(self) -> str:
        """The secret. Raises NotConfigured."""
        if self.file is not None:
            try:
                found = self.file.read_text(encoding="utf-8")[:_LONGEST].removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise NotConfigured(f"the secret in {self.file} cannot be read: {_said(error)}") from None
        else:
            found = os.environ.get(self.env or "", "")
        if not found:
            raise NotConfigured(f"the secret in {self.file or self.env} is empty or missing: set it")
        return found


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What a table may say; `kind` says which."""


class OAuthSettings(_Settings, frozen=True, kw_only=True, tag="oauth"):
    """Token revocation at an OAuth 2.0 server (RFC 7009)."""

    url: str
    """The revocation endpoint."""
    client_id: str
    client_secret: Secret | None = None
    """None: a public client."""
    introspected: bool = False
    """Resource servers ask the server about each token, so that a JWT is over as soon as it is revoked there."""


class VaultSettings(_Settings, frozen=True, kw_only=True, tag="vault"):
    """Leases and tokens of HashiCorp Vault or OpenBao."""

    url: str
    token: Secret
    """A token that may update `sys/leases/revoke`, `sys/leases/lookup` and `auth/token/…-accessor`."""
    namespace: str | None = None
    ca_file: Path | None = None


class PostgresSettings(_Settings, frozen=True, kw_only=True, tag="postgresql"):
    """Roles of a PostgreSQL."""

    url: str
    """Without a password: `postgresql://sessile_leases@db.internal/app`."""
    password: Secret | None = None
    prefix: str = "lease_"
    """Only roles whose names begin so are touched."""
    grants: tuple[str, ...] = ()
    """Roles that a minted role is a member of: what it may do."""
    reassign_to: str | None = None
    """Who gets what a role owns when it is dropped; None: a role that owns something stays, without sign-in."""


class AWSSettings(_Settings, frozen=True, kw_only=True, tag="aws"):
    """Access keys of IAM users."""

    region: str = "us-east-1"
    access_key_id: str
    secret_access_key: Secret
    endpoint_url: str | None = None
    """For another implementation of IAM."""
    delete: bool = True
    """Delete a key, instead of only making it inactive."""
    deny_older: bool = False
    """End a temporary key that names its role with all that the role gave out before."""


Configured = OAuthSettings | VaultSettings | PostgresSettings | AWSSettings


def load(path: Path | None) -> dict[str, Connector]:
    """The connectors of a file, by name; none without a file. No I/O but for the file and the secrets it names.

    Raises:
        NotConfigured: it cannot be read, or says what makes no sense.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise NotConfigured(f"the connectors in {path} cannot be read: {_said(error)}") from None
    if not isinstance(found, Mapping):
        raise NotConfigured(f"{path}: give a table per connector")
    made: dict[str, Connector] = {}
    for name, table in found.items():
        if not _NAME.fullmatch(name):
            raise NotConfigured(f"{path}: {name[:64]!r} is no name for a connector: use a to z, 0 to 9, '.', '_', '-'")
        try:
            settings = msgspec.convert(table, type=Configured, dec_hook=_path, strict=True)
            made[name] = make(settings)
        except (msgspec.ValidationError, ValueError) as error:
            raise NotConfigured(f"{path}, {name}: {error}") from None
        except ImportError as error:
            raise NotConfigured(f"{path}, {name}: {error}") from None
    return made


def make(settings: Configured) -> Connector:
    """The connector. Raises ValueError, NotConfigured, and ImportError with the extra that it needs."""
    match settings:
        case OAuthSettings():
            from sessile.nhi.connectors.oauth import OAuth

            return OAuth(
                settings.url, settings.client_id, _read(settings.client_secret),
                introspected=settings.introspected,
            )  # fmt: skip
        case VaultSettings():
            from sessile.nhi.connectors.vault import Vault

            return Vault(settings.url, settings.token.read(), namespace=settings.namespace, ca_file=settings.ca_file)
        case PostgresSettings():
            from sessile.nhi.connectors.postgresql import PostgresRoles

            return PostgresRoles(
                settings.url, _read(settings.password), prefix=settings.prefix,
                grants=settings.grants, reassign_to=settings.reassign_to,
            )  # fmt: skip
        case AWSSettings():
            from sessile.nhi.connectors.aws import AccessKeys

            return AccessKeys(
                settings.access_key_id, settings.secret_access_key.read(), region=settings.region,
                endpoint_url=settings.endpoint_url, delete=settings.delete,
                deny_older=settings.deny_older,
            )  # fmt: skip


def _read(secret: Secret | None) -> str | None:
    return None if secret is None else secret.read()


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError("a path is a string")


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
