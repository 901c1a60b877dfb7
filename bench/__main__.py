"""`python -m bench [--json] [--quick]`: a table of ratios, and whether the goals are met."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import checks, engines, web, writes
from bench.rounds import Figure, ratio
from bench.timing import EFFECT_GOAL, P_GOAL, Comparison, measure_timing


@dataclass(frozen=True)
class Goal:
    """What one figure is to stay within."""

    figure: str
    bound: float
    share: bool = False
    """Of throughput: at least `bound`; else of cost: at most."""


CHECK_GOALS = [
    Goal("await check, SQLite, depth 0", 0.5),
    Goal("await check, SQLite, depth 3", 0.5),
    Goal("await check, memory, depth 0", 0.15),
    Goal("await check, memory, depth 3", 0.15),
]
WEB_GOALS = [Goal(name, 0.90, share=True) for name in ("Sessile on SQLite, a page for everybody", web.PAGE)]

CACHED_BOUND = 1.2
"""Of the memory store's cached check."""
UNCACHED_BOUND = 1.5
"""Of one bare round trip."""
CROWD_BOUND = 1.5
"""Revoking a principal with very many sessions, to one with ten: the same, as far as medians of milliseconds tell."""


TIMED = 250
"""Requests of each kind that are compared by their times."""
LIVE_GOAL = 1.0
"""Seconds, at the 99th percentile."""
PAGE_GOAL = 100.0
"""Milliseconds of the server for a page of the console, at the median."""


@dataclass
class Table:
    title: str
    note: str
    figures: list[Figure]
    goals: Iterable[Goal] = ()
    share: bool = False
    """Ratios are shown as what is left of the first one's throughput."""

    def rows(self) -> list[dict[str, Any]]:
        yardstick = self.figures[0]
        goals = {goal.figure: goal for goal in self.goals}
        rows = []
        for figure in self.figures:
            of = ratio(figure, yardstick)
            row: dict[str, Any] = {
                "name": figure.name, "microseconds": {"min": figure.least * 1e6, "median": figure.median * 1e6},
                "ratio": {"min": of.least, "median": of.median},
            }  # fmt: skip
            if self.share:
                row["ratio"] = {"min": 1 / of.least, "median": 1 / of.median}
            if goal := goals.get(figure.name):
                got = row["ratio"]["min"]
                row["goal"] = goal.bound
                row["met"] = got >= goal.bound if goal.share else got <= goal.bound
            rows.append(row)
        return rows

    def show(self) -> None:
        print(f"\n{self.title}\n{self.note}\n")
        of = "share of the first" if self.share else "ratio to the first"
        print(f"  {'':52} {'microseconds':>19} {of:>19}")
        print(f"  {'':52} {'min':>9} {'median':>9} {'min':>9} {'median':>9}")
        for row in self.rows():
            us, of_first = row["microseconds"], row["ratio"]
            said = ""
            if "goal" in row:
                sign = "at least" if self.share else "at most"
                said = f"  {'met' if row['met'] else 'NOT MET'}: goal {sign} {row['goal']:.2f}"
            print(
                f"  {row['name']:52} {us['min']:9.2f} {us['median']:9.2f}"
                f" {of_first['min']:9.3f} {of_first['median']:9.3f}{said}"
            )


@dataclass
class Line:
    """A figure that is no ratio of a table."""

    text: str
    values: dict[str, Any]
    met: bool | None = None

    def show(self) -> None:
        said = "" if self.met is None else f"  {'met' if self.met else 'NOT MET'}"
        print(f"  {self.text}{said}")


async def measure_engines(folder: Path, quick: bool) -> tuple[list[Table], list[Line], list[str]]:
    rounds = 5 if quick else 25
    with engines.engines(folder) as (found, missing):
        found = await engines.usable(found, missing)
        cached = await engines.measure_cached(found, rounds)
        tables = [
            Table(
                "A check from the near cache, on engines of other machines", "Processor time.", cached,
                [Goal(figure.name, CACHED_BOUND) for figure in cached[1:]],
            )
        ]  # fmt: skip
        adds = []
        for engine in found:
            figures = await engines.measure_uncached(engine, folder, rounds)
            goals = [Goal(figure.name, UNCACHED_BOUND) for figure in figures[1:2]]
            tables.append(Table(f"A check from the store, {engine.name}", engines.over_loopback(), figures, goals))
            adds.append(_adds(engine.name, *figures[:2]))
        lines = [*(_each(figure) for figure in cached), *adds]
        size = await engines.near_cache_bytes()
        lines.append(Line(f"near cache: {size:,.0f} bytes an entry, with its session", {"near_cache_bytes": size}))
        sqlite = engines.Engine("SQLite", f"sqlite:///{folder / 'waits.db'}")
        for engine in (sqlite, *found):
            waits = await asyncio.to_thread(engines.measure_waits, engine, 6 if quick else 30)
            lines += _waits(waits)
        every, many, turns = (20_000, 2_000, 15) if quick else (1_000_000, 100_000, 15)
        lines += _crowd(await engines.sqlite_crowd(folder, every, many, turns))
        for engine in found:
            if isinstance(engine.server, engines.Postgres):
                lines += _crowd(await engines.postgres_crowd(engine.server, every, many, turns))
            elif engine.server is not None:
                lines += _crowd(await engines.redis_crowd(engine, engine.server, every, many, turns))
    return tables, lines, missing


def _each(figure: Figure) -> Line:
    rate = 1 / figure.median
    return Line(f"{figure.name}: {rate:,.0f} a second on one core", {"name": figure.name, "per_second": rate})


def _adds(engine: str, bare: Figure, check: Figure) -> Line:
    """What a check costs beside the round trip does not grow with the way to the engine: so from where on is it met?"""
    added = (check.least - bare.least) * 1e6
    return Line(
        f"{engine}: a check that reads takes {added:.0f} µs more than a bare round trip: at most {UNCACHED_BOUND} times"
        f" one of {added / (UNCACHED_BOUND - 1):.0f} µs or more",
        {"engine": engine, "added_us": added, "met_from_us": added / (UNCACHED_BOUND - 1)},
    )


def _waits(waits: engines.Waits) -> list[Line]:
    denial, revoke = waits.report["denial"], waits.report["revoke"]["returned_ms"]
    last = denial["after_acknowledgement_ms"]
    return [
        Line(
            f"{waits.engine}: from a revocation's acknowledgement to the last of 4 processes' denial"
            f" {last['p50']:.1f} ms (p50), {last['p99']:.1f} ms (p99), of {last['n']};"
            f" until it returns {revoke['p50']:.0f} ms (p50), {revoke['p99']:.0f} ms (p99), of {revoke['n']}",
            {"engine": waits.engine, "last_denial_ms": last, "returned_ms": revoke},
        ),
        Line(
            f"{waits.engine}: {denial['late_accepts']} checks accepted after the revocation had returned",
            {"engine": waits.engine, "late_accepts": denial["late_accepts"]}, denial["late_accepts"] == 0,
        ),
    ]  # fmt: skip


def _crowd(crowd: engines.Crowd) -> list[Line]:
    few, many = (statistics.median(each) * 1000 for each in (crowd.few_seconds, crowd.many_seconds))
    return [
        Line(
            f"{crowd.engine}: revoking a principal with {crowd.many:,} of {crowd.all:,} sessions {many:.1f} ms,"
            f" with {engines.FEW} {few:.1f} ms: {crowd.ratio:.2f} times, goal at most {CROWD_BOUND:.1f}",
            {"engine": crowd.engine, "sessions": crowd.all, "many": crowd.many, "many_ms": many, "few_ms": few,
             "ratio": crowd.ratio}, crowd.ratio <= CROWD_BOUND,
        ),
        Line(
            f"{crowd.engine}: {crowd.bytes_each:,.0f} bytes a session, indexes included",
            {"engine": crowd.engine, "bytes_each": crowd.bytes_each},
        ),
    ]  # fmt: skip


def _trees(trees: writes.Trees) -> Line:
    returned, refused = sorted(trees.returned), sorted(trees.refused)
    p99 = -(-99 * len(returned) // 100) - 1
    ms = [1000 * each for each in (statistics.median(returned), returned[p99], statistics.median(refused))]
    return Line(
        f"SQLite: revoking a session with {trees.below:,} delegations below, in one call {ms[0]:.1f} ms (p50),"
        f" {ms[1]:.1f} ms (p99), of {len(returned)}; the root's first refusal after {ms[2]:.1f} ms (p50); all"
        f" told of in the record after {trees.told:.1f} s of work behind it",
        {
            "below": trees.below,
            "returned_ms": {"p50": ms[0], "p99": ms[1]},
            "root_refused_ms": {"p50": ms[2]},
            "told_s": trees.told,
        },
    )


async def measure(quick: bool) -> tuple[list[Table], list[Line], list[str]]:
    rounds = 5 if quick else 25
    with tempfile.TemporaryDirectory(prefix="sessile-bench-") as name:
        folder = Path(name)
        of_checks = await checks.measure_checks(folder, rounds)
        of_writes = await writes.measure_writes(folder, rounds)
        in_process, missing = await web.measure_in_process(folder, rounds)
        of_engines, lines, without = await measure_engines(folder, quick)
        lines.append(_trees(await writes.measure_trees(folder, *((1_000, 5) if quick else (10_000, 50)))))
        lines += _timing(await measure_timing(folder, TIMED // 10 if quick else TIMED))
        over_loopback = [
            (title, *await web.measure_over_loopback(folder, *((1, 3, 0.2) if quick else (6, 8, 0.15)), asked))
            for title, asked in (
                ("The same behind uvicorn over loopback", web.HELLO),
                ("An application that renders a table, behind uvicorn over loopback", web.THIRTY_ROWS),
            )
        ]
    tables = [
        Table(
            "One check", "Processor time. SQLite: current to the last commit of any process.",
            of_checks, CHECK_GOALS,
        ),
        Table("Beginning and revoking on SQLite", "By the wall; durable (synchronous=FULL).", of_writes),
        Table(
            "The middleware around an application that does nothing, without a server",
            "Processor time of an ASGI call. The harshest view: nothing else is paid for.", in_process, share=True,
        ),
    ]  # fmt: skip
    for title, wall, processor in over_loopback:
        note = f"By the wall, {web.CONNECTIONS} connections kept open."
        tables.append(Table(title, note, wall, () if processor else WEB_GOALS, share=True))
        if processor:
            note = (
                "The server's own processor time for a request, the system's work for its sockets included. What one"
                "\nbusy worker gets done is its inverse, whatever else the machine does. The best of several starts."
            )
            tables.append(Table(title, note, processor, WEB_GOALS, share=True))
    return tables + of_engines, lines, missing + without


def show_live(quick: bool, as_json: bool) -> None:
    # Only here: it needs a browser, and the rest does not.
    from bench.live import measure_live

    with tempfile.TemporaryDirectory(prefix="sessile-bench-") as folder:
        found = asyncio.run(measure_live(Path(folder), 5 if quick else 50))
    met = found["p99"] < LIVE_GOAL
    if as_json:
        print(json.dumps({**found, "goal": LIVE_GOAL, "met": met}))
        return
    print("From a revocation's commit (by the CLI) to the last of three tabs on two servers, SQLite, real Chromium:")
    print(f"  {found['runs']} runs: median {found['median']:.3f} s, p99 {found['p99']:.3f} s", end="")
    print(f"  {'met' if met else 'NOT MET'}: goal below {LIVE_GOAL:.0f} s")


def show_console(quick: bool, as_json: bool) -> None:
    from bench.console import EACH, measure_console

    principals = 2_000 if quick else 100_000
    with tempfile.TemporaryDirectory(prefix="sessile-bench-") as folder:
        found = asyncio.run(measure_console(Path(folder), principals, 5 if quick else 25))
    if as_json:
        print(json.dumps({"principals": principals, "sessions": principals * EACH, "goal_ms": PAGE_GOAL, "ms": found}))
        return
    print(f"The console's pages on SQLite, {principals:,} principals with {EACH} sessions and {EACH} events each:")
    for page, ms in found.items():
        print(
            f"  {page:48} median {ms:7.1f} ms  {'met' if ms < PAGE_GOAL else 'NOT MET'}: goal below {PAGE_GOAL:.0f} ms"
        )


def _timing(found: Sequence[Comparison]) -> list[Line]:
    return [
        Line(
            f"{one.name}: medians {one.medians[0]:,.0f} and {one.medians[1]:,.0f} µs of {len(one.one)} each,"
            f" p {one.p:.3f}, the first takes longer in {one.effect:.1%}: goal p at least {P_GOAL} or"
            f" {0.5 - EFFECT_GOAL:.0%} to {0.5 + EFFECT_GOAL:.0%}",
            {"name": one.name, "median_us": one.medians, "n": len(one.one), "p": one.p, "effect": one.effect}, one.met,
        )
        for one in found
    ]  # fmt: skip


def show_timing(quick: bool, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="sessile-bench-") as folder:
        lines = _timing(asyncio.run(measure_timing(Path(folder), TIMED // 10 if quick else TIMED)))
    if as_json:
        print(json.dumps([{**line.values, "met": line.met} for line in lines]))
        return
    print("What time tells of names, where the answers are the same:")
    for line in lines:
        line.show()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    parser.add_argument("--live", action="store_true", help="how fast open tabs leave, instead (needs Chromium)")
    parser.add_argument("--console", action="store_true", help="how long the console's pages take, instead")
    parser.add_argument("--timing", action="store_true", help="whether time tells known names from others, instead")
    arguments = parser.parse_args()
    if arguments.timing:
        show_timing(arguments.quick, arguments.json)
        return
    if arguments.console:
        show_console(arguments.quick, arguments.json)
        return
    if arguments.live:
        show_live(arguments.quick, arguments.json)
        return
    tables, lines, missing = asyncio.run(measure(arguments.quick))
    machine = f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}"
    if arguments.json:
        said = {
            "machine": machine,
            "missing": missing,
            "tables": [{"title": t.title, "rows": t.rows()} for t in tables],
            "lines": [line.values if line.met is None else {**line.values, "met": line.met} for line in lines],
        }
        json.dump(said, sys.stdout, indent=2)
        print()
        return
    print(f"{machine}. Rounds in turn; goals are judged by the best round of each (min).")
    for table in tables:
        table.show()
    print("\nMany nodes, many sessions\n")
    for line in lines:
        line.show()
    for part in missing:
        print(f"\nnot compared: {part}")


if __name__ == "__main__":
    main()
