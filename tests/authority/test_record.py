"""The audit record, and that no secret is in it, in a repr, or in the file."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest

from sessile import Authority, Issued, Reason, SessileError
from sessile.kernel.token import digest, rotation_seed
from sessile.stores.protocol import End
from sessile.testing import ManualClock
from tests.authority.asking import LAPTOP, MINUTE, PHONE, active, denied, events, happened, password, reason


@pytest.mark.requirement("ASVS V16.2.1", "ASVS V16.3.1", "ASVS V16.3.3")
async def test_every_change_leaves_its_line(authority: Authority, clock: ManualClock) -> None:
    person = await authority.begin("alice", client=LAPTOP)
    agent = await authority.delegate(person.active, to="agent:a", scopes={"x"}, client=PHONE)
    await authority.mint_key(person.active, owner="service:ci", scopes={"y"})
    newer = await active(authority, (await authority.rotate(person.active)).token)
    clock.advance(MINUTE)
    person = await authority.elevate(newer, method="totp")
    await authority.revoke(session=agent.active.session.id, cause="done", by=person.active)
    await authority.revoke(principal="alice", cause="lost laptop")
    await authority.end(
        End(uid=(await authority.principal("alice")).uid, cause="pw", credential=await password(authority, "alice"))
    )
    await authority.disable("alice", cause="offboarded")
    await authority.enable("alice")
    await authority.delete("alice", cause="left")
    await authority.revoke(everyone=True, cause="incident")
    async with authority.sign_in("mallory") as attempt:
        await attempt.failed("wrong password", client=PHONE)

    assert await happened(authority) == [
        "policy.changed",
        "principal.registered",
        "session.begun",
        "principal.registered",
        "session.delegated",
        "principal.registered",
        "key.minted",
        "session.rotated",
        "session.elevated",
        "session.revoked",
        "principal.revoked",
        "principal.password_set",
        "principal.disabled",
        "principal.enabled",
        "principal.deleted",
        "everyone.revoked",
        "sign_in.failed",
    ]
    record = await events(authority)
    assert [event.seq for event in record] == list(range(1, len(record) + 1))
    assert all(event.at is not None and event.at.utcoffset() is not None for event in record)
    by_name = {event.name.value: event for event in record}
    begun = by_name["session.begun"]
    assert (begun.principal, begun.session, begun.by.client) == ("alice", person.active.session.id, LAPTOP)
    assert begun.details["method"] == "password"
    handed = by_name["session.delegated"]
    assert (handed.principal, handed.by.name, handed.by.session) == ("agent:a", "alice", person.active.session.id)
    assert handed.details["scopes"] == ["x"]
    ended = by_name["session.revoked"]
    assert (ended.session, ended.by.name, ended.cause) == (agent.active.session.id, "alice", "done")
    failed = by_name["sign_in.failed"]
    assert (failed.by.name, failed.principal, failed.cause) == ("mallory", None, "wrong password")


async def test_the_record_is_read_in_pages_and_by_subject(authority: Authority) -> None:
    alice = await authority.begin("alice")
    await authority.begin("bob")
    await authority.revoke(session=alice.active.session.id, cause="logout")
    store = authority.store
    assert [event.seq for event in await store.events(after=2, limit=2)] == [3, 4]
    latest = await store.events(latest=True, limit=1)
    assert [event.name for event in latest] == ["session.revoked"]
    mine = await store.events(uid=alice.active.session.uid)
    assert {event.principal for event in mine} == {"alice"}
    ours = await store.events(session=alice.active.session.id)
    assert [event.name for event in ours] == ["session.begun", "session.revoked"]


async def test_what_is_refused_leaves_no_line(authority: Authority) -> None:
    """A mutation that raises changed nothing."""
    issued = await authority.begin("alice", scopes={"read"})
    await authority.revoke(session=issued.active.session.id, cause="logout")
    before = await events(authority)
    for refused in (
        authority.delegate(issued.active, to="agent:a", scopes={"read"}),
        authority.mint_key(issued.active, owner="alice", scopes={"read"}),
        authority.rotate(issued.active),
        authority.elevate(issued.active, method="totp"),
        authority.begin("alice", scopes={"operator"}),
        authority.revoke(principal="nobody", cause="x"),
    ):
        with pytest.raises(SessileError):
            await refused
    assert await events(authority) == before


async def _life(authority: Authority) -> list[Issued]:
    """Every way in which a token comes to be."""
    person = await authority.begin("alice", client=LAPTOP)
    issued = [person, await authority.begin(None), await authority.begin("bob")]
    issued.append(await authority.delegate(person.active, to="agent:a", scopes={"x"}))
    issued.append(await authority.mint_key(person.active, owner="service:ci", scopes={"x"}))
    for _ in range(3):
        person = await authority.rotate(await active(authority, person.token))
        await active(authority, person.token)
        issued.append(person)
    issued.append(await authority.rotate(await active(authority, person.token)))
    issued.append(await authority.elevate(await active(authority, person.token), method="totp"))
    issued.append(await authority.elevate(issued[2].active, method=None))
    await authority.revoke(session=issued[1].active.session.id, cause="logout")
    return issued


def _forms(token: str, *, digests: bool) -> list[bytes]:
    """A token, what may be made of it, and (where not even they may be) what is stored in its place."""
    forms = [token.encode(), token[5:48].encode(), token.swapcase().encode(), base64.b64encode(token.encode())]
    forms += [token.encode().hex().encode(), token[::-1].encode(), token.encode("utf-16-le")]
    forms += [rotation_seed(token), rotation_seed(token).hex().encode()]
    if digests:
        raw = digest(token)
        forms += [raw, raw.hex().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw).rstrip(b"=")]
        forms += [repr(raw).encode()[2:-1]]
    return forms


@pytest.mark.requirement("ASVS V16.2.5")
async def test_no_secret_in_the_record_or_a_repr(
    authority: Authority, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = await _life(authority)
    said = [msgspec.json.encode(await events(authority))]
    for each in issued:
        result = await authority.check(each.token)
        check = authority.check(each.token)
        session = each.active.session
        shown = await authority.session(session.id)
        for value in (each, each.token, each.active, session, result, check, shown, authority, authority.store):
            said += [repr(value).encode(), f"{value!r}".encode()]
        said.append(msgspec.json.encode(shown))
        said.append(msgspec.json.encode(await authority.revoke(session=session.id, cause="end")))
        said.append(repr(await denied(authority, each.token)).encode())
        for refused in (authority.rotate(each.active), authority.elevate(each.active, method="totp")):
            with pytest.raises(SessileError) as error:
                await refused
            said += [str(error.value).encode(), repr(error.value).encode()]
    said.append(caplog.text.encode())
    everything = b"\n".join(said)
    for each in issued:
        for form in _forms(each.token, digests=True):
            assert form not in everything
    assert b"slb_\xe2\x80\xa6" in everything  # what a token's repr does say: of which kind it is


async def test_a_credential_hides_its_value(authority: Authority) -> None:
    await authority.begin("alice")
    assert "hunter2" not in repr(await password(authority, "alice", b"hunter2"))


@pytest.mark.requirement("ASVS V7.2.3", "63B-4 5.1-g")
async def test_a_copy_of_the_database_lets_nobody_in(sqlite_url: str, tmp_path: Path, clock: ManualClock) -> None:
    """No token, nor what a token could be made of, is in the file, its write-ahead log or a backup."""
    async with Authority(sqlite_url, clock=clock) as authority:
        issued = await _life(authority)
        live = [each for each in issued if await reason(authority, each.token) is None]
        assert len(live) == 4
        copy = tmp_path / "copy.db"
        with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        source.close()
        target.close()
        everything = contents(tmp_path)
        assert digest(live[0].token) in everything  # the search would find it
        for each in issued:
            for form in _forms(each.token, digests=False):
                assert form not in everything
    async with Authority(f"sqlite:///{copy}", clock=clock, create=False) as thief:
        for cell in cells(copy):
            text = cell.hex() if isinstance(cell, bytes) else str(cell)
            raw = cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)
            for prefix in ("", "slb_0", "slk_0"):
                assert await reason(thief, prefix + text) is not None
                assert await reason(thief, prefix + raw) is not None


def contents(folder: Path) -> bytes:
    files = sorted(folder.iterdir())
    assert {file.name for file in files} >= {"sessile.db", "sessile.db-wal", "copy.db"}
    return b"\n".join(file.read_bytes() for file in files)


def cells(path: Path) -> set[object]:
    """Every value in every table."""
    db = sqlite3.connect(path)
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {cell for name in names for row in db.execute(f"SELECT * FROM [{name}]") for cell in row}  # noqa: S608
    db.close()
    return found


@pytest.mark.requirement("ASVS V16.4.1")
async def test_a_line_is_one_line_whatever_was_sent(authority: Authority) -> None:
    """What a client says of itself is data: it cannot end a line or forge one."""
    evil = LAPTOP.__class__(ip="::1", user_agent='x\r\n{"name":"session.revoked"}\x1b[2J\u2028', label="\x00")
    issued = await authority.begin("alice", client=evil)
    line = msgspec.json.encode((await authority.store.events(session=issued.active.session.id))[0])
    assert b"\n" not in line
    assert b"\x1b" not in line
    assert json.loads(line)["by"]["client"]["user_agent"] == evil.user_agent
    await authority.revoke(session=issued.active.session.id, cause="line\nbreak")
    assert (await denied(authority, issued.token)).reason is Reason.REVOKED
