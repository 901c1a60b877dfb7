"""Sessions that Django's own engine began are taken over at a browser's next visit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.django import project

from django.contrib.auth.models import User  # isort: skip
from django.contrib.sessions.backends.db import SessionStore  # isort: skip
from django.contrib.sessions.models import Session  # isort: skip
from django.test import Client  # isort: skip

from sessile import Active, Requirement
from sessile.sync import SyncAuthority
from sessile.testing import ManualClock

assert project

ENGINE = "django.contrib.sessions.backends.db"
COOKIE = "__Host-sessile"


@pytest.fixture(autouse=True)
def importing(authority: SyncAuthority, settings_of: Any) -> Iterator[None]:
    with settings_of(SESSILE={"authority": authority.authority, "import_from": (ENGINE, "sessionid")}):
        yield
    Session.objects.all().delete()


def former(user: User | None, **more: str) -> Client:
    store = SessionStore()
    if user is not None:
        store["_auth_user_id"] = str(user.pk)
        store["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        store["_auth_user_hash"] = user.get_session_auth_hash()
    store.update({"count": 41} | more)
    store.create()
    browser = Client()
    browser.cookies["sessionid"] = store.session_key
    return browser


@pytest.fixture
def known(alice: User, clock: ManualClock) -> User:
    alice.last_login = clock.now() - timedelta(seconds=10)
    alice.save()
    return alice


def test_a_login_goes_on_and_is_not_fresh(authority: SyncAuthority, known: User) -> None:
    browser = former(known)
    answer = browser.get("/count")
    assert answer.content == b"42"
    assert answer.cookies["sessionid"]["max-age"] == 0
    assert browser.get("/").json() == {"user": "alice", "principal": "alice"}
    token = browser.cookies[COOKIE].value
    found = authority.check(token)
    assert isinstance(found, Active)
    assert found.session.assurance == 1
    assert not authority.check(token, requirement=Requirement(fresh=timedelta(minutes=59)))
    assert Session.objects.count() == 0
    assert browser.get("/count").content == b"43"


def test_a_login_older_than_the_policys_limit_is_over(known: User, clock: ManualClock) -> None:
    known.last_login = clock.now() - timedelta(hours=25)
    known.save()
    browser = former(known)
    answer = browser.get("/")
    assert answer.json() == {"user": "", "principal": None}
    assert COOKIE not in answer.cookies
    assert Session.objects.count() == 0


def test_what_django_would_not_accept_is_not_taken_over(authority: SyncAuthority, known: User) -> None:
    stolen = former(known, _auth_user_hash="of another password")
    assert stolen.get("/").json()["user"] == ""
    inactive = former(known)
    known.is_active = False
    known.save()
    assert inactive.get("/").json()["user"] == ""
    known.is_active = True
    known.save()
    for key in ("x" * 32, "slb_x", "", "' OR 1=1"):
        browser = Client()
        browser.cookies["sessionid"] = key
        assert browser.get("/").json()["user"] == ""


def test_what_nobodys_session_holds_is_not_taken_over(authority: SyncAuthority) -> None:
    """Its cookie could have been set by a sibling subdomain."""
    assert former(None).get("/count").content == b"1"


def test_a_disabled_principal_is_not_let_in_by_its_former_session(authority: SyncAuthority, known: User) -> None:
    authority.begin("alice")
    authority.disable("alice", cause="test")
    browser = former(known)
    assert browser.get("/").json()["user"] == ""
    assert Session.objects.count() == 1
