"""Slowing down guessing, over all nodes: every try is counted in the store before anything is computed for it.

Three buckets: of the account, of the network that asks (an IPv4 address, an IPv6 /64) and of everybody. A stranger who
empties an account's bucket locks its person out of nothing: a device on which the person signed in before has a bucket
of its own, and needs no other (OWASP's device cookies). After `IN_A_ROW` failures without a success the authenticator
is off until it is bound anew (NIST SP 800-63B-4, 3.2.2); strangers get no further than `IN_A_ROW_OF_STRANGERS` of them.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import Final

from sessile.authority import Authority
from sessile.errors import LimitExceeded
from sessile.kernel.session import Client
from sessile.kernel.tries import Limit
from sessile.strangers import network

IN_A_ROW: Final = 100
IN_A_ROW_OF_STRANGERS: Final = 90
ACCOUNT: Final = (30, timedelta(minutes=2))
"""Tries at once, and one more each so long."""
LANE: Final = (10, timedelta(minutes=1))
NETWORK: Final = (120, timedelta(seconds=5))
EVERYBODY: Final = (1_000, timedelta(milliseconds=50))
ASKING: Final = (3, timedelta(minutes=10))
"""For mails that somebody asks for: to one account, and from one network ten times that."""
SESSION: Final = "session"
_LABEL: Final = b"sessile throttle 1"
_DEVICE_ID: Final = 22


class Throttled(LimitExceeded):
    """Too many tries. `wait`: until there is one again (HTTP 429); None: not before it is bound anew."""

    def __init__(self, wait: timedelta | None) -> None:
        super().__init__(
            "too many tries: wait, then try again"
            if wait is not None
            else "this was tried too often without success and is off: set it anew"
        )
        self.wait = wait


class Attempt:
    """A try that was counted. `succeeded` gives it back."""

    def __init__(self, authority: Authority, limits: tuple[Limit, ...]) -> None:
        self._authority = authority
        self._limits = limits

    async def succeeded(self) -> None:
        await self._authority.store.give_back(self._limits)


class Throttle:
    """Counts tries for an authority.

    Args:
        authority: in whose store.
        secret: 32 random bytes, the same on all nodes: names and addresses are stored under a digest only.
    """

    def __init__(self, authority: Authority, secret: bytes) -> None:
        self._authority = authority
        self._secret = hmac.digest(secret, _LABEL, "sha256")

    def __repr__(self) -> str:
        return f"Throttle({self._authority!r})"

    async def count(
        self, kind: str, whom: str, *, known: bool, client: Client | None = None, lane: str | None = None
    ) -> Attempt:
        """Count a try, before it is looked at.

        Args:
            kind: of the authenticator, `password` or `totp`.
            whom: a principal's uid, or the name that was typed where nobody has it.
            known: whether it is a uid: its failures are kept until a success.
            lane: what tells this one from strangers: the id of a known device (`device_id`), or `SESSION` where a
                session of the person asks. None: a stranger.

        Raises:
            Throttled.
        """
        most = IN_A_ROW_OF_STRANGERS if lane is None else IN_A_ROW
        row = Limit(key=self._key("row", kind, whom), in_a_row=most, kept=known)
        if lane is not None:
            limits = [row, _limit(self._key("lane", kind, whom, lane), LANE)]
        else:
            limits = [row, _limit(self._key("account", kind, whom), ACCOUNT), _limit(self._key("all"), EVERYBODY)]
            if (asking := network(client.ip if client is not None else None)) is not None:
                limits.append(_limit(self._key("network", asking), NETWORK))
        exhausted = await self._authority.store.count_try(limits)
        if exhausted is not None:
            raise Throttled(exhausted.wait)
        return Attempt(self._authority, tuple(limits))

    async def ask(self, kind: str, whom: str, client: Client | None = None) -> None:
        """Count something that is asked for and not guessed, such as a mail: nothing is off in the end.

        Args:
            whom: what was typed; known or not, it is counted alike.

        Raises:
            Throttled.
        """
        limits = [_limit(self._key("ask", kind, whom), ASKING), _limit(self._key("all"), EVERYBODY)]
        if (asking := network(client.ip if client is not None else None)) is not None:
            burst, every = ASKING
            limits.append(_limit(self._key("network asks", kind, asking), (10 * burst, every / 10)))
        exhausted = await self._authority.store.count_try(limits)
        if exhausted is not None:
            raise Throttled(exhausted.wait)

    async def bound_anew(self, kind: str, uid: str) -> None:
        """The authenticator is another one: its failures are no more."""
        await self._authority.store.forget_tries([self._key("row", kind, uid)])

    def new_device(self, uid: str) -> str:
        """What a browser on which the person signed in shows from now on."""
        one = secrets.token_urlsafe(16)
        return one + self._signature(one, uid)

    def device_id(self, shown: str | None, uid: str) -> str | None:
        """The device that `shown` names, if this person signed in on it."""
        if shown is None or not shown.isascii():
            return None
        one = shown[:_DEVICE_ID]
        return one if hmac.compare_digest(shown[_DEVICE_ID:], self._signature(one, uid)) else None

    def _signature(self, one: str, uid: str) -> str:
        return self._key("cookie", one, uid).hex()

    def _key(self, *parts: str) -> bytes:
        said = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hmac.digest(self._secret, said, "sha256")


def _limit(key: bytes, bucket: tuple[int, timedelta]) -> Limit:
    return Limit(key=key, burst=bucket[0], every=bucket[1])
