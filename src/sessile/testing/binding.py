"""A session follows its person to another client where the policy asks for a proof there."""

from __future__ import annotations

from sessile.kernel.assurance import Method
from sessile.kernel.event import Actor
from sessile.kernel.policy import Mismatch, Trait
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client
from sessile.testing.world import World, new_digest

HOME = Client(label="Firefox", ip="192.0.2.7", user_agent="Firefox")
AWAY = Client(label="Firefox", ip="203.0.113.9", user_agent="Firefox")


class Binding:
    """Part of `StoreConformance`."""

    async def test_a_proof_in_another_client_binds_the_session_to_that_one(self, world: World) -> None:
        await world.policy(binding=frozenset({Trait.NETWORK}), mismatch=Mismatch.STEP_UP)
        held = await world.sign_in(await world.person(), client=HOME)
        digest = new_digest()
        by = Actor(name="alice", session=held.id, client=AWAY)
        after = (await world.store.replace(held.digest, digest, Method.PASSWORD, by)).snapshot
        assert after.session.client == AWAY
        assert (await world.info(held)).client == AWAY
        assert (await world.snapshot(digest)).session.client == AWAY
        kept = new_digest()
        await world.store.replace(digest, kept, None, Actor(name="alice", client=HOME))
        assert (await world.snapshot(kept)).session.client == AWAY, "a rotation proves nobody"

    async def test_otherwise_it_stays_what_it_was(self, world: World) -> None:
        await world.policy(binding=frozenset({Trait.NETWORK}), mismatch=Mismatch.REFUSE)
        held = await world.sign_in(await world.person(), client=HOME)
        digest = new_digest()
        await world.store.replace(held.digest, digest, Method.PASSWORD, Actor(name="alice", client=AWAY))
        assert (await world.snapshot(digest)).session.client == HOME
        assert await world.reason(digest) is Reason.UNBOUND
