"""Conformance: mails that wait, each event told once, each mail one sender's at a time."""

from __future__ import annotations

import asyncio

import msgspec

from sessile.kernel.event import Event, EventName
from sessile.kernel.ids import new_id
from sessile.stores.mail import FIRST_RETRY, LONGEST_RETRY, Mail, retry_after
from sessile.stores.protocol import Credential
from sessile.testing.proving import RACES
from sessile.testing.world import DAY, TICK, Node, World


def mail(world: World, seq: int = 1, uid: str = "prn_someone") -> Mail:
    return Mail(id=new_id("eml"), seq=seq, uid=uid, address="a@example.org", until=world.clock.now() + DAY)


class Mailing:
    async def test_who_has_an_address(self, world: World) -> None:
        alice, bob, carol = [await world.person(name) for name in ("alice", "bob", "carol")]
        for who, kind, id in ((alice, "address", "a"), (bob, "address", "a"), (bob, "address", "b"), (carol, "x", "a")):
            await world.store.set_credential(Credential(uid=who.uid, kind=kind, id=id, value=b"1"))
        assert list(await world.store.at_address("a")) == sorted((alice.uid, bob.uid))
        assert list(await world.store.at_address("b")) == [bob.uid]
        await world.store.remove_credential(bob.uid, "address", "b")
        assert list(await world.store.at_address("b")) == []

    async def test_the_cursor_moves_with_what_is_queued_or_not_at_all(self, world: World) -> None:
        assert await world.store.cursor("mail") is None
        first, second = mail(world), mail(world, seq=2)
        assert not await world.store.queue_mails("mail", 1, 2, [first]), "it has not begun"
        assert await world.store.queue_mails("mail", None, 5, [first, second])
        assert not await world.store.queue_mails("mail", None, 9, [mail(world)])
        assert not await world.store.queue_mails("mail", 4, 9, [mail(world)])
        assert await world.store.cursor("mail") == 5
        assert await world.store.waiting_mails() == 2
        assert await world.store.queue_mails("other", None, 1, [])
        assert await world.store.queue_mails("mail", 5, 6, [])
        assert (await world.store.cursor("mail"), await world.store.cursor("other")) == (6, 1)

    async def test_a_mail_is_due_again_until_it_is_settled(self, world: World) -> None:
        one = mail(world, seq=7, uid="prn_alice")
        await world.store.queue_mails("mail", None, 7, [one])
        for attempt in range(1, 12):
            (taken,) = await world.store.take_mails(10)
            assert (taken.id, taken.seq, taken.uid, taken.address) == (one.id, 7, "prn_alice", "a@example.org")
            assert (taken.until, taken.attempts) == (one.until, attempt)
            world.clock.advance(retry_after(attempt) - TICK)
            assert list(await world.store.take_mails(10)) == []
            world.clock.advance(TICK)
        assert (retry_after(1), retry_after(2), retry_after(99)) == (FIRST_RETRY, 2 * FIRST_RETRY, LONGEST_RETRY)
        assert len(await world.store.take_mails(10)) == 1, "also when its time is over: somebody has to say so"
        event = Event(name=EventName.MAIL_UNDELIVERED, uid="prn_alice")
        assert await world.store.settle_mail(one.id, event)
        assert not await world.store.settle_mail(one.id, event)
        world.clock.advance(DAY)
        assert list(await world.store.take_mails(10)) == []
        assert await world.store.waiting_mails() == 0
        assert await world.happened(uid="prn_alice") == ["mail.undelivered"]

    async def test_a_mail_waits_for_its_time(self, world: World) -> None:
        later = mail(world)
        due = world.clock.now() + FIRST_RETRY
        assert await world.store.queue_mails("mail", None, 1, [msgspec.structs.replace(later, due=due)])
        assert (await world.store.waiting_mails(), await world.store.take_mails(5)) == (1, [])
        world.clock.advance(FIRST_RETRY)
        assert [one.id for one in await world.store.take_mails(5)] == [later.id]

    async def test_the_oldest_mails_go_first(self, world: World) -> None:
        queued = []
        for n in range(5):
            queued.append(mail(world, seq=n))
            await world.store.queue_mails("mail", n or None, n + 1, queued[-1:])
            world.clock.advance(TICK)
        assert [one.id for one in await world.store.take_mails(2)] == [one.id for one in queued[:2]]
        assert [one.id for one in await world.store.take_mails(9)] == [one.id for one in queued[2:]]

    async def test_one_of_many_queues_and_one_takes(self, world: World, nodes: list[Node]) -> None:
        await world.store.queue_mails("mail", None, 0, [])
        for n in range(RACES):
            queued = await asyncio.gather(
                *[node.store.queue_mails("mail", n, n + 1, [mail(world, seq=n)]) for node in nodes * 2]
            )
            assert queued.count(True) == 1
            taken = await asyncio.gather(*[node.store.take_mails(5) for node in nodes * 2])
            assert [one.seq for found in taken for one in found] == [n]
