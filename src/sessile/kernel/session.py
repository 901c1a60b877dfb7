"""The server's record that lets a principal in: one node in a tree. Everything that lets somebody in is one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from sessile.kernel.assurance import Authentication, assurance
from sessile.kernel.principal import PrincipalKind, kind_of
from sessile.kernel.reason import Reason

T = TypeVar("T")


class SessionKind(StrEnum):
    BROWSER = "browser"
    DELEGATED = "delegated"
    KEY = "key"
    LEASE = "lease"
    ANONYMOUS = "anonymous"
    """Without a principal (a cart, a form before sign-in); signing in replaces it."""

    @property
    def is_a_persons(self) -> bool:
        """Whether a person sits before it, signed in or not."""
        return self in _A_PERSONS

    @property
    def outlives_its_giver(self) -> bool:
        """Whether it has a life of its own, and who handed it out only the blame."""
        return self in _OUTLIVING


# Bound once, here and where a check decides: naming an enum's member is a look-up of its own, and they add up.
_BROWSER = SessionKind.BROWSER
_A_PERSONS = (SessionKind.BROWSER, SessionKind.ANONYMOUS)
_OUTLIVING = (SessionKind.KEY, SessionKind.LEASE)


class Tie(StrEnum):
    """How a session hangs on another. `parent`: its life does. `origin`: only its blame does."""

    PARENT = "parent"
    ORIGIN = "origin"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked, as far as one can see. Bounded by whoever builds it; shown to people, never trusted."""

    label: str = ""
    ip: str | None = None
    user_agent: str | None = None
    device_key: str | None = None
    """The RFC 7638 thumbprint of the key that it proved for this request; in a stored session the one that the session
    is bound to, which `Store.bind` says."""


class Link(msgspec.Struct, frozen=True):
    """One ancestor in a session's lineage."""

    session: str
    uid: str | None
    tie: Tie
    """`parent` if every tie on the way up to it is one, else `origin`."""
    since: datetime
    """When it handed out what led here, by the store's clock."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Immutable; a change makes a new value. All instants are aware UTC datetimes."""

    id: str
    kind: SessionKind
    uid: str | None
    principal: str | None
    """The principal's name; None for an anonymous session."""
    parent: str | None = None
    origin: str | None = None
    lineage: tuple[Link, ...] = ()
    """Its ancestors, nearest first. Liveness is derived from them, upward."""
    policy: str = "default"
    authentications: tuple[Authentication, ...] = ()
    created: datetime
    last_seen: datetime
    expires: datetime
    """The overall limit as issued; the policy in force may set an earlier one."""
    idle: timedelta | None
    """The inactivity limit as issued."""
    epoch: bytes
    """The principal's epoch when issued."""
    everyone: bytes
    """The epoch of everybody, for this kind of session, when issued."""
    generation: int = 0
    """Which of its states follows which: how often its token was rotated, and once more for a device key that it was
    bound to. Of a key, 1 once it was rotated out: another has taken its place."""
    rotated: datetime
    """When the current token became current."""
    scopes: frozenset[str] = frozenset()
    client: Client = Client()
    label: str = ""
    """What its holder or giver calls it."""
    ended: datetime | None = None
    cause: str | None = None
    ended_by: str | None = None
    contained_since: datetime | None = None
    """What it handed out from this instant on is over, by whichever tie."""

    @property
    def assurance(self) -> int:
        """1, 2 or 3, derived from the authentication events; 0 for nobody. A child has its giver's of that time."""
        return assurance(self.authentications)

    @property
    def authenticated(self) -> datetime | None:
        """The latest authentication event of this session's own principal; None where none is present.

        A delegation or a key is never fresh: its holder did not prove itself, its giver did.
        """
        if self.kind is not SessionKind.BROWSER or not self.authentications:
            return None
        return max(event.at for event in self.authentications)

    @property
    def rotated_out(self) -> bool:
        """Whether it is a key whose place another has taken: it counts until the overlap ends, and not again."""
        return self.kind is SessionKind.KEY and self.generation > 0

    @property
    def impersonation(self) -> bool:
        """Whether an operator acts as this session's principal: nothing else is ever handed to a person."""
        return self.kind is SessionKind.DELEGATED and kind_of(self.principal or "") is PrincipalKind.HUMAN

    @property
    def acts_for(self) -> tuple[str | None, ...]:
        """The uids of who acts for whom: first the one for whom all is done, last the one who does it. One alone acts
        for itself. Who handed out a key is not among them: a key acts for its own principal.
        """
        return in_order(self, [link.uid for link in self.lineage if link.tie is Tie.PARENT], self.uid)

    @property
    def root(self) -> str:
        """The session at the top of the tree: what its events have in common."""
        return self.lineage[-1].session if self.lineage else self.id

    @property
    def proved(self) -> datetime | None:
        """Since when the session's assurance stands: the oldest of its latest authentication events that together
        amount to it. None where nobody is present. A password alone makes nothing of assurance 2 younger.
        """
        if self.kind is not _BROWSER:
            return None
        if len(self.authentications) == 1:
            return self.authentications[0].at
        latest: list[Authentication] = []
        for event in sorted(self.authentications, key=lambda event: event.at, reverse=True):
            latest.append(event)
            if assurance(latest) >= self.assurance:
                return event.at
        return None

    @property
    def partition(self) -> str:
        return self.id[4]


def in_order(session: Session, above: Sequence[T], own: T) -> tuple[T, ...]:
    """`own`, and what is said of those above by `parent`, nearest first, in the order of who acts for whom."""
    # Whoever is impersonated is the one for whom it is done; the operator does it.
    return (own, *above) if session.impersonation else (*reversed(above), own)


def act(chain: Sequence[str]) -> dict[str, Any] | None:
    """RFC 8693, section 4.1: who acts now, and within it who acted before. `chain` begins with the subject.

    None: the subject itself acts.
    """
    made: dict[str, Any] | None = None
    for name in chain[1:]:
        made = {"sub": name} if made is None else {"sub": name, "act": made}
    return made


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session to show, not to act with: lists yield these, and nothing that mints takes one."""

    id: str
    principal: str | None
    kind: SessionKind
    parent: str | None
    origin: str | None
    policy: str
    assurance: int
    authentications: tuple[Authentication, ...]
    created: datetime
    last_seen: datetime
    idle_expires: datetime | None
    expires: datetime
    scopes: frozenset[str]
    client: Client
    label: str
    ended: datetime | None
    cause: str | None
    ended_by: str | None
    live: bool
    """Whether a check would find it alive at the time of the listing."""
    reason: Reason | None = None
    """Why a check would deny it at the time of the listing, whoever asks; None: it is live."""
    chain: tuple[str, ...] = ()
    """The names of `Session.acts_for`."""
    rotated_out: bool = False
    """See `Session.rotated_out`."""
    impersonation: bool = False
    """See `Session.impersonation`."""
