"""What must hold, judged from outside: by true time, and by what the engines hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessile.checks import run_now
from sessile.kernel.decide import Active, Denied, decide
from sessile.kernel.reason import Reason

if TYPE_CHECKING:
    from sessile.testing.simulator.node import Node
    from sessile.testing.simulator.revoking import Revocation
    from sessile.testing.simulator.world import Held, World

OVER = (Reason.REVOKED, Reason.DISABLED)


class Oracle:
    """Notes what is broken, in words."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self.checks = 0
        self.accepted = 0
        self.revocations: list[Revocation] = []
        self._denied: dict[tuple[str, str], int] = {}

    def answered(self, node: Node, held: Held, started: int, result: Active | Denied) -> None:
        self.checks += 1
        said = "Active" if isinstance(result, Active) else f"Denied({result.reason})"
        node.say(f"check of {held.name}: {said}")
        if isinstance(result, Active):
            self.accepted += 1
            self._accepted(node, held, started)
        else:
            self._refused(node, held, result)

    def _accepted(self, node: Node, held: Held, started: int) -> None:
        for revocation in self.revocations:
            returned = revocation.returned
            if returned is not None and started > returned and revocation.covers(held):
                if self._world.journal is None and not self._could_know(node, held, revocation):
                    continue
                self._break(f"late accept: {node.name} accepts {held.name} after {revocation.name} returned")
        denied = self._denied.get((node.name, held.name))
        if denied is not None and started > denied:
            self._break(f"came back: {node.name} accepts {held.name}, which it had denied as over")

    def _could_know(self, node: Node, held: Held, revocation: Revocation) -> bool:
        """A journal inside the engine is lost with it: then a node can only tell from what it was told."""
        if not self._world.went_back:
            return True
        number, head = revocation.row
        since, kept = False, True
        for life, heads in self._world.engines[0].histories.items():  # one after the other
            had_it = len(heads) >= number and heads[number - 1] == head
            if had_it and node.told.get(life, 0) >= number:
                return True
            since = since or life[0] == revocation.life
            kept = kept and (had_it or not since)
        return since and kept

    def _refused(self, node: Node, held: Held, result: Denied) -> None:
        now = self._world.loop.now
        if result.reason in OVER:
            self._denied.setdefault((node.name, held.name), now)
        if result.reason is Reason.UNAVAILABLE:
            if self._world.calm:
                self._break(f"false denial: {node.name} says unavailable for {held.name}, and nothing is wrong")
        elif not self._world.went_back and self._lives(held):
            self._break(f"false denial: {node.name} denies {held.name} as {result.reason}, and it lives")

    def _lives(self, held: Held) -> bool:
        """Whether it lives now; then it did when the check began: nothing that is over comes back."""
        for engine in reversed(self._world.engines):  # the latest primary before one that it took the place of
            if engine.holds(held.partition):
                snapshot = run_now(engine.partitions[held.partition].data.read(held.digest))
                return snapshot is not None and decide(snapshot, snapshot.now) is None
        return False

    def unrecovered(self, node: Node, held: Held) -> None:
        self._break(f"no recovery: {node.name} still says unavailable for {held.name}, long after all is well")

    def _break(self, what: str) -> None:
        self._world.loop.say("oracle", what)
        self.broken.append(what)
