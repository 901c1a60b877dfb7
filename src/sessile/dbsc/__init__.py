"""Device Bound Session Credentials (W3C draft of February 2026): a session that a copied cookie does not open.

    SessileMiddleware(app, authority, device=DeviceBinding([key]))

For people whose policy is bound to `Trait.DEVICE`. After a sign-in the browser is asked for a key that never leaves the
device. It registers it, and every ten minutes it proves that it still has it: for that it gets a cookie of ten minutes,
without which the session's token opens nothing. What a request without it is answered with is the policy's `mismatch`.
Browsers that know nothing of this go on as before.

What it does not do: malware on the device uses the session there, and what was there at the sign-in registers a key of
its own. No assurance rises by it (DBSC 2.1). Needs PyJWT and http-sf (`sessile[device]`).

`serving` has the two endpoints, `record` what is kept, `proof` the browser's JWT, `cookie` the cookie of ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from sessile.authority import Authority
from sessile.dbsc.cookie import BoundCookie, Signer
from sessile.dbsc.serving import Serving
from sessile.web.client import TrustedPeers
from sessile.web.cookie import CookieSpec

__all__ = ["DeviceBinding"]

SETTLES: Final = timedelta(seconds=10)


class DeviceBinding:
    """How sessions are bound to the devices that they were begun on.

    Args:
        keys: 32 random bytes each, the same on all nodes; the newest first, which signs the bound cookie. All of them
            verify it. Where they are known only later, see `use`: until then nothing is bound.
        settles: how long after its registration a session's token still counts alone, so that requests that were under
            way are not refused.

    Raises:
        ValueError: a key is too short.
    """

    def __init__(self, keys: Sequence[bytes] = (), *, settles: timedelta = SETTLES) -> None:
        self._signer = Signer(keys)
        self._settles = settles

    def use(self, keys: Sequence[bytes]) -> None:
        """These keys from now on. Raises ValueError: one is too short."""
        self._signer.use(keys)

    def serve(
        self, authority: Authority, cookie: CookieSpec, trusted: TrustedPeers, origins: Iterable[str]
    ) -> Serving:  # fmt: skip
        """For the middleware: the endpoints, and what it asks them."""
        return Serving(authority, BoundCookie(cookie, self._signer), self._signer, trusted, origins, self._settles)
