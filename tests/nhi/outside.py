"""An outside system that is there: a folder, in which each credential is a file. Away while the folder is away."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sessile import Authority, Issued
from sessile.factors.sealing import Seal
from sessile.nhi.connector import Connector, ConnectorFailed, Description, Minted
from sessile.nhi.leases import Leases

SEAL = Seal([bytes(range(32))])


class Folder:
    """A connector to it; speaks the whole protocol."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        folder.mkdir(exist_ok=True)

    def put(self, name: str, until: datetime | None = None) -> str:
        (self.folder / name).write_text("" if until is None else until.isoformat())
        return name

    def goes_away(self) -> None:
        self.folder.rename(self.folder.with_suffix(".away"))

    def comes_back(self) -> None:
        self.folder.with_suffix(".away").rename(self.folder)

    def holds(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _there(self) -> None:
        if not self.folder.exists():
            raise ConnectorFailed("the folder is away")

    async def probe(self) -> None:
        self._there()

    async def describe(self, handle: str) -> Description:
        self._there()
        if not self.holds(handle):
            raise ValueError("no such file")
        said = (self.folder / handle).read_text()
        until = datetime.fromisoformat(said).astimezone(UTC) if said else None
        stays = handle.startswith("stays")
        return Description(shown=handle, until=until, by_hand="burn the folder" if stays else "")

    async def revoke(self, handle: str) -> datetime | None:
        self.asked.append(handle)
        self._there()
        if handle.startswith("stays"):
            return datetime.fromisoformat((self.folder / handle).read_text()).astimezone(UTC)
        (self.folder / handle).unlink(missing_ok=True)
        return None

    async def rotate(self, handle: str) -> Minted:
        await self.revoke(handle)
        return await self.mint(handle + "-2", datetime.now(UTC))

    def plan(self) -> str:
        return "made-" + secrets.token_hex(4)

    async def mint(self, handle: str, until: datetime) -> Minted:
        self._there()
        self.put(handle)
        return Minted(handle=handle, secret={"file": handle})

    async def close(self) -> None:
        pass


def leases(authority: Authority, **connectors: Connector) -> Leases:
    return Leases(authority, SEAL, connectors)


async def operator(authority: Authority, name: str = "alice") -> Issued:
    """A person who may hand out leases, just signed in."""
    if await authority.store.principal(name=name) is None:
        await authority.register(name, scopes={"*", "operator"})
    return await authority.begin(name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "outside")
