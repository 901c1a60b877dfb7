"""A guest whose clock stands still while its machine is frozen: what the proof excludes."""

from __future__ import annotations

from sessile.kernel.decide import Active, Denied
from sessile.testing.simulator.node import Node
from sessile.testing.simulator.revoking import DRIFT
from sessile.testing.simulator.world import Held


class FrozenGuest(Node):
    woke = 0
    _froze = 0

    def stop(self, duration: int) -> None:
        if not self.stopped:
            self._froze = self.loop.now
        super().stop(duration)

    def _go_on(self) -> None:
        self.woke = self.loop.now
        self.clock.lose(self.woke - self._froze)
        super()._go_on()

    async def answer(self, held: Held, touch: bool) -> Active | Denied:
        started = self.loop.now
        result = await super().answer(held, touch)
        if isinstance(result, Active):
            for revocation in self.world.oracle.revocations:
                if revocation.returned is not None and started > revocation.returned and revocation.covers(held):
                    longest = max(self.world.delta, 800_000_000)
                    assert started <= self.woke + longest * (1 + DRIFT), "later than Δ after it woke"
        return result
