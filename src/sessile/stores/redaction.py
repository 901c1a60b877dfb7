"""Taking a name out of what is kept as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from sessile.kernel.principal import ERASED


def without(text: str, name: str) -> str:
    """A report without a name, and without the labels of that principal's sessions."""
    if name not in text:
        return text
    return msgspec.json.encode(_without(msgspec.json.decode(text), name), order="deterministic").decode()


def _without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        own = value.get("principal") == name
        return {key: "" if own and key == "label" else _without(one, name) for key, one in value.items()}
    if isinstance(value, list):
        return [_without(one, name) for one in value]
    return ERASED if value == name else value
