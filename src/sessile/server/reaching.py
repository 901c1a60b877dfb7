"""How people are reached: their addresses, links for those who forgot their password, and the courier."""

from __future__ import annotations

from dataclasses import dataclass

from sessile.authority import Authority
from sessile.factors.addresses import Addresses
from sessile.factors.enrolled import Factors
from sessile.factors.links import Links
from sessile.factors.password import Passwords
from sessile.factors.recovery import RecoveryCodes, RecoveryRefused
from sessile.factors.reset import Proved, Reset
from sessile.factors.throttle import Throttle
from sessile.factors.totp import CodeRefused, Totp
from sessile.factors.two_steps import method_of
from sessile.kernel.assurance import Method
from sessile.kernel.principal import Principal
from sessile.kernel.session import Client
from sessile.server.courier import Courier
from sessile.server.notices import Notices
from sessile.server.places import Places
from sessile.server.settings import Settings


@dataclass(frozen=True, repr=False)
class Reaching:
    """What `server.state` holds of it. `courier`: None where the server sends no mail."""

    addresses: Addresses
    reset: Reset
    courier: Courier | None


def reaching(
    settings: Settings, authority: Authority, passwords: Passwords, factors: Factors, throttle: Throttle,
    places: Places,
) -> Reaching:  # fmt: skip
    totp, codes = Totp(factors), RecoveryCodes(factors)

    async def prove(principal: Principal, code: str, client: Client | None) -> Proved | None:
        """Only one of both is counted."""
        try:
            if method_of(code) is Method.TOTP:
                await totp.accept(principal, code, client=client)
                return Proved()
            return Proved(replacement=await codes.accept(principal, code, client=client))
        except (CodeRefused, RecoveryRefused):
            return None

    links = Links(authority)
    addresses = Addresses(authority, links)
    reset = Reset(passwords, links, addresses, factors, throttle, prove)
    if settings.mail is None:
        return Reaching(addresses, reset, None)
    notices = Notices(authority.store, settings.mail, settings.origins[0], addresses, reset, places)
    return Reaching(addresses, reset, Courier(authority, settings.mail, notices))
