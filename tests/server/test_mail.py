"""What is told by mail: each event once, to every address, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sessile import Client as Device
from sessile import Method, Policy
from sessile.clock import SystemClock
from sessile.factors.addresses import Address
from sessile.factors.two_steps import LIFETIME
from sessile.kernel.event import Actor, Event, EventName
from sessile.server import Settings
from sessile.server.courier import LATE
from sessile.server.mail import MailFailed, compose, send
from sessile.server.notices import ABSENCE, KEPT, MANY_FAILURES, ONCE
from sessile.server.settings import Mail
from sessile.server.texts_mail import MAILS
from sessile.stores.mail import FIRST_RETRY
from tests.factors.test_totp import code
from tests.mail import LINK, Post, post, text
from tests.server.conftest import LAPTOP, MINUTE, NEW, PASSWORD, Client, World, opened
from tests.server.test_factors import enrol
from tests.server.test_recovery import CONTACT, FORM, ORIGIN, Mailed, mailed, settings, smtp

__all__ = ["mailed", "smtp"]  # fixtures

BOTH = ("alice@example.org", "second@example.org")
PHONE = Device(label="Chrome on Android", ip="198.51.100.9", user_agent="evil.example/1.0")


async def subjects_after(mailed: Mailed, *events: Event) -> list[tuple[str, str]]:
    mailed.post.mails.clear()
    for event in events:
        await mailed.authority.store.record(event)
    await mailed.round()
    return mailed.post.subjects()


async def two_addresses(mailed: Mailed) -> str:
    await mailed.alice()
    await mailed.address("alice", "second@example.org")
    principal = await mailed.authority.principal("alice")
    await mailed.server.addresses.add(principal, "unconfirmed@example.org")
    await mailed.round()
    mailed.post.mails.clear()
    return principal.uid


# -- what -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "63B-4 4.6-a", "63B-4 4.6-b", "63B-4 4.1.2.1-b", "63B-4 4.2.3-a", "63B-4 4.2.1.1-b", "ASVS V6.3.7", "ASVS V6.3.5"
)
async def test_every_notice_goes_to_every_address_and_says_how_to_object(mailed: Mailed) -> None:
    uid = await two_addresses(mailed)
    told = set()
    for name, notice in MAILS.notices.items():
        cause = {"sign_in.failed": "totp", "session.revoked": "replayed"}.get(name)
        event = Event(
            name=EventName(name), principal="alice", uid=uid, cause=cause, by=Actor(name="alice", client=PHONE),
            details={"method": "passkey", "address": "a…@example.org", "id": "adr_x", "called": "http://evil.example"},
        )  # fmt: skip
        assert await subjects_after(mailed, event) == [(to, notice.subject) for to in BOTH], name
        said = text(mailed.post.mails[0])
        assert said.startswith("Hello alice,\n")
        assert "Chrome on Android, 198.51.100.9" in said or name == "factor.off"
        assert f" {mailed.clock.now().year}, " in said
        assert "If it was not you" in said
        assert CONTACT in said
        assert set(LINK.findall(said)) == {f"{ORIGIN}/forgot", f"{ORIGIN}/account"}
        assert "evil" not in said
        told.add(name)
    assert told >= {"principal.password_set", "factor.added", "factor.removed", "session.revoked", "device.added"}


async def test_what_is_nobody_s_or_nothing_special_is_not_told(mailed: Mailed) -> None:
    uid = await two_addresses(mailed)
    await mailed.authority.register("service:ci", owner="alice")
    machine = await mailed.authority.principal("service:ci")
    quiet = [
        Event(name=EventName.PASSWORD_SET), Event(name=EventName.PASSWORD_SET, uid="prn_unknown"),
        Event(name=EventName.FACTOR_ADDED, uid=machine.uid), Event(name=EventName.SESSION_BEGUN, uid=uid),
        Event(name=EventName.SESSION_REVOKED, uid=uid, cause="logout"),
        Event(name=EventName.SIGN_IN_FAILED, uid=uid, cause="password"),
        Event(name=EventName.FACTOR_CHANGED, uid=uid), Event(name=EventName.RECOVERY_REQUESTED),
    ]  # fmt: skip
    assert await subjects_after(mailed, *quiet) == []


@pytest.mark.requirement("CS-MFA-1", "ASVS V6.3.5")
async def test_a_guesser_brings_about_one_notice_an_hour(mailed: Mailed) -> None:
    uid = await two_addresses(mailed)
    wrong = Event(name=EventName.SIGN_IN_FAILED, principal="alice", uid=uid, cause="totp")
    subject = MAILS.notices["sign_in.failed"].subject
    assert await subjects_after(mailed, *[wrong] * 9) == [(to, subject) for to in BOTH]
    mailed.clock.advance(59 * MINUTE)
    assert await subjects_after(mailed, wrong) == []
    mailed.clock.advance(60 * MINUTE)
    assert await subjects_after(mailed, wrong) == [(to, subject) for to in BOTH]


@pytest.mark.requirement("ASVS V6.3.5", "ASVS V6.3.7")
async def test_what_people_do_is_told(mailed: Mailed) -> None:
    """By the doors themselves, not by events that a test writes."""
    await mailed.alice()
    browser = await mailed.client(headers=FORM)
    await browser.submit("/login", username="alice", password=PASSWORD)
    await mailed.round()
    assert mailed.post.subjects() == [("alice@example.org", "New sign-in")]
    mailed.post.mails.clear()
    await browser.submit("/logout")
    await browser.submit("/login", username="alice", password=PASSWORD)
    await mailed.round()
    assert mailed.post.subjects() == [], "this device is known"
    changed = await browser.submit("/account/password", current=PASSWORD, new=NEW, again=NEW)
    assert changed.status_code == 303
    await mailed.round()
    assert mailed.post.subjects() == [("alice@example.org", "Your password was changed")]
    mailed.post.mails.clear()
    await (await mailed.client()).post("/api/v1/session", json={"username": "alice", "password": NEW})
    await mailed.round()
    assert mailed.post.subjects() == [("alice@example.org", "New sign-in")]


@pytest.mark.requirement("ASVS V6.3.5")
async def test_a_sign_in_after_many_failures_or_a_long_absence_is_told_once(mailed: Mailed) -> None:
    await mailed.alice()
    browser, stranger = await mailed.client(headers=FORM), await mailed.client(headers=FORM)

    async def told(client: Client, *passwords: str) -> list[tuple[str, str]]:
        mailed.post.mails.clear()
        for password in passwords:
            await client.post("/api/v1/session", json={"username": "alice", "password": password})
        await mailed.round()
        return mailed.post.subjects()

    wrong = [NEW] * MANY_FAILURES
    assert await told(browser, PASSWORD) == [("alice@example.org", "New sign-in")]
    assert await told(browser, *wrong[1:], PASSWORD) == []
    assert await told(browser, *wrong) == []
    assert await told(browser, PASSWORD) == [("alice@example.org", "Signed in after failed tries")]
    assert await told(browser, PASSWORD) == [], "they are of before that"
    mailed.clock.advance(ABSENCE - MINUTE)
    assert await told(browser, PASSWORD) == []
    mailed.clock.advance(ABSENCE)
    assert await told(browser, PASSWORD) == [("alice@example.org", "Signed in after a long time")]
    said = text(mailed.post.mails[0])
    assert "If it was not you" in said
    assert set(LINK.findall(said)) == {f"{ORIGIN}/forgot", f"{ORIGIN}/account"}
    mailed.clock.advance(10 * MINUTE)
    assert await told(stranger, *wrong, PASSWORD) == [("alice@example.org", "Signed in after failed tries")]


@pytest.mark.requirement("ASVS V6.3.5")
async def test_a_right_password_that_nobody_goes_on_with_is_told(mailed: Mailed) -> None:
    """Once it is sure that nobody does; and what is told by itself is not told twice."""
    await mailed.alice()
    secret = await enrol(mailed, await mailed.signed_in("alice"))
    await mailed.authority.set_policy(Policy.aal2(version=2, assurance=2))
    await mailed.round()
    mailed.post.mails.clear()
    left = [("alice@example.org", "Your password was given, and no second factor")]

    async def told(*codes: str) -> list[tuple[str, str]]:
        client = await mailed.client(headers={"User-Agent": "curl/8.5.0"})
        begun = await client.post("/api/v1/session", json={"username": "alice", "password": PASSWORD})
        assert begun.json()["kind"] == "pre_session"
        for shown in codes:
            await client.post("/api/v1/session/step-up", json={"method": "totp", "code": shown})
        await mailed.round()
        early = mailed.post.subjects()
        mailed.clock.advance(LIFETIME)
        await mailed.round()
        late = mailed.post.subjects()[len(early) :]
        mailed.post.mails.clear()
        assert not (codes and late)
        return early or late

    assert await told() == left
    assert await told() == [], "once an hour"
    mailed.clock.advance(ONCE)
    assert await told(code(secret, mailed.clock.now())) == [("alice@example.org", "New sign-in")]
    assert await told("000000") == [("alice@example.org", "A wrong code for your second factor")]
    mailed.clock.advance(ONCE)
    assert await told() == left
    assert await mailed.authority.store.waiting_mails() == 0


@pytest.mark.requirement("63B-4 5.3-a")
async def test_a_replayed_token_ends_the_session_and_is_told(mailed: Mailed) -> None:
    await mailed.alice()
    first = await mailed.authority.begin("alice", method=Method.PASSWORD, client=LAPTOP)
    second = await mailed.authority.rotate(first.active)
    assert await mailed.authority.check(second.token)
    mailed.clock.advance(5 * MINUTE)
    assert not await mailed.authority.check(first.token)
    assert not await mailed.authority.check(second.token)
    await mailed.round()
    assert mailed.post.subjects() == [("alice@example.org", "A session of yours may have been stolen")]


# -- whatever fails -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("63B-4 4.6-a")
async def test_one_address_that_fails_keeps_no_other_from_hearing(mailed: Mailed) -> None:
    uid = await two_addresses(mailed)
    mailed.post.refuse["alice@example.org"] = "451 later"
    changed = Event(name=EventName.PASSWORD_SET, principal="alice", uid=uid)
    assert await subjects_after(mailed, changed) == [("second@example.org", "Your password was changed")]
    await mailed.round()
    assert len(mailed.post.mails) == 1, "not before its time"
    assert "\nsessile_mails_waiting 1\n" in (await (await mailed.client()).get("/metrics")).text
    mailed.post.refuse.clear()
    mailed.clock.advance(FIRST_RETRY)
    await mailed.round()
    assert {to for to, _ in mailed.post.subjects()} == set(BOTH)
    assert await mailed.authority.store.waiting_mails() == 0


async def test_what_cannot_be_delivered_is_in_the_record(mailed: Mailed) -> None:
    uid = await two_addresses(mailed)
    mailed.post.refuse["alice@example.org"] = "550 nobody here"
    changed = Event(name=EventName.PASSWORD_SET, principal="alice", uid=uid)
    assert len(await subjects_after(mailed, changed)) == 1
    mailed.post.refuse["second@example.org"] = "451 later"
    await subjects_after(mailed, changed)
    mailed.clock.advance(KEPT)
    await mailed.round()
    assert await mailed.authority.store.waiting_mails() == 0
    lost = [event for event in await mailed.authority.store.events(limit=1000) if event.name == "mail.undelivered"]
    assert [event.cause for event in lost] == ["the mail server answered 550"] * 2 + ["its time is over"]
    assert "example.org" not in repr(lost)


async def test_a_link_that_was_asked_for_is_not_sent_late(mailed: Mailed) -> None:
    await mailed.alice()
    mailed.post.refuse["alice@example.org"] = "451 later"
    await mailed.server.reset.ask("alice")
    await mailed.round()
    mailed.post.refuse.clear()
    mailed.clock.advance(timedelta(minutes=15))
    await mailed.round()
    assert mailed.post.mails == []


async def test_each_event_is_told_once_however_many_nodes_there_are(tmp_path: Path, smtp: Post) -> None:
    async with AsyncExitStack() as stack:
        more = {"origins": (ORIGIN,), "mail": settings(smtp)}
        nodes = [await opened(tmp_path, stack, **more) for _ in range(3)]
        couriers = [node.server.reaching.courier for node in nodes]
        for courier in couriers:
            assert courier is not None
            await courier.close()
        first = nodes[0]
        await first.person("alice")
        principal = await first.authority.principal("alice")
        made = await first.server.addresses.add(principal, "alice@example.org")
        await first.server.addresses.confirm(await first.server.addresses.link(principal, made.id))
        for n in range(20):
            await first.authority.store.record(Event(name=EventName.PASSWORD_SET, uid=principal.uid, details={"n": n}))
        await asyncio.gather(*(courier.round() for courier in couriers if courier is not None))
    assert len([one for one in smtp.subjects() if one[1] == "Your password was changed"]) == 20
    assert len({one["Message-ID"] for one in smtp.mails}) == len(smtp.mails)


async def test_what_happened_while_no_mail_was_sent_is_told_for_a_day(tmp_path: Path, smtp: Post) -> None:
    async with AsyncExitStack() as stack:
        before = await opened(tmp_path, stack)
        await before.person("alice")
        principal = await before.authority.principal("alice")
        made = await before.server.addresses.add(principal, "alice@example.org")
        await before.server.addresses.confirm(await before.server.addresses.link(principal, made.id))
        store = before.authority.store
        await store.record(Event(name=EventName.FACTOR_ADDED, uid=principal.uid))
        before.clock.advance(LATE + MINUTE)
        await store.record(Event(name=EventName.FACTOR_REMOVED, uid=principal.uid))
        before.clock.advance(LATE - MINUTE)
        node = Mailed(before.app, before.clock, stack, tmp_path)
        after = await opened_later(node, stack, tmp_path, smtp)
        await after.round()
    assert smtp.subjects() == [("alice@example.org", "A way to sign in was removed")]


async def opened_later(before: World, stack: AsyncExitStack, folder: Path, smtp: Post) -> Mailed:
    """Another node on the same database, with mail, at the same instant."""
    made = await opened(folder, stack, origins=(ORIGIN,), mail=settings(smtp))
    made.clock.advance(before.clock.now() - made.clock.now())
    found = Mailed(made.app, made.clock, stack, folder)
    courier = found.server.reaching.courier
    assert courier is not None
    await courier.close()
    return found


async def test_an_event_that_cannot_be_told_keeps_no_other_from_being(
    mailed: Mailed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uid = await two_addresses(mailed)
    courier = mailed.server.reaching.courier
    assert courier is not None
    asked = mailed.server.addresses.of

    async def broken(of: str) -> list[Address]:
        monkeypatch.setattr(mailed.server.addresses, "of", asked)
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(mailed.server.addresses, "of", broken)
    first = Event(name=EventName.FACTOR_ADDED, principal="alice", uid=uid)
    second = Event(name=EventName.FACTOR_REMOVED, principal="alice", uid=uid)
    assert {subject for _, subject in await subjects_after(mailed, first, second)} == {"A way to sign in was removed"}
    assert "is not told" in caplog.text


async def test_a_courier_that_runs_by_itself(tmp_path: Path, smtp: Post) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, origins=(ORIGIN,), mail=settings(smtp))
        await world.person("alice")
        await world.server.addresses.add(await world.authority.principal("alice"), "alice@example.org")
        assert await asyncio.to_thread(smtp.arrived.wait, 60)
    assert smtp.subjects() == [("alice@example.org", "Confirm this address")]


# -- the wire -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.2, its own authority, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.2")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.2"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


def one(mail: Mail) -> Any:
    return send(
        mail, compose(mail, id="eml_1", to="a@example.org", subject="Ünïcode", text="Zeile ä\n", clock=SystemClock())
    )


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_leaves_this_machine_over_tls_with_a_certificate_or_not_at_all(
    scheme: str, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, context = certificate
    with post(host="127.0.0.2", tls=context, at_once=scheme == "smtps", user=(b"u", b"p@ss")) as server:
        mail = Mail(server=f"{scheme}://u:p%40ss@127.0.0.2:{server.port}", sender="s@example.org")
        with pytest.raises(MailFailed) as failed:
            await one(mail)
        assert "p@ss" not in str(failed.value) + repr(mail)
        assert server.mails == [], "nobody vouches for it"
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        await one(mail)
        (taken,) = server.mails
        assert (taken["X-TLS"], taken["Subject"], text(taken)) == ("yes", "Ünïcode", "Zeile ä\n")
    with post(host="127.0.0.2") as plain:
        with pytest.raises(MailFailed):
            await one(Mail(server=f"{scheme}://127.0.0.2:{plain.port}", sender="s@example.org"))
        assert plain.mails == []
    with post() as plain:
        await one(Mail(server=f"smtp://127.0.0.1:{plain.port}", sender="s@example.org"))
        assert [taken["X-TLS"] for taken in plain.mails] == ["no"], "it does not leave this machine"


def test_settings_that_cannot_work_are_refused() -> None:
    for server in ("", "http://x", "smtp://", "smtp://x:99999", "smtp://x/path", "x"):
        with pytest.raises(ValueError, match="SESSILE_SMTP"):
            Mail(server=server, sender="s@example.org")
    with pytest.raises(ValueError, match="SESSILE_MAIL_FROM"):
        Mail(server="smtp://x", sender="")
    with pytest.raises(ValueError, match="SESSILE_MAIL_CONTACT"):
        Mail(server="smtp://x", sender="s@example.org", contact="us")
    mail = Mail(server="smtps://user:hidden@mail.example.org", sender="s@example.org")
    with pytest.raises(ValueError, match="--origin"):
        Settings(database="memory:", mail=mail)
    full = Settings(database="memory:", mail=mail, origins=("https://x.example",), password_list=Path("/list"))
    assert Settings.from_json(full.to_json()) == full
    assert "hidden" not in repr(full)
    assert Mail.from_environment({}) is None
