"""What ends a credential in an outside system: the protocol that every connector speaks."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from sessile.errors import SessileError


class ConnectorFailed(SessileError):
    """The outside system did not do it, or could not be asked: try again. The message names the cure where there is
    one, and never a secret."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as the outside system knows it. Safe to show."""

    shown: str
    """What it is called there."""
    until: datetime | None = None
    """When it ends by itself, at the latest (aware UTC); None: not known, never, or it can be renewed."""
    handle: str | None = None
    """The handle to keep in the place of the one that was given: it may say more."""
    by_hand: str = ""
    """Nobody can end it early by asking: what a person has to do instead. Empty: `revoke` ends it."""


class Minted(msgspec.Struct, frozen=True, kw_only=True):
    """A new credential. Its repr hides it."""

    handle: str
    secret: dict[str, str]
    """What its holder needs, by name. Shown once, stored nowhere."""

    def __repr__(self) -> str:
        return "Minted(…)"


class Connector(Protocol):
    """Ends credentials of one outside system. All methods are idempotent, bounded in time (`SECONDS`), and raise
    nothing but `ConnectorFailed`, and ValueError for a handle that is none of theirs."""

    async def probe(self) -> None:
        """Try the configuration: reach the system, and see that it lets us end credentials. Ends nothing."""

    async def describe(self, handle: str) -> Description:
        """What the handle names. Raises ValueError too if there is no such credential."""

    async def revoke(self, handle: str) -> datetime | None:
        """End it, and whatever is open under it. That it is not found is success.

        Returns:
            None: it is over. An instant: all that can be done is done, and it lives until then all the same.
        """

    async def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class Rotates(Protocol):
    """A connector that can also put a new credential in the place of one that others need."""

    async def rotate(self, handle: str) -> Minted:
        """End it as `revoke` does, and make the one that takes its place."""


@runtime_checkable
class Mints(Protocol):
    """A connector that can also make credentials."""

    def plan(self) -> str:
        """A handle for a credential that is not made yet."""

    async def mint(self, handle: str, until: datetime) -> Minted:
        """Make it. It ends by itself at `until`."""


SECONDS = 20.0
"""How long a connector may take for one call."""
