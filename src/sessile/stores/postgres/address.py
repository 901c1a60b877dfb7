"""What a `postgresql://` URL says: libpq's part and ours."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sessile.stores.limits import CONNECT_SECONDS

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Address(msgspec.Struct):
    """Where the engine is, and how it is used. It may carry a password: hidden in its repr.

    Of several hosts one is used at a time, by all connections of this process: the one that is followed.
    """

    mains: tuple[str, ...]
    """libpq's connection strings for everything but following, one for each host."""
    listens: tuple[str, ...]
    """Those for following: of the engine itself, where `mains` are a pooler's."""
    schema: str
    quorum: bool
    pooled: bool
    """Statements are not prepared: each may reach another connection of the engine's. It is so if the URL says
    `listen=`, or if it was found out."""
    shown: str
    """For logs and errors."""
    host: int = 0

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    @property
    def main(self) -> str:
        return self.mains[self.host % len(self.mains)]

    @property
    def listen(self) -> str:
        return self.listens[self.host % len(self.listens)]

    @property
    def hosts(self) -> int:
        return max(len(self.mains), len(self.listens))

    def turn(self) -> None:
        """The next host, after the one in use could not be followed."""
        self.host = (self.host + 1) % self.hosts


def parse(url: str) -> Address:
    """`postgresql://user@host/database?schema=sessile&listen=postgresql://…&reach=quorum`; all else is libpq's.

    Several hosts (`host1:5432,host2:5432`) are the members of which one is the primary.

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
            mains=_each(main), listens=_each(listen or main), schema=schema, quorum=reach == "quorum",
            pooled=listen is not None,
            shown=f"{pieces.get('host') or 'localhost'}:{pieces.get('port') or 5432}/{pieces.get('dbname') or ''}",
        )  # fmt: skip
    except ProgrammingError as error:
        said = str(error).strip() if "invalid" in str(error) and "@" not in str(error) else "libpq cannot read it"
        raise ValueError(f"not a URL of PostgreSQL ({said}): use postgresql://user@host/database") from None


def _each(conninfo: str) -> tuple[str, ...]:
    """A connection string for each host, with what finds out that the other end has gone, or may not be written to,
    unless the URL says otherwise."""
    given = conninfo_to_dict(conninfo)
    defaults: dict[str, str | int] = {
        "application_name": "sessile", "connect_timeout": CONNECT_SECONDS, "keepalives_idle": 5,
        "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000, "client_encoding": "utf8",
        "target_session_attrs": "read-write",
    }  # fmt: skip
    lists = {name: str(given[name]).split(",") for name in ("host", "hostaddr", "port") if given.get(name)}
    count = max((len(each) for each in lists.values()), default=1)
    if any(len(each) not in (1, count) for each in lists.values()):
        raise ProgrammingError("invalid: as many ports as hosts, or one")
    return tuple(
        make_conninfo("", **{**defaults, **given, **{name: each[n % len(each)] for name, each in lists.items()}})
        for n in range(count)
    )


_STANDBYS = re.compile(r"\s*(?:(?:ANY|FIRST)\s+)?(\d+)\s*\(([^()]*)\)\s*", re.IGNORECASE)


def is_majority(names: str) -> bool:
    """Whether `synchronous_standby_names` makes a commit wait for a majority of all members, the primary included: then
    any two that acknowledge share a member."""
    found = _STANDBYS.fullmatch(names)
    count, listed = (int(found[1]), found[2]) if found else (1, names)
    standbys = {each.strip() for each in listed.split(",") if each.strip()}
    return bool(standbys) and "*" not in standbys and 2 * (count + 1) > len(standbys) + 1
