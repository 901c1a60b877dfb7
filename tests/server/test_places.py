"""Where an address is, in words: by itself, and by the operator's file; never by asking anybody."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sessile import Client as Device
from sessile.kernel.event import Actor, Event, EventName
from sessile.server.places import Places, PlacesFile, PlacesUnusable
from tests.mail import Post, text
from tests.program import Program
from tests.server.conftest import World, opened
from tests.server.test_recovery import ORIGIN, Mailed, settings, smtp

__all__ = ["smtp"]  # a fixture

BERLIN = {"city": {"names": {"en": "Berlin", "de": "Berlin"}}, "country": {"names": {"en": "Germany"}}}


def written(path: Path, **records: object) -> Path:
    """A file of places: networks (`_` for `/`) and their records."""
    writer = MMDBWriter(6, "GeoLite2-City", languages=["en"], ipv4_compatible=True)
    for network, record in records.items():
        writer.insert_network(IPSet([network.replace("_", "/")]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(
        tmp_path / "places.mmdb",
        **{
            "203.0.113.0_24": BERLIN, "2001:db8::_32": {"country": {"names": {"en": "Iceland"}}},
            "198.51.100.0_24": {"city": "Graz", "registered_country": {"names": {"en": "Austria"}}},
            "192.0.2.0_24": {"autonomous_system_number": 64496},
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ip", "said"),
    [
        ("127.0.0.1", "the server's own computer"), ("127.8.8.8", "the server's own computer"),
        ("::1", "the server's own computer"), ("::ffff:127.0.0.1", "the server's own computer"),
        ("10.1.2.3", "local network"), ("172.16.0.1", "local network"), ("172.32.0.1", ""),
        ("192.168.1.20", "local network"), ("169.254.7.7", "local network"), ("100.64.0.9", "local network"),
        ("100.128.0.1", ""), ("fd00::1", "local network"), ("fe80::1", "local network"),
        ("fe80::1%eth0", "local network"), ("::ffff:10.0.0.1", "local network"), ("203.0.113.7", ""),
        ("2001:db8::1", ""), (None, ""), ("", ""), ("unknown", ""),
    ],
)  # fmt: skip
def test_what_an_address_says_by_itself(ip: str | None, said: str) -> None:
    assert Places().of(ip) == said


@pytest.mark.parametrize(
    ("ip", "said"),
    [
        ("203.0.113.7", "Berlin, Germany"), ("::ffff:203.0.113.7", "Berlin, Germany"), ("2001:db8::1", "Iceland"),
        ("198.51.100.1", "Graz, Austria"), ("192.0.2.1", ""), ("8.8.8.8", ""),
        ("127.0.0.1", "the server's own computer"),
    ],
)  # fmt: skip
def test_what_a_file_says(file: Path, ip: str, said: str) -> None:
    with closing(Places(file)) as places:
        assert places.of(ip) == said


def test_a_file_that_took_its_place_is_noticed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sessile.server.places._LOOK_AGAIN", -1.0)
    places = Places(file)
    assert places.of("203.0.113.7") == "Berlin, Germany"
    moved = {"203.0.113.0_24": {"country": {"names": {"en": "Norway"}}}}
    os.replace(written(tmp_path / "new.mmdb", **moved), file)
    assert places.of("203.0.113.7") == "Norway"
    # Whatever comes in its place, it goes on with what it has.
    (tmp_path / "broken").write_bytes(b"nothing")
    os.replace(tmp_path / "broken", file)
    assert places.of("203.0.113.7") == "Norway"
    assert "is not used" in caplog.text
    file.unlink()
    assert places.of("203.0.113.8") == "Norway"
    places.close()


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlacesUnusable, match=r"none\.mmdb: No such file"):
        Places(tmp_path / "none.mmdb")
    other = tmp_path / "other.mmdb"
    other.write_text("no such thing")
    with pytest.raises(PlacesUnusable, match="no file in MaxMind's format"):
        Places(other)


@pytest.fixture
async def knowing(tmp_path: Path, file: Path) -> AsyncIterator[World]:
    """A server that knows places."""
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack, places=file)


def said(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_the_pages_say_it_and_keep_the_address(knowing: World) -> None:
    here = await knowing.browser("alice")
    there = Device(label="Safari on iPhone", ip="203.0.113.7", user_agent="Mozilla/5.0")
    session = (await knowing.authority.begin("alice", method="password", client=there)).active.session.id
    both = "Berlin, Germany 203.0.113.7"
    page = said((await here.get("/account")).text)
    assert page.count(both) == 2, "in the list of sessions, and among the events"
    assert f"Safari on iPhone, {both}" in page
    olga = await knowing.browser("olga", operator=True)
    for path in (f"/console/sessions/{session}", "/console/principals/alice", "/console/audit?principal=alice"):
        assert both in said((await olga.get(path)).text), path
    # The story says it twice: of the client, and in its first event.
    assert said((await olga.get(f"/console/sessions/{session}")).text).count(both) == 2
    # The record, and what programs get, stay as they are.
    assert "Berlin" not in (await olga.get("/console/audit/export?as=jsonl")).text


async def test_mails_say_it_as_plain_text(tmp_path: Path, file: Path, smtp: Post) -> None:
    async with AsyncExitStack() as stack:
        made = await opened(tmp_path, stack, origins=(ORIGIN,), mail=settings(smtp), places=file)
        world = Mailed(made.app, made.clock, stack, tmp_path)
        world.post = smtp
        await world.alice()
        uid = (await world.authority.principal("alice")).uid
        client = Device(label="Firefox on Linux", ip="203.0.113.7")
        by = Actor(name="alice", client=client)
        await world.authority.store.record(Event(name=EventName.DEVICE_ADDED, principal="alice", uid=uid, by=by))
        await world.round()
    (mail,) = smtp.mails
    assert "from Firefox on Linux, Berlin, Germany (203.0.113.7)" in text(mail)


def test_no_mail_program_makes_a_link_of_a_client(tmp_path: Path) -> None:
    named = {"8.8.8.0_24": {"city": "http://evil.example", "country": "Sao Tome"}}
    places = Places(written(tmp_path / "evil.mmdb", **named))
    client = Device(label="see http://evil.example", ip="8.8.8.8")
    assert places.plain(client) == "see http evil example, http evil example, Sao Tome (8.8.8.8)"
    assert places.plain(Device()) == ""
    places.close()


def test_the_program_says_whether_the_file_can_be_used(tmp_path: Path, file: Path) -> None:
    sessile = Program(tmp_path)
    sessile.add("alice")
    answer = json.loads(sessile.run("doctor", "--json", SESSILE_PLACES=str(file)).stdout)
    (found,) = [one for one in answer["checks"] if one["check"] == "places"]
    assert (found["level"], found["found"]) == ("ok", "places.mmdb, GeoLite2-City, built 0 days ago")
    with closing(PlacesFile(file)) as places:
        built = int(places.built.timestamp())
    # The instant, as it stands in the file.
    file.write_bytes(file.read_bytes().replace(built.to_bytes(4, "big"), (built - 91 * 86400).to_bytes(4, "big")))
    done = sessile.run("doctor", SESSILE_PLACES=str(file))
    assert "built 91 days ago" in done.stdout
    assert "take a newer one" in done.stdout
    done = sessile.run("doctor", SESSILE_PLACES="gone.mmdb")
    assert done.returncode == 1
    assert "gone.mmdb: No such file" in done.stdout
    # A server does not start with one that it cannot read, and says so in a line.
    assert "gone.mmdb: No such file" in sessile.fails(1, "serve", "--port", "0", "--places", "gone.mmdb")
