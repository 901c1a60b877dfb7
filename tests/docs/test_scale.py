"""docs/scale.md: its figures are what its calculator gives, and what the simulator does with hundreds of nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sessile.checks import CACHE_SECONDS
from sessile.follow import PINGS_PER_DELTA
from sessile.kernel.decide import Active, Denied
from sessile.kernel.ids import ALPHABET
from sessile.kernel.policy import Policy
from sessile.near import NearCache
from sessile.stores import limits
from sessile.stores.protocol import TOMBSTONE
from sessile.testing.simulator.connection import Connection, Link
from sessile.testing.simulator.loop import MS, Loop
from sessile.testing.simulator.node import Node
from sessile.testing.simulator.world import Held, Parts, World

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
DELTA = 500 * MS


def calculator() -> dict[str, Callable[..., Any]]:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own page
    return names


CALCULATOR = calculator()


def table(first: str) -> list[list[str]]:
    """The rows of the table whose heading begins so."""
    lines = PAGE[PAGE.index(f"| {first}") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


# -- the calculator -----------------------------------------------------------------------------------------------


def test_the_installations_are_as_computed() -> None:
    rows = table("nodes | active")
    assert rows
    for row in rows:
        nodes, active, endings, sign_ins, homes = (number(cell) for cell in row[:5])
        got = CALCULATOR["capacity"](nodes, active, 0.05, endings, sign_ins, homes=homes)
        shown = [f"{got['cached']:.0%}" if name == "cached" else f"{got[name]:,.0f}" for name in got]
        assert row[5:] == shown


def test_the_calculator_goes_by_what_the_code_does() -> None:
    policy = Policy.aal2()
    assert policy.rotate_after is not None
    assert policy.rotate_after.total_seconds() == 15 * 60
    assert policy.touch_interval.total_seconds() == CACHE_SECONDS == 60
    assert PINGS_PER_DELTA == 4
    assert CALCULATOR["capacity"](400, 0, 0, 0, 0)["pings"] == 3200
    opened = (limits.CHECKS, limits.WRITERS + limits.ENDINGS, limits.LISTS)
    assert (1 + sum(opened), *opened) == (10, 3, 4, 2)
    assert "up to 10 (`stores/limits.py`)" in PAGE
    assert "3 for checks,\n4 for changes, 2 for lists" in PAGE


def test_the_pings_of_redis_cost_what_is_said() -> None:
    """A ping writes two keys, each of which is compared with every node's prefix."""
    each = 0.1e-6
    for nodes, share in ((100, "the pings 2% of a core"), (400, "400 nodes 40 µs and 26%")):
        pings = CALCULATOR["capacity"](nodes, 0, 0, 0, 0)["pings"]
        assert f"{pings * 2 * nodes * each:.0%}" in share
        assert share in PAGE


def test_the_shards_are_as_computed() -> None:
    for row in table("shards"):
        assert row[1] == ", ".join(map(str, CALCULATOR["shards"](ALPHABET, int(row[0]))))


def test_memory_and_disk_add_up() -> None:
    size = {name: number(cell) for name, cell in table("what | bytes")}
    near = next(each for name, each in size.items() if "near cache" in name)
    postgres = size["a session in PostgreSQL"]
    assert f"up to {NearCache().capacity * near / 1e6:.0f} MB a process" in PAGE
    rows = 5 * 86_400 * (Policy.aal2().overall + TOMBSTONE).days
    assert f"{rows:,} rows, {rows * postgres / 1e9:.1f} GB in PostgreSQL" in PAGE


# -- the simulator ------------------------------------------------------------------------------------------------


class Counted(Connection):
    """Counts what passes."""

    def _at_engine(self, kind: str, args: tuple[Any, ...]) -> None:
        node = self.readers[0].node
        assert isinstance(node, Counting)
        node.world.counts[kind] = node.world.counts.get(kind, 0) + 1  # type: ignore[attr-defined]
        super()._at_engine(kind, args)

    def _at_node(self, kind: str, args: tuple[Any, ...]) -> None:
        counts = self.readers[0].node.world.counts  # type: ignore[attr-defined]
        counts[kind] = counts.get(kind, 0) + 1
        super()._at_node(kind, args)


class CountedLink(Link):
    connection_type = Counted


class Counting(Node):
    link_type = CountedLink


class Large(World):
    """Counts, beside the messages, what was checked after a return."""

    def __init__(self, kind: str, nodes: int) -> None:
        self.counts: dict[str, int] = {}
        self.after = 0
        loop = Loop(1)
        super().__init__(loop, Parts(node=Counting), kind=kind, delta=DELTA, nodes=nodes, beside=True)
        answered = self.oracle.answered

        def counted(node: Node, held: Held, started: int, result: Active | Denied) -> None:
            self.after += any(
                one.returned is not None and started > one.returned and one.covers(held)
                for one in self.oracle.revocations
            )
            answered(node, held, started, result)

        self.oracle.answered = counted  # type: ignore[method-assign]


class Run(NamedTuple):
    world: Large
    pings: int
    messages: int


def calm(nodes: int) -> Run:
    world, begins, length = Large("calm", nodes), 1_000 * MS, 5_000 * MS
    world.loop.run(begins)
    world.counts.clear()
    for node in range(nodes):
        for at in range(0, 3_000, 300):
            world.loop.at(begins + (at + node % 300) * MS, world.check, node, 1, True)
    world.loop.at(begins + 1_500 * MS, world.revoke, -1, "session", 0)
    world.loop.run(begins + length)
    assert all(one.returned for one in world.oracle.revocations)
    return Run(world, round(world.counts["ping"] * 1_000 * MS / length), world.counts["invalidated"])


@pytest.mark.parametrize("nodes", [10, 100, 300])
def test_what_it_takes_grows_with_the_nodes_and_no_faster(nodes: int) -> None:
    shown = {int(row[0]): row[1:] for row in table("nodes | pings")}
    ran = calm(nodes)
    pings, *rest = shown[nodes]
    assert rest == [f"{ran.messages:,}", f"{len(ran.world.oracle.broken)}"]
    assert number(pings) == CALCULATOR["capacity"](nodes, 0, 0, 0, 0)["pings"]
    assert ran.pings == pytest.approx(number(pings), rel=0.01)


def test_no_late_accept_among_three_hundred_nodes_in_trouble() -> None:
    world = Large("engine", 300)
    for node in range(300):
        for session in range(3):
            world.loop.at((300 + node) * MS, world.check, node, session, False)
    for node in range(30):
        at = (900 + 7 * node) * MS
        world.loop.at(at, world.stop, node, 700 * MS)
        world.loop.at(at, world.part, 30 + node, 0, 900 * MS)
        world.loop.at(at, world.cut, 60 + node)
    for session in range(3):
        world.loop.at((960 + 60 * session) * MS, world.revoke, -1, "session", session)
    world.loop.run(4_000 * MS)
    returned = sum(one.returned is not None for one in world.oracle.revocations)
    assert world.oracle.broken == []
    revocations, checks, late = table("revocations")[0]
    assert (revocations, late) == (f"{returned}", "0")
    assert world.after > number(checks.removeprefix("more than "))


# -- regions ------------------------------------------------------------------------------------------------------


def simulated_trust(milliseconds: int) -> float:
    """The share of five seconds in which a node trusts, with so long a round trip and no other delay."""
    loop = Loop(1)
    world = World(loop, Parts(), kind="calm", delta=DELTA, nodes=1, beside=False)
    world.network.delay = lambda random: milliseconds * MS // 2  # type: ignore[method-assign]
    node = world.nodes[0]
    trusted = 0

    def look() -> None:
        nonlocal trusted
        trusted += node.clock.elapsed() < node.links["0"].follower.trust.deadline

    for at in range(3_000, 8_000):
        loop.at(at * MS, look)
    loop.run(8_000 * MS)
    return trusted / 5_000


def test_a_round_trip_takes_its_share_of_delta() -> None:
    for round_trip, one, several in table("round trip | PostgreSQL"):
        milliseconds = int(round_trip.removesuffix(" ms"))
        assert one == f"{CALCULATOR['trusted'](milliseconds / 1000):.0%}"
        computed = CALCULATOR["trusted"](milliseconds / 1000, several=True)
        assert several == f"{computed:.0%}"
        # Clocks drift in the simulator, and an engine takes a fraction of a millisecond.
        assert simulated_trust(milliseconds) == pytest.approx(computed, abs=0.02)
