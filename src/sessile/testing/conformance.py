"""What every store has to pass: each sentence of `sessile.stores.protocol`, through the protocol alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from sessile.kernel.event import SYSTEM
from sessile.kernel.policy import Policy
from sessile.testing.beginning import Beginning
from sessile.testing.binding import Binding
from sessile.testing.clock import ManualClock
from sessile.testing.containing import Containing
from sessile.testing.ending import Ending
from sessile.testing.erasing import Erasing
from sessile.testing.hearing import Hearing
from sessile.testing.keeping import Keeping
from sessile.testing.leasing import Leasing
from sessile.testing.listing import Listing
from sessile.testing.mailing import Mailing
from sessile.testing.nearness import Nearness
from sessile.testing.noticing import Noticing
from sessile.testing.owning import Owning
from sessile.testing.proving import Proving
from sessile.testing.races import Races
from sessile.testing.resuming import Resuming
from sessile.testing.retiring import Retiring
from sessile.testing.rotating import Rotating
from sessile.testing.stateful import against_memory
from sessile.testing.walking import Walking
from sessile.testing.working import Working
from sessile.testing.world import MakeStore, Node, World


class StoreConformance(
    Beginning,
    Rotating,
    Retiring,
    Resuming,
    Ending,
    Erasing,
    Containing,
    Walking,
    Listing,
    Keeping,
    Owning,
    Proving,
    Mailing,
    Leasing,
    Noticing,
    Nearness,
    Races,
    Working,
    Binding,
    Hearing,
):
    """Subclass it in a test module and say how a store is made::

        class TestMyStore(StoreConformance):
            shared = True

            @pytest.fixture
            def make_store(self, tmp_path):
                return lambda name, clock: MyStore(tmp_path / f"{name}.db", clock=clock)

    `make_store(name, clock)` gives a store that is not open yet: an empty one for each new name, another
    handle on the same sessions for a name that was given before. The store takes its time from `clock` alone.
    `shared`: two handles may be open at once, as two nodes or processes have them, and what one acknowledged
    outlives it. The suite opens and closes what it asked for; engines are started and cleaned up by the fixture.
    """

    shared: ClassVar[bool] = False

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def make_store(self) -> MakeStore:
        raise NotImplementedError("give a fixture `make_store`: see the docstring of StoreConformance")

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def world(self, make_store: MakeStore, clock: ManualClock) -> AsyncIterator[World]:
        world = World(make_store("one", clock), clock)
        await world.open()
        await world.store.set_policy(Policy.aal2(), SYSTEM)
        yield world
        await world.store.close()

    @pytest.fixture
    async def nodes(self, world: World, make_store: MakeStore) -> AsyncIterator[list[Node]]:
        """The world's node and, where the store can be shared, another one on the same sessions."""
        if not self.shared:
            yield [world]
            return
        other = Node(make_store("one", world.clock), world.clock)
        await other.open()
        yield [world, other]
        await other.store.close()

    def test_any_history_is_the_same_as_in_memory(self, make_store: MakeStore) -> None:
        """Random histories, side by side with the memory store: the same answers, and nothing comes back."""
        run_state_machine_as_test(
            against_memory(make_store),
            settings=settings(
                max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
