"""What was typed into a form that a step-up interrupts: kept in the session's data, on the server, for the way back.

For ten minutes, once, for the page that had the form. Bounded, and never what proves or names a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from sessile.web.access import Access

_KEPT: Final = "step_up"
FIELDS: Final = 20
LONGEST: Final = 1_000
"""Characters of one field."""
TOGETHER: Final = 4_000
SECONDS: Final = 600
NEVER: Final = frozenset(
    {"form_token", "password", "current", "new", "again", "code", "recovery_code", "credential", "secret", "token"}
)


def keep_typed(here: Access, path: str, typed: Mapping[str, object], *, purpose: str = "") -> None:
    """Keep it for the page `path`. `purpose`: what the step-up is for, in words."""
    here.data[_KEPT] = {"path": path, "typed": bounded(typed), "purpose": purpose, "at": _now(here)}


def bounded(typed: Mapping[str, object]) -> dict[str, str]:
    """What of a form may be kept."""
    kept: dict[str, str] = {}
    left = TOGETHER
    for name, value in typed.items():
        if not isinstance(value, str) or name in NEVER or len(name) > LONGEST or len(kept) == FIELDS:
            continue
        kept[name] = value[: min(LONGEST, left)]
        left -= len(kept[name])
    return kept


def typed_before(here: Access, path: str) -> dict[str, str]:
    """What was typed on the page `path` before the step-up, once."""
    kept = _kept(here, path)
    if kept is None:
        return {}
    del here.data[_KEPT]
    at, typed = kept.get("at"), kept.get("typed")
    if not isinstance(at, int) or not 0 <= _now(here) - at < SECONDS or not isinstance(typed, dict):
        return {}
    return {str(name): str(value) for name, value in typed.items()}


def purpose_of(here: Access, path: str | None) -> str:
    """What the step-up is for, where the page that asked for it said so; else empty."""
    kept = None if path is None else _kept(here, path)
    return str(kept.get("purpose") or "") if kept is not None else ""


def _kept(here: Access, path: str) -> dict[str, object] | None:
    kept = here.data.get(_KEPT)
    # A name in it may have come as `service:ci` or as `service%3Aci`.
    return kept if isinstance(kept, dict) and unquote(str(kept.get("path"))) == unquote(path) else None


def _now(here: Access) -> int:
    return int(here.authority.clock.now().timestamp())
