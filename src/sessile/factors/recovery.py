"""Recovery codes: what a person keeps on paper for the day on which the second factor is lost.

A code is an answer to a lost factor, not a way to sign in by itself: with the password (a second proof, of another
kind) it raises a session to assurance 2, which is what binding a new factor takes (NIST SP 800-63B-4, 4.2.2.2). It
opens what assurance 2 opens, until that session ends; nothing asks for one where another factor is at hand.

Each has 125 random bits, so that a plain digest may be stored (63B-4, 3.1.2.2; ASVS V6.5.2). Each counts once, and the
one that takes its place is in the answer (63B-4, 4.2.1.1): a person never runs out. Guesses are counted like those of
any factor, and new codes do not begin the count anew (63B-4, 3.1.3.2).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Final

import msgspec

from sessile.errors import Conflict, Refused, SessileError
from sessile.factors.enrolled import FRESH, Factors, demand_factor
from sessile.factors.throttle import LINK, SESSION
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied, Requirement, demand
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import ALPHABET
from sessile.kernel.principal import Principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.receipt import Issued
from sessile.stores.protocol import Credential

CODES: Final = 10
"""How many a person has."""
GROUPS: Final = 5
GROUP: Final = 5
"""Characters of a group; each has five bits."""
_CODE: Final = re.compile(rf"[{ALPHABET}]{{{GROUPS * GROUP}}}")
_LOOKALIKES: Final = str.maketrans("ilo", "110")
_ATTEMPTS: Final = 5


class RecoveryRefused(SessileError):
    """The code is wrong, or was used before: which, is not said."""


class Codes(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery codes to show, once. Hidden in their repr."""

    codes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Codes({len(self.codes)})"


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A code was used. Hidden in its repr."""

    issued: Issued
    replacement: str
    """The code that takes its place: to be shown now, and never again."""

    def __repr__(self) -> str:
        return f"Recovered({self.issued.active!r})"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory keeps of a person's codes, as JSON."""

    made: datetime
    used: datetime | None = None
    digests: tuple[bytes, ...]


class RecoveryCodes:
    """The recovery codes of an authority's people. `factors`: the second factors that they stand in for."""

    def __init__(self, factors: Factors) -> None:
        self._factors = factors
        self._authority = factors.authority

    def __repr__(self) -> str:
        return f"RecoveryCodes({self._authority!r})"

    async def of(self, uid: str) -> Kept | None:
        """When the person's codes were made, and when one was last used; None: there are none."""
        stored = await self._stored(uid)
        return None if stored is None else _kept(stored)

    async def may_make(self, active: Active) -> str:
        """The uid of the person to whom codes may be shown in this session. Raises Refused: see `make`."""
        session = active.session
        if session.kind is not SessionKind.BROWSER or session.uid is None:
            raise Refused("recovery codes are for people's own sessions", Denied(reason=Reason.OUT_OF_SCOPE))
        now = self._authority.clock.now()
        denied = demand(session, Requirement(fresh=FRESH, assurance=2), now)
        if denied is not None:
            raise Refused("recovery codes stand in for a second factor: prove yourself with it first", denied)
        demand_factor(session, now)
        return session.uid

    async def make(self, active: Active, *, client: Client | None = None) -> Codes:
        """New codes; those before count no more.

        Raises:
            Refused: a fresh authentication with two factors is needed (63B-4, 3.1.2.1); `denied` says which it is.
        """
        uid, session = await self.may_make(active), active.session
        codes = tuple(_new_code() for _ in range(CODES))
        kept = Kept(made=self._authority.clock.now(), digests=tuple(map(code_digest, codes)))
        event = Event(
            name=EventName.RECOVERY_CODES_MADE, principal=session.principal, uid=uid, session=session.id,
            by=actor_of(active, client), details={"codes": CODES},
        )  # fmt: skip
        await self._authority.store.set_credential(_credential(uid, kept), event)
        return Codes(codes=codes)

    async def step_up(self, active: Active, code: str, *, client: Client | None = None) -> Recovered:
        """Use a code instead of the second factor: the session goes on with a new token and this authentication.

        Raises:
            RecoveryRefused. Throttled. Conflict: the session is over, or no person's; `denied` says why.
        """
        session = active.session
        if session.kind is not SessionKind.BROWSER or session.uid is None:
            raise Conflict("recovery codes are for people's own sessions", Denied(reason=Reason.OUT_OF_SCOPE))
        used = self._used_event(session.principal, session.uid, actor_of(active, client), session.id)
        replacement = await self._accept(code, client, used, SESSION)
        issued = await self._authority.elevate(active, method=Method.RECOVERY_CODE, client=client)
        return Recovered(issued=issued, replacement=replacement)

    async def accept(
        self, principal: Principal, code: str, *, client: Client | None = None, lane: str = LINK
    ) -> str:  # fmt: skip
        """Use a code of a person without a session: one proof of those that a recovery or a sign-in needs, which
        `lane` tells apart for the throttle. Signs nobody in.

        Returns the code that takes its place: to be shown now, and never again.

        Raises:
            RecoveryRefused. Throttled.
        """
        by = Actor(name=principal.name, uid=principal.uid, client=client or Client())
        return await self._accept(code, client, self._used_event(principal.name, principal.uid, by), lane)

    def _used_event(self, name: str | None, uid: str, by: Actor, session: str | None = None) -> Event:
        return Event(name=EventName.RECOVERY_CODE_USED, principal=name, uid=uid, session=session, by=by)

    async def _accept(self, code: str, client: Client | None, used: Event, lane: str) -> str:
        """Take the code, with the event. Returns its replacement. Raises RecoveryRefused, Throttled."""
        throttle, tries, uid = self._factors.throttle, None, used.uid or ""
        if throttle is not None:
            tries = await throttle.count(Method.RECOVERY_CODE, uid, known=True, client=client, lane=lane)
        replacement = await self._use(uid, _normal(code), used)
        if replacement is None:
            await self._authority.store.record(
                msgspec.structs.replace(used, name=EventName.SIGN_IN_FAILED, cause=Method.RECOVERY_CODE)
            )
            raise RecoveryRefused("the code is wrong, or was used already")
        if tries is not None:
            await tries.succeeded()
        return replacement

    async def _use(self, uid: str, code: str, event: Event) -> str | None:
        """Put another in the place of `code`, so that nobody else can use it. None: it is none of them."""
        digest = code_digest(code)
        for _ in range(_ATTEMPTS):
            stored = await self._stored(uid)
            kept = None if stored is None else _kept(stored)
            if stored is None or kept is None or not _CODE.fullmatch(code):
                return None
            left = tuple(one for one in kept.digests if not hmac.compare_digest(one, digest))
            if len(left) == len(kept.digests):
                return None
            replacement = _new_code()
            renewed = Kept(made=kept.made, used=self._authority.clock.now(), digests=(*left, code_digest(replacement)))
            if await self._authority.store.set_credential(_credential(uid, renewed), event, instead_of=stored.value):
                return replacement
        return None

    async def _stored(self, uid: str) -> Credential | None:
        return await self._authority.store.credential(uid, Method.RECOVERY_CODE)


def _credential(uid: str, kept: Kept) -> Credential:
    return Credential(uid=uid, kind=Method.RECOVERY_CODE, value=msgspec.json.encode(kept))


def _kept(stored: Credential) -> Kept:
    return msgspec.json.decode(stored.value, type=Kept)


def _new_code() -> str:
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
    return "-".join(groups)


def _normal(code: str) -> str:
    """As it was made, without what people add or mistake: `I` and `L` for 1, `O` for 0."""
    return "".join(char for char in code[:200].lower() if char.isalnum()).translate(_LOOKALIKES)


def code_digest(code: str) -> bytes:
    return hashlib.sha256(_normal(code).encode()).digest()
