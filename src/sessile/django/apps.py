"""The Django app: its checks of the settings, and its ties to `django.contrib.auth`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from sessile.django.front import front


class SessileConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    name = "sessile.django"
    label = "sessile"

    def ready(self) -> None:
        from django.conf import settings

        from sessile.django.checking import check

        checks.register(check, checks.Tags.security)
        setting_changed.connect(_changed, dispatch_uid="sessile")
        if "django.contrib.auth" in settings.INSTALLED_APPS:
            from sessile.django import users

            users.connect()


def _changed(*, setting: str, **_: Any) -> None:
    """A test overrides settings."""
    if setting == "SESSILE" or setting == "ALLOWED_HOSTS" or setting.startswith("SESSION_"):
        front.cache_clear()
