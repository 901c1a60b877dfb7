"""HashiCorp Vault and OpenBao: leases of their secret engines, and tokens by their accessor.

The handle is a lease id as they give it (`database/creds/readonly/…`), or `accessor:` and a token's accessor: what
ends the token without being it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sessile.nhi.connector import ConnectorFailed, Description
from sessile.nhi.connectors.http import Http, checked_url, said

_LEASE = re.compile(r"[\w./=+@-]{1,1000}/[\w./=+@-]{1,500}")
_ACCESSOR = re.compile(r"[\w.-]{1,200}")
_WANTED = ("sys/leases/revoke", "sys/leases/lookup", "auth/token/revoke-accessor", "auth/token/lookup-accessor")


class Vault:
    """See `Connector`. Raises ValueError: not such a URL."""

    def __init__(
        self, url: str, token: str, *, namespace: str | None = None, ca_file: Path | None = None
    ) -> None:  # fmt: skip
        self._url = checked_url(url).rstrip("/")
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if namespace is not None:
            headers["X-Vault-Namespace"] = namespace
        self._http = Http("Vault", headers=headers, ca_file=ca_file)

    async def probe(self) -> None:
        data = await self._ask("sys/capabilities-self", {"paths": _WANTED})
        lacking = [path for path in _WANTED if not {"root", "update"} & set((data or {}).get(path) or ())]
        if lacking:
            raise ConnectorFailed(f"Vault's token may not update {', '.join(lacking)}: add it to the token's policy")

    async def describe(self, handle: str) -> Description:
        kind, name = _parse(handle)
        if kind == "accessor":
            data = await self._ask("auth/token/lookup-accessor", {"accessor": name})
            shown = f"token {name[:8]}…"
        else:
            data = await self._ask("sys/leases/lookup", {"lease_id": name})
            shown = name
        if data is None:
            raise ValueError(f"Vault knows no such {kind}")
        # What can be renewed has no end that is known now.
        until = None if data.get("renewable") else _instant(data.get("expire_time"))
        return Description(shown=shown, until=until)

    async def revoke(self, handle: str) -> datetime | None:
        kind, name = _parse(handle)
        if kind == "accessor":
            await self._ask("auth/token/revoke-accessor", {"accessor": name})
        else:
            # In the foreground: 204 then says that the credential is gone, not that somebody will see to it.
            await self._ask("sys/leases/revoke", {"lease_id": name, "sync": True})
        return None

    async def _ask(self, path: str, body: object) -> dict[str, Any] | None:
        """The `data` of the answer; None: there is no such lease or token."""
        answer = await self._http.post(f"{self._url}/v1/{path}", json=body)
        if answer.status_code in (200, 204):
            found = answer.json().get("data") if answer.content else None
            return found if isinstance(found, dict) else {}
        why = said(answer)
        # 404 is not among them: it says that the address or the namespace is wrong, and nothing of the credential.
        if answer.status_code == 400 and re.search("invalid (lease|accessor)", why):
            return None
        cure = {
            403: ": renew or replace its token, and check its policy",
            404: ": check url and namespace",
        }.get(answer.status_code, "")
        raise ConnectorFailed(f"Vault refuses ({answer.status_code}, {why}){cure}")

    async def close(self) -> None:
        await self._http.close()


def _parse(handle: str) -> tuple[str, str]:
    if handle.startswith("accessor:") and _ACCESSOR.fullmatch(name := handle.removeprefix("accessor:")):
        return "accessor", name
    if not handle.startswith("accessor:") and _LEASE.fullmatch(handle):
        return "lease", handle
    raise ValueError("the handle is a lease id, or accessor: and the accessor of a token")


def _instant(text: object) -> datetime | None:
    if not isinstance(text, str) or not text:
        return None
    try:
        # Nanoseconds: more digits than Python reads.
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None and at.year > 1 else None
