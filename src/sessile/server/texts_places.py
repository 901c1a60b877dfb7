"""The words for where an address is; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    own: str = "the server's own computer"
    local: str = "local network"
