"""Pictures laid out on the server, drawn by templates as SVG: a chart of the hours, and a blast radius as a tree.

Numbers only; the words and the colours are the template's. Everything that a picture shows stands beside it as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sessile.kernel.containment import Fate, Reached
from sessile.kernel.session import SessionKind

# -- a chart --------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 480, 120
_GAP = 3


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Columns, one an hour, its series stacked."""

    bars: Sequence[Bar]
    hours: Sequence[datetime]
    series: Mapping[str, Sequence[int]]
    """By tone: a count for each hour."""
    top: int
    """The count that reaches the upper edge."""

    def total(self, tone: str) -> int:
        return sum(self.series[tone])


def chart(until: datetime, hours: int, series: Mapping[str, Mapping[datetime, int]]) -> Chart:
    """The last `hours` hours, up to the one of `until`. `series`: by tone, counts by the beginning of the hour."""
    last = until.replace(minute=0, second=0, microsecond=0)
    shown = [last - timedelta(hours=n) for n in range(hours - 1, -1, -1)]
    values = {tone: [counts.get(hour, 0) for hour in shown] for tone, counts in series.items()}
    top = _round(max((sum(column) for column in zip(*values.values(), strict=True)), default=0))
    step = WIDTH / hours
    bars = []
    for n in range(hours):
        y = float(HEIGHT)
        for tone, counts in values.items():
            # What is there at all can be seen.
            height = max(2.0, HEIGHT * counts[n] / top) if counts[n] else 0.0
            y -= height
            if height:
                bars.append(
                    Bar(round(n * step + _GAP / 2, 1), round(y, 1), round(step - _GAP, 1), round(height, 1), tone)
                )
    return Chart(bars, shown, values, top)


def _round(largest: int) -> int:
    """The next number that one likes to read at an axis."""
    size = 1
    while size * 10 < largest:
        size *= 10
    return next(size * step for step in (1, 2, 5, 10) if size * step >= largest)


# -- a tree ---------------------------------------------------------------------------------------------------------

NODE_WIDTH, NODE_HEIGHT, COLUMN, ROW = 190, 40, 236, 52
_SIBLINGS = 6
"""Of more children alike, those beyond are drawn as one."""


@dataclass(slots=True)
class Node:
    """A session of the picture, or (`more`) several alike that hang at one place."""

    one: Reached
    more: int = 0
    x: int = 0
    y: int = 0
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edge:
    path: str
    """SVG."""
    parent: bool
    """A tie by `parent`: what hangs on it ends with it in any case. Else by `origin`."""


@dataclass(frozen=True, slots=True)
class Tree:
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    width: int
    height: int


def tree(sessions: Sequence[Reached]) -> Tree:
    """A blast radius from left to right, givers first. `sessions` are in the order of the walk."""
    roots = _roots(sessions)
    nodes: list[Node] = []
    row = 0

    def place(node: Node, depth: int) -> None:
        nonlocal row
        node.x = depth * COLUMN
        nodes.append(node)
        for child in node.children:
            place(child, depth + 1)
        if node.children:
            node.y = (node.children[0].y + node.children[-1].y) // 2
        else:
            node.y, row = row * ROW, row + 1

    for root in roots:
        place(root, 0)
    edges = [_edge(node, child) for node in nodes for child in node.children]
    width = max((node.x for node in nodes), default=0) + NODE_WIDTH
    return Tree(nodes, edges, width, max(1, row) * ROW - (ROW - NODE_HEIGHT))


def _roots(sessions: Sequence[Reached]) -> list[Node]:
    below: dict[str | None, list[Reached]] = {}
    ids = {one.id for one in sessions}
    for one in sessions:
        below.setdefault(one.origin if one.origin in ids else None, []).append(one)

    def gathered(children: Sequence[Reached]) -> list[Node]:
        drawn: list[Node] = []
        seen: Counter[tuple[SessionKind, Fate]] = Counter()
        last: dict[tuple[SessionKind, Fate], Node] = {}
        for one in children:
            alike = (one.kind, one.fate)
            # What handed out something itself is always drawn, so that nothing hangs in the air.
            if seen[alike] >= _SIBLINGS and one.id not in below:
                last[alike].more += 1
                continue
            node = Node(one, children=gathered(below.get(one.id, [])))
            drawn.append(node)
            if one.id not in below:
                seen[alike] += 1
                last[alike] = node
        return drawn

    return gathered(below.get(None, []))


def _edge(node: Node, child: Node) -> Edge:
    x1, y1 = node.x + NODE_WIDTH, node.y + NODE_HEIGHT // 2
    x2, y2 = child.x, child.y + NODE_HEIGHT // 2
    middle = (x1 + x2) // 2
    return Edge(f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}", parent=child.one.parent == node.one.id)
