"""Passkeys (W3C WebAuthn Level 3). Needs webauthn and cryptography (`sessile[factors]`).

A passkey signs in without a name, is a second factor, and proves its person again. It always verifies its person (a
PIN, a finger, a face), so one is worth two factors (NIST SP 800-63B-4, 3.1.7). One that never leaves its device counts
as a hardware key, one that may be synced as a passkey: assurance 3 and 2 (63B-4, B.3; decision 0015). No attestation is
asked for: which it is, the authenticator says.

A challenge is not stored when it is made, or every look at a login page would be a write: it says itself, under the
server's key, for what, for which browser and when it was made. It is spent in the store with its first use, so that of
any number of results at once, on all nodes, one is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json_dict,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from sessile.errors import Conflict, Refused, SessileError
from sessile.factors.enrolled import Factor, Factors, Record, Stored
from sessile.factors.throttle import SESSION
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import id_of
from sessile.kernel.principal import Principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.kernel.tries import Limit
from sessile.receipt import Issued

LIFETIME: Final = timedelta(minutes=5)
"""Of a challenge (WebAuthn 13.4.3 advises 5 to 10 minutes)."""
LONGEST_ID: Final = 1_023
"""Bytes of a credential's id (WebAuthn 7.1)."""
WEAKEST_RSA: Final = 2_048
"""Bits (63B-4, 3.1.6.2: a strength of 112 bits)."""
_NONCE: Final = 16
_TIME: Final = 8
_MAC: Final = 16
_SKEW: Final = 5
"""Seconds that the clock of the node that made a challenge may be ahead."""
_ATTEMPTS: Final = 5
_LABEL: Final = b"sessile passkey 1"
_HERE: Final = "localhost"
"""The relying party where no public origin is set. Browsers trust it without TLS."""


class PasskeyRefused(SessileError):
    """The passkey proves nobody here: unknown, removed, another person's, of another site, or its challenge is over
    or spent. Which, is not said."""


class PasskeyUnusable(SessileError):
    """The passkey cannot be added; the message says what would help."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a passkey (WebAuthn's credential record) where nobody can alter it: sealed, and so bound to its
    person. Hidden in its repr."""

    credential: bytes
    """Its id."""
    public: bytes
    """Its public key, in COSE."""
    handle: bytes
    """What the authenticator knows its person by: random, and nothing of the person (WebAuthn 5.4.3)."""
    synced: bool
    """It may be backed up, and so be on several devices. This never changes."""
    transports: tuple[str, ...] = ()
    aaguid: str = ""
    """The authenticator's model, as it says itself."""

    def __repr__(self) -> str:
        return "Key()"


class Passkeys:
    """The passkeys of an authority's people.

    Args:
        factors: the second factors that they are kept among.
        secret: 32 random bytes, the same on all nodes, for challenges.
        origins: of this service, as browsers see them, `https://console.example.com`. Passkeys are bound to the host
            of the first one that has a name; others count if their host is that one or below it. None: they work on
            `localhost` only, at any port.
        name: what authenticators call this service.
    """

    def __init__(
        self, factors: Factors, secret: bytes, *, origins: Sequence[str] = (), name: str = "Sessile"
    ) -> None:  # fmt: skip
        self._factors = factors
        self._authority = factors.authority
        self._secret = hmac.digest(secret, _LABEL, "sha256")
        hosts = {origin: urlsplit(origin).hostname or "" for origin in origins}
        self.rp_id = next((host for host in hosts.values() if not _is_address(host)), _HERE)
        """The name that passkeys are bound to."""
        self._origins = [
            origin for origin, host in hosts.items() if host == self.rp_id or host.endswith(f".{self.rp_id}")
        ]
        self._name = name

    def __repr__(self) -> str:
        return f"Passkeys({self.rp_id!r})"

    # -- adding one ---------------------------------------------------------------------------------------------

    async def registration_options(self, active: Active) -> dict[str, Any]:
        """What `PublicKeyCredential.parseCreationOptionsFromJSON` takes in the browser.

        Raises:
            Refused: a fresh authentication is needed; see `Factors.may_change`. LimitExceeded.
        """
        uid = await self._factors.may_change(active)
        await self._factors.room(uid)
        held = [self._key(stored) for stored in await self._factors.stored(uid, Method.PASSKEY)]
        options = generate_registration_options(
            rp_id=self.rp_id, rp_name=self._name, user_name=active.session.principal or "",
            user_id=self._handle(uid, held), challenge=self._challenge("add", active.session.id),
            timeout=int(LIFETIME.total_seconds() * 1000),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
            exclude_credentials=[_descriptor(key) for key in held],
        )  # fmt: skip
        return options_to_json_dict(options)

    async def register(
        self, active: Active, credential: Mapping[str, Any], *, name: str = "", client: Client | None = None
    ) -> Factor:
        """Add the passkey that the browser made (`credential.toJSON()`); it counts from now on.

        It is no proof of the person yet: the session stays as it is.

        Raises:
            PasskeyUnusable, and writes an event. Refused: see `registration_options`; a further hardware key needs
            assurance 3 of whoever has one. LimitExceeded. ValueError: the name is too long.
        """
        uid = await self._factors.may_change(active)
        try:
            return await self._register(active, uid, credential, name, client)
        except PasskeyUnusable:
            session = active.session
            await self._authority.store.record(
                Event(
                    name=EventName.FACTOR_REFUSED, principal=session.principal, uid=uid, session=session.id,
                    by=actor_of(active, client), cause=Method.PASSKEY,
                )
            )  # fmt: skip
            raise

    async def _register(
        self, active: Active, uid: str, credential: Mapping[str, Any], name: str, client: Client | None
    ) -> Factor:
        held = [self._key(stored) for stored in await self._factors.stored(uid, Method.PASSKEY)]
        try:
            shown = parse_registration_credential_json(dict(credential))
            challenge, origin = self._answers(shown)
        except Exception as error:  # whatever parsers make of what a stranger sent
            raise PasskeyUnusable("this is no passkey's answer: try again") from error
        if origin is None or not await self._spend(challenge, "add", active.session.id):
            raise PasskeyUnusable("that took too long, or came from another page: begin again")
        try:
            made = verify_registration_response(
                credential=shown, expected_challenge=challenge, expected_rp_id=self.rp_id, expected_origin=origin,
                require_user_verification=True,
            )  # fmt: skip
            strong = _is_strong(made.credential_public_key)
        except Exception as error:
            raise PasskeyUnusable("this passkey cannot be used here: it must verify you by PIN or touch") from error
        if len(made.credential_id) > LONGEST_ID or not strong:
            raise PasskeyUnusable("this passkey's key is of a kind that is not taken: use another authenticator")
        if any(key.credential == made.credential_id for key in held):
            raise PasskeyUnusable("this passkey is yours already")
        synced = made.credential_device_type is CredentialDeviceType.MULTI_DEVICE
        if not synced and any(not one.synced for one in held) and active.session.assurance < 3:
            # Another as strong as the strongest that the person has takes a proof as strong (63B-4, 4.1.2.1).
            denied = Denied(reason=Reason.ASSURANCE, session=active.session.id)
            raise Refused("adding another such key needs a proof by the one that you have: step up with it", denied)
        key = Key(
            credential=made.credential_id, public=made.credential_public_key, handle=self._handle(uid, held),
            synced=synced, aaguid=made.aaguid,
            transports=tuple(one.value for one in shown.response.transports or ())[:8],
        )  # fmt: skip
        try:
            return await self._factors.add(
                active, Method.PASSKEY, name, msgspec.json.encode(key), passkey_id(made.credential_id),
                confirmed=True, count=made.sign_count, synced=key.synced, backed_up=made.credential_backed_up,
                client=client,
            )  # fmt: skip
        except Conflict:
            raise PasskeyUnusable("this passkey is another account's") from None

    # -- signing in ---------------------------------------------------------------------------------------------

    async def sign_in_options(self, browser: str) -> dict[str, Any]:
        """What `PublicKeyCredential.parseRequestOptionsFromJSON` takes: any passkey that the browser has for here.

        `browser`: something secret that only this browser shows, such as the cookie that the login form is bound to.
        """
        return self._request("sign_in", browser, ())

    async def sign_in(
        self, credential: Mapping[str, Any], browser: str, *, client: Client | None = None,
        replaces: Active | None = None, device: str | None = None,
    ) -> Issued:  # fmt: skip
        """Begin a browser session for whoever shows a passkey, without a name.

        Status and epoch are read before the signature is looked at: a disabling in between wins.

        Raises:
            PasskeyRefused. Throttled: `device` (`Throttle.new_device`) is a way in all the same.
            LimitExceeded: the policy's number of sessions is reached. StoreUnavailable.
            Conflict: the passkey is right, and signing in is locked by an operator.
        """
        throttle, tries = self._factors.throttle, None
        try:
            shown, challenge, origin = self._read(credential)
        except PasskeyRefused:
            if throttle is not None:
                await throttle.knock(None, client=client)
            raise
        person = await self._whose(shown.raw_id)
        if throttle is not None:
            lane = throttle.device_id(device, person.uid) if person is not None else None
            tries = await throttle.knock(person.uid if person is not None else None, client=client, lane=lane)
        if origin is None or not await self._spend(challenge, "sign_in", browser):
            raise PasskeyRefused(_REFUSED)
        if person is None:
            await self._authority.store.record(
                Event(
                    name=EventName.SIGN_IN_FAILED,
                    by=Actor(name="anonymous", client=client or Client()),
                    cause=Method.PASSKEY,
                )
            )
            raise PasskeyRefused(_REFUSED)
        async with self._authority.sign_in(person.name) as attempt:
            before = await self._authority.store.fence(person.name)
            try:
                if attempt.principal is None or attempt.principal.uid != person.uid:
                    raise PasskeyRefused(_REFUSED)
                by = Actor(name=person.name, uid=person.uid, client=client or Client())
                method = await self._accept(person.uid, shown, challenge, origin, by, named=False)
            except PasskeyRefused:
                await attempt.failed(Method.PASSKEY, client=client)
                raise
            if tries is not None:
                await tries.succeeded()
            try:
                return await attempt.begin(method=method, client=client, replaces=replaces)
            except Conflict as error:
                await attempt.failed(Method.PASSKEY, client=client)
                if error.denied is None and await self._authority.store.fence(person.name) == before:
                    raise  # nothing of the person changed: an operator has locked signing in
                raise PasskeyRefused(_REFUSED) from error

    # -- proving oneself again ----------------------------------------------------------------------------------

    async def step_up_options(self, active: Active) -> dict[str, Any]:
        """As `sign_in_options`, for one of the person's own passkeys. Raises Conflict: no person's session."""
        keys = [self._key(stored) for stored in await self._factors.stored(_own(active), Method.PASSKEY)]
        return self._request("step_up", active.session.id, keys)

    async def step_up(
        self, active: Active, credential: Mapping[str, Any], *, client: Client | None = None
    ) -> Issued:  # fmt: skip
        """The second factor, or re-authentication: the session goes on with a new token and this authentication.

        Raises:
            PasskeyRefused. Throttled. Conflict: the session is over, or no person's; `denied` says why.
        """
        uid, session, throttle = _own(active), active.session, self._factors.throttle
        tries = await throttle.knock(uid, client=client, lane=SESSION) if throttle is not None else None
        by = actor_of(active, client)
        try:
            shown, challenge, origin = self._read(credential)
            if origin is None or not await self._spend(challenge, "step_up", session.id):
                raise PasskeyRefused(_REFUSED)
            method = await self._accept(uid, shown, challenge, origin, by, named=True)
        except PasskeyRefused:
            await self._authority.store.record(
                Event(
                    name=EventName.SIGN_IN_FAILED, principal=session.principal, uid=uid, session=session.id, by=by,
                    cause=Method.PASSKEY,
                )
            )  # fmt: skip
            raise
        if tries is not None:
            await tries.succeeded()
        return await self._authority.elevate(active, method=method, client=client)

    # -- checking -----------------------------------------------------------------------------------------------

    async def _accept(
        self, uid: str, shown: AuthenticationCredential, challenge: bytes, origin: str, by: Actor, *, named: bool
    ) -> Method:
        """What the passkey proves, if it is one of this person's. Raises PasskeyRefused.

        `named`: the person was known before, so the authenticator need not say whose the passkey is.
        """
        for _ in range(_ATTEMPTS):
            stored = await self._found(uid, shown.raw_id)
            if stored is None:
                break
            key, record = self._key(stored), stored.record
            handle = shown.response.user_handle
            if (handle is None and not named) or (handle is not None and handle != key.handle):
                break
            verified = self._verified(shown, challenge, origin, key)
            if (verified.new_sign_count or record.count) and verified.new_sign_count <= record.count:
                # Somebody has a copy, or the answers came in another order: a sign, no proof (WebAuthn 6.1.1).
                await self._authority.store.record(
                    self._factors.event(EventName.FACTOR_CLONED, stored, by=by, session=by.session)
                )
                break
            used = msgspec.structs.replace(
                record, count=verified.new_sign_count, used=self._authority.clock.now(),
                backed_up=verified.credential_backed_up, sealed=self._factors.resealed(stored),
            )  # fmt: skip
            if await self._authority.store.set_credential(stored.changed(used), instead_of=stored.credential.value):
                return Method.PASSKEY if key.synced else Method.HARDWARE_KEY
        raise PasskeyRefused(_REFUSED)

    def _verified(
        self, shown: AuthenticationCredential, challenge: bytes, origin: str, key: Key
    ) -> VerifiedAuthentication:
        try:
            # The counter is compared by `_accept`, which makes an event of it.
            verified = verify_authentication_response(
                credential=shown, expected_challenge=challenge, expected_rp_id=self.rp_id, expected_origin=origin,
                credential_public_key=key.public, credential_current_sign_count=0, require_user_verification=True,
            )  # fmt: skip
        except Exception as error:
            raise PasskeyRefused(_REFUSED) from error
        if (verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE) is not key.synced:
            raise PasskeyRefused(_REFUSED)
        return verified

    def _read(self, credential: Mapping[str, Any]) -> tuple[AuthenticationCredential, bytes, str | None]:
        """The answer, the challenge and the origin that it names. Raises PasskeyRefused: it is none."""
        try:
            shown = parse_authentication_credential_json(dict(credential))
            return (shown, *self._answers(shown))
        except Exception as error:
            raise PasskeyRefused(_REFUSED) from error

    def _answers(self, shown: RegistrationCredential | AuthenticationCredential) -> tuple[bytes, str | None]:
        """The challenge that it answers, and where it was made; None: not here, or in a frame of another site."""
        said = parse_client_data_json(shown.response.client_data_json)
        return said.challenge, None if said.cross_origin or not self._is_ours(said.origin) else said.origin

    def _is_ours(self, origin: str) -> bool:
        if self._origins:
            return origin in self._origins
        parts = urlsplit(origin)
        return parts.hostname == self.rp_id == _HERE and parts.scheme in ("http", "https")

    async def _whose(self, credential: bytes) -> Principal | None:
        found = await self._authority.store.passkey(passkey_id(credential))
        return None if found is None else await self._authority.store.principal(uid=found.uid)

    async def _found(self, uid: str, credential: bytes) -> Stored | None:
        found = await self._authority.store.credential(uid, Method.PASSKEY, passkey_id(credential))
        return None if found is None else Stored(found, msgspec.json.decode(found.value, type=Record))

    def _key(self, stored: Stored) -> Key:
        return msgspec.json.decode(self._factors.opened(stored), type=Key)

    # -- challenges ---------------------------------------------------------------------------------------------

    def _request(self, purpose: str, browser: str, keys: Sequence[Key]) -> dict[str, Any]:
        options = generate_authentication_options(
            rp_id=self.rp_id, challenge=self._challenge(purpose, browser),
            timeout=int(LIFETIME.total_seconds() * 1000), allow_credentials=[_descriptor(key) for key in keys],
            user_verification=UserVerificationRequirement.REQUIRED,
        )  # fmt: skip
        return options_to_json_dict(options)

    def _challenge(self, purpose: str, browser: str) -> bytes:
        made = secrets.token_bytes(_NONCE) + int(self._authority.clock.now().timestamp()).to_bytes(_TIME, "big")
        return made + self._mac(purpose, browser, made)

    async def _spend(self, challenge: bytes, purpose: str, browser: str) -> bool:
        """Whether it was made here, for this, for this browser, not long ago, and is not spent; it is from now on."""
        made, mac = challenge[: _NONCE + _TIME], challenge[_NONCE + _TIME :]
        if len(mac) != _MAC or not hmac.compare_digest(mac, self._mac(purpose, browser, made)):
            return False
        age = self._authority.clock.now().timestamp() - int.from_bytes(made[_NONCE:], "big")
        if not -_SKEW <= age < LIFETIME.total_seconds():
            return False
        key = hmac.digest(self._secret, b"spent" + made, "sha256")
        return await self._authority.store.count_try([Limit(key=key, burst=1, every=LIFETIME * 2)]) is None

    def _mac(self, purpose: str, browser: str, made: bytes) -> bytes:
        said = b"challenge\0" + purpose.encode() + b"\0" + browser.encode() + b"\0" + made
        return hmac.digest(self._secret, said, "sha256")[:_MAC]

    def _handle(self, uid: str, held: Sequence[Key]) -> bytes:
        """The one that the person's other passkeys have, so that an authenticator keeps them under one name."""
        return held[0].handle if held else hmac.digest(self._secret, b"handle\0" + uid.encode(), "sha256")


def passkey_id(credential: bytes) -> str:
    """The id of the factor that a credential is: the same for the same one, so that it is nobody else's, too."""
    return id_of("fct", hashlib.sha256(credential).digest())


def _descriptor(key: Key) -> PublicKeyCredentialDescriptor:
    known = {one.value: one for one in AuthenticatorTransport}
    return PublicKeyCredentialDescriptor(
        id=key.credential, transports=[known[one] for one in key.transports if one in known] or None
    )


def _own(active: Active) -> str:
    session = active.session
    if session.kind is not SessionKind.BROWSER or session.uid is None:
        raise Conflict("passkeys are for people's own sessions", Denied(reason=Reason.OUT_OF_SCOPE))
    return session.uid


def _is_strong(public: bytes) -> bool:
    key = decoded_public_key_to_cryptography(decode_credential_public_key(public))
    return not isinstance(key, RSAPublicKey) or key.key_size >= WEAKEST_RSA


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return not host
    return True


_REFUSED: Final = "this passkey was not accepted: try again, or sign in another way"
