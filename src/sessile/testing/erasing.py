"""Deleting a principal, and erasing what remains of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessile.errors import Conflict, NotFound
from sessile.kernel.containment import EVER
from sessile.kernel.event import SYSTEM, Actor, Event, EventName
from sessile.kernel.principal import Status
from sessile.kernel.session import Client
from sessile.kernel.trace import Trace, TraceKind
from sessile.stores.noticing import Noticed
from sessile.stores.protocol import Credential, End, Verified
from sessile.testing.world import SECOND, Holder, World, pages

CLIENT = Client(label="Firefox on Linux", ip="192.0.2.7", user_agent="Mozilla/5.0 alices-laptop")
TRACES = ("alice", "192.0.2.7", "alices-laptop", "Firefox on Linux", "her own phone")


async def verified(world: World) -> Verified:
    found = await world.store.verify_events(Verified())
    while found.more and found.broken is None:
        found = await world.store.verify_events(found)
    return found


class Erasing:
    """Part of `StoreConformance`."""

    async def _gone(self, world: World) -> tuple[str, Holder]:
        """Alice was here, in every way that leaves a trace, and is deleted."""
        store = world.store
        await store.record(Event(name=EventName.SIGN_IN_FAILED, by=Actor(name="alice", client=CLIENT)))
        alice, bob = await world.person(purpose="alice of sales"), await world.person("bob")
        held = await world.sign_in(alice, client=CLIENT, label="her own phone")
        assert await store.write_data(held.id, 0, b'{"cart":"alice"}')
        now = world.clock.now()
        used = Trace(subject=held.id, kind=TraceKind.USE, what="192.0.2.7", how="alices-laptop", first=now, last=now)
        await store.notice([Noticed(used)])
        other = await world.sign_in(bob, client=Client(ip="198.51.100.1"))
        await store.record(
            Event(name=EventName.FACTOR_ADDED, principal="alice", uid=alice.uid, details={"called": "her own phone"})
        )
        await world.end(other, "noticed", by=Actor(name="alice", uid=alice.uid, client=CLIENT))
        await store.end(
            End(uid=alice.uid, contain_since=EVER, containment="cnt_1", cause="stolen", by=Actor(name="alice"))
        )
        await store.settle_containment(
            "cnt_1", (await store.containment("cnt_1")).state,  # type: ignore[union-attr]
            b'{"sessions":[{"principal":"alice","label":"her own phone"}],"principals":["alice"]}', Event(
                name=EventName.CONTAINMENT_SETTLED),
        )  # fmt: skip
        world.clock.advance(SECOND)
        await store.end(End(uid=alice.uid, status=Status.DELETED, cause="left"))
        world.clock.advance(SECOND)
        return alice.uid, held

    async def _traces(self, world: World, *held: Holder) -> list[str]:
        """What a reader of the store still finds of alice."""
        store = world.store
        shown: list[object] = list(await world.events())
        shown += await pages(lambda after: store.sessions(ended=True, after=after))
        shown += [await store.session(one.id) for one in held]
        shown += [await store.read_data(one.id) for one in held]
        shown += [(await store.read(one.digest)) for one in held]
        shown += await store.traces(kind=TraceKind.USE)
        contained = await store.containment("cnt_1")
        shown += [contained.cut, contained.report] if contained else []
        return [trace for trace in TRACES for one in shown if trace in str(one)]

    @pytest.mark.requirement("63B-4 4.5-a")
    async def test_deleting_ends_all_and_removes_what_proves(self, world: World) -> None:
        """Review 10: a name that is deleted and taken again is another principal."""
        alice = await world.person()
        held = await world.sign_in(alice)
        for kind, one in (("password", ""), ("totp", "one"), ("passkey", "two")):
            await world.store.set_credential(Credential(uid=alice.uid, kind=kind, id=one, value=b"secret"))
        await world.store.end(End(uid=alice.uid, status=Status.DELETED, cause="left"))
        assert await world.alive(held) == [False]
        assert not await world.store.credentials(alice.uid)
        assert await world.store.principal(name="alice") is None
        assert await world.store.fence("alice") is None
        tombstone = await world.store.principal(uid=alice.uid)
        assert tombstone is not None
        assert (tombstone.status, tombstone.epoch != alice.epoch) == (Status.DELETED, True)
        again = await world.person()
        assert again.uid != alice.uid
        assert await world.alive(held) == [False]
        with pytest.raises(NotFound):
            await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="undo"))

    async def test_erasing_leaves_no_trace_and_a_record_that_proves(self, world: World) -> None:
        """Review 28: erasure."""
        uid, held = await self._gone(world)
        assert set(await self._traces(world, held)) == set(TRACES)
        before = [(event.seq, event.name, event.at, event.uid, event.session) for event in await world.events()]
        erased = await world.store.erase(uid, "asked for", SYSTEM)
        assert (erased.uid, erased.sessions, erased.events > 4) == (uid, 1, True)
        assert await self._traces(world, held) == []
        after = await world.events()
        assert [(event.seq, event.name, event.at, event.uid, event.session) for event in after[:-1]] == before
        assert (after[-1].name, after[-1].uid, after[-1].cause) == (EventName.PRINCIPAL_ERASED, uid, "asked for")
        assert (await verified(world)).broken is None
        bobs = next(event for event in after if event.name is EventName.SESSION_BEGUN and event.principal == "bob")
        assert bobs.by.client.ip == "198.51.100.1", "what is said of others stays"
        assert await world.alive(held) == [False]

    async def test_erasing_again_changes_nothing(self, world: World) -> None:
        uid, held = await self._gone(world)
        await world.store.erase(uid, "asked for", SYSTEM)
        before = await world.everything(held)
        again = await world.store.erase(uid, "asked for", SYSTEM)
        assert (again.sessions, again.events) == (0, 0)
        assert await world.everything(held) == before

    async def test_whoever_took_the_name_keeps_what_is_theirs(self, world: World) -> None:
        """Review 10: a name that is deleted and taken again is another principal."""
        uid, _ = await self._gone(world)
        await world.store.record(Event(name=EventName.SIGN_IN_FAILED, by=Actor(name="alice")))
        other = await world.person()
        held = await world.sign_in(other, client=CLIENT)
        ended = await world.sign_in(await world.person("carol"))
        await world.end(ended, by=Actor(name="alice", uid=other.uid))
        theirs = await world.events(uid=other.uid)
        await world.store.erase(uid, "asked for", SYSTEM)
        assert await world.events(uid=other.uid) == theirs
        assert await world.alive(held) == [True]
        assert (await world.info(ended)).ended_by == "alice"
        typed = [e for e in await world.events() if e.name is EventName.SIGN_IN_FAILED]
        assert [event.by.name for event in typed] == ["erased", "alice"]
        assert (await verified(world)).broken is None

    async def test_only_what_was_deleted_is_erased(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        before = await world.everything(held)
        with pytest.raises(Conflict, match="delete it first"):
            await world.store.erase(alice.uid, "x", SYSTEM)
        with pytest.raises(NotFound):
            await world.store.erase("prn_nobody", "x", SYSTEM)
        assert await world.everything(held) == before
        assert await world.alive(held) == [True]

    async def test_many_events_that_name_it_are_erased(self, world: World) -> None:
        for _ in range(1_005):
            await world.store.record(Event(name=EventName.SIGN_IN_FAILED, by=Actor(name="alice")))
        alice = await world.person()
        world.clock.advance(timedelta(seconds=1))
        await world.store.end(End(uid=alice.uid, status=Status.DELETED, cause="left"))
        assert (await world.store.erase(alice.uid, "asked for", SYSTEM)).events >= 1_005
        assert all("alice" not in str(event) for event in await world.events(limit=1_000))
        assert (await verified(world)).broken is None
