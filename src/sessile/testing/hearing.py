"""Whoever listens hears what was committed, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from sessile.errors import Conflict
from sessile.kernel.event import Event
from sessile.testing.world import World


class Hearing:
    """Part of `StoreConformance`."""

    async def test_what_was_committed_is_heard_as_the_record_has_it(self, world: World) -> None:
        before = len(await world.events())
        heard: list[Event] = []
        world.store.hear = heard.extend
        held = await world.sign_in(await world.person())
        with pytest.raises(Conflict):
            await world.person("alice")
        await world.replace(held)
        await world.end(held)
        await asyncio.gather(*[world.person(f"person-{n}") for n in range(5)])
        world.store.hear = None
        written = list(await world.events())[before:]
        await world.person("carol")
        assert [event.name.value for event in heard[:4]] == [
            "principal.registered", "session.begun", "session.elevated", "session.revoked",
        ]  # fmt: skip
        assert sorted(heard, key=lambda event: event.seq) == written
