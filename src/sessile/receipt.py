"""What the authority hands back: an issued session, and the receipt of an ending."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from sessile.kernel.decide import Active
from sessile.kernel.session import SessionInfo
from sessile.kernel.token import Token
from sessile.stores.protocol import Erased


class Issued:
    """A session with the token that names it: seen here, once. `active` is the proof of it, for what follows.

    Where it ended something (the session's token before, sessions that it replaced or for which there was no room):
    `ended` are the ids of other sessions, and `effective` is the instant (aware UTC) after which no node accepts any of
    it in a check that starts then. None: nothing ended.
    """

    __slots__ = ("active", "effective", "ended", "token")

    def __init__(
        self, token: Token, active: Active, *, ended: tuple[str, ...] = (), effective: datetime | None = None
    ) -> None:
        self.token = token
        self.active = active
        self.ended = ended
        self.effective = effective

    def __repr__(self) -> str:
        return f"Issued({self.active!r})"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an ending did, and since when. Safe to keep and to show."""

    revoked: int | None
    """How many live sessions it ended: of a session with all whose life hung on it; of a principal its own, not
    counting the delegations below them, which are over too. None where an epoch ended an unknown number."""
    cause: str
    by: str
    at: datetime
    """When the store acknowledged it, by the store's clock (aware UTC)."""
    effective: datetime
    """No node accepts any of them in a check that starts after this instant."""
    reach: Literal["engine", "quorum"] = "engine"
    """What acknowledged it: one engine, or a majority of its replicas."""
    durable: bool = True
    """Whether it is on disk wherever it was acknowledged. False (Redis and Valkey without `durable=yes`): in memory
    there, and on disk in the directory, from which it is applied again."""
    sessions: tuple[str, ...] = ()
    """Ids of the sessions, at most 100."""
    answers_for: tuple[str, ...] = ()
    """After `disable` and `delete`: the agents and services that the principal alone answered for, by name, those of
    teams in which nobody else is active included: hand them over."""
    handed_out: tuple[SessionInfo, ...] = ()
    """After `disable` and `delete`: living keys and leases that it handed out, so that nobody forgets them."""
    erased: Erased | None = None
    """After `delete` with `erase`: what was erased."""
