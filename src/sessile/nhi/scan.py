"""Tokens in the open: found in files by their prefix and checksum, without asking anybody; then, which of them live."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from sessile.kernel.decide import holds
from sessile.kernel.session import SessionKind
from sessile.kernel.token import TOKEN_LENGTH, TOKEN_PATTERN, Token, digest, well_formed
from sessile.stores.protocol import Store

# A token that is part of a longer word is none, whatever its checksum says.
_TOKEN = re.compile(rb"(?<![0-9A-Za-z_])" + TOKEN_PATTERN.encode() + rb"(?![0-9A-Za-z_])")
_CHUNK = 1 << 20
_LOOKED_AT = 8192
"""Bytes at a file's beginning that tell text from the rest."""
SKIPPED = frozenset({".git", ".hg", ".svn"})
"""Folders that are not looked into: what they hold is packed."""


class Find(msgspec.Struct, frozen=True):
    """A token where none should be. Its repr hides it."""

    where: str
    """The file, as it was named; `-` is standard input."""
    line: int
    token: Token


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What a found token is worth."""

    session: str | None = None
    """None: this database does not know it."""
    kind: SessionKind | None = None
    principal: str | None = None
    live: bool = False


def scan_file(file: BinaryIO, where: str) -> Iterator[Find]:
    """The tokens in a stream, in order, whatever its length. Nothing in what is not text."""
    chunk = file.read(_CHUNK)
    if b"\0" in chunk[:_LOOKED_AT]:
        return
    line, held = 1, b""
    while True:
        following = file.read(_CHUNK) if chunk else b""
        data = held + chunk
        # What may go on in the next chunk is looked at again with it, and one byte more to see what stands before.
        end = len(data) if not following else max(0, len(data) - TOKEN_LENGTH - 1)
        at = 0
        for found in _TOKEN.finditer(data):
            if found.start() >= end:
                break
            if held and found.start() == 0:
                continue  # seen with the chunk before
            text = found[0].decode()
            if well_formed(text):
                line += data.count(b"\n", at, found.start())
                at = found.start()
                yield Find(where, line, Token(text))
        kept = max(0, end - 1)
        line += data.count(b"\n", at, kept) if kept > at else 0
        if not following:
            return
        held, chunk = data[kept:], following


def scan_tree(paths: Iterable[Path], unreadable: Callable[[str], None] = lambda _: None) -> Iterator[Find]:
    """The tokens in files, and in all files below folders. Links are not followed out of a tree.

    `unreadable` is told of what could not be read.
    """
    for path in paths:
        for file in _files(path, unreadable):
            try:
                with open(file, "rb") as opened:
                    yield from scan_file(opened, str(file))
            except OSError as error:
                unreadable(f"{file}: {error.strerror}")


def _files(path: Path, unreadable: Callable[[str], None]) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, below, names in os.walk(path, onerror=lambda e: unreadable(f"{e.filename}: {e.strerror}")):
        below[:] = sorted(name for name in below if name not in SKIPPED)
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                yield file


async def holding(store: Store, token: Token) -> Holding:
    """What a token is worth, without using it: no act, no sign of theft, nothing written."""
    snapshot = await store.read(digest(token))
    if snapshot is None:
        return Holding()
    session = snapshot.session
    live = holds(snapshot, snapshot.now, stepping_up=True) is None
    return Holding(session=session.id, kind=session.kind, principal=session.principal, live=live)
