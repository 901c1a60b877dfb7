"""A deterministic simulator of the near cache and its revocation protocol.

The nodes run what ships: `NearCache`, `Trust`, `Follower`, `Checks`, `decide`, `acknowledged` and `settled`. Engines,
connections, clocks and processes are simulated; every chance comes from a seed. `docs/proof.md` says what is shown.

    python -m sessile.testing.simulator --seeds 100000
"""

from __future__ import annotations

from sessile.testing.simulator.run import Outcome, run, shrink
from sessile.testing.simulator.world import Parts

__all__ = ["Outcome", "Parts", "run", "shrink"]
