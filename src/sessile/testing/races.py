"""Conformance: operations that race, and that share a commit. Revocation wins over each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from sessile.errors import Conflict, LimitExceeded, NotFound, SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState
from sessile.kernel.event import SYSTEM
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import Principal, Status, new_principal
from sessile.kernel.session import SessionKind, Tie
from sessile.stores.protocol import End
from sessile.testing.world import Holder, Node, World, at_home, new_digest

RACES = 100
"""Of each kind, all at once: they share commits where a store groups them."""


async def together(*racing: Awaitable[Any], seed: int = 0) -> list[Any]:
    """All at once, begun in an order of the seed; what each returned or raised, in the order given."""
    tasks: list[asyncio.Task[Any] | None] = [None] * len(racing)
    order = list(range(len(racing)))
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret

    async def one(awaited: Awaitable[Any]) -> Any:
        return await awaited

    for place in order:
        tasks[place] = asyncio.ensure_future(one(racing[place]))
    done = await asyncio.gather(*[task for task in tasks if task], return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException) and not isinstance(result, SessileError):
            raise result
    return done


def pairs(results: Sequence[Any]) -> list[tuple[Any, Any]]:
    half = len(results) // 2
    return list(zip(results[:half], results[half:], strict=True))


class Races:
    @pytest.fixture(params=[1, 2])
    def seed(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    async def _signed_in(self, world: World, who: Principal, count: int = RACES) -> list[Holder]:
        return list(await asyncio.gather(*[world.sign_in(who) for _ in range(count)]))

    async def _checked(self, nodes: list[Node], held: Sequence[Holder | bytes]) -> list[bool]:
        """What the nodes say, which has to be the same."""
        answers = [await node.alive(*held) for node in nodes]
        assert answers[0] == answers[-1]
        return answers[0]

    # --- rotation against rotation --------------------------------------------------------------------------

    async def test_offer_against_offer(self, world: World, nodes: list[Node], seed: int) -> None:
        """Review 18: two tabs, one successor."""
        held = await self._signed_in(world, await world.person())
        salts = [(new_digest(), new_digest()) for _ in held]
        successors = [(new_digest(), new_digest()) for _ in held]
        answers = await together(
            *[world.store.offer(h.digest, s[0], d[0]) for h, s, d in zip(held, salts, successors, strict=True)],
            *[nodes[-1].store.offer(h.digest, s[1], d[1]) for h, s, d in zip(held, salts, successors, strict=True)],
            seed=seed,
        )
        for (one, two), salt, digests in zip(pairs(answers), salts, successors, strict=True):
            assert one == two
            assert one in salt
            stored = [await world.store.read(digest) is not None for digest in digests]
            assert stored == [salt[0] == one, salt[1] == one]

    async def test_replace_against_replace(self, world: World, nodes: list[Node], seed: int) -> None:
        """The second wins; the first's token is superseded. Exactly one counts."""
        held = await self._signed_in(world, await world.person())
        fresh = [(new_digest(), new_digest()) for _ in held]
        answers = await together(
            *[world.store.replace(h.digest, d[0], Method.TOTP, SYSTEM) for h, d in zip(held, fresh, strict=True)],
            *[nodes[-1].store.replace(h.digest, d[1], None, SYSTEM) for h, d in zip(held, fresh, strict=True)],
            seed=seed,
        )
        assert not [each for each in answers if isinstance(each, Exception)]
        for one, digests in zip(held, fresh, strict=True):
            assert sorted(await self._checked(nodes, digests)) == [False, True]
            assert await world.denied(one) is not None
            states = {(await world.snapshot(digest)).token_state for digest in digests}
            assert states == {TokenState.CURRENT, TokenState.SUPERSEDED}
            (current,) = [d for d in digests if (await world.snapshot(d)).token_state is TokenState.CURRENT]
            assert (await world.snapshot(current)).session.generation == 2

    async def test_confirm_against_replace(self, world: World, nodes: list[Node], seed: int) -> None:
        held = await self._signed_in(world, await world.person())
        successors, fresh = [new_digest() for _ in held], [new_digest() for _ in held]
        for one, successor in zip(held, successors, strict=True):
            await world.store.offer(one.digest, new_digest(), successor)
        await together(
            *[world.store.confirm(successor) for successor in successors],
            *[nodes[-1].store.replace(h.digest, d, None, SYSTEM) for h, d in zip(held, fresh, strict=True)],
            seed=seed,
        )
        assert await self._checked(nodes, fresh) == [True] * RACES, "the event wins"
        assert not any(await self._checked(nodes, [*held, *successors]))

    # --- revocation against all else ------------------------------------------------------------------------

    @pytest.mark.parametrize("what", ["touch", "offer", "confirm", "replace", "bind", "write_data"])
    @pytest.mark.parametrize("how", ["session", "principal", "disable", "everyone"])
    async def test_an_end_wins(self, world: World, nodes: list[Node], what: str, how: str) -> None:
        count = RACES // 3
        people = await asyncio.gather(*[world.person(f"person{number}") for number in range(count)])
        held = list(await asyncio.gather(*[world.sign_in(who) for who in people]))
        pending, fresh = [new_digest() for _ in held], [new_digest() for _ in held]
        if what == "confirm":
            for one, successor in zip(held, pending, strict=True):
                await world.store.offer(one.digest, new_digest(), successor)
        world.clock.advance(world.store.delta)
        now = world.clock.now()
        store = nodes[-1].store
        doing: dict[str, list[Any]] = {
            "touch": [lambda h=h: store.touch({h.id: now}) for h in held],
            "offer": [
                lambda h=h, d=d: store.offer(h.digest, new_digest(), d) for h, d in zip(held, pending, strict=True)
            ],
            "confirm": [lambda d=d: store.confirm(d) for d in pending],
            "replace": [
                lambda h=h, d=d: store.replace(h.digest, d, None, SYSTEM) for h, d in zip(held, fresh, strict=True)
            ],
            "bind": [lambda h=h: store.bind(h.id, "late", SYSTEM) for h in held],
            "write_data": [lambda h=h: store.write_data(h.id, 0, b"late") for h in held],
        }
        ends: dict[str, list[End]] = {
            "session": [End(session=each.id, cause="race") for each in held],
            "principal": [End(uid=who.uid, cause="race") for who in people],
            "disable": [End(uid=who.uid, status=Status.DISABLED, cause="race") for who in people],
            "everyone": [End(everyone=frozenset({SessionKind.BROWSER}), cause="race")] * 3,
        }
        results = await together(
            *[do() for do in doing[what]], *[world.store.end(end) for end in ends[how]], seed=len(what + how)
        )
        for result in results[count:]:
            assert not isinstance(result, Exception), "an end that is raced still ends"
        for digest in [each.digest for each in held] + pending + fresh:
            for node in nodes:
                assert await node.denied(digest) is not None
        if how == "disable":
            for who in people:
                await world.store.end(End(uid=who.uid, status=Status.ACTIVE, cause="enabled"))
            for digest in [each.digest for each in held] + pending + fresh:
                assert await world.denied(digest) is not None

    @pytest.mark.parametrize("tie", list(Tie))
    async def test_begin_against_the_end_of_the_giver(
        self, world: World, nodes: list[Node], tie: Tie, seed: int
    ) -> None:
        """Review 11: nothing is minted past an ending; what was minted before it is found."""
        alice, agent = await world.person(), await world.person("agent:a")
        held = await self._signed_in(world, alice)
        drafts = [world.delegation(each, agent, tie=tie) for each in held]
        since = world.clock.now()
        results = await together(
            *[nodes[-1].store.begin(draft) for draft in drafts],
            *[world.store.end(End(session=each.id, cause="race", contain_since=since)) for each in held],
            seed=seed,
        )
        for begun, ended in pairs(results):
            assert not isinstance(ended, Exception)
            if isinstance(begun, Exception):
                assert isinstance(begun, Conflict)
        assert not any([await node.denied(d.digest) is None for node in nodes for d in drafts])

    async def test_begin_against_disable(self, world: World, nodes: list[Node], seed: int) -> None:
        """Review 10: enabled again at once, and still nobody is in by the old credential."""
        people = await asyncio.gather(*[world.person(f"person{number}") for number in range(RACES)])
        fences = [await world.fence(who.name) for who in people]
        drafts = [world.draft(who.uid, fence=fence) for who, fence in zip(people, fences, strict=True)]
        await together(
            *[nodes[-1].store.begin(draft) for draft in drafts],
            *[world.store.end(End(uid=who.uid, status=Status.DISABLED, cause="race")) for who in people],
            seed=seed,
        )
        for who, draft in zip(people, drafts, strict=True):
            await world.store.end(End(uid=who.uid, status=Status.ACTIVE, cause="enabled"))
            for node in nodes:
                assert await node.denied(draft.digest) is not None

    async def test_begin_against_a_new_password(self, world: World, nodes: list[Node], seed: int) -> None:
        """Review 10: the attacker's sign-in with the old password does not survive the change."""
        people = await asyncio.gather(*[world.person(f"person{number}") for number in range(RACES)])
        fences = [await world.fence(who.name) for who in people]
        drafts = [world.draft(who.uid, fence=fence) for who, fence in zip(people, fences, strict=True)]
        await together(
            *[nodes[-1].store.begin(draft) for draft in drafts],
            *[world.store.end(End(uid=who.uid, cause="password")) for who in people],
            seed=seed,
        )
        assert not any([await node.denied(d.digest) is None for node in nodes for d in drafts])

    async def test_end_against_end(self, world: World, nodes: list[Node], seed: int) -> None:
        held = await self._signed_in(world, await world.person())
        results = await together(
            *[world.store.end(End(session=each.id, cause="one")) for each in held],
            *[nodes[-1].store.end(End(session=each.id, cause="two")) for each in held],
            seed=seed,
        )
        for each, (one, two) in zip(held, pairs(results), strict=True):
            assert sorted([one.revoked, two.revoked]) == [0, 1]
            assert (await world.info(each)).cause == ("one" if one.revoked else "two")

    async def test_keep_against_keep(self, world: World, nodes: list[Node], seed: int) -> None:
        """Two sessions change the password at once: at most one of them goes on, and the credential is its."""
        for number in range(5):
            alice = await world.person(f"person{number}")
            one, two = await self._signed_in(world, alice, 2)
            await together(
                world.store.end(End(uid=alice.uid, cause="password", keep=one.id)),
                nodes[-1].store.end(End(uid=alice.uid, cause="password", keep=two.id)),
                seed=seed + number,
            )
            assert sorted(await self._checked(nodes, [one, two])) == [False, True]

    # --- limits and uniqueness ------------------------------------------------------------------------------

    async def test_the_limit_holds_under_fifty_at_once(self, world: World, nodes: list[Node], seed: int) -> None:
        """ASVS V7.1.2, refuse."""
        await world.policy(max_sessions=5, at_limit=AtLimit.REFUSE)
        alice = await world.person()
        drafts = [world.draft(alice.uid) for _ in range(50)]
        results = await together(*[nodes[n % len(nodes)].store.begin(d) for n, d in enumerate(drafts)], seed=seed)
        refused = [each for each in results if isinstance(each, Exception)]
        assert {type(each) for each in refused} == {LimitExceeded}
        assert (len(refused), sum(await self._checked(nodes, [d.digest for d in drafts]))) == (45, 5)
        assert len(await world.listed(uid=alice.uid)) == 5

    async def test_the_oldest_go_under_fifty_at_once(self, world: World, nodes: list[Node], seed: int) -> None:
        """ASVS V7.1.2, end the oldest."""
        await world.policy(max_sessions=5, at_limit=AtLimit.END_OLDEST)
        alice = await world.person()
        drafts = [world.draft(alice.uid) for _ in range(50)]
        results = await together(*[nodes[n % len(nodes)].store.begin(d) for n, d in enumerate(drafts)], seed=seed)
        ended = [id for begun in results for id in begun.ended]
        assert (len(ended), len(set(ended))) == (45, 45)
        alive = await self._checked(nodes, [d.digest for d in drafts])
        assert {d.id for d, lives in zip(drafts, alive, strict=True) if not lives} == set(ended)
        causes = {info.cause for info in await world.store.sessions(uid=alice.uid, ended=True) if not info.live}
        assert causes == {"limit"}

    async def test_one_of_many_wins(self, world: World, nodes: list[Node], seed: int) -> None:
        """A name, a fact, a version of a policy and a version of data are each taken once."""
        stores = [nodes[n % len(nodes)].store for n in range(20)]
        people = [at_home(new_principal("alice", now=world.clock.now())) for _ in stores]
        results = await together(*[s.register(who, SYSTEM) for s, who in zip(stores, people, strict=True)], seed=seed)
        assert sorted(isinstance(each, Conflict) for each in results) == [False] + [True] * 19
        won = await world.store.principal(name="alice")
        assert won is not None
        assert won.uid == people[[isinstance(each, Conflict) for each in results].index(False)].uid

        results = await together(*[s.set_fact("f", bytes([n])) for n, s in enumerate(stores)], seed=seed)
        assert set(results) == {await world.store.fact("f")}

        policies = [Policy(name="p", version=2, reason=str(n)) for n in range(20)]
        results = await together(*[s.set_policy(p, SYSTEM) for s, p in zip(stores, policies, strict=True)], seed=seed)
        assert sum(not isinstance(each, Conflict) for each in results) == 1

        held = await world.sign_in(won)
        results = await together(*[s.write_data(held.id, 0, bytes([n])) for n, s in enumerate(stores)], seed=seed)
        assert results.count(True) == 1
        assert (await world.store.read_data(held.id))[1] == bytes([results.index(True)])

    # --- neighbours in a commit -----------------------------------------------------------------------------

    async def test_what_raises_does_not_spoil_its_neighbours(self, world: World, nodes: list[Node], seed: int) -> None:
        """Where commits are grouped: each is done or raises by itself, with its events or without."""
        alice, gone = await world.person(), await world.person("gone")
        await world.store.end(End(uid=gone.uid, status=Status.DISABLED, cause="off"))
        held = await self._signed_in(world, alice, 20)
        cart = await world.visit()
        before = len(await world.events())
        good = [world.draft(alice.uid) for _ in range(20)]
        bad = [world.draft(gone.uid, replaces=cart.id) for _ in range(20)]
        store = world.store
        results = await together(
            *[store.begin(draft) for draft in good],
            *[store.end(End(session=each.id, cause="logout")) for each in held],
            *[store.begin(draft) for draft in bad],
            *[store.end(End(session="ses_" + "0" * 27, cause="x")) for _ in range(5)],
            *[store.replace(new_digest(), new_digest(), None, SYSTEM) for _ in range(5)],
            *[store.set_policy(Policy(), SYSTEM) for _ in range(5)],
            seed=seed,
        )
        assert not [each for each in results[:40] if isinstance(each, Exception)]
        assert {type(each) for each in results[40:60]} == {Conflict}
        assert {type(each) for each in results[60:65]} == {NotFound}
        assert {type(each) for each in results[65:]} == {Conflict}
        assert await self._checked(nodes, [d.digest for d in good]) == [True] * 20
        assert await self._checked(nodes, held) == [False] * 20
        assert [await store.read(draft.digest) for draft in bad] == [None] * 20
        assert await world.denied(cart) is None
        names = sorted(event.name.value for event in (await world.events())[before:])
        assert names == ["session.begun"] * 20 + ["session.revoked"] * 20

    async def test_who_is_cancelled_does_not_spoil_its_neighbours(self, world: World) -> None:
        """What a cancelled caller asked for happened or did not, wholly."""
        alice = await world.person()
        held = await self._signed_in(world, alice, 10)
        drafts = [world.draft(alice.uid, replaces=each.id) for each in held]
        tasks = [asyncio.ensure_future(world.store.begin(draft)) for draft in drafts]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in results[1::2] if isinstance(each, BaseException)]
        # Whatever a cancelled one left in the queue has been dealt with once a later mutation is acknowledged.
        await world.sign_in(alice)
        for old, draft in zip(held, drafts, strict=True):
            began = await world.store.read(draft.digest) is not None
            assert await world.denied(old) is not None if began else await world.denied(old) is None
            assert await world.happened(session=draft.id) == (["session.begun"] if began else [])
        assert all([await world.denied(draft.digest) is None for draft in drafts[1::2]])
