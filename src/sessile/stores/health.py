"""What an engine's settings and state mean for endings: a line each, with its cure. `sessile doctor` shows them."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    check: str
    level: Literal["ok", "warn", "fail"]
    found: str
    cure: str = ""
