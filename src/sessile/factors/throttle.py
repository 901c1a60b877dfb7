"""Slowing down guessing, over all nodes: every try is counted in the store before anything is computed for it.

Three buckets: of the account, of the network that asks (an IPv4 address, an IPv6 /64) and of everybody. A stranger who
empties an account's bucket locks its person out of nothing: a device on which the person signed in before has a bucket
of its own, and needs no other (OWASP's device cookies). After `IN_A_ROW` failures without a success the authenticator
is off until it is bound anew (NIST SP 800-63B-4, 3.2.2); strangers get no further than `IN_A_ROW_OF_STRANGERS` of them.

A fourth one is of what was tried: one password over many accounts (ASVS V6.3.1). A limit that is reached is an event,
once an hour: who watches sees guessing, stuffing and spraying while they go on.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import Final

from sessile.authority import Authority
from sessile.errors import LimitExceeded
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.session import Client
from sessile.kernel.tries import TOLD, Limit
from sessile.strangers import network

IN_A_ROW: Final = 100
IN_A_ROW_OF_STRANGERS: Final = 90
ACCOUNT: Final = (10, timedelta(minutes=6))
"""Tries at once, and one more each so long."""
LANE: Final = (10, timedelta(minutes=1))
NETWORK: Final = (60, timedelta(seconds=10))
EVERYBODY: Final = (1_000, timedelta(milliseconds=50))
TRIED: Final = (20, timedelta(minutes=1))
"""Of one password, whichever the account."""
ASKING: Final = (3, timedelta(minutes=10))
"""For mails that somebody asks for: to one account, and from one network ten times that."""
SESSION: Final = "session"
LINK: Final = "link"
SIGN_IN: Final = "sign_in"
"""The lane of a second factor at sign-in, after a right password."""
_BITS_OF_TRIED: Final = 2
"""Bytes that are kept of a password's digest: enough to see one come again and again, no help in finding it."""
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
        self.limits = limits

    async def succeeded(self) -> None:
        await self._authority.store.give_back(self.limits)


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
        self, kind: str, whom: str, *, known: bool, client: Client | None = None, lane: str | None = None,
        tried: str | None = None,
    ) -> Attempt:  # fmt: skip
        """Count a try, before it is looked at.

        Args:
            kind: of the authenticator, `password` or `totp`.
            whom: a principal's uid, or the name that was typed where nobody has it.
            known: whether it is a uid: its failures are kept until a success.
            lane: what tells this one from strangers: the id of a known device (`device_id`), or `SESSION` where a
                session of the person asks. None: a stranger.
            tried: the password, where many accounts could be tried with one.

        Raises:
            Throttled.
        """
        most = IN_A_ROW_OF_STRANGERS if lane is None else IN_A_ROW
        row = Limit(key=self._key("row", kind, whom), in_a_row=most, kept=known)
        if lane is not None:
            limits = {"off": row, "lane": _limit(self._key("lane", kind, whom, lane), LANE)}
        else:
            account = _limit(self._key("account", kind, whom), ACCOUNT)
            limits = {"strangers": row, "account": account, **self._of_strangers(client)}
            if tried is not None:
                bucket = self._key("tried", tried)[:_BITS_OF_TRIED].hex()
                limits["tried"] = _limit(self._key("tried bucket", bucket), TRIED)
        return await self._count(limits, kind, whom if known else None, client)

    async def knock(self, uid: str | None, *, client: Client | None = None, lane: str | None = None) -> Attempt:
        """Count a try at what cannot be guessed, a signature: only so that nobody makes us verify without end. Nothing
        is ever off for it, or whoever knows a passkey's id could switch it off. `lane`: as for `count`; what has one
        waits for no stranger. Raises Throttled.
        """
        if uid is not None and lane is not None:
            limits = {"lane": _limit(self._key("lane", "passkey", uid, lane), LANE)}
        else:
            limits = self._of_strangers(client)
        return await self._count(limits, "passkey", None, client)

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
        row = self._key("row", kind, uid)
        await self._authority.store.forget_tries([row, self._key("told", "off", row.hex())])

    def _of_strangers(self, client: Client | None) -> dict[str, Limit]:
        limits = {"everybody": _limit(self._key("all"), EVERYBODY)}
        if (asking := network(client.ip if client is not None else None)) is not None:
            limits["network"] = _limit(self._key("network", asking), NETWORK)
        return limits

    async def _count(self, limits: dict[str, Limit], kind: str, uid: str | None, client: Client | None) -> Attempt:
        exhausted = await self._authority.store.count_try(list(limits.values()))
        if exhausted is None:
            return Attempt(self._authority, tuple(limits.values()))
        reached = next(name for name, limit in limits.items() if limit.key == exhausted.limit.key)
        if reached != "lane":
            await self._tell(reached, exhausted.limit, kind, uid, client)
        raise Throttled(exhausted.wait)

    async def _tell(self, reached: str, limit: Limit, kind: str, uid: str | None, client: Client | None) -> None:
        """An event of a limit that was reached; of an authenticator that is off, once until it is bound anew."""
        key = self._key("told", reached, limit.key.hex())
        off = reached == "off"
        once = Limit(key=key, in_a_row=1, kept=True) if off else Limit(key=key, burst=1, every=TOLD)
        store = self._authority.store
        if await store.count_try([once]) is not None:
            return
        of = await store.principal(uid=uid) if uid is not None and reached in ("off", "strangers", "account") else None
        await store.record(
            Event(
                name=EventName.FACTOR_OFF if off else EventName.GUESSING,
                principal=of.name if of is not None else None, uid=of.uid if of is not None else None,
                by=Actor(name="anonymous", client=client or Client()), cause=f"guessing_{reached}",
                details={"method": kind},
            )
        )  # fmt: skip

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
