"""What a running server holds: one object, made by `create_app`, opened by the lifespan."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jinja2
from argon2 import PasswordHasher
from fastapi import Request

from sessile.clock import Clock
from sessile.dbsc import DeviceBinding
from sessile.errors import EngineAway
from sessile.factors.addresses import Addresses
from sessile.factors.blocklist import Blocklist
from sessile.factors.devices import Devices
from sessile.factors.enrolled import Factors
from sessile.factors.passkey import Passkeys
from sessile.factors.password import Passwords
from sessile.factors.recovery import RecoveryCodes
from sessile.factors.reset import Reset
from sessile.factors.sealing import Seal
from sessile.factors.throttle import Throttle
from sessile.factors.totp import Totp
from sessile.factors.two_steps import TwoSteps
from sessile.nhi.connectors import load
from sessile.nhi.leases import Leases
from sessile.server.denials import Denials
from sessile.server.key import open_keys
from sessile.server.places import Places
from sessile.server.reaching import Reaching, reaching
from sessile.server.scanner import Scanner
from sessile.server.settings import Settings
from sessile.server.strength import Strength
from sessile.server.wording import TEXTS
from sessile.stores.limits import COMPLAIN_SECONDS
from sessile.web.client import TrustedPeers
from sessile.web.cookie import CookieSpec, beside
from sessile.web.csrf import OriginRule

logger = logging.getLogger("sessile")

_COUNT_AGAIN_NS: Final = 60_000_000_000
FOLDER: Final = Path(__file__).parent
_NOT_OPEN: Final = "the server was not opened: run it with its lifespan"


class Server:
    """The settings and what was made of them. `clock` and `hasher` are for tests."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> None:
        self.settings = settings
        self.authority = settings.authority(clock=clock)
        listed = None if settings.password_list is None else Blocklist.read(settings.password_list)
        self.passwords = Passwords(self.authority, hasher=hasher, blocklist=listed)
        self.strength = Strength()
        self.cookie = CookieSpec(name=settings.cookie_name)
        self.return_cookie = CookieSpec(name=beside(settings.cookie_name, "return"))
        """Where to go on after signing in: a checked path (decision 0004)."""
        self.form_cookie = CookieSpec(name=beside(settings.cookie_name, "form"))
        """The pre-session that the form of the login page is bound to."""
        self.second_cookie = CookieSpec(name=beside(settings.cookie_name, "second"))
        """The pre-session between the two steps of a sign-in, where a second factor is demanded (decision 0026)."""
        self.device_cookie = CookieSpec(name=beside(settings.cookie_name, "device"))
        """Says that its person signed in on this browser before: a way in while others guess."""
        self.retry_cookie = CookieSpec(name=beside(settings.cookie_name, "retry"))
        """Says that a page was asked for again because of a superseded token."""
        self.reset_cookie = CookieSpec(name=beside(settings.cookie_name, "reset"))
        """The secret of a link to set a new password, taken off the address."""
        self.confirm_cookie = CookieSpec(name=beside(settings.cookie_name, "confirm"))
        """The same of a link to confirm an e-mail address."""
        self.device_binding = DeviceBinding()
        source = settings.secret_scanning
        self.scanner = Scanner(source, self.authority.clock) if source is not None else None
        """Whose reports of leaked tokens are taken; None: nobody's."""
        self.trusted = TrustedPeers(settings.trusted_proxies)
        self.origins = OriginRule(public=settings.origins)
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self.places = Places(settings.places)
        self.templates.globals["t"] = TEXTS
        self.templates.globals["place_of"] = self.places.of
        self.checks: Counter[str] = Counter()
        """Requests by the outcome of their check, in this process: `active`, or why denied."""
        self.denials = Denials(self.checks)
        self.counted: datetime | None = None
        """When `counts` were counted."""
        self._counts: Mapping[str, int] = {}
        self._counted_at = 0
        self._opened: _Opened | None = None
        self._reaching: Reaching | None = None
        self._leases: Leases | None = None

    async def open(self) -> None:
        """An engine that is away is waited for.

        Raises KeyUnusable, StoreUnavailable, Conflict, NotConfigured: the server cannot start; the message names the
        cure.
        """
        while not self.authority.is_open:
            try:
                await self.authority.open()
            except EngineAway as error:
                logger.warning("waiting: %s", error)
                await asyncio.sleep(COMPLAIN_SECONDS)
        keys = await open_keys(self.authority.store, self.settings.key_path)
        self.device_binding.use(keys)
        # The oldest key: the counts and the challenges of a node hold while another is restarted with a new one.
        throttle = self.passwords.throttle = Throttle(self.authority, keys[-1])
        self.passwords.devices = Devices(self.authority, throttle)
        factors = Factors(self.authority, Seal(keys), throttle)
        issuer = _issuer(self.settings)
        totp, codes = Totp(factors, issuer=issuer), RecoveryCodes(factors)
        self._opened = _Opened(
            keys[0], factors, totp, Passkeys(factors, keys[-1], origins=self.settings.origins, name=issuer), codes,
            throttle, TwoSteps(self.passwords, factors, totp, codes, keys[-1]),
        )  # fmt: skip

        self._leases = Leases(self.authority, Seal(keys), load(self.settings.connectors))
        if self._leases.connectors:
            self._leases.start()
        self._reaching = reaching(self.settings, self.authority, self.passwords, factors, throttle, self.places)
        if self._reaching.courier is not None:
            self._reaching.courier.start()

    async def close(self) -> None:
        if self._reaching is not None and self._reaching.courier is not None:
            await self._reaching.courier.close()
        self.strength.close()
        if self._leases is not None:
            await self._leases.close()
        await self.authority.close()
        self.places.close()

    async def counts(self) -> Mapping[str, int]:
        """`Directory.statistics`, at most a minute old: among a million sessions counting takes seconds."""
        now = self.authority.clock.elapsed()
        if self.counted is None or now - self._counted_at > _COUNT_AGAIN_NS:
            # Marked before it is asked: of many that ask at once one counts.
            self._counted_at = now
            self._counts = await self.authority.store.statistics()
            self.counted = self.now()
        return self._counts

    @property
    def key(self) -> bytes:
        return self._made.key

    @property
    def factors(self) -> Factors:
        return self._made.factors

    @property
    def devices(self) -> Devices:
        if self.passwords.devices is None:
            raise RuntimeError("the server was not opened: run it with its lifespan")
        return self.passwords.devices

    @property
    def totp(self) -> Totp:
        return self._made.totp

    @property
    def passkeys(self) -> Passkeys:
        return self._made.passkeys

    @property
    def recovery_codes(self) -> RecoveryCodes:
        return self._made.recovery_codes

    @property
    def throttle(self) -> Throttle:
        return self._made.throttle

    @property
    def two_steps(self) -> TwoSteps:
        return self._made.two_steps

    @property
    def leases(self) -> Leases:
        if self._leases is None:
            raise RuntimeError(_NOT_OPEN)
        return self._leases

    @property
    def addresses(self) -> Addresses:
        return self.reaching.addresses

    @property
    def reset(self) -> Reset:
        return self.reaching.reset

    @property
    def reaching(self) -> Reaching:
        if self._reaching is None:
            raise RuntimeError(_NOT_OPEN)
        return self._reaching

    @property
    def _made(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError(_NOT_OPEN)
        return self._opened

    def now(self) -> datetime:
        return self.authority.clock.now().astimezone(UTC)


@dataclass(frozen=True, repr=False)
class _Opened:
    """What needs the server's key."""

    key: bytes
    factors: Factors
    totp: Totp
    passkeys: Passkeys
    recovery_codes: RecoveryCodes
    throttle: Throttle
    two_steps: TwoSteps


def server_of(request: Request) -> Server:
    found: Server = request.app.state.server
    return found


def _issuer(settings: Settings) -> str:
    """What an authenticator app calls this server: its public name, where it has one."""
    host = urlsplit(settings.origins[0]).hostname if settings.origins else None
    return host.replace(":", ".") if host else "Sessile"
