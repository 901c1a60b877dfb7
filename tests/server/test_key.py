"""The server's secret key: made once, kept private, and never another one for the same database."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sessile.server.key import KeyUnusable, load_or_create_keys, open_keys
from sessile.server.settings import Settings
from tests.server.conftest import opened

MAKE = "import sys, pathlib, sessile.server.key as k; print(k.load_or_create_keys(pathlib.Path(sys.argv[1]))[0].hex())"


def test_the_first_start_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "sessile.key"
    key = load_or_create_keys(path)
    assert [len(one) for one in key] == [32]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    assert load_or_create_keys(path) == key
    assert load_or_create_keys(tmp_path / "other.key") != key
    assert sorted(found.name for found in tmp_path.iterdir()) == ["other.key", "sessile.key"]


def test_four_processes_at_once_get_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "sessile.key"
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    keys = {process.communicate(timeout=60)[0].strip() for process in started}
    assert keys == {load_or_create_keys(path)[0].hex()}
    assert [found.name for found in tmp_path.iterdir()] == ["sessile.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o777])
def test_one_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "sessile.key"
    (key,) = load_or_create_keys(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match=f"chmod 600 {path}") as refused:
        load_or_create_keys(path)
    assert key.hex() not in str(refused.value)


@pytest.mark.parametrize("text", ["", "x" * 64, "ab" * 31, "ab" * 33, "ab" * 32 + "\n\n", "\x00" * 100])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sessile.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(KeyUnusable, match="restore"):
        load_or_create_keys(path)
    assert path.read_text() == text


def test_where_it_cannot_be_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="cannot be read or made"):
        load_or_create_keys(tmp_path / "no folder" / "sessile.key")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyUnusable):
        load_or_create_keys(tmp_path / "folder")


async def test_another_key_for_the_same_database_is_refused(tmp_path: Path) -> None:
    """Review 17: two servers that each made their own key would read each other's secrets as garbage."""
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        (key,) = await open_keys(world.authority.store, tmp_path / "sessile.key")
        assert key == world.server.key
        other = tmp_path / "other.key"
        load_or_create_keys(other)
        with pytest.raises(KeyUnusable, match="not the key that this database belongs to"):
            await open_keys(world.authority.store, other)
        assert key not in (await world.authority.store.fact("key_check") or b"")
    async with AsyncExitStack() as stack:
        with pytest.raises(KeyUnusable, match="not the key"):
            await opened(tmp_path, stack, key_file=other)
    (tmp_path / "sessile.key").unlink()
    async with AsyncExitStack() as stack:
        with pytest.raises(KeyUnusable, match="missing"):
            await opened(tmp_path, stack)
    assert not (tmp_path / "sessile.key").exists()


def test_where_the_key_lies(tmp_path: Path) -> None:
    assert Settings(database="memory:").key_path is None
    assert Settings(database=f"sqlite:///{tmp_path}/a.db").key_path == tmp_path / "a.key"
    assert Settings(database="sqlite:///a.db").key_path == Path.cwd() / "a.key"
    assert Settings(database="memory:", key_file=tmp_path / "k").key_path == tmp_path / "k"


async def test_a_new_key_is_put_before_the_old_one(tmp_path: Path) -> None:
    """The newest is used; the one that the database remembers has to stay."""
    path = tmp_path / "sessile.key"
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)
        (old,) = load_or_create_keys(path)
        new = "ab" * 32
        path.write_text(f"{new}\n{path.read_text()}")
        assert await open_keys(world.authority.store, path) == (bytes.fromhex(new), old)
        path.write_text(f"{new}\n")
        with pytest.raises(KeyUnusable, match="not the key"):
            await open_keys(world.authority.store, path)
