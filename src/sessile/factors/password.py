"""Passwords: set, checked and changed. Needs argon2-cffi, which `sessile[server]` brings.

Rules (NIST SP 800-63B-4, 3.1.1.2): 15 to 256 characters, each Unicode code point counted once, after
normalisation to NFC, and 8 of whoever's policy demands a second factor beside it; the whole password counts; no rules
of composition and no periodic change; none of the lists that attackers try first (`factors.blocklist`), not the
person's own name, not the name of the service, not a short stretch repeated or a run of neighbouring characters.
256 code points are at most 1,024 bytes, which is what hashing one costs at most.

Stored is an Argon2id string with the second recommended option of RFC 9106, section 4 (64 MiB, 3 passes, 4 lanes,
a salt of 128 bits); a sign-in makes it anew when these parameters have changed. Hashing runs on two threads, and
a bounded number of calls waits for them: more is `Busy`, so that a flood of sign-ins takes neither the memory nor
the event loop.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from sessile.authority import Authority
from sessile.errors import Conflict, LimitExceeded, Refused, SessileError
from sessile.factors.blocklist import Blocklist
from sessile.factors.devices import Devices
from sessile.factors.throttle import SESSION, Attempt, Throttle
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied
from sessile.kernel.event import Actor, Event, EventName, actor_in
from sessile.kernel.issue import Fence, Idle
from sessile.kernel.principal import Principal, PrincipalKind, Status, canonical
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.receipt import Issued, Receipt
from sessile.signing_in import SignIn
from sessile.stores.protocol import Credential, End

T = TypeVar("T")

KIND: Final = "password"
"""Of the credential in the directory, and the cause of the endings that a change brings."""
COMPROMISED: Final = "compromised"
"""The cause of the endings that the voiding of a password brings."""
MINIMUM: Final = 15
MINIMUM_WITH_SECOND: Final = 8
"""Where a password alone opens nothing: the policy demands assurance 2 (63B-4, 3.1.1.2)."""
MAXIMUM: Final = 256
"""Characters (code points, after NFC)."""
THREADS: Final = 2
WAITING: Final = 32
"""Calls that may wait for a thread, in one process."""
SERVICE_WORDS: Final = ("sessile",)
_RUNS: Final = (
    "abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
)  # fmt: skip
_SHORTEST_HASHED: Final = 1
_VOID_BYTES: Final = 32


class SignInFailed(SessileError):
    """The name or the password is wrong, or the principal is disabled: which, is not said."""


class Busy(LimitExceeded):
    """Too many passwords are being checked at once: try again shortly (HTTP 429)."""


class WeakPassword(ValueError):
    """The new password breaks a rule: `rule` is `short`, `long`, `known`, `common` or `same`."""

    def __init__(self, rule: str, message: str, length: int = 0) -> None:
        super().__init__(message)
        self.rule = rule
        self.length = length


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A password was looked at. Hidden in its repr."""

    right: SignIn | None = None
    """The attempt, where the password is that of an active person."""
    stored: Credential | None = None
    fence: tuple[Principal, Fence] | None = None
    """What was in force before it was looked at."""
    tries: Attempt | None = None

    def __repr__(self) -> str:
        return "Looked()"


class Passwords:
    """The passwords of an authority's principals.

    Args:
        authority: whose principals and sessions.
        hasher: other parameters of Argon2; what was stored under different ones is made anew at sign-in.
        words: names of the service, which nobody may take as a password.
        blocklist: what nobody may take either.
        throttle: counts every try before it is hashed. None: only `Busy` slows down guessing.
    """

    def __init__(
        self, authority: Authority, *, hasher: PasswordHasher | None = None, words: tuple[str, ...] = SERVICE_WORDS,
        blocklist: Blocklist | None = None, throttle: Throttle | None = None,
    ) -> None:  # fmt: skip
        self._authority = authority
        self.throttle = throttle
        self.devices: Devices | None = None
        """Which of a person's known devices were not forgotten; None: all that `throttle` knows."""
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._words = words
        self._blocklist = blocklist or Blocklist()
        self._threads = _Threads()
        self._dummy: str | None = None
        self._renewing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Passwords({self._authority!r})"

    async def set(self, name: str, new: str, *, by: Active | Actor | None = None) -> Receipt:
        """Set a person's password without asking for the old one, and end all of that person's sessions.

        For enrolment and for operators on the command line; `change` is for the person itself.

        Raises:
            NotFound: no such principal. WeakPassword: says the rule. Busy. ValueError: not a person.
        """
        principal = await self._authority.principal(name)
        return await self.put(await self.prepared(principal, new), by=by)

    async def void(self, name: str, *, by: Active | Actor | None = None, cause: str = COMPROMISED) -> Receipt:
        """The password is in other hands: it lets nobody in any more, and every session of the person ends. A link for
        a new one (`Reset.link`) is the way back (63B-4, 3.1.1.2 and 4.3).

        Raises NotFound, Busy, ValueError: not a person. RevocationUncertain: repeat it.
        """
        principal = await self._authority.principal(name)
        # As long to look at as any other: by nothing does anybody learn that it is void.
        return await self.put(await self.prepared(principal, secrets.token_urlsafe(_VOID_BYTES)), by=by, cause=cause)

    async def prepared(self, principal: Principal, new: str) -> Credential:
        """A new password, judged and hashed, to be `put`. Raises WeakPassword, Busy, ValueError: not a person."""
        if principal.kind is not PrincipalKind.HUMAN:
            raise ValueError("services and agents have keys and delegations, not passwords")
        text = self.check_rules(new, name=principal.name, minimum=await self.minimum(principal))
        return Credential(uid=principal.uid, kind=KIND, value=(await self._hash(text)).encode())

    async def put(self, credential: Credential, *, by: Active | Actor | None = None, cause: str = KIND) -> Receipt:
        """The password from now on. All sessions of the person end; what was counted against the old one is forgotten.

        Raises NotFound: the person is gone. RevocationUncertain: repeat it.
        """
        uid = credential.uid
        receipt = await self._authority.end(End(uid=uid, cause=cause, credential=credential), by=by)
        if self.throttle is not None:
            await self.throttle.bound_anew(KIND, uid)
        return receipt

    async def minimum(self, principal: Principal | None) -> int:
        """How many characters this person's password has at least."""
        policy = None if principal is None else await self._authority.store.policy(principal.policy)
        return MINIMUM if policy is None or policy.assurance < 2 else MINIMUM_WITH_SECOND

    async def sign_in(
        self, name: str, password: str, *, client: Client | None = None, replaces: Active | None = None,
        device: str | None = None, resumes: Idle | None = None,
    ) -> Issued:  # fmt: skip
        """Begin a browser session for whoever knows the password.

        Status and epoch are read before the password is looked at: a change or a disabling in between wins. `resumes`:
        what `Authority.idle` said of this browser's token; see `SignIn.begin`.

        Raises:
            SignInFailed: the same for an unknown name, a wrong password and a disabled principal.
            Throttled: too many tries; `device` (`Throttle.new_device`) is a way in all the same.
            Busy: too many at once. LimitExceeded: the policy's number of sessions is reached. StoreUnavailable.
            Conflict: the password is right, and signing in is locked by an operator.
        """
        looked = await self.look(name, password, client=client, device=device)
        return await self.let_in(looked, password, client=client, replaces=replaces, resumes=resumes)

    async def look(
        self, name: str, password: str, *, client: Client | None = None, device: str | None = None
    ) -> Looked:  # fmt: skip
        """The first half of `sign_in`: the try is counted, the password looked at, and a failure an event.

        Raises Throttled, Busy, StoreUnavailable.
        """
        try:
            known = canonical(name)
        except ValueError:
            tries = await self._count(None, "", client, tried=password)
            await self._verify(None, password)
            return Looked(tries=tries)
        async with self._authority.sign_in(known) as attempt:
            before = await self._authority.store.fence(known)
            of = attempt.principal
            lane = await self._lane(device, of.uid) if of is not None else None
            tries = await self._count(of.uid if of is not None else None, known, client, lane, password)
            stored = await self._stored(attempt)
            matches = await self._verify(stored, password)
            principal = attempt.principal
            if not matches or stored is None or principal is None or principal.status is not Status.ACTIVE:
                await attempt.failed(KIND, client=client)
                return Looked(tries=tries)
            return Looked(right=attempt, stored=stored, fence=before, tries=tries)

    async def let_in(
        self, looked: Looked, password: str, *, client: Client | None = None, replaces: Active | None = None,
        resumes: Idle | None = None,
    ) -> Issued:  # fmt: skip
        """The second half of `sign_in`, which see."""
        attempt, stored = looked.right, looked.stored
        if attempt is None or stored is None:
            raise SignInFailed(_FAILED)
        if looked.tries is not None:
            await looked.tries.succeeded()
        await self._renew(stored, password)
        try:
            return await attempt.begin(method=Method.PASSWORD, client=client, replaces=replaces, resumes=resumes)
        except Conflict as error:
            await attempt.failed(KIND, client=client)
            if error.denied is None and await self._authority.store.fence(attempt.name) == looked.fence:
                raise  # nothing of the person changed: an operator has locked signing in, and this says until when
            raise SignInFailed(_FAILED) from error

    def renew_soon(self, looked: Looked, password: str) -> None:
        """Hash anew what was hashed under other parameters, beside whoever answers: that takes as long as looking."""
        if looked.stored is not None and self._hasher.check_needs_rehash(looked.stored.value.decode("ascii")):
            task = asyncio.get_running_loop().create_task(self._renew(looked.stored, password))
            self._renewing.add(task)
            task.add_done_callback(self._renewed)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing.discard(task)
        if not task.cancelled():
            task.exception()  # the next sign-in tries again

    async def _lane(self, device: str | None, uid: str) -> str | None:
        if self.devices is not None:
            return await self.devices.known(device, uid)
        return self.throttle.device_id(device, uid) if self.throttle is not None else None

    async def verify_again(self, active: Active, password: str, *, client: Client | None = None) -> Issued:
        """Re-authentication and step-up: the session goes on with a new token and a fresh authentication.

        Raises:
            SignInFailed: wrong. Busy. Conflict: the session is over; `denied` says why. Refused: no person's session.
        """
        await self._prove(active, password, client)
        return await self._authority.elevate(active, method=Method.PASSWORD, client=client)

    async def change(self, active: Active, current: str, new: str, *, client: Client | None = None) -> Issued:
        """The person's own change. Every other session of the person ends in the same transaction; this one goes
        on under a new token.

        Raises:
            SignInFailed: `current` is wrong. WeakPassword: `new` breaks a rule. Busy. Refused: no person's session.
            Conflict: this session is over, or another change was first.
        """
        session = active.session
        stored = await self._prove(active, current, client)
        principal = await self._authority.store.principal(uid=stored.uid)
        prepared = self.check_rules(new, name=session.principal or "", minimum=await self.minimum(principal))
        if hmac.compare_digest(prepared.encode(), _normal(current).encode()):
            raise WeakPassword("same", "this is the password you have now")
        hashed = await self._hash(prepared)
        token = new_token(TokenKind.BROWSER, session.partition)
        await self._authority.end(
            End(
                uid=stored.uid, cause=KIND, keep=session.id, keep_digest=digest(token),
                keep_method=Method.PASSWORD,
                credential=Credential(uid=stored.uid, kind=KIND, value=hashed.encode()),
            ),
            by=active,
        )  # fmt: skip
        # What the new token opens is read, not assumed: the session may have ended since.
        checked = await self._authority.check(token, client=client or session.client, touch=False)
        if checked:
            return Issued(token, checked)
        raise Conflict("the password is changed, and this session is over by now: sign in with the new one", checked)

    def check_rules(self, new: str, *, name: str = "", minimum: int = MINIMUM) -> str:
        """The password in its normal form (NFC), if the rules let `name` have it.

        Raises:
            WeakPassword: which rule it breaks. The message never shows the password.
        """
        if len(new) > MAXIMUM * 4:  # normalising costs time in the length
            raise WeakPassword("long", f"use at most {MAXIMUM} characters", len(new))
        text = _normal(new)
        if len(text) < minimum:
            raise WeakPassword("short", f"use at least {minimum} characters; a few words together will do", len(text))
        if len(text) > MAXIMUM:
            raise WeakPassword("long", f"use at most {MAXIMUM} characters", len(text))
        folded = "".join(char for char in text.casefold() if char.isalnum())
        if any(_made_of(folded, word) for word in (name, *self._words)):
            raise WeakPassword("known", "this is your name or the name of this service: choose another", len(text))
        if _is_run(text.casefold()):
            raise WeakPassword(
                "common", "this is a stretch repeated, or a run of neighbours: choose another", len(text)
            )
        if text in self._blocklist:
            raise WeakPassword("common", "this is on the lists that attackers try first: choose another", len(text))
        return text

    async def _prove(self, active: Active, password: str, client: Client | None) -> Credential:
        """The credential that `password` matches. Raises SignInFailed, and writes an event; Refused."""
        session = active.session
        if session.kind is not SessionKind.BROWSER:
            # Whoever holds a key or a delegation is not the person (63B-4 5.1.2).
            raise Refused(
                "passwords are for people's own sessions", Denied(reason=Reason.OUT_OF_SCOPE, session=session.id)
            )
        tries = await self._count(session.uid, session.principal or "", client, SESSION)
        stored = await self._authority.store.credential(session.uid, KIND) if session.uid else None
        if not await self._verify(stored, password) or stored is None:
            by = actor_in(session, client)
            await self._authority.store.record(
                Event(
                    name=EventName.SIGN_IN_FAILED, principal=session.principal, uid=session.uid, session=session.id,
                    by=by, cause=KIND,
                )
            )  # fmt: skip
            raise SignInFailed("the password is wrong")
        if tries is not None:
            await tries.succeeded()
        return stored

    async def _count(
        self, uid: str | None, name: str, client: Client | None, lane: str | None = None, tried: str | None = None
    ) -> Attempt | None:
        if self.throttle is None:
            return None
        return await self.throttle.count(
            KIND, uid or name, known=uid is not None, client=client, lane=lane, tried=tried
        )

    async def _stored(self, attempt: SignIn) -> Credential | None:
        # An unknown name is looked up as well: both take the same path.
        uid = attempt.principal.uid if attempt.principal is not None else "prn_unknown"
        return await self._authority.store.credential(uid, KIND)

    async def _verify(self, stored: Credential | None, password: str) -> bool:
        """Whether the password matches. Hashes once in any case: against a dummy if there is nothing to match."""
        if self._dummy is None:
            self._dummy = await self._hash("nobody has this password")
        text = _normal(password[: MAXIMUM * 4 + 1])
        fits = _SHORTEST_HASHED <= len(text) <= MAXIMUM
        against = self._dummy if stored is None else stored.value.decode("ascii", "replace")
        tried = text if fits else "x"

        def verify() -> bool:
            try:
                return self._hasher.verify(against, tried)
            except (VerificationError, InvalidHashError):
                return False

        matches = await self._threads.run(verify)
        return matches and fits and stored is not None

    async def _renew(self, stored: Credential, password: str) -> None:
        """Hash again under the parameters of today, unless the password was changed meanwhile."""
        if not self._hasher.check_needs_rehash(stored.value.decode("ascii")):
            return
        value = (await self._hash(_normal(password))).encode()
        await self._authority.store.set_credential(
            Credential(uid=stored.uid, kind=KIND, value=value), instead_of=stored.value
        )

    async def _hash(self, text: str) -> str:
        return await self._threads.run(lambda: self._hasher.hash(text))


class _Threads:
    """Two threads for hashing, and a bounded queue before them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sessile-password")
        self._accepted = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._accepted >= THREADS + WAITING:
                raise Busy("too many passwords are being checked at once: try again in a moment")
            self._accepted += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._accepted -= 1


def _normal(password: str) -> str:
    # A lone surrogate, which JSON can spell, has no UTF-8: it counts as a character that nobody can type again.
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode())


def _made_of(folded: str, word: str) -> bool:
    """Whether the text is the word, perhaps repeated or with digits around it, and nothing else."""
    plain = "".join(char for char in word.casefold() if char.isalnum())
    return len(plain) > 1 and not folded.replace(plain, "").strip("0123456789") and plain in folded


def _is_run(text: str) -> bool:
    """Whether the text is a stretch repeated that is too short itself, or made of neighbours on a keyboard."""
    for length in range(1, min(MINIMUM, len(text) // 2 + 1)):
        if (text[:length] * (len(text) // length + 1)).startswith(text):
            return True
    return all(any(a + b in row or b + a in row for row in _RUNS) for a, b in itertools.pairwise(text))


_FAILED: Final = "the name or the password is wrong"
