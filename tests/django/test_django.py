"""Django: its session engine, its users and its test client on Sessile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.django import project

from django.contrib.auth.models import User  # isort: skip
from django.test import AsyncClient, Client  # isort: skip

from sessile import Active, Conflict, Reason, SessionKind
from sessile.django import principal_of
from sessile.sync import SyncAuthority
from sessile.testing import ManualClock
from sessile.web.watch import Over

assert project

COOKIE = "__Host-sessile"


def log_in(browser: Client, password: str = "first", name: str = "alice") -> Any:
    return browser.post("/admin/login/?next=/", {"username": name, "password": password})


def token(browser: Client) -> str | None:
    return browser.cookies[COOKIE].value if COOKIE in browser.cookies else None


def who(browser: Client) -> str:
    said: dict[str, str] = browser.get("/").json()
    assert said["user"] == (said["principal"] or ""), said
    return said["user"]


def active_of(authority: SyncAuthority, browser: Client) -> Active:
    found = authority.check(token(browser))
    assert isinstance(found, Active)
    return found


def test_a_login_begins_a_session_of_the_principal(authority: SyncAuthority, alice: User, browser: Client) -> None:
    assert [browser.get("/count").content for _ in range(2)] == [b"1", b"2"]
    anonymous = token(browser)
    assert active_of(authority, browser).session.kind is SessionKind.ANONYMOUS
    answer = log_in(browser)
    assert answer.status_code == 302
    assert answer["Cache-Control"] == "no-store"
    cookie = answer.cookies[COOKIE]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, True, "Lax", "")
    assert not authority.check(anonymous)
    session = active_of(authority, browser).session
    assert (session.principal, session.assurance, session.client.ip) == ("alice", 1, "127.0.0.1")
    assert who(browser) == "alice"
    assert browser.get("/count").content == b"3"  # what nobody's session held moved along
    assert browser.get("/plain")["Cache-Control"] == "no-store"


def test_a_logout_ends_it(authority: SyncAuthority, alice: User, browser: Client) -> None:
    log_in(browser)
    held = active_of(authority, browser).session.id
    answer = browser.post("/admin/logout/")
    assert answer.cookies[COOKIE]["max-age"] == "0"
    assert answer["Clear-Site-Data"] == '"storage"'
    info = authority.session(held)
    assert (info.live, info.cause) == (False, "logout")
    assert who(browser) == ""


def test_a_revocation_is_seen_by_the_next_request(authority: SyncAuthority, alice: User, browser: Client) -> None:
    log_in(browser)
    assert who(browser) == "alice"
    authority.revoke(principal="alice", cause="test")
    assert who(browser) == ""
    answer = browser.get("/sensitive")
    assert (answer.status_code, answer.json()["reason"]) == (401, "revoked")
    assert COOKIE not in answer.cookies  # no denial takes a cookie away


def test_a_login_of_somebody_else_takes_nothing_over(authority: SyncAuthority, alice: User, browser: Client) -> None:
    User.objects.create_superuser("bob", password="other")
    log_in(browser)
    browser.get("/count")
    first = token(browser)
    log_in(browser, "other", "bob")
    assert who(browser) == "bob"
    assert "count" not in browser.get("/data").json()
    assert not authority.check(first)


@pytest.mark.requirement("ASVS V7.4.3")
def test_a_new_password_ends_every_other_session(authority: SyncAuthority, alice: User, browser: Client) -> None:
    other = Client()
    log_in(browser)
    log_in(other)
    browser.get("/count")
    before = token(browser)
    new = {"old_password": "first", "new_password1": "Second-of-2", "new_password2": "Second-of-2"}
    assert browser.post("/admin/password_change/", new).status_code == 302
    assert who(browser) == "alice"
    assert browser.get("/count").content == b"2"
    assert token(browser) != before
    denied = authority.check(before)
    assert not denied
    assert denied.reason is Reason.SUPERSEDED
    assert who(other) == ""
    assert len(authority.sessions(principal="alice")) == 1
    # By an operator, and by code: all of them.
    alice.refresh_from_db()
    alice.set_password("third")
    alice.save()
    assert who(browser) == ""
    log_in(browser, "third")
    alice.save()  # nothing changed
    assert who(browser) == "alice"


def test_another_hash_of_the_same_password_ends_nothing(
    authority: SyncAuthority, alice: User, browser: Client, settings_of: Any
) -> None:
    log_in(browser)
    hashers = ["django.contrib.auth.hashers.ScryptPasswordHasher", "django.contrib.auth.hashers.MD5PasswordHasher"]
    with settings_of(PASSWORD_HASHERS=hashers):
        log_in(Client())
        alice.refresh_from_db()
        assert alice.password.startswith("scrypt")
    assert len([one for one in authority.sessions(principal="alice") if one.live]) == 2


def test_a_user_that_is_switched_off_is_disabled(authority: SyncAuthority, alice: User, browser: Client) -> None:
    log_in(browser)
    alice.is_active = False
    alice.save()
    assert who(browser) == ""
    assert authority.principal("alice").status == "disabled"
    with pytest.raises(Conflict):
        authority.begin("alice")
    alice.is_active = True
    alice.save()
    assert who(browser) == ""  # what had ended stays ended
    log_in(browser)
    assert who(browser) == "alice"


def test_a_principal_that_is_disabled_elsewhere_cannot_log_in(
    authority: SyncAuthority, alice: User, browser: Client
) -> None:
    log_in(browser)
    authority.disable("alice", cause="offboarded")
    assert who(browser) == ""
    answer = log_in(browser)
    assert (answer.status_code, answer.json()["reason"]) == (401, "disabled")
    assert who(browser) == ""
    assert browser.get("/async").status_code == 401


def test_a_user_that_is_renamed_or_deleted_leaves_no_session(
    authority: SyncAuthority, alice: User, browser: Client
) -> None:
    log_in(browser)
    alice.refresh_from_db()
    alice.username = "alicia"
    alice.save()
    assert who(browser) == ""
    log_in(browser, name="alicia")
    assert who(browser) == "alicia"
    alice.delete()
    assert browser.get("/").json() == {"user": "", "principal": None}


def test_two_users_are_never_one_principal(authority: SyncAuthority, alice: User) -> None:
    other = User.objects.create_user("Alice", password="first")
    strange = User(username="a b:c", pk=9)
    posing = User(username=f"#{other.pk}", pk=10)
    names = [principal_of(user) for user in (alice, other, strange, posing)]
    assert names == ["alice", f"#{other.pk}", "#9", "#10"]
    browsers = Client(), Client()
    log_in(browsers[0])
    browsers[1].force_login(other)
    authority.revoke(principal="alice", cause="test")
    assert who(browsers[0]) == ""
    assert browsers[1].get("/").json() == {"user": "Alice", "principal": f"#{other.pk}"}


def test_what_nobodys_session_says_of_a_user_counts_for_nothing(
    authority: SyncAuthority, alice: User, browser: Client
) -> None:
    session = browser.session
    session["_auth_user_id"] = str(alice.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = alice.get_session_auth_hash()
    session.save()
    assert active_of(authority, browser).session.principal is None
    assert who(browser) == ""


def test_step_up_and_what_a_view_demands(authority: SyncAuthority, alice: User, browser: Client) -> None:
    assert browser.get("/async").json()["reason"] == "missing"
    log_in(browser)
    assert browser.get("/async").content == b"alice"
    answer = browser.get("/sensitive")
    assert (answer.status_code, answer.json()["cure"]) == (401, "step_up")
    assert answer["Content-Type"] == "application/problem+json"
    assert browser.get("/totp").content == b"2"
    assert browser.get("/sensitive").content == b"done"
    assert who(browser) == "alice"


# -- the engine ---------------------------------------------------------------------------------------------------


def test_the_test_clients_own_ways_work(authority: SyncAuthority, alice: User, browser: Client) -> None:
    session = browser.session
    session["count"] = 41
    session.save()
    assert browser.get("/count").content == b"42"
    browser.force_login(alice)
    assert who(browser) == "alice"
    assert browser.get("/count").content == b"43"
    assert browser.session["count"] == 43
    held = token(browser)
    browser.logout()
    assert not authority.check(held)
    assert who(browser) == ""
    assert browser.login(username="alice", password="first")
    assert who(browser) == "alice"


def test_a_key_is_cycled_at_once(authority: SyncAuthority, alice: User, browser: Client) -> None:
    assert browser.get("/cycled").content == b""
    browser.get("/count")
    for login in (False, True):
        if login:
            log_in(browser)
        before = token(browser)
        assert browser.get("/cycled").content.decode() == token(browser) != before
        assert not authority.check(before)
    assert browser.get("/count").content == b"2"
    assert who(browser) == "alice"


def test_the_engine_by_itself(authority: SyncAuthority) -> None:
    from sessile.django.sessions import SessionStore

    store = SessionStore()
    assert store.is_empty()
    store["a"] = {"deep": [1]}
    store.create()
    key = store.session_key
    assert key is not None
    assert store.exists(key)
    assert not store.exists("slb_nobody")
    store["a"]["deep"].append(2)
    store.modified = True
    store.save()
    again = SessionStore(key)
    assert again["a"] == {"deep": [1, 2]}
    again.delete(key)
    assert not SessionStore(key).exists(key)
    assert dict(SessionStore(key).items()) == {}
    other = SessionStore()
    other.create()
    store = SessionStore()
    store.create()
    store.delete(other.session_key)
    assert not store.exists(other.session_key)
    store.flush()
    assert store.session_key is None
    SessionStore.clear_expired()


def test_what_is_put_into_the_session_is_json_and_bounded(authority: SyncAuthority, browser: Client) -> None:
    answer = browser.get("/much")
    assert (answer.status_code, answer.json()["title"]) == (409, "Limit reached")
    assert browser.get("/data").json() == {}
    assert browser.get("/note").status_code == 200
    assert browser.get("/notes").json() == {"notes": ["saved"]}
    assert browser.get("/notes").json() == {"notes": []}


def test_an_error_of_the_server_saves_nothing(authority: SyncAuthority, browser: Client) -> None:
    answer = browser.get("/broken")
    assert (answer.status_code, answer.cookies) == (500, {})
    assert browser.get("/data").json() == {}


# -- the middleware -----------------------------------------------------------------------------------------------


def test_foreign_hosts_and_other_sites_are_refused(authority: SyncAuthority, browser: Client) -> None:
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421
    answer = browser.post("/plain", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, json.loads(answer.content)["type"]) == (403, "urn:sessile:problem:cross_site")


def test_cookies_that_cannot_be_read_count_as_none(authority: SyncAuthority) -> None:
    """Review 19: `request.COOKIES` decides nothing."""
    good, evil = (f"{COOKIE}={authority.begin(name).token}" for name in ("alice", "mallory"))
    for cookie in (f"{good}; {evil}", f"{evil}; {good}", f"{good}; {good}"):
        assert Client().get("/sensitive", headers={"Cookie": cookie}).status_code == 400
        assert Client().get("/", headers={"Cookie": cookie}).json()["principal"] is None
    for trick in ("\x85", "\xa0", "\x1f"):
        assert Client().get("/", headers={"Cookie": trick + evil}).json()["principal"] is None
        said = Client().get("/", headers={"Cookie": f"{good}; {trick}{evil}"}).json()
        assert said["principal"] in ("alice", None)


def test_a_token_is_rotated_by_age(authority: SyncAuthority, alice: User, browser: Client, clock: ManualClock) -> None:
    log_in(browser)
    before = token(browser)
    clock.advance(timedelta(minutes=16))
    assert who(browser) == "alice"
    assert token(browser) != before
    assert browser.get("/count").content == b"1"
    clock.advance(timedelta(hours=2))
    answer = browser.get("/sensitive")
    assert answer.json()["reason"] == "idle"
    assert COOKIE not in answer.cookies


def test_only_an_act_of_a_person_keeps_a_session(
    authority: SyncAuthority, alice: User, clock: ManualClock, settings_of: Any
) -> None:
    with settings_of(SESSILE={"authority": authority.authority, "no_activity": ["/count"]}):
        for path, live in (("/count", False), ("/data", True)):
            browser = Client()
            log_in(browser)
            for _ in range(3):
                clock.advance(timedelta(minutes=29))
                browser.get(path)
                upkeep = authority.authority._upkeep
                assert upkeep is not None
                authority.wait(upkeep.flush())
            assert (who(browser) == "alice") is live


def test_an_answer_in_pieces_ends_with_its_session(authority: SyncAuthority, alice: User, browser: Client) -> None:
    log_in(browser)
    answer = browser.get("/stream")
    pieces = iter(answer)
    assert next(pieces) == b"one"
    authority.revoke(principal="alice", cause="test")
    with pytest.raises(Over):
        next(pieces)
    answer.close()


async def test_under_asgi(authority: SyncAuthority, alice: User) -> None:
    browser = AsyncClient(headers={"Sec-Fetch-Site": "same-origin"})
    answer = await browser.get("/async-login")
    assert answer.cookies[COOKIE].value == answer.content.decode()
    assert (await browser.get("/async")).content == b"alice"
    assert (await browser.get("/count")).content == b"8"
    assert (await browser.get("/sensitive")).status_code == 401
    streamed = await browser.get("/async-stream")
    pieces = aiter(streamed)
    assert await anext(pieces) == b"one"
    await project.sync(authority.revoke)(principal="alice", cause="test")
    with pytest.raises(Over):
        await anext(pieces)
    streamed.close()
    assert (await browser.get("/")).json() == {"user": "", "principal": None}
    raw = AsyncClient()
    assert (await raw.get("/", headers={"Host": "evil.example"})).status_code == 421
