"""What a `postgresql://` URL says: libpq's part and ours."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessile.stores.limits import CONNECT_SECONDS

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Address(msgspec.Struct, frozen=True):
    """Where the engine is, and how it is used. It may carry a password: hidden in its repr."""

    main: str
    """libpq's connection string for everything but following."""
    listen: str
    """The one for following: of the engine itself, where `main` is a pooler's."""
    schema: str
    quorum: bool
    pooled: bool
    """Statements are not prepared: each may reach another connection of the engine's."""
    shown: str
    """For logs and errors."""

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def parse(url: str) -> Address:
    """`postgresql://user@host/database?schema=sessile&listen=postgresql://…&reach=quorum`; all else is libpq's.

    Raises:
        ValueError: says what is wrong, without the URL, which may carry a password.
    """
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise ValueError("not a URL: use postgresql://user@host/database") from None
    schema = given.pop("schema", "sessile")
    listen = given.pop("listen", None)
    reach = given.pop("reach", "engine")
    if not _SCHEMA.fullmatch(schema):
        raise ValueError("schema= is a name of small letters, digits and _, at most 40")
    if reach not in ("engine", "quorum"):
        raise ValueError("reach= is engine or quorum")
    main = urlunsplit(parts._replace(query=urlencode(given)))
    try:
        pieces = conninfo_to_dict(main)
        return Address(
            main=_complete(main), listen=_complete(listen or main), schema=schema, quorum=reach == "quorum",
            pooled=listen is not None,
            shown=f"{pieces.get('host') or 'localhost'}:{pieces.get('port') or 5432}/{pieces.get('dbname') or ''}",
        )  # fmt: skip
    except ProgrammingError as error:
        said = str(error).strip() if "invalid" in str(error) and "@" not in str(error) else "libpq cannot read it"
        raise ValueError(f"not a URL of PostgreSQL ({said}): use postgresql://user@host/database") from None


def _complete(conninfo: str) -> str:
    """With what finds out that the other end has gone, unless the URL says otherwise."""
    defaults: dict[str, str | int] = {
        "application_name": "sessile", "connect_timeout": CONNECT_SECONDS, "keepalives_idle": 5,
        "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000, "client_encoding": "utf8",
    }  # fmt: skip
    return make_conninfo(conninfo, **{k: v for k, v in defaults.items() if k not in conninfo_to_dict(conninfo)})
