"""The server's secret key: 32 random bytes in a file of its own, so that a copy of the database lacks it.

It makes the synchroniser tokens of forms, and seals the secrets of factors. A database remembers which key it belongs
to (review 17): two servers that each made their own would refuse each other's forms, and read each other's sealed
secrets as garbage.

The file may hold several keys, one a line, the newest first: that one is used, and what was sealed under an older
one opens and is sealed anew when it is next used. The one that the database remembers has to stay among them.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from sessile.errors import SessileError
from sessile.stores import Backend

KEY_BYTES = 32
_FACT = "key_check"
_LABEL = b"sessile key check 1"
_HEX = re.compile(rb"(?:[0-9a-f]{%d}(?:\n|\Z))+" % (KEY_BYTES * 2))
MOST_KEYS = 16


class KeyUnusable(SessileError):
    """The key file cannot be used; the message names the cure and never the key."""


async def open_keys(store: Backend, path: Path | None) -> tuple[bytes, ...]:
    """The server's keys, the newest first; the first one is made at the first start, and checked against what the
    store remembers.

    `path=None`: a fresh key, for a store that dies with the process.

    Raises:
        KeyUnusable: the file is missing although the store knows a key, belongs to another store, or is unsafe.
        StoreUnavailable: the store is away.
    """
    remembered = await store.fact(_FACT)
    if path is None:
        keys: tuple[bytes, ...] = (secrets.token_bytes(KEY_BYTES),)
    else:
        keys = load_or_create_keys(path, create=remembered is None)
    checks = [hmac.digest(key, _LABEL, "sha256") for key in keys]
    known = await store.set_fact(_FACT, checks[0])
    if not any(hmac.compare_digest(known, check) for check in checks):
        raise KeyUnusable(
            f"{path} is not the key that this database belongs to: give the right file, or restore it from the backup"
        )
    return keys


def load_or_create_keys(path: Path, *, create: bool = True) -> tuple[bytes, ...]:
    """The keys in the file, or a new one in a new file (mode 0600). Several processes may start at once: one makes
    the file, all get its key. `create=False`: a missing file is an error.

    Raises:
        KeyUnusable: not a key, readable by others, or not to be read or made.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            return _load(path)
        if not create:
            raise KeyUnusable(
                f"{path} is missing, and the database belongs to the key in it: restore it from the backup"
            )
        _create(path)
        return _load(path)
    except OSError as error:
        raise KeyUnusable(f"the key file {path} cannot be read or made: {error.strerror}") from error


def _load(path: Path) -> tuple[bytes, ...]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyUnusable(f"{path} is not a regular file")
        if status.st_mode & 0o077:
            raise KeyUnusable(f"{path} can be read or changed by others: run chmod 600 {path}")
        text = file.read(MOST_KEYS * (KEY_BYTES * 2 + 1) + 1)
    if not _HEX.fullmatch(text):
        raise KeyUnusable(
            f"{path} holds no key ({KEY_BYTES * 2} hexadecimal digits, one key a line): restore it from the backup"
        )
    return tuple(bytes.fromhex(line) for line in text.decode("ascii").split())


def _create(path: Path) -> None:
    """Write beside it first, then link: the file appears whole, and only if there is none."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink()
