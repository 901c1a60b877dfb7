"""The sync face on the engines of many nodes: data that has to be waited for, endings elsewhere, forks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessile import Active, Authority
from sessile.sync import SyncAuthority
from sessile.wsgi import SessileMiddleware
from tests.engines import Postgres
from tests.engines_redis import server, valkey_binary
from tests.sync.test_sync import FORKING, run
from tests.wsgi.browser import Browser, application


@pytest.fixture(params=["postgresql", "valkey"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str | None]]:
    """URL and directory."""
    if request.param == "postgresql":
        engine: Postgres = request.getfixturevalue("postgres")
        name = f"sync_{tmp_path.name}"
        engine.database(name)
        yield engine.url(name), None
    else:
        with server(valkey_binary(), tmp_path / "engine", "--appendonly", "yes") as valkey:
            yield valkey.url, f"sqlite:///{tmp_path / 'directory.db'}"


def test_a_session_and_its_data_on_an_engine(where: tuple[str, str | None]) -> None:
    url, directory = where
    with (
        SyncAuthority(Authority(url, directory=directory)) as here,
        SyncAuthority(Authority(url, directory=directory)) as elsewhere,
    ):
        browser = Browser(SessileMiddleware(application, here.authority))
        assert browser.get("/data/a=1").json == {"a": "1"}
        assert browser.get("/plain").status == 200  # nothing is read where nobody looks
        browser.post("/login/alice")
        assert browser.get("/data").json == {"a": "1"}
        assert browser.get("/data/b=2").json == {"a": "1", "b": "2"}
        assert browser.get("/private").json == {"principal": "alice"}
        found = elsewhere.check(browser.token)
        assert isinstance(found, Active)
        elsewhere.revoke(session=found.session.id, cause="elsewhere")
        assert browser.get("/private").json["reason"] == "revoked"


def test_a_fork_on_an_engine(where: tuple[str, str | None]) -> None:
    """Review 5."""
    assert run(FORKING, *filter(None, where)) == "done\n"
