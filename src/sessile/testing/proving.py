"""Conformance: several credentials of a principal, each change of one atomic, and tries that are counted."""

from __future__ import annotations

import asyncio

import pytest

from sessile.errors import Conflict
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.principal import Principal
from sessile.kernel.tries import Exhausted, Limit
from sessile.stores.protocol import Credential
from sessile.testing.world import DAY, MINUTE, SECOND, Node, World

RACES = 100
"""How often each race is run."""


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def made(alice: Principal, kind: str, id: str, value: bytes = b"1") -> Credential:
    return Credential(uid=alice.uid, kind=kind, id=id, value=value)


class Proving:
    # --- credentials ----------------------------------------------------------------------------------------

    async def test_all_credentials_of_a_principal(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        assert list(await world.store.credentials(alice.uid)) == []
        for each in (made(alice, "totp", "b"), made(alice, "totp", "a"), made(alice, "password", "")):
            await world.store.set_credential(each)
        await world.store.set_credential(made(bob, "totp", "c"))
        found = await world.store.credentials(alice.uid)
        assert [(each.kind, each.id) for each in found] == [("password", ""), ("totp", "a"), ("totp", "b")]
        assert {each.changed for each in found} == {world.clock.now()}
        assert [each.id for each in await world.store.credentials(bob.uid)] == ["c"]

    async def test_remove_a_credential(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        for each in (made(alice, "totp", "a"), made(alice, "totp", "b")):
            await world.store.set_credential(each)
        event = Event(name=EventName.FACTOR_REMOVED, uid=alice.uid, principal="alice", by=Actor(name="alice"))
        assert not await world.store.remove_credential(alice.uid, "totp", "c", event)
        assert not await world.store.remove_credential(alice.uid, "totp", "a", event, value=b"2")
        assert "factor.removed" not in await world.happened(uid=alice.uid)
        assert await world.store.remove_credential(alice.uid, "totp", "a", event, value=b"1")
        assert (await world.happened(uid=alice.uid))[-1] == "factor.removed"
        assert not await world.store.remove_credential(alice.uid, "totp", "a", event)
        assert [each.id for each in await world.store.credentials(alice.uid)] == ["b"]
        assert await world.store.remove_credential(alice.uid, "totp", "b")
        assert await world.denied(held) is None, "nothing ends"
        assert (await world.happened(uid=alice.uid)).count("factor.removed") == 1

    async def test_of_two_that_change_a_credential_one_is_told_so(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        for turn in range(RACES):
            before = b"%d" % turn
            await world.store.set_credential(made(alice, "totp", "a", before))
            done = await asyncio.gather(
                *[
                    node.store.set_credential(made(alice, "totp", "a", before + b"%d" % n), instead_of=before)
                    for n, node in enumerate(nodes * 2)
                ]
            )
            assert done.count(True) == 1

    async def test_of_two_that_remove_a_credential_one_is_told_so(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        for _ in range(RACES):
            await world.store.set_credential(made(alice, "reset", "a"))
            done = await asyncio.gather(
                *[node.store.remove_credential(alice.uid, "reset", "a", value=b"1") for node in nodes * 2]
            )
            assert done.count(True) == 1

    async def test_a_passkey_is_found_by_its_id_and_is_one_persons(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        assert await world.store.passkey("a") is None
        await world.store.set_credential(made(alice, "passkey", "a"))
        await world.store.set_credential(made(bob, "totp", "a"))
        found = await world.store.passkey("a")
        assert found is not None
        assert (found.uid, found.kind, found.id, found.value) == (alice.uid, "passkey", "a", b"1")
        with pytest.raises(Conflict):
            await world.store.set_credential(made(bob, "passkey", "a", b"2"))
        await world.store.set_credential(made(alice, "passkey", "a", b"3"))
        assert await world.store.remove_credential(alice.uid, "passkey", "a")
        assert await world.store.passkey("a") is None
        await world.store.set_credential(made(bob, "passkey", "a", b"2"))

    # --- tries ----------------------------------------------------------------------------------------------

    async def test_a_bucket_of_tries_fills_up_again(self, world: World) -> None:
        limit = Limit(key=key("a"), burst=3, every=MINUTE)
        for _ in range(3):
            assert await world.store.count_try([limit]) is None
        assert await world.store.count_try([limit]) == Exhausted(limit, MINUTE)
        world.clock.advance(59 * SECOND)
        assert await world.store.count_try([limit]) == Exhausted(limit, SECOND)
        world.clock.advance(SECOND)
        assert await world.store.count_try([limit]) is None
        assert await world.store.count_try([limit]) == Exhausted(limit, MINUTE)
        world.clock.advance(DAY)
        for _ in range(3):
            assert await world.store.count_try([limit]) is None, "full, and no fuller than full"
        assert await world.store.count_try([limit]) is not None

    async def test_a_try_counts_against_all_limits_or_against_none(self, world: World) -> None:
        wide, narrow = Limit(key=key("z"), burst=5, every=MINUTE), Limit(key=key("a"), burst=1, every=MINUTE)
        assert await world.store.count_try([wide, narrow]) is None
        for _ in range(9):
            assert await world.store.count_try([wide, narrow]) == Exhausted(narrow, MINUTE)
        for _ in range(4):
            assert await world.store.count_try([wide]) is None
        assert await world.store.count_try([wide]) is not None

    async def test_a_success_is_given_back(self, world: World) -> None:
        limit = Limit(key=key("a"), burst=2, every=MINUTE)
        for _ in range(9):
            assert await world.store.count_try([limit]) is None
            await world.store.give_back([limit])
        await world.store.give_back([Limit(key=key("never tried"), every=MINUTE)])
        assert await world.store.count_try([Limit(key=key("never tried"), every=MINUTE)]) is None

    async def test_tries_in_a_row_have_an_end(self, world: World) -> None:
        limit = Limit(key=key("a"), in_a_row=3, kept=True)
        for _ in range(2):
            assert await world.store.count_try([limit]) is None
        await world.store.give_back([limit])
        for _ in range(3):
            assert await world.store.count_try([limit]) is None
        for _ in range(3):
            assert await world.store.count_try([limit]) == Exhausted(limit, None)
            world.clock.advance(400 * DAY)
            assert await world.store.count_try([Limit(key=key("b"))]) is None, "this one sweeps"
        await world.store.forget_tries([limit.key, key("unknown")])
        assert await world.store.count_try([limit]) is None

    async def test_tries_in_a_row_that_are_not_kept_are_remembered_for_weeks(self, world: World) -> None:
        limit = Limit(key=key("a"), in_a_row=1)
        assert await world.store.count_try([limit]) is None
        world.clock.advance(29 * DAY)
        assert await world.store.count_try([limit]) == Exhausted(limit, None)

    async def test_no_more_than_the_limit_are_let_through_at_once(self, world: World, nodes: list[Node]) -> None:
        one, all_ = Limit(key=key("one"), burst=7, every=DAY), Limit(key=key("all"), burst=1000, in_a_row=90)
        tried = await asyncio.gather(*[node.store.count_try([one, all_]) for node in nodes * 50])
        assert tried.count(None) == 7
        assert {found.limit.key for found in tried if found is not None} == {one.key}
