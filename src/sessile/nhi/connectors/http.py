"""What the connectors over HTTP share: one client, bounded in time, that follows no redirect with a secret."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from sessile.nhi.connector import SECONDS, ConnectorFailed

try:
    import httpx
except ImportError as error:  # pragma: no cover - an install without the extra
    raise ImportError("this connector needs httpx: pip install 'sessile[leases]'") from error

__all__ = ["Http", "checked_url", "httpx", "said"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST = 64 * 1024


def checked_url(url: str) -> str:
    """The URL itself. Raises ValueError unless it is https, or http on this machine, and carries no password."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("url is https://host/…")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("secrets travel by https only: give an https:// url")
    if parts.username or parts.password:
        raise ValueError("url carries no user and no password: name the secret apart")
    return url


class Http:
    """An HTTP client of one outside system.

    Args:
        what: what it is called in messages.
    """

    def __init__(self, what: str, *, headers: dict[str, str] | None = None, ca_file: Path | None = None) -> None:
        self._what = what
        verify: ssl.SSLContext | bool = True
        if ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=str(ca_file))
            except OSError as error:
                raise ValueError(f"ca_file cannot be read: {error.strerror or error}") from None
        self._client = httpx.AsyncClient(
            headers=headers, timeout=SECONDS / 2, follow_redirects=False, verify=verify, trust_env=False
        )

    async def post(
        self, url: str, *, form: dict[str, str] | None = None, json: object = None,
        auth: httpx.BasicAuth | None = None,
    ) -> httpx.Response:  # fmt: skip
        """Raises ConnectorFailed: no answer, or one that says to come again."""
        try:
            answer = await self._client.post(url, data=form, json=json, auth=auth or httpx.USE_CLIENT_DEFAULT)
        except httpx.HTTPError as error:
            raise ConnectorFailed(f"{self._what} does not answer: {type(error).__name__}") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ConnectorFailed(f"{self._what} answers {answer.status_code}: {said(answer)}")
        return answer

    async def close(self) -> None:
        await self._client.aclose()


def said(answer: httpx.Response) -> str:
    """Why, in the words of the protocol, bounded and on one line. Not what the answer says freely: that may repeat a
    token."""
    try:
        found = answer.json() if len(answer.content) < _MOST else None
    except ValueError:
        found = None
    told = (found.get("errors") or found.get("error")) if isinstance(found, dict) else None
    text = "; ".join(map(str, told)) if isinstance(told, list) else str(told or "")
    return " ".join(text.split())[:200] or answer.reason_phrase
