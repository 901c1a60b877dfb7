"""The server around the library: sign-in, account and console pages, the JSON API, forward-auth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessile.server.settings import DemoGuide, DemoPerson, Settings

if TYPE_CHECKING:
    from sessile.server.app import create_app, from_environment

__all__ = ["DemoGuide", "DemoPerson", "Settings", "create_app", "from_environment"]


def __getattr__(name: str) -> Any:
    # The application brings the web framework, which is slow to import and which `sessile doctor` has no need of.
    if name not in ("create_app", "from_environment"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sessile.server import app

    return getattr(app, name)
