"""A session is bound to a key of its browser, and follows its person to another client where the policy asks for a
proof there."""

from __future__ import annotations

import asyncio

import msgspec

from sessile.kernel.assurance import Method
from sessile.kernel.event import SYSTEM, Actor, EventName
from sessile.kernel.ids import new_session_id
from sessile.kernel.policy import Mismatch, Trait
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client
from sessile.stores.protocol import End
from sessile.testing.races import together
from sessile.testing.world import HOUR, PARTITION, SECOND, Node, World, new_digest

HOME = Client(label="Firefox", ip="192.0.2.7", user_agent="Firefox")
AWAY = Client(label="Firefox", ip="203.0.113.9", user_agent="Firefox")
RACES = 20


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

    async def test_a_session_begins_bound_to_no_key(self, world: World) -> None:
        """Of whatever client: a key that was proved for another session says nothing about this one."""
        alice, stale = await world.person(), msgspec.structs.replace(HOME, device_key="another's")
        first = await world.sign_in(alice, client=stale)
        second = await world.sign_in(alice, client=stale, replaces=first.id)
        for held in (first, second):
            assert (await world.snapshot(held)).session.client == HOME
        assert await world.store.bind(second.id, "key", SYSTEM)

    async def test_bound_once_and_to_one_key(self, world: World) -> None:
        alice = await world.person()
        held, beside = await world.sign_in(alice, client=HOME), await world.sign_in(alice, client=HOME)
        world.clock.advance(SECOND)
        session = (await world.snapshot(held)).session
        by = Actor(name="alice", uid=alice.uid, session=held.id, client=AWAY)
        assert await world.store.bind(held.id, "key", by) is True
        found = await world.snapshot(held)
        client = msgspec.structs.replace(HOME, device_key="key")
        generation = session.generation + 1
        assert found.session == msgspec.structs.replace(session, client=client, generation=generation)
        assert (await world.info(held)).client == client
        event = (await world.events(session=held.id))[-1]
        assert (event.name, event.principal, event.uid) == (EventName.SESSION_BOUND, "alice", alice.uid)
        assert (event.details, event.by, event.at) == ({"device_key": "key"}, by, world.clock.now())
        before = await world.everything(held, beside)
        assert await world.store.bind(held.id, "key", by) is True
        assert await world.store.bind(held.id, "other", by) is False
        assert await world.everything(held, beside) == before, "nothing is written"
        assert (await world.snapshot(beside)).session.client == HOME

    async def test_it_stays_bound_when_its_token_is_rotated(self, world: World) -> None:
        held = await world.sign_in(await world.person(), client=HOME)
        pending = new_digest()
        assert await world.store.offer(held.digest, new_digest(), pending)
        assert await world.store.bind(held.id, "key", SYSTEM)
        await world.store.confirm(pending)
        assert (await world.snapshot(pending)).session.client.device_key == "key"
        digest = new_digest()
        await world.store.replace(pending, digest, Method.TOTP, Actor(name="alice", client=HOME))
        found = (await world.snapshot(digest)).session
        assert (found.client.device_key, found.generation) == ("key", 3)

    async def test_below_its_policy_it_is_bound_too(self, world: World) -> None:
        """A browser registers its key after the password, before the person steps up."""
        await world.policy(assurance=2)
        held = await world.sign_in(await world.person(), client=HOME)
        assert await world.reason(held) is Reason.ASSURANCE
        assert await world.store.bind(held.id, "key", SYSTEM)

    async def test_what_is_over_or_no_browsers_is_not_bound(self, world: World) -> None:
        alice, bob, carol, agent = [await world.person(name) for name in ("alice", "bob", "carol", "agent:a")]
        top, gone, off, changed = [await world.sign_in(who) for who in (alice, alice, bob, carol)]
        child, key, visit = await world.delegate(top, agent), await world.mint(top, agent), await world.visit()
        await world.end(gone)
        await world.store.end(End(uid=bob.uid, status=Status.DISABLED, cause="off"))
        await world.store.end(End(uid=carol.uid, cause="password"))
        held = (gone, off, changed, child, key, visit)
        before = await world.everything(*held)
        for each in held:
            assert await world.store.bind(each.id, "key", SYSTEM) is False
        assert await world.store.bind(new_session_id(PARTITION), "key", SYSTEM) is False
        assert await world.everything(*held) == before
        world.clock.advance(HOUR)
        assert await world.reason(top) is Reason.IDLE
        assert await world.store.bind(top.id, "key", SYSTEM) is False
        assert (await world.snapshot(top)).session.client.device_key is None

    async def test_what_is_over_afterwards_says_no_for_the_same_key_too(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        assert await world.store.bind(held.id, "key", SYSTEM)
        await world.end(held)
        assert await world.store.bind(held.id, "key", SYSTEM) is False

    async def test_who_holds_an_answer_from_before_is_told(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        held, beside = await world.sign_in(alice), await world.sign_in(alice)
        for node in nodes:
            assert await node.current()
            assert await node.keep(held)
            assert await node.keep(beside)
        assert await world.store.bind(held.id, "key", SYSTEM)
        for node in nodes:
            for _ in range(500):  # nobody waits for another node: it is told, not asked
                if await node.current() and not node.kept(held):
                    break
                await asyncio.sleep(0.01)
            assert not node.kept(held), "without the key it may be a no by now"
            assert node.kept(beside)
            assert (await node.snapshot(held)).session.client.device_key == "key"

    async def test_of_two_keys_one_wins(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(RACES)]
        answers = await together(
            *(world.store.bind(each.id, "one", SYSTEM) for each in held),
            *(nodes[-1].store.bind(each.id, "two", SYSTEM) for each in held),
        )
        for each, one, two in zip(held, answers[:RACES], answers[RACES:], strict=True):
            assert sorted((one, two)) == [False, True]
            assert (await nodes[-1].snapshot(each)).session.client.device_key == ("one" if one else "two")
            assert (await world.happened(session=each.id)).count("session.bound") == 1

    async def test_of_two_that_bind_to_one_key_both_are_told_yes(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(RACES)]
        answers = await together(
            *(node.store.bind(each.id, "key", SYSTEM) for each in held for node in (world, *nodes))
        )
        assert set(answers) == {True}
        for each in held:
            assert (await world.happened(session=each.id)).count("session.bound") == 1

    async def test_neither_a_rotation_nor_an_act_undoes_it(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(RACES)]
        world.clock.advance(SECOND)
        now, fresh = world.clock.now(), [new_digest() for _ in held]
        answers = await together(
            *(nodes[-1].store.bind(each.id, "key", SYSTEM) for each in held),
            *(world.store.replace(each.digest, new, None, SYSTEM) for each, new in zip(held, fresh, strict=True)),
            *(world.store.touch({each.id: now}) for each in held),
        )
        assert answers[:RACES] == [True] * RACES
        for digest in fresh:
            found = (await world.snapshot(digest)).session
            assert (found.client.device_key, found.generation, found.last_seen) == ("key", 2, now)

    async def test_revocation_wins_over_binding(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(RACES)]
        answers = await together(
            *(nodes[-1].store.bind(each.id, "key", SYSTEM) for each in held), *(world.end(each) for each in held)
        )
        assert [await world.reason(each) for each in held] == [Reason.REVOKED] * RACES
        for each, bound in zip(held, answers[:RACES], strict=True):
            key = (await world.snapshot(each)).session.client.device_key
            assert (key == "key") is bound
            names = await world.happened(session=each.id)
            assert sorted(names) == ["session.begun", *(["session.bound"] if bound else []), "session.revoked"]

    async def test_a_proof_on_another_device_leaves_the_first(self, world: World) -> None:
        """And takes no other: a key is bound by its registration alone."""
        await world.policy(binding=frozenset({Trait.DEVICE}), mismatch=Mismatch.STEP_UP)
        held = await world.sign_in(await world.person(), client=HOME)
        await world.store.bind(held.id, "desk", SYSTEM)
        desk, kept, moved = msgspec.structs.replace(HOME, device_key="desk"), new_digest(), new_digest()
        await world.store.replace(held.digest, kept, Method.PASSWORD, Actor(name="alice", client=desk))
        assert (await world.info(held)).client == desk
        elsewhere = msgspec.structs.replace(AWAY, device_key="another session's")
        await world.store.replace(kept, moved, Method.PASSWORD, Actor(name="alice", client=elsewhere))
        assert (await world.info(held)).client == AWAY
