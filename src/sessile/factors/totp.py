"""One-time codes of an authenticator app (TOTP, RFC 6238). Needs cryptography and segno (`sessile[factors]`).

Each enrolment has a key of its own: 20 random bytes, for HMAC-SHA-1, six digits and steps of 30 seconds, which is
what every app takes. A code counts during its own step and, for the delay of typing and the network, during the next
one (RFC 6238, 5.2): `DRIFT`. It counts once: the step of the last code that was accepted is kept, and no code of that
step or an earlier one is taken again, whichever node is asked.
"""

from __future__ import annotations

import base64
import hmac
import io
import re
import secrets
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
import segno
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from sessile.errors import Conflict, NotFound, SessileError
from sessile.factors.enrolled import Factor, Factors, Stored, is_over
from sessile.factors.throttle import LINK, SESSION, Attempt
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import new_id
from sessile.kernel.principal import Principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.receipt import Issued
from sessile.stores.protocol import Credential

KEY_BYTES: Final = 20
"""RFC 4226, R6: 16 at least, 20 recommended."""
DIGITS: Final = 6
STEP: Final = timedelta(seconds=30)
DRIFT: Final = timedelta(seconds=30)
"""How long after its own step a code still counts."""
_STEPS_BACK: Final = DRIFT // STEP
_CODE: Final = re.compile(rf"[0-9]{{{DIGITS}}}")
_ATTEMPTS: Final = 5


class CodeRefused(SessileError):
    """The code is wrong, over, or was used before: which, is not said."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator app needs to know. Hidden in its repr."""

    factor: Factor
    secret: str
    """The key in base 32, to type where no picture can be taken."""
    uri: str
    """The same with the name of the account and of the service (`otpauth://totp/…`): what the picture says."""

    def __repr__(self) -> str:
        return f"Enrolment({self.factor.id})"

    def svg(self) -> str:
        """The URI as a QR code: an `<svg>` element without style or script, dark on white."""
        picture = io.BytesIO()
        segno.make(self.uri, micro=False, error="m").save(
            picture, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=4, light="#fff", dark="#000",
            svgclass=None, lineclass=None, nl=False,
        )  # fmt: skip
        return picture.getvalue().decode()


class Totp:
    """The authenticator apps of an authority's people.

    Args:
        factors: the second factors that they are kept among.
        issuer: what the app calls this service.

    The throttle of `factors` counts every code before it is looked at. A further app does not begin the count anew.
    """

    def __init__(self, factors: Factors, *, issuer: str = "Sessile") -> None:
        if not issuer or ":" in issuer:
            raise ValueError("an issuer has a name, without a colon")
        self._factors = factors
        self._authority = factors.authority
        self._issuer = issuer

    def __repr__(self) -> str:
        return f"Totp({self._authority!r})"

    async def enrol(self, active: Active, *, name: str = "") -> Enrolment:
        """Begin to add an app: it counts once `confirm` has seen a code of it, which has ten minutes.

        Raises:
            Refused: a fresh authentication is needed; see `Factors.may_change`. LimitExceeded. ValueError: the name.
        """
        key, id = secrets.token_bytes(KEY_BYTES), new_id("fct")
        factor = await self._factors.add(active, Method.TOTP, name, key, id)
        return self._enrolment(active, factor, key)

    async def pending(self, active: Active, id: str) -> Enrolment:
        """An enrolment that waits for its confirmation, to be shown again. Raises NotFound, Refused."""
        stored = await self._pending(active, id)
        return self._enrolment(active, stored.factor, self._factors.opened(stored))

    async def confirm(self, active: Active, id: str, code: str, *, client: Client | None = None) -> Issued:
        """The app is there and shows the right code: from now on it counts. The session goes on with a new token
        and this authentication.

        Raises:
            CodeRefused. NotFound: no such enrolment, or its ten minutes are over. Refused: see `enrol`.
            Conflict: the session is over.
        """
        stored = await self._pending(active, id)
        tries = await self._count(stored.credential.uid, client)
        step = self._matching(stored, code)
        if step is None:
            await self._failed(stored.credential.uid, actor_of(active, client), "totp")
            raise CodeRefused(_WRONG)
        if tries is not None:
            await tries.succeeded()
        now = self._authority.clock.now()
        record = msgspec.structs.replace(stored.record, confirmed=True, count=step, used=now, added=now)
        event = self._factors.changed(EventName.FACTOR_ADDED, stored, active, client)
        if not await self._authority.store.set_credential(
            stored.changed(record), event, instead_of=stored.credential.value
        ):
            raise Conflict("this enrolment was confirmed already")
        return await self._authority.elevate(active, method=Method.TOTP, client=client)

    async def step_up(self, active: Active, code: str, *, client: Client | None = None) -> Issued:
        """The second factor, or re-authentication: the session goes on with a new token and this authentication.

        Raises:
            CodeRefused. Throttled. Conflict: the session is over, or no person's; `denied` says why.
        """
        session = active.session
        if session.kind is not SessionKind.BROWSER or session.uid is None:
            raise Conflict("codes are for people's own sessions", Denied(reason=Reason.OUT_OF_SCOPE))
        await self._accept(session.uid, code, client, actor_of(active, client))
        return await self._authority.elevate(active, method=Method.TOTP, client=client)

    async def accept(
        self, principal: Principal, code: str, *, client: Client | None = None, lane: str = LINK
    ) -> None:  # fmt: skip
        """Take a code of a person without a session: one proof of those that a recovery or a sign-in needs, which
        `lane` tells apart for the throttle. Signs nobody in.

        Raises:
            CodeRefused. Throttled.
        """
        by = Actor(name=principal.name, uid=principal.uid, client=client or Client())
        await self._accept(principal.uid, code, client, by, lane)

    async def _accept(
        self, uid: str, code: str, client: Client | None, by: Actor, lane: str = SESSION
    ) -> None:  # fmt: skip
        """Take the code, so that nobody else can. Raises CodeRefused, Throttled."""
        tries = await self._count(uid, client, lane)
        for _ in range(_ATTEMPTS):
            matching = [
                (stored, step)
                for stored in await self._factors.stored(uid, Method.TOTP)
                if stored.record.confirmed and (step := self._matching(stored, code)) is not None
            ]
            if not matching:
                break
            fresh = [(stored, step) for stored, step in matching if step > stored.record.count]
            if not fresh:
                # The right code, once more: whoever showed it first may have been watched (63B-4, 3.1.4.2).
                await self._failed(uid, by, "totp_used")
                raise CodeRefused(_WRONG)
            stored, step = fresh[0]
            if await self._authority.store.set_credential(self._used(stored, step), instead_of=stored.credential.value):
                if tries is not None:
                    await tries.succeeded()
                return
        await self._failed(uid, by, "totp")
        raise CodeRefused(_WRONG)

    async def _count(self, uid: str, client: Client | None, lane: str = SESSION) -> Attempt | None:
        throttle = self._factors.throttle
        if throttle is None:
            return None
        return await throttle.count(Method.TOTP, uid, known=True, client=client, lane=lane)

    def _used(self, stored: Stored, step: int) -> Credential:
        used = self._authority.clock.now()
        return stored.changed(
            msgspec.structs.replace(stored.record, count=step, used=used, sealed=self._factors.resealed(stored))
        )

    def _matching(self, stored: Stored, code: str) -> int | None:
        """The time step that the code is of, if it counts now by this key."""
        return matching_step(self._factors.opened(stored), code, self._authority.clock.now())

    async def _pending(self, active: Active, id: str) -> Stored:
        uid = await self._factors.may_change(active)
        now = self._authority.clock.now()
        for stored in await self._factors.stored(uid, Method.TOTP):
            if stored.credential.id == id and not stored.record.confirmed and not is_over(stored, now):
                return stored
        raise NotFound("there is no such enrolment, or its ten minutes are over: begin again")

    def _enrolment(self, active: Active, factor: Factor, key: bytes) -> Enrolment:
        secret = base64.b32encode(key).decode()
        label = quote(f"{self._issuer}:{active.session.principal}", safe=":")
        query = urlencode(
            {"secret": secret, "issuer": self._issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP.seconds},
            quote_via=quote,
        )
        return Enrolment(factor=factor, secret=secret, uri=f"otpauth://totp/{label}?{query}")

    async def _failed(self, uid: str, by: Actor, cause: str) -> None:
        await self._authority.store.record(
            Event(name=EventName.SIGN_IN_FAILED, principal=by.name, uid=uid, session=by.session, by=by, cause=cause)
        )


def matching_step(key: bytes, code: str, now: datetime) -> int | None:
    """The time step that the code is of, if it counts at that instant by this key."""
    shown = "".join(code.split())
    if not _CODE.fullmatch(shown):
        return None
    totp = TOTP(key, DIGITS, SHA1(), STEP // timedelta(seconds=1))  # noqa: S303 - RFC 6238's own
    found = None
    for back in range(_STEPS_BACK + 1):
        at = int(now.timestamp()) - back * int(STEP.total_seconds())
        if hmac.compare_digest(totp.generate(at), shown.encode()):
            found = at // int(STEP.total_seconds())
    return found


_WRONG: Final = "the code is wrong, or was used already: wait for the next one and try again"
