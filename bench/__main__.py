"""`python -m bench [--json] [--quick]`: a table of ratios, and whether the goals are met."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import checks, web, writes
from bench.rounds import Figure, ratio


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
WEB_GOALS = [Goal("Sessile on SQLite, a page for everybody", 0.90, share=True)]


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


async def measure(quick: bool) -> tuple[list[Table], list[str]]:
    rounds = 5 if quick else 25
    with tempfile.TemporaryDirectory(prefix="sessile-bench-") as name:
        folder = Path(name)
        of_checks = await checks.measure_checks(folder, rounds)
        of_writes = await writes.measure_writes(folder, rounds)
        in_process, missing = await web.measure_in_process(folder, rounds)
        wall, processor = await web.measure_over_loopback(folder, 3 if quick else 9, 0.2 if quick else 0.5)
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
        # One worker's throughput is the inverse of its processor time, which a busy machine does not disturb.
        Table(
            "The same behind uvicorn over loopback", f"By the wall, {web.CONNECTIONS} connections kept open.", wall,
            () if processor else WEB_GOALS, share=True,
        ),
    ]  # fmt: skip
    if processor:
        tables.append(
            Table(
                "The same, the server's processor time", "Steadier on a busy machine.", processor, WEB_GOALS, share=True
            )
        )
    return tables, missing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: to see that it runs")
    arguments = parser.parse_args()
    tables, missing = asyncio.run(measure(arguments.quick))
    machine = f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}"
    if arguments.json:
        said = {
            "machine": machine,
            "missing": missing,
            "tables": [{"title": t.title, "rows": t.rows()} for t in tables],
        }
        json.dump(said, sys.stdout, indent=2)
        print()
        return
    print(f"{machine}. Rounds in turn; goals are judged by the best round of each (min).")
    for table in tables:
        table.show()
    for part in missing:
        print(f"\nnot compared: {part}")


if __name__ == "__main__":
    main()
