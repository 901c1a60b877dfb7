"""The server around the library: sign-in, account and console pages, the JSON API, forward-auth."""

from sessile.server.app import create_app, from_environment
from sessile.server.settings import DemoGuide, DemoPerson, Settings

__all__ = ["DemoGuide", "DemoPerson", "Settings", "create_app", "from_environment"]
