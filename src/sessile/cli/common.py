"""What every command shares: the common options, the database, how things are said, and how they fail."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import inspect
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec, TypeVar
from urllib.parse import urlsplit

import msgspec
import typer

from sessile.authority import Authority
from sessile.errors import NotFound, Refused
from sessile.kernel.decide import Denied
from sessile.kernel.event import Actor
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client
from sessile.stores import REDIS

P = ParamSpec("P")
T = TypeVar("T")

DATABASE = "sqlite:///sessile.db"
"""Where the database is when nobody says otherwise: `sessile.db` in the current folder."""
NOT_STATED = "not stated"
"""The cause where nobody gave one. The person reads it on the login page."""


class BadUsage(Exception):
    """What was typed makes no sense, whatever the database holds: exit status 2. The message names the cure."""


class ReaderGone(Exception):
    """Whoever read standard output has seen enough, as `head` does. Typer would make a failure of it."""


class Cli:
    """What a command is given: the common options, and the way to read and to say."""

    def __init__(self, database: str = DATABASE, *, sessions: str | None = None, json: bool = False) -> None:
        self.database = database
        self.sessions = sessions
        """Where sessions are kept, if not in the database."""
        self.json = json

    @property
    def path(self) -> Path:
        """The database file, absolute.

        Raises:
            BadUsage: the URL names no SQLite file.
        """
        scheme, slashes, path = self.database.partition(":///")
        if scheme == "memory" or self.database == "memory:":
            raise BadUsage("memory: lives in one process only: the command line needs a file, as sqlite:///sessile.db")
        if scheme != "sqlite" or not slashes or not path:
            # The URL may carry a password: it is not repeated.
            raise BadUsage(
                "not a database: use --database sqlite:///relative.db, sqlite:////absolute/path.db"
                " or postgresql://user@host/database"
            )
        return Path(path).absolute()

    @property
    def on_engine(self) -> bool:
        """Whether the database is an engine's, not a file."""
        return self.database.startswith(("postgresql:", "postgres:"))

    @property
    def url(self) -> str:
        """The database, with an absolute path if it is a file. Raises BadUsage."""
        return self.database if self.on_engine else f"sqlite:///{self.path}"

    @property
    def shown(self) -> str:
        """The database as it may be printed: a URL may carry a password. Raises BadUsage."""
        if not self.on_engine:
            return str(self.path)
        parts = urlsplit(self.database)
        return f"{parts.scheme}://{parts.hostname or 'localhost'}{parts.path}"

    @property
    def elsewhere(self) -> str | None:
        """The URL of the sessions' own store, if they have one. Raises BadUsage."""
        if self.sessions is None or self.sessions == self.database:
            return None
        if self.sessions.partition(":")[0] not in REDIS:
            raise BadUsage("--sessions is the URL of a Redis or Valkey, as redis://host:6379/0; else leave it away")
        return self.sessions

    @property
    def connectors(self) -> Path | None:
        """The file that names the connectors of leases."""
        named = os.environ.get("SESSILE_CONNECTORS")
        return Path(named).absolute() if named else None

    @property
    def places(self) -> Path | None:
        """The file that tells where addresses are."""
        named = os.environ.get("SESSILE_PLACES")
        return Path(named).absolute() if named else None

    def must_exist(self) -> Path:
        """The database file. An empty one is never made by a command that only acts on what is there.

        Raises:
            NotFound: there is none, with the path that was looked at.
        """
        if not self.path.is_file():
            raise NotFound(
                f"no database at {self.path}: name yours with --database or SESSILE_DATABASE,"
                " or make one with `sessile user add NAME`"
            )
        return self.path

    @contextlib.asynccontextmanager
    async def authority(self, *, create: bool = False) -> AsyncIterator[Authority]:
        """Open the database. Only with `create` is a missing file made."""
        if not (create or self.on_engine):
            self.must_exist()
        new = not self.on_engine and not self.path.exists()
        elsewhere = self.elsewhere
        opened = (
            Authority(self.url, create=create)
            if elsewhere is None
            else Authority(elsewhere, directory=self.url, create=create)
        )
        async with opened as authority:
            if new:
                self.note(f"made {self.path}")
            yield authority

    # -- saying -------------------------------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """A line for people."""
        if not self.json:
            print(text)

    def note(self, text: str) -> None:
        """A remark beside the result: on stderr, so that it is in nobody's pipe."""
        print(text, file=sys.stderr)

    def emit(self, value: object) -> None:
        """One line of JSON for machines, at once."""
        print(msgspec.json.encode(value).decode(), flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Aligned columns under a heading; the last one is not padded."""
        cells = [[clean(str(cell)) for cell in row] for row in rows]
        widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
        self.say(bold(_line(columns, widths)))
        for row in cells:
            self.say(_line(row, widths))

    def facts(self, pairs: Mapping[str, object]) -> None:
        """Name and value, a line each; what is empty is left out."""
        shown = {name: clean(str(value)) for name, value in pairs.items() if value not in ("", None)}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.say(f"{name.ljust(width)}  {value}")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


# -- commands -----------------------------------------------------------------------------------------------------

_COMMON: dict[str, Any] = {
    "database": Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"SESSILE_DATABASE, else {DATABASE}.", show_default=False),
    ],
    "sessions": Annotated[
        str | None,
        typer.Option("--sessions", metavar="URL", help="SESSILE_SESSIONS, else the database.", show_default=False),
    ],
    "json": Annotated[bool, typer.Option("--json", help="Answer in JSON, times in UTC.")],
}


def group(help: str, *, top: bool = False) -> typer.Typer:
    """An app whose commands are a noun's verbs (or, at the top, everything: that one says its version too)."""
    app = typer.Typer(
        help=help, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )  # fmt: skip

    def only(
        context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False
    ) -> None:
        if version:
            print(f"sessile {metadata.version('sessile')}")
            raise typer.Exit
        # Status 2: a script whose command got lost has not done what it was to do.
        if context.invoked_subcommand is None:
            print(context.get_help())
            raise typer.Exit(2)

    only.__doc__ = help
    app.callback(invoke_without_command=True)(_with_common(only, _remember, only if top else None))
    return app


def command(
    app: typer.Typer, name: str
) -> Callable[[Callable[Concatenate[Cli, P], Coroutine[Any, Any, None] | None]], Callable[..., None]]:
    """Make a function a command of `app`: its first parameter is the `Cli`, the rest is what the user types.

    The common options stand before or after the command's name, as one likes.
    """

    def make(run: Callable[Concatenate[Cli, P], Coroutine[Any, Any, None] | None]) -> Callable[..., None]:
        @functools.wraps(run)
        def started(context: typer.Context, **typed: Any) -> None:
            try:
                result = run(_settle(context), **typed)  # type: ignore[call-arg]  # typer calls by name
                if result is not None:
                    asyncio.run(result)
                sys.stdout.flush()
            except BrokenPipeError:
                raise ReaderGone from None

        wrapped = _with_common(started, _remember, run)
        app.command(name)(wrapped)
        return wrapped

    return make


def _with_common(
    call: Callable[..., None], remember: Callable[..., None], like: Callable[..., Any] | None = None
) -> Callable[..., None]:
    """`call` with the common options added to its signature, from which typer reads what a command takes."""

    def wrapper(context: typer.Context, **typed: Any) -> None:
        remember(context, **{name: typed.pop(name) for name in _COMMON})
        call(context, **typed)

    own = list(inspect.signature(like, eval_str=True).parameters.values())[1:] if like else []
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(name, keyword, annotation=annotation, default=False if name == "json" else None)
            for name, annotation in _COMMON.items()
        ),
    ]
    wrapper.__doc__ = call.__doc__
    wrapper.__name__ = call.__name__
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


def _remember(context: typer.Context, *, database: str | None, sessions: str | None, json: bool) -> None:
    """Keep what was said here; what is said nearer to the command wins."""
    said = context.ensure_object(dict)
    if database is not None:
        said["database"] = database
    if sessions is not None:
        said["sessions"] = sessions
    said["json"] = said.get("json", False) or json


def _settle(context: typer.Context) -> Cli:
    said = context.ensure_object(dict)
    database = said.get("database") or os.environ.get("SESSILE_DATABASE") or DATABASE
    sessions = said.get("sessions") or os.environ.get("SESSILE_SESSIONS") or database
    return Cli(database, sessions=None if sessions == database else sessions, json=said.get("json", False))


def by() -> Actor:
    """Whom the audit record names: the command line, and the account of the machine that ran it."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        account = f"uid {os.getuid()}"
    return Actor(name="cli", client=Client(label=clean(account)[:100]))


def refuse(message: str) -> NoReturn:
    """End with status 1: nothing was done, and the message says why and what would help."""
    raise Refused(message, Denied(reason=Reason.OUT_OF_SCOPE))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what is hard to undo; without a terminal to ask at, demand `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        refuse("there is no terminal to ask at: say --yes to go ahead")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        refuse("nothing was done")


async def every(fetch: Callable[[str | None], Coroutine[Any, Any, Any]]) -> AsyncIterator[Any]:
    """All items of a paged list. Pages are asked for by key, so that nothing stays open between them."""
    after: str | None = None
    while True:
        page = await fetch(after)
        for item in page.items:
            yield item
        after = page.next
        if after is None:
            return


# -- words --------------------------------------------------------------------------------------------------------

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?")


def duration(text: str) -> timedelta:
    """`90s`, `15m`, `8h`, `30d`, `1d12h`.

    Raises:
        BadUsage: anything else, and nothing at all.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise BadUsage(f"{text!r} is no length of time: write 90s, 15m, 8h, 30d or 1d12h")
    return length


def words(length: timedelta) -> str:
    """A length of time as people say it: `30 days`, `1 hour 30 minutes`, `45 seconds`."""
    left = int(length.total_seconds())
    parts = []
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "no time"


def local(instant: datetime | None) -> str:
    """An instant in the local time zone, to the second."""
    return "" if instant is None else f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def minute(instant: datetime | None) -> str:
    """An instant in the local time zone, to the minute: for tables."""
    return "" if instant is None else f"{instant.astimezone():%Y-%m-%d %H:%M}"


def exactly(instant: datetime) -> str:
    """An instant in the local time zone, to the millisecond, rounded up: a receipt names none too early."""
    up = instant + timedelta(microseconds=-instant.microsecond % 1000)
    there = up.astimezone()
    return f"{there:%Y-%m-%d %H:%M:%S}.{there.microsecond // 1000:03} {there.tzname()}"


def utc(instant: datetime | None) -> str | None:
    """RFC 3339 in UTC, for JSON."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Text from elsewhere (a cause, a label) without what would steer the terminal."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def colours(stream: Any = None) -> bool:
    """Whether to colour: a terminal, and NO_COLOR is not set (no-color.org)."""
    stream = stream or sys.stdout
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    return _style(text, "1")


def faint(text: str) -> str:
    return _style(text, "2")


def green(text: str) -> str:
    return _style(text, "32")


def yellow(text: str) -> str:
    return _style(text, "33")


def red(text: str) -> str:
    return _style(text, "31")


def _style(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colours() else text
