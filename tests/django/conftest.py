"""A new authority for each test, and nobody in Django's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.django import project  # first: it sets Django up

from django.contrib.auth.models import User  # isort: skip
from django.test import Client  # isort: skip
from django.test.utils import override_settings  # isort: skip

from sessile import Authority, Policy
from sessile.django import authority as authority_of
from sessile.sync import SyncAuthority
from sessile.testing import ManualClock

assert project


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(tmp_path: Path, clock: ManualClock) -> Iterator[SyncAuthority]:
    made = Authority(f"sqlite:///{tmp_path / 'sessile.db'}", policy=Policy.aal2(), clock=clock)
    with override_settings(SESSILE={"authority": made}), authority_of() as authority:
        yield authority
        User.objects.all().delete()


@pytest.fixture
def alice(authority: SyncAuthority) -> User:
    return User.objects.create_superuser("alice", password="first")


@pytest.fixture
def browser(authority: SyncAuthority) -> Client:
    return Client()


@pytest.fixture
def settings_of() -> type[override_settings]:
    return override_settings
