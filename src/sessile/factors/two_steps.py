"""Signing in where a second factor is demanded: whether the first one was right is not told before the second is given.

A wrong password, an unknown name and a right password are answered alike: by a pre-session, and the same question for a
second factor. The sign-in as a whole succeeds or fails with the second step, and what was wrong is not said. Whoever
guesses passwords has to give a code with each guess, and learns from no answer that a password is right.

Nothing of a pre-session is in the store, or strangers would fill it: it is sealed under the server's key, whoever holds
it reads nothing in it, and it is spent by the one code that is tried with it. One that was made for a wrong password
names nobody, so that no code can make it succeed. The try is counted before the password is looked at, as ever, and
given back by the whole sign-in only: how many are left tells nothing either.

A passkey with user verification needs no password. Where one is shown as the second step it signs in by itself
(`Passkeys.sign_in`), and what it is asked names no person's passkeys.

What is still told, and why: decision 0026.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

import msgspec

from sessile.errors import Conflict
from sessile.factors.enrolled import Factors
from sessile.factors.even import even
from sessile.factors.password import KIND, Looked, Passwords, SignInFailed
from sessile.factors.recovery import CODES, RecoveryCodes, RecoveryRefused, code_digest
from sessile.factors.sealing import Seal, Unsealable
from sessile.factors.throttle import SIGN_IN, Attempt, Throttled
from sessile.factors.totp import DIGITS, KEY_BYTES, CodeRefused, Totp, matching_step
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.issue import Fence, Idle
from sessile.kernel.principal import Principal, Status
from sessile.kernel.session import Client
from sessile.kernel.tries import Limit
from sessile.receipt import Issued

LIFETIME: Final = timedelta(minutes=5)
"""Of a pre-session: as long as a passkey's challenge."""
SECOND: Final = (Method.PASSKEY, Method.TOTP, Method.RECOVERY_CODE)
"""What is asked for, of everybody alike."""
WITHHELD: Final = "withheld"
"""The cause of a failed second step after a failed first one, whoever it was about."""
_PLACE: Final = "pre-session 1"
_NOBODY: Final = "prn_" + "0" * 26
_NO_FENCE: Final = bytes(16)
_NONCE: Final = 16
_LONGEST: Final = 4_000
_LONGEST_NAME: Final = 256
_LONGEST_APP_CODE: Final = DIGITS + 2


class PreSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser holds between the two steps. Hidden in its repr."""

    secret: str
    begun: datetime
    expires: datetime

    def __repr__(self) -> str:
        return "PreSession()"


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """Both steps were right. Hidden in its repr."""

    issued: Issued
    replacement: str = ""
    """For a recovery code: the one that takes its place, to be shown now and never again."""

    def __repr__(self) -> str:
        return f"Finished({self.issued.active!r})"


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What a pre-session says, as long for everybody who typed the same name."""

    uid: str
    """Whose password was right; `_NOBODY` after a wrong one."""
    fence: bytes
    """A digest of the epochs that were in force when the password was looked at."""
    begun: int
    nonce: bytes
    name: str
    limits: tuple[Limit, ...]
    """What the try was counted against: the whole sign-in gives it back."""


class TwoSteps:
    """Sign-ins of an authority's people, by a password and, where their policy demands it, a second factor.

    Args:
        passwords, factors, totp, recovery_codes: of one authority.
        key: 32 random bytes, the same on all nodes.
    """

    def __init__(
        self, passwords: Passwords, factors: Factors, totp: Totp, recovery_codes: RecoveryCodes, key: bytes
    ) -> None:
        self._passwords = passwords
        self._factors = factors
        self._totp = totp
        self._codes = recovery_codes
        self._authority = factors.authority
        self._seal = Seal([key])
        self._nobody_s_key = self._seal.seal(secrets.token_bytes(KEY_BYTES), _PLACE, _NOBODY)
        self._nobody_s_codes = [code_digest(secrets.token_hex()) for _ in range(CODES)]

    def __repr__(self) -> str:
        return f"TwoSteps({self._authority!r})"

    @even
    async def begin(
        self, name: str, password: str, *, client: Client | None = None, replaces: Active | None = None,
        device: str | None = None, resumes: Idle | None = None,
    ) -> Issued | PreSession:  # fmt: skip
        """The first step. A session, where the password is enough: see `Passwords.sign_in`, whose arguments these are.

        If a policy of this store demands a second factor, whoever is not let in gets a pre-session. Of people who have
        no second factor yet, and of those whose policy demands none, a right password opens a session as ever.

        Raises:
            SignInFailed: where no policy demands a second factor. And what else `Passwords.sign_in` raises.
        """
        store = self._authority.store
        policies = {one.name: one for one in await store.policies()}
        looked = await self._passwords.look(name, password, client=client, device=device)
        if all(one.assurance < 2 for one in policies.values()):
            return await self._passwords.let_in(looked, password, client=client, replaces=replaces, resumes=resumes)
        right = looked.right
        person = None if right is None else right.principal
        asked = await self._has_second(_NOBODY if person is None else person.uid)
        if right is None or person is None:
            return self._pre_session(name, looked, None)
        policy = policies.get(person.policy)
        alone = policy is None or policy.assurance < 2 or not asked
        if alone or await self._goes_on(resumes, person):
            return await self._passwords.let_in(looked, password, client=client, replaces=replaces, resumes=resumes)
        # A failure is an event, and so is this: as much is written.
        by = Actor(name=right.name, uid=person.uid, client=client or Client())
        await store.record(
            Event(name=EventName.SIGN_IN_PENDING, principal=person.name, uid=person.uid, by=by, cause=KIND)
        )
        self._passwords.renew_soon(looked, password)
        return self._pre_session(name, looked, person)

    @even
    async def finish(
        self, shown: str, method: Method | str, code: str, *, client: Client | None = None,
        replaces: Active | None = None,
    ) -> Finished:  # fmt: skip
        """The second step, by a code: the session, if both were right. The pre-session is spent in any case.

        Args:
            shown: `PreSession.secret`.
            method: `totp` or `recovery_code`; `method_of` tells which a code is.

        Raises:
            SignInFailed: something was wrong, or the pre-session is over: what, is not said.
            LimitExceeded: the policy's number of sessions is reached. StoreUnavailable.
            Conflict: all was right, and signing in is locked by an operator.
        """
        method, found = Method(method), self._opened(shown)
        if found is None or not await self._spend(found):
            raise SignInFailed(FAILED)
        authority, store = self._authority, self._authority.store
        person = await store.principal(uid=found.uid)
        async with authority.sign_in(person.name if person is not None else _NOBODY) as attempt:
            before = await store.fence(attempt.name)
            principal = attempt.principal
            if before is None or principal is None or not _is_still(*before, found):
                await self._refuse(found, method, code, client)
                raise SignInFailed(FAILED)
            replacement = ""
            try:
                if method is Method.TOTP:
                    await self._totp.accept(principal, code, client=client, lane=SIGN_IN)
                elif method is Method.RECOVERY_CODE:
                    replacement = await self._codes.accept(principal, code, client=client, lane=SIGN_IN)
                else:
                    raise SignInFailed(FAILED)
            except (CodeRefused, RecoveryRefused, Throttled):
                # Also that one has to wait: it would tell that the password was right.
                raise SignInFailed(FAILED) from None
            await Attempt(authority, found.limits).succeeded()
            try:
                issued = await attempt.begin(method=Method.PASSWORD, second=method, client=client, replaces=replaces)
            except Conflict as error:
                await attempt.failed(method, client=client)
                if error.denied is None and await store.fence(attempt.name) == before:
                    raise  # nothing of the person changed: an operator has locked signing in
                raise SignInFailed(FAILED) from error
        return Finished(issued=issued, replacement=replacement)

    async def settle(self, shown: str, issued: Issued) -> None:
        """The person signed in by a passkey instead, after this pre-session: if its password was right, the try is
        given back."""
        found = self._opened(shown)
        if found is not None and found.uid == issued.active.session.uid and await self._spend(found):
            await Attempt(self._authority, found.limits).succeeded()

    def name(self, shown: str) -> str:
        """What was typed as the name, to be shown to whoever typed it."""
        found = self._opened(shown)
        return "" if found is None else found.name

    async def _has_second(self, uid: str) -> bool:
        has, codes = await self._factors.of(uid), await self._codes.of(uid)
        return bool(has) or codes is not None

    async def _goes_on(self, resumes: Idle | None, person: Principal) -> bool:
        """Whether this browser showed a session of this person that a password is enough to go on with: it is over by
        inactivity alone (63B-4, 2.2.3)."""
        if resumes is None:
            return False
        before = await self._authority.store.session(resumes.session)
        return before is not None and before.principal == person.name and before.assurance == 2

    def _pre_session(self, name: str, looked: Looked, person: Principal | None) -> PreSession:
        begun = self._authority.clock.now()
        said = _Sealed(
            uid=_NOBODY if person is None else person.uid,
            fence=_NO_FENCE if person is None or looked.fence is None else _digest(looked.fence[1]),
            begun=int(begun.timestamp()), nonce=secrets.token_bytes(_NONCE),
            name=name.encode("utf-8", "replace").decode()[:_LONGEST_NAME],
            limits=() if looked.tries is None else looked.tries.limits,
        )  # fmt: skip
        sealed = self._seal.seal(msgspec.msgpack.encode(said), _PLACE)
        secret = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        return PreSession(secret=secret, begun=begun, expires=begun + LIFETIME)

    def _opened(self, shown: str) -> _Sealed | None:
        """What it says, if it was made here and is not over."""
        if len(shown) > _LONGEST or not shown.isascii():
            return None
        try:
            sealed = base64.urlsafe_b64decode(shown + "=" * (-len(shown) % 4))
            found = msgspec.msgpack.decode(self._seal.open(sealed, _PLACE), type=_Sealed)
        except (ValueError, Unsealable):
            return None
        age = self._authority.clock.now().timestamp() - found.begun
        return found if age < LIFETIME.total_seconds() else None

    async def _spend(self, found: _Sealed) -> bool:
        key = hashlib.sha256(b"sessile pre-session spent 1 " + found.nonce).digest()
        return await self._authority.store.count_try([Limit(key=key, burst=1, every=LIFETIME * 2)]) is None

    async def _refuse(self, found: _Sealed, method: Method, code: str, client: Client | None) -> None:
        """What a wrong code costs, where no code could be right: counted, compared with something, and an event.

        It is counted against nobody, or strangers could switch off people's factors.
        """
        store, throttle = self._authority.store, self._factors.throttle
        if throttle is not None:
            try:
                await throttle.count(method, found.nonce[:2].hex(), known=False, client=client, lane=SIGN_IN)
            except Throttled:
                return
        if method is Method.RECOVERY_CODE:
            await store.credential(_NOBODY, method)
            digest = code_digest(code)
            [hmac.compare_digest(one, digest) for one in self._nobody_s_codes]
        else:
            await store.credentials(_NOBODY)
            matching_step(self._seal.open(self._nobody_s_key, _PLACE, _NOBODY), code, self._authority.clock.now())
        by = Actor(name="anonymous", client=client or Client())
        await store.record(Event(name=EventName.SIGN_IN_FAILED, by=by, cause=WITHHELD))


def method_of(code: str) -> Method:
    """What a code is of that was typed where either may be: an app's is short, a recovery code is not."""
    plain = sum(char.isalnum() for char in code)
    return Method.TOTP if plain <= _LONGEST_APP_CODE else Method.RECOVERY_CODE


def _is_still(principal: Principal, fence: Fence, found: _Sealed) -> bool:
    """Whether all is as it was when the password was looked at."""
    same = hmac.compare_digest(_digest(fence), found.fence)
    return principal.uid == found.uid and principal.status is Status.ACTIVE and same


def _digest(fence: Fence) -> bytes:
    said = b"sessile pre-session fence 1 " + fence.uid.encode() + fence.epoch + fence.everyone
    return hashlib.sha256(said).digest()[: len(_NO_FENCE)]


FAILED: Final = "the name, the password or the code is wrong"
