"""Finding tokens in files: none missed, none mistaken, none shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sessile import Authority
from sessile.kernel.token import TokenKind, new_token
from sessile.nhi.scan import Find, scan_file, scan_tree
from tests.program import Program

CHUNK = 1 << 20


def found(data: bytes) -> list[tuple[int, str]]:
    return [(one.line, str(one.token)) for one in scan_file(io.BytesIO(data), "x")]


@pytest.mark.requirement("NHI2")
@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_token_is_found_where_it_stands(kind: TokenKind) -> None:
    token = new_token(kind, "0")
    for text in (f"{token}", f"KEY={token}\n", f'"{token}"', f"https://x/?k={token}&y", f"a\n\nBearer {token}, b"):
        assert found(text.encode()) == [(text[: text.index(token)].count("\n") + 1, token)]


def test_what_only_looks_like_one_is_not() -> None:
    token = new_token(TokenKind.KEY, "0")
    wrong = token[:10] + ("a" if token[10] != "a" else "b") + token[11:]
    for text in (wrong, token[:-1], f"x{token}", f"{token}x", f"_{token}", "slk_" + "0" * 50, token.upper()):
        assert found(text.encode()) == []
    assert found(b"\0" + token.encode()) == [], "not text"


def test_wherever_a_chunk_ends() -> None:
    """A token that lies across the border of two reads is found once, on its line."""
    token = new_token(TokenKind.KEY, "0")
    for at in range(CHUNK - len(token) - 3, CHUNK + 3):
        data = b"\n" * (at - 1) + b" " + token.encode() + b"\n" + token.encode() + b"\n"
        assert found(data) == [(at, token), (at + 1, token)], at
    glued = b"." * (CHUNK - len(token) - 2) + b"x" + token.encode() + b" " * CHUNK
    assert found(glued) == []


def test_a_tree(tmp_path: Path) -> None:
    one, two = new_token(TokenKind.KEY, "0"), new_token(TokenKind.DELEGATED, "1")
    (tmp_path / "a" / ".git").mkdir(parents=True)
    (tmp_path / "a" / "b.py").write_text(f"x = 1\nKEY = '{one}'\n")
    (tmp_path / "c.env").write_text(f"A={two} B={one}")
    (tmp_path / "a" / ".git" / "packed").write_text(one)
    (tmp_path / "a" / "image.png").write_bytes(b"\x89PNG\0" + one.encode())
    (tmp_path / "a" / "link").symlink_to(tmp_path / "c.env")
    finds = list(scan_tree([tmp_path]))
    assert finds == [
        Find(str(tmp_path / "c.env"), 1, two), Find(str(tmp_path / "c.env"), 1, one),
        Find(str(tmp_path / "a" / "b.py"), 2, one),
    ]  # fmt: skip
    assert one[8:] not in repr(finds)


async def test_the_command_says_which_live_and_shows_none(tmp_path: Path) -> None:
    database = tmp_path / "db"
    database.mkdir()
    async with Authority(f"sqlite:///{database}/sessile.db") as authority:
        alice = await authority.begin("alice")
        live, over = [await authority.mint_key(alice.active, owner="service:ci", scopes={"x"}) for _ in range(2)]
        await authority.revoke(session=over.active.session.id, cause="x")
        stranger = new_token(TokenKind.KEY, "0")
        (tmp_path / "config").write_text(f"{live.token}\n{over.token}\n{stranger}\n")
        program = Program(database)
        done = program.run("key", "scan", "../config")
        assert done.returncode == 1
        assert [line.split("  ")[1].partition(",")[0] for line in done.stdout.splitlines()] == [
            f"LIVE: {live.active.session.id}", f"over: {over.active.session.id}",
            "a token that this database does not know",
        ]  # fmt: skip
        assert done.stdout.startswith("../config:1: slk_…")
        for token in (live.token, over.token, stranger):
            assert token[8:] not in done.stdout + done.stderr
        piped = program.run("key", "scan", "-", "--json", input=f"+KEY={live.token}\n")
        assert (piped.returncode, '"live":true' in piped.stdout, '"path":"-"' in piped.stdout) == (1, True, True)
        assert await authority.check(live.token), "looking at it ends nothing"
    elsewhere = Program(tmp_path)
    done = elsewhere.run("key", "scan", "config")
    assert (done.returncode, "no database" in done.stdout) == (1, True)
    assert not (tmp_path / "sessile.db").exists()
    (tmp_path / "clean").write_text("nothing here")
    assert elsewhere.ok("key", "scan", "clean") == ""
    elsewhere.fails(2, "key", "scan", "missing")
