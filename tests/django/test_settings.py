"""What `manage.py check` says about settings: each message names the cure."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.django import project

from django.core import checks  # isort: skip
from django.test import Client  # isort: skip

from sessile import Authority
from sessile.django import SessileMiddleware
from sessile.sync import SyncAuthority

OTHERS = [name for name in project.MIDDLEWARE if not name.startswith("sessile")]
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"


def said() -> dict[str, str]:
    return {one.id: one.msg for one in checks.run_checks() if (one.id or "").startswith("sessile.")}


def test_settings_as_they_should_be_are_not_talked_about(authority: SyncAuthority) -> None:
    assert checks.run_checks() == []


@pytest.mark.parametrize(
    ("wrong", "id", "cure"),
    [
        ({"SESSILE": None}, "E001", 'SESSILE = {"authority": Authority('),
        ({"SESSILE": {"authority": "sqlite:///x.db"}}, "E001", "from sessile import Authority"),
        ({"SESSILE": {"authority": Authority("memory:"), "origin": ""}}, "E001", "knows no 'origin', only"),
        ({"SESSION_COOKIE_SECURE": False}, "E002", "needs secure=True"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "E002", '"Lax" or "Strict"'),
        ({"SESSION_COOKIE_HTTPONLY": False}, "E002", "leave SESSION_COOKIE_HTTPONLY out"),
        ({"ALLOWED_HOSTS": ["*"]}, "E003", 'SESSILE["allowed_hosts"] = '),
        ({"ALLOWED_HOSTS": [".example.com"]}, "E003", "named one by one"),
        ({"SESSILE": {"authority": Authority("memory:"), "origins": ["example.com"]}}, "E004", "write scheme, host"),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.db"}, "E005", "SESSION_ENGINE = 'sessile.django"),
        ({"MIDDLEWARE": [DJANGOS, *OTHERS]}, "E006", "in the place of"),
        ({"MIDDLEWARE": [DJANGOS, *project.MIDDLEWARE]}, "E006", "in the place of"),
        ({"SESSION_COOKIE_NAME": "sid", "SESSION_COOKIE_SECURE": False}, "W001", "not Secure"),
        ({"SESSION_COOKIE_AGE": 60}, "W002", "has no effect"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_cure(settings_of: Any, wrong: dict[str, Any], id: str, cure: str) -> None:
    with settings_of(**wrong):
        found = said()
        assert cure in found[f"sessile.{id}"], found
        if id in ("E001", "E002", "E003", "E004"):  # and no request is answered by such settings
            with pytest.raises(ValueError, match=r"\w"):
                SessileMiddleware(lambda request: request)


def test_wildcards_give_way_to_hosts_named_one_by_one(settings_of: Any) -> None:
    named = {"authority": Authority("memory:"), "allowed_hosts": ["app.example.com"]}
    with settings_of(ALLOWED_HOSTS=["*", "testserver"], SESSILE=named):
        assert said() == {}
        for host, status in (("app.example.com", 200), ("testserver", 200), ("evil.example", 421)):
            assert Client().get("/plain", headers={"Host": host}).status_code == status


def test_the_cookies_name_has_to_be_chosen() -> None:
    """Django's own default, `sessionid`, is one that a sibling subdomain can set."""
    program = """
from django.conf import settings
settings.configure()
from sessile.django.front import cookie
cookie()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'ValueError: write SESSION_COOKIE_NAME = "__Host-sessile"' in done.stderr
