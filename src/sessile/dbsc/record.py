"""What is kept of a session's device binding: its key, and the challenges that a proof may be over.

It lies among its person's credentials, so it goes with the person, and is changed only as it was read: of two proofs
over one challenge, on whichever nodes, one counts (ASVS V6.7.2).
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec

from sessile.dbsc.proof import PublicKey
from sessile.stores import Backend
from sessile.stores.protocol import Credential

KIND: Final = "dbsc"
CHALLENGE_LIFETIME: Final = timedelta(minutes=12)
"""A little more than the bound cookie's: the challenge that came with it serves the next refresh."""
GRACE: Final = timedelta(seconds=60)
"""How long the challenge that was replaced may still arrive."""
MOST: Final = 50
"""Sessions of one person that are looked at, when a new one is bound, for whether they are over."""
_CHALLENGE_BYTES: Final = 32


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One session's. All instants are aware UTC datetimes."""

    challenge: str
    """The one that was sent last."""
    since: datetime
    key: PublicKey | None = None
    """None: offered, nothing registered yet."""
    registered: datetime | None = None
    previous: str | None = None
    """The one before, where no proof came over it."""

    def takes(self, challenge: str, now: datetime) -> bool:
        """Whether a proof over this challenge counts now."""
        if _same(challenge, self.challenge):
            return not self.stale(now)
        return self.previous is not None and _same(challenge, self.previous) and now < self.since + GRACE

    def stale(self, now: datetime) -> bool:
        """Whether its challenge is too old to count."""
        return now >= self.since + CHALLENGE_LIFETIME

    def young(self, now: datetime) -> bool:
        """Whether its challenge can be sent once more."""
        return now < self.since + CHALLENGE_LIFETIME / 2

    def spent(self, challenge: str, now: datetime) -> Record:
        """After a proof over `challenge`, which counts no more. There is a new one."""
        # Over the previous one: the current has not been used, so it is the previous now.
        previous = None if _same(challenge, self.challenge) else self.challenge
        return msgspec.structs.replace(self, challenge=new_challenge(), since=now, previous=previous)

    def replaced(self, now: datetime) -> Record:
        """With a new challenge, in the place of one that nobody has used."""
        previous = None if self.stale(now) else self.challenge
        return msgspec.structs.replace(self, challenge=new_challenge(), since=now, previous=previous)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def new_challenge() -> str:
    return secrets.token_urlsafe(_CHALLENGE_BYTES)


class Kept(msgspec.Struct, frozen=True):
    """A record, and what it is stored as."""

    uid: str
    session: str
    record: Record
    value: bytes


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


async def find(store: Backend, uid: str, session_id: str) -> Kept | None:
    stored = await store.credential(uid, KIND, session_id)
    return None if stored is None else Kept(uid, session_id, _decode(stored.value), stored.value)


async def write(store: Backend, uid: str, session_id: str, record: Record, *, instead_of: Kept | None = None) -> bool:
    """Whether it was written: not if somebody was quicker than who read `instead_of`."""
    credential = Credential(uid=uid, kind=KIND, id=session_id, value=_encode(record))
    return await store.set_credential(credential, instead_of=None if instead_of is None else instead_of.value)


async def prune(store: Backend, uid: str) -> None:
    """Remove what is left of this person's sessions that are over."""
    kept = [one for one in await store.credentials(uid) if one.kind == KIND]
    for one in kept[:MOST]:
        session = await store.session(one.id)
        if session is None or not session.live:
            await store.remove_credential(uid, KIND, one.id)
