"""Where an address is, in words, for people who look at their sessions and for operators.

Nobody is asked. What an address is by itself is known (RFC 1918, 3927, 4193, 6598); for public ones an operator may
give a file in MaxMind's format, which is read on this machine. A place is a hint, made anew whenever it is shown: it
decides nothing and is kept nowhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sessile.errors import SessileError
from sessile.kernel.session import Client
from sessile.server.wording import TEXTS

if TYPE_CHECKING:
    from maxminddb import Reader

logger = logging.getLogger("sessile")

_LOCAL: Final = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"),
    )
)
_LOOK_AGAIN: Final = 60.0
"""Seconds after which the file is looked at again: such files are replaced every few days."""
_REMEMBERED: Final = 4_096
_LONGEST: Final = 60
"""Characters of a name."""


class PlacesUnusable(SessileError):
    """The file of places cannot be read; the message names it and the cure."""


class PlacesFile:
    """A file in MaxMind's format that tells cities or countries. Its replacement is noticed within a minute.

    Raises:
        PlacesUnusable: there is none, it is something else, or the reader is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    @property
    def kind(self) -> str:
        """What it calls itself, such as `GeoLite2-City`."""
        return str(self._reader.metadata().database_type)

    @property
    def built(self) -> datetime:
        return datetime.fromtimestamp(self._reader.metadata().build_epoch, UTC)

    def of(self, address: str) -> str:
        if time.monotonic() - self._looked > _LOOK_AGAIN:
            self._look()
        return self._known(address)

    def close(self) -> None:
        self._reader.close()

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            if _which(self._path) != self._which:
                before = self._reader
                self._open()
                before.close()
        except (OSError, PlacesUnusable) as error:
            # The old one is still open, and better than none.
            logger.warning("the new file of places is not used: %s", error)

    def _open(self) -> None:
        try:
            # Not mapped into memory: a file that somebody cuts short would end the process.
            from maxminddb import MODE_FILE, InvalidDatabaseError, open_database
        except ImportError as error:
            raise PlacesUnusable("a file of places needs its reader: pip install 'sessile[places]'") from error
        try:
            which = _which(self._path)
            self._reader: Reader = open_database(self._path, MODE_FILE)
        except (OSError, InvalidDatabaseError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "no file in MaxMind's format"
            raise PlacesUnusable(
                f"{self._path}: {why}; name a file of cities or countries with --places or SESSILE_PLACES"
            ) from error
        self._which, self._looked = which, time.monotonic()
        self._known = lru_cache(_REMEMBERED)(self._read)

    def _read(self, address: str) -> str:
        from maxminddb import InvalidDatabaseError

        try:
            found = self._reader.get(address)
        except (ValueError, InvalidDatabaseError):  # an IPv6 address in a file of IPv4; a file that was cut short
            return ""
        if not isinstance(found, dict):
            return ""
        country = _name(found.get("country")) or _name(found.get("registered_country"))
        return ", ".join(filter(None, (_name(found.get("city")), country)))


class Places:
    """What is said of an address.

    Args:
        path: the operator's file. Raises PlacesUnusable.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else PlacesFile(path)

    def of(self, ip: str | None) -> str:
        """`Berlin, Germany`; empty where nothing more than the address is known."""
        if not ip:
            return ""
        try:
            address = ip_address(ip)
        except ValueError:
            return ""
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback:
            return TEXTS.places.own
        if any(address in network for network in _LOCAL):
            return TEXTS.places.local
        return "" if self._file is None else self._file.of(str(address))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def plain(self, client: Client) -> str:
        """`Chrome on Linux, Berlin, Germany (203.0.113.7)`, so that no mail program makes a link of it."""
        place, ip = _plain(self.of(client.ip), ", "), client.ip or ""
        return ", ".join(filter(None, (_plain(client.label, " ")[:_LONGEST], f"{place} ({ip})" if place else ip)))


def _plain(said: str, kept: str) -> str:
    return " ".join("".join(char if char.isalnum() or char in f" -'{kept}" else " " for char in said).split())


def _name(found: Any) -> str:
    """The English name in a record, in the shape of MaxMind's files or as text."""
    if isinstance(found, Mapping):
        names = found.get("names")
        found = names.get("en") if isinstance(names, Mapping) else None
    return " ".join(found.split())[:_LONGEST] if isinstance(found, str) else ""


def _which(path: Path) -> tuple[int, int, int]:
    """Tells one file from another that takes its place."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
