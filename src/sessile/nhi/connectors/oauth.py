"""OAuth 2.0 token revocation (RFC 7009): access and refresh tokens of another authorization server.

The handle is the token itself, or `refresh_token:` and the token, where the server wants to be told which it is.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from sessile.nhi.connector import ConnectorFailed, Description
from sessile.nhi.connectors.http import Http, checked_url, httpx, said

_HINTS = ("refresh_token", "access_token")
_LONGEST = 16 * 1024


class _Claims(msgspec.Struct):
    exp: float | None = None


class OAuth:
    """See `Connector`.

    Args:
        url: the revocation endpoint.
        introspected: resource servers ask the server about each token. Else a JWT is accepted until its `exp` by
            whoever verifies it without asking.

    Raises:
        ValueError: not such a URL.
    """

    def __init__(self, url: str, client_id: str, client_secret: str | None, *, introspected: bool = False) -> None:
        self._url = checked_url(url)
        self._client_id = client_id
        # RFC 6749, 2.3.1: both are form-encoded before they are put into the header.
        self._auth = None
        if client_secret is not None:
            self._auth = httpx.BasicAuth(quote(client_id, safe=""), quote(client_secret, safe=""))
        self._introspected = introspected
        self._http = Http("the authorization server")

    async def probe(self) -> None:
        """A token that nobody knows is revoked like any other (RFC 7009, 2.2), if the client is who it says."""
        await self._revoke(secrets.token_urlsafe(32), None)

    async def describe(self, handle: str) -> Description:
        hint, token = _parse(handle)
        name = hashlib.sha256(token.encode()).hexdigest()[:12]
        return Description(shown=f"{(hint or 'token').replace('_', ' ')} {name}", until=_expires(token))

    async def revoke(self, handle: str) -> datetime | None:
        hint, token = _parse(handle)
        await self._revoke(token, hint)
        until = _expires(token)
        return None if self._introspected or until is None or until <= datetime.now(UTC) else until

    async def _revoke(self, token: str, hint: str | None) -> None:
        form = {"token": token}
        if hint is not None:
            form["token_type_hint"] = hint
        if self._auth is None:
            form["client_id"] = self._client_id
        answer = await self._http.post(self._url, form=form, auth=self._auth)
        if answer.status_code == 200:
            return
        cure = {
            401: "check client_id and client_secret",
            404: "check url: it names no revocation endpoint",
        }.get(answer.status_code, "the server has to let this client revoke such tokens")
        raise ConnectorFailed(f"the authorization server refuses ({answer.status_code}, {said(answer)}): {cure}")

    async def close(self) -> None:
        await self._http.close()


def _parse(handle: str) -> tuple[str | None, str]:
    hint, colon, token = handle.partition(":")
    found = (hint, token) if colon and hint in _HINTS else (None, handle)
    if not found[1] or len(handle) > _LONGEST or not found[1].isprintable() or " " in found[1]:
        raise ValueError("the handle is the token, or refresh_token: and the token")
    return found


def _expires(token: str) -> datetime | None:
    """When a JWT is over by what it says itself (RFC 7519, 4.1.4); None: it is none, or does not say."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), type=_Claims)
        return None if claims.exp is None else datetime.fromtimestamp(claims.exp, UTC)
    except (ValueError, OverflowError, OSError):
        return None
