"""Settings: what fits, what does not, and the way to worker processes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessile import Policy
from sessile.server import DemoGuide, DemoPerson, Settings, from_environment


def test_there_and_back() -> None:
    person = DemoPerson(name="alice", password="correct horse battery", role="a person", hint="end a session")
    settings = Settings(
        database="sqlite:////var/lib/sessile.db", origins=("https://console.example",), allowed_hosts=("a.net",),
        trusted_proxies=("10.0.0.0/8",), key_file=Path("/etc/sessile.key"), cookie_name="__Host-sessile-8000",
        policy=Policy.aal2(idle=timedelta(minutes=20)), demo=DemoGuide(people=(person,)),
    )  # fmt: skip
    assert Settings.from_json(settings.to_json()) == settings
    assert Settings.from_json("{}") == Settings()


@pytest.mark.parametrize(
    "wrong",
    [
        {"origins": ("console.example.com",)},
        {"origins": ("https://console.example.com/",)},
        {"allowed_hosts": ("https://a.example",)},
        {"allowed_hosts": ()},
        {"trusted_proxies": ("proxy",)},
        {"cookie_name": "a b"},
        {"sessions": "memcached://localhost"},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Settings(**wrong)


@pytest.mark.parametrize("text", ["", "[]", '{"unknown": 1}', '{"origins": "x"}', '{"key_file": 1}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Settings.from_json(text)


def test_a_worker_takes_them_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSILE_SETTINGS", Settings(database="memory:", cookie_name="__Host-x").to_json())
    assert from_environment().state.server.cookie.name == "__Host-x"
