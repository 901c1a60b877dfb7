"""`sessile bench`: what checks, sign-ins and revocations cost on this machine and this engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from itertools import count, cycle, islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sessile.authority import Authority
from sessile.checks import nanoseconds
from sessile.cli import measuring
from sessile.cli.bench_node import Nodes, Place
from sessile.cli.common import DATABASE, BadUsage, Cli, bold, confirm, green, red, refuse
from sessile.cli.common import count as counted
from sessile.cli.measuring import Cost, Spread, Work, in_turn, spread
from sessile.errors import NotFound, SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.principal import Status
from sessile.receipt import Issued, Receipt
from sessile.stores.protocol import End

CAUSE = "sessile bench"
SESSIONS = 64
"""Checked in turn, and begun at once."""
FEW = 5
MANY = 1_000
"""Sessions of a principal that has many, at most."""
_LIFETIME = timedelta(hours=1)
_SHARES = {"check": 0.3, "begin": 0.15, "revoke": 0.15, "denial": 0.25, "principal": 0.15}
"""Of the time, what each part gets."""


class Check(msgspec.Struct, frozen=True):
    microseconds: Cost
    to_round_trip: float
    """How many times the cost of one bare round trip, by the medians."""
    to_verification: float


class Begin(msgspec.Struct, frozen=True):
    alone_per_second: float
    """One after the other."""
    together_per_second: float
    together: int


class Revoke(msgspec.Struct, frozen=True):
    acknowledged_ms: Spread
    returned_ms: Spread


class Denial(msgspec.Struct, frozen=True):
    processes: int
    after_acknowledgement_ms: Spread
    """Until the last process denied."""
    late_accepts: int
    """Checks that began after the revocation had returned, and were accepted. More than none is a defect."""
    undenied: int
    """Of as many revocations some process was not seen to deny."""


class OfPrincipal(msgspec.Struct, frozen=True):
    few: int
    many: int
    few_ms: Spread
    many_ms: Spread
    ratio: float
    """Of the medians, until the acknowledgement."""


class Report(msgspec.Struct, frozen=True):
    engine: str
    machine: str
    delta_ms: float
    seconds: float
    round_trip: str
    round_trip_microseconds: Cost
    verification: str
    verification_microseconds: Cost
    check_cached: Check
    check_uncached: Check
    cached_to_memory: float
    """A cached check to one of the memory store's, by the medians: what following an engine adds to it."""
    cached_checks_per_second: float
    """Of one core."""
    begin: Begin
    revoke: Revoke
    denial: Denial
    principal: OfPrincipal


async def bench(
    cli: Cli,
    seconds: Annotated[float, typer.Option(min=2, max=600, help="About how long to measure.")] = 20.0,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That check while one revokes.")] = 4,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before working on an engine.")] = False,
) -> None:
    """Measure checks, sign-ins and revocations, on this machine and this engine.

    With SQLite in a new file, which is removed: beside the database that `--database` names, else in the temporary
    folder. On any other engine in principals of its own, named bench-…, whose sessions are ended and which are deleted
    when it is over; what it did stays in the audit record.
    """
    if (cli.sessions or cli.database) == "memory:":
        raise BadUsage("memory: lives in one process only: there is nothing between processes to measure")
    place = _place(cli)
    place.authority(create=False)  # refuses what is no store, before anything is asked
    folder = _folder(cli)
    try:
        if folder is not None:
            place = Place(f"sqlite:///{folder / 'sessile.db'}")
            cli.note(f"measuring in a file of its own, removed afterwards: {folder / 'sessile.db'}")
        else:
            cli.note(
                f"measuring on the engine itself, for about {seconds:.0f} seconds. This begins and ends some thousands"
                " of sessions, of principals named bench-…, which are deleted afterwards; the audit record keeps"
                " what was done, and the ended sessions' rows go after a week."
            )
            confirm("Go on?", yes=yes)
        with _ending_well():
            report = await _measure(cli, place, seconds, processes, folder)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    if cli.json:
        cli.emit(report)
    else:
        _show(cli, report)
    if report.denial.late_accepts:
        refuse("a process accepted what had been revoked, after the revocation had returned: please report this")


def _place(cli: Cli) -> Place:
    if cli.sessions is None:
        return Place(cli.database)
    return Place(cli.sessions, cli.database)


def _folder(cli: Cli) -> Path | None:
    """A new folder for a database of one's own, on the disk that is asked about; None where there is an engine."""
    if cli.sessions is not None or not cli.database.startswith("sqlite:"):
        return None
    beside = None if cli.database == DATABASE else cli.path.parent
    return Path(tempfile.mkdtemp(prefix="sessile-bench-", dir=beside))


@contextlib.contextmanager
def _ending_well() -> Iterator[None]:
    """A termination ends this as Ctrl-C does: with all put away."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if task is not None:
            loop.add_signal_handler(signum, task.cancel)
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _measure(cli: Cli, place: Place, seconds: float, processes: int, folder: Path | None) -> Report:
    share = {name: part * seconds for name, part in _SHARES.items()}
    began = time.monotonic()
    create = folder is not None
    async with place.authority(create=create) as authority, _guests(cli, authority, folder) as guests:
        cli.note("checks: from the near cache, from the store, and what they are compared with …")
        floors, checks = await _checks(authority, place, folder, guests, share["check"])
        cli.note("beginning sessions …")
        begin = await _begin(guests, share["begin"])
        cli.note("revoking …")
        revoke = await _revoke(authority, guests, share["revoke"])
        cli.note(f"revoking while {processes} other processes check …")
        denial = await _denial(place, guests, processes, share["denial"])
        cli.note("revoking a principal with many sessions …")
        principal = await _of_principal(authority, guests, share["principal"])
        delta = guests.delta.total_seconds() * 1000
    bare, verified = (checks[name] for name in ("round trip", "verification"))
    return Report(
        engine=place.url.partition(":")[0], machine=_machine(), delta_ms=delta,
        seconds=round(time.monotonic() - began, 1),
        round_trip=floors[0], round_trip_microseconds=bare, verification=floors[1], verification_microseconds=verified,
        check_cached=_check(checks["cached"], bare, verified),
        check_uncached=_check(checks["uncached"], bare, verified),
        cached_to_memory=checks["cached"].median / checks["memory"].median,
        cached_checks_per_second=1e6 / checks["cached"].median, begin=begin, revoke=revoke, denial=denial,
        principal=principal,
    )  # fmt: skip


def _check(cost: Cost, bare: Cost, verified: Cost) -> Check:
    return Check(cost, cost.median / bare.median, cost.median / verified.median)


def _machine() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.machine()}, {os.cpu_count()} cores"


# -- what it works with -------------------------------------------------------------------------------------------


class Guests:
    """Principals of this run's own, and sessions of theirs."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.run = f"bench-{secrets.token_hex(4)}"
        self.names: list[str] = []
        self.delta = timedelta(0)
        """How long after its acknowledgement an ending is in force everywhere."""
        self._giver: Issued | None = None

    async def register(self, label: str) -> str:
        name = f"{self.run}-{label}"
        # Noted first: what is interrupted half way is put away too.
        self.names.append(name)
        await self.authority.register(name, purpose=CAUSE)
        return name

    async def agent(self, label: str) -> str:
        owner = (await self.authority.principal(self.names[0])).name
        name = f"agent:{self.run}-{label}"
        self.names.append(name)
        await self.authority.register(name, owner=owner, purpose=CAUSE)
        return name

    async def begin(self, name: str) -> Issued:
        return await self.authority.begin(name, method=Method.HARDWARE_KEY, lifetime=_LIFETIME)

    async def delegate(self, name: str) -> Issued:
        """A session that no policy's `max_sessions` counts."""
        if self._giver is None:
            self._giver = await self.begin(self.names[0])
        return await self.authority.delegate(self._giver.active, to=name, scopes={"bench"}, lifetime=_LIFETIME)

    async def end(self, issued: Issued) -> Receipt:
        """Until the acknowledgement."""
        receipt = await self.authority.revoke(session=issued.active.session.id, cause=CAUSE, wait=False)
        self.delta = receipt.effective - receipt.at
        return receipt

    async def put_away(self) -> list[str]:
        """End and delete all of them. Returns the names of those that are still there."""
        left = []
        for name in self.names:
            try:
                uid = (await self.authority.principal(name)).uid
                await self.authority.end(End(uid=uid, status=Status.DELETED, cause=CAUSE), wait=False)
            except NotFound:
                pass
            except SessileError:
                left.append(name)
        return left


@contextlib.asynccontextmanager
async def _guests(cli: Cli, authority: Authority, folder: Path | None) -> AsyncIterator[Guests]:
    guests = Guests(authority)
    try:
        await guests.register("host")
        yield guests
    finally:
        if folder is None:  # else they go with their file
            cli.note("putting away …")
            left = await guests.put_away()
            if left:
                cli.note(f"the store is away, and these are still there: disable them yourself: {' '.join(left)}")


# -- what is measured ---------------------------------------------------------------------------------------------


async def _checks(
    authority: Authority, place: Place, folder: Path | None, guests: Guests, seconds: float
) -> tuple[tuple[str, str], dict[str, Cost]]:
    begun = [await guests.begin(guests.names[0]) for _ in range(SESSIONS)]
    tokens = [str(issued.token) for issued in begun]
    verification = measuring.verification()
    # Of two tokens in turn a cache for one has none.
    cold = place.authority(create=False, capacity=1)
    with contextlib.ExitStack() as stack:
        beside = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessile-bench-")))
        bare_trip = measuring.round_trip(place.url, beside, authority, begun[-1].active.session.id)
        async with cold, Authority("memory:") as memory, bare_trip as bare:
            in_memory = [str((await memory.begin("bench")).token) for _ in range(SESSIONS)]
            works = {
                "round trip": bare.work, "verification": verification.work, "memory": _checking(memory, in_memory),
                "cached": _checking(authority, tokens), "uncached": _checking(cold, tokens),
            }  # fmt: skip
            return (bare.what, verification.what), await in_turn(works, seconds)


def _checking(authority: Authority, tokens: Sequence[str]) -> Work:
    turns = cycle(tokens)

    async def work(times: int) -> None:
        check = authority.check
        for token in islice(turns, times):
            if not (result := await check(token)):
                refuse(f"a live session was denied ({result.reason}): nothing can be measured")

    return work


async def _begin(guests: Guests, seconds: float) -> Begin:
    names = [await guests.register(f"p{n}") for n in range(SESSIONS)]
    turns = cycle(names)

    async def alone() -> int:
        await guests.begin(next(turns))
        return 1

    async def together() -> int:
        await asyncio.gather(*[guests.begin(name) for name in names])
        return len(names)

    rates = []
    for work in (alone, together):
        done, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < seconds / 2 or not done:
            done += await work()
        rates.append(done / max(took, time.perf_counter() - began))
    return Begin(rates[0], rates[1], len(names))


async def _revoke(authority: Authority, guests: Guests, seconds: float) -> Revoke:
    name = await guests.register("revoked")
    acknowledged: list[float] = []
    returned: list[float] = []

    async def timed(into: list[float], *, wait: bool) -> None:
        issued = await guests.begin(name)
        began = time.perf_counter()
        await authority.revoke(session=issued.active.session.id, cause=CAUSE, wait=wait)
        into.append(time.perf_counter() - began)

    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not returned:
        for _ in range(8):
            await timed(acknowledged, wait=False)
        # Waiting costs nothing: eight wait at the same time.
        await asyncio.gather(*[timed(returned, wait=True) for _ in range(8)])
    return Revoke(spread(acknowledged), spread(returned))


async def _denial(place: Place, guests: Guests, processes: int, seconds: float) -> Denial:
    name = await guests.register("watched")
    took: list[float] = []
    late = undenied = 0
    async with Nodes(place, processes) as nodes:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or not took:
            issued = [await guests.begin(name) for _ in range(8)]
            await nodes.watch([str(each.token) for each in issued], seconds=10)
            instants = []
            for each in issued:
                await asyncio.sleep(0.02 + secrets.randbelow(10) / 1000)
                receipt = await guests.end(each)
                acknowledged = time.monotonic_ns()
                # As `revoke` waits: until nobody may accept it any more.
                instants.append((acknowledged, acknowledged + nanoseconds(receipt.effective - receipt.at)))
            seen = await nodes.seen()
            for number, (acknowledged, returned) in enumerate(instants):
                of_all = [node[number] for node in seen]
                late += sum(one.accepted > returned for one in of_all)
                denied = [one.denied for one in of_all if one.denied is not None]
                if len(denied) < len(of_all):
                    undenied += 1
                else:
                    took.append(max(0, max(denied) - acknowledged) / 1e9)
            if not took:
                refuse("the processes went on accepting what had been revoked")
    return Denial(processes, spread(took), late, undenied)


async def _of_principal(authority: Authority, guests: Guests, seconds: float) -> OfPrincipal:
    few, many = await guests.agent("few"), await guests.agent("many")
    for _ in range(FEW):
        await guests.delegate(few)
    until, begun = time.perf_counter() + seconds / 2, 0
    while begun < MANY and (time.perf_counter() < until or begun < 10 * FEW):
        await asyncio.gather(*[guests.delegate(many) for _ in range(50)])
        begun += 50
    took: dict[str, list[float]] = {few: [], many: []}
    until = time.perf_counter() + seconds / 2
    for rounds in count(1):
        for name, each in took.items():
            # Again and again the same: its rows stay as they are, only its epoch changes.
            before = time.perf_counter()
            await authority.revoke(principal=name, cause=CAUSE, wait=False)
            each.append(time.perf_counter() - before)
        if rounds >= 3 and time.perf_counter() >= until:
            break
    of_few, of_many = spread(took[few]), spread(took[many])
    return OfPrincipal(FEW, begun, of_few, of_many, of_many.p50 / of_few.p50)


# -- saying -------------------------------------------------------------------------------------------------------


def _show(cli: Cli, report: Report) -> None:
    denial, principal = report.denial, report.principal
    cli.say(f"{bold(report.engine)}, Δ and its margin {report.delta_ms:.0f} ms, {report.machine}\n")
    cli.table(
        ("microseconds", "median", "best", "to a round trip", "to a verification"),
        [
            (f"bare round trip ({report.round_trip})", *_us(report.round_trip_microseconds), "1", ""),
            (report.verification, *_us(report.verification_microseconds), "", "1"),
            ("check, from the near cache", *_check_cells(report.check_cached)),
            ("check, from the store", *_check_cells(report.check_uncached)),
        ],
    )
    cli.say()
    cli.table(
        ("milliseconds", "median", "p99", "longest", "of"),
        [
            ("revoke, until the store's acknowledgement", *_ms(report.revoke.acknowledged_ms)),
            ("revoke, until it returns", *_ms(report.revoke.returned_ms)),
            (f"acknowledgement to the last denial, {denial.processes} processes",
             *_ms(denial.after_acknowledgement_ms)),
            (f"revoke a principal with {principal.few} sessions", *_ms(principal.few_ms)),
            (f"revoke a principal with {principal.many:,} sessions", *_ms(principal.many_ms)),
        ],
    )  # fmt: skip
    cli.say()
    cli.facts(
        {
            "checks a second, one core": f"{report.cached_checks_per_second:,.0f} from the near cache",
            "a cached check": f"{report.cached_to_memory:.2f} times the memory store's",
            "sessions begun a second": f"{report.begin.alone_per_second:,.0f} one by one,"
            f" {report.begin.together_per_second:,.0f} with {report.begin.together} at once",
            "many sessions to few": f"{principal.ratio:.2f} times",
        }
    )
    late = counted(denial.late_accepts, "check")
    said = f"{late} accepted after a revocation had returned"
    cli.say((red if denial.late_accepts else green)(said))
    if denial.undenied:
        cli.say(f"{counted(denial.undenied, 'revocation')} not seen by every process within ten seconds")


def _us(cost: Cost) -> tuple[str, str]:
    return f"{cost.median:.2f}", f"{cost.best:.2f}"


def _check_cells(check: Check) -> tuple[str, ...]:
    return (*_us(check.microseconds), f"{check.to_round_trip:.2f}", f"{check.to_verification:.2f}")


def _ms(waits: Spread) -> tuple[str, ...]:
    return f"{waits.p50:.2f}", f"{waits.p99:.2f}", f"{waits.most:.2f}", str(waits.n)
