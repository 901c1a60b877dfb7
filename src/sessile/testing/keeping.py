"""Conformance: the directory (principals, policies, credentials, the audit record, facts)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessile.errors import Conflict, NotFound
from sessile.kernel.event import SYSTEM, Actor, Event, EventName
from sessile.kernel.ids import new_id
from sessile.kernel.policy import AtLimit, Policy, Trait
from sessile.kernel.principal import PrincipalKind, Status, new_principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client
from sessile.stores.protocol import Credential, End, Tally, Verified
from sessile.testing.world import DAY, HOUR, MINUTE, SECOND, World, pages


class Keeping:
    # --- principals -----------------------------------------------------------------------------------------

    async def test_register_and_find(self, world: World) -> None:
        bob = await world.person("bob")
        ci = await world.person("service:ci", owner=bob.uid, purpose="builds", scopes=frozenset({"read"}))
        for principal in (bob, ci):
            assert await world.store.principal(name=principal.name) == principal
            assert await world.store.principal(uid=principal.uid) == principal
        assert await world.store.principal(name="carol") is None
        assert await world.store.principal(uid=new_id("prn")) is None
        (event,) = await world.events(uid=ci.uid)
        assert (event.name, event.principal, event.at) == (
            EventName.PRINCIPAL_REGISTERED, "service:ci", world.clock.now()
        )  # fmt: skip

    async def test_register_with_a_credential(self, world: World) -> None:
        alice = new_principal("alice", now=world.clock.now())
        hashed = Credential(uid=alice.uid, kind="password", value=b"$argon2id$")
        await world.store.register(alice, Actor(name="bob"), hashed)
        stored = await world.store.credential(alice.uid, "password")
        assert stored is not None
        assert stored.value == b"$argon2id$"
        assert (await world.events(uid=alice.uid))[0].by.name == "bob"

    async def test_register_a_name_that_is_taken(self, world: World) -> None:
        alice = await world.person()
        before = await world.everything()
        second = new_principal("alice", now=world.clock.now())
        with pytest.raises(Conflict):
            await world.store.register(second, SYSTEM, Credential(uid=second.uid, kind="password", value=b"x"))
        with pytest.raises(Conflict):
            await world.store.register(new_principal("ALICE", now=world.clock.now()), SYSTEM)
        assert await world.everything() == before
        assert await world.store.credential(second.uid, "password") is None
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
        with pytest.raises(Conflict):
            await world.store.register(second, SYSTEM)

    async def test_fence_is_what_is_in_force(self, world: World) -> None:
        assert await world.store.fence("alice") is None
        alice = await world.person()
        held = await world.sign_in(alice)
        found = await world.store.fence("alice")
        assert found is not None
        principal, fence = found
        assert principal == alice
        assert (fence.uid, fence.epoch, fence.everyone) == (alice.uid, alice.epoch, held.session.everyone)
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
        found = await world.store.fence("alice")
        assert found is not None
        assert (found[0].status, found[1].epoch == alice.epoch) == (Status.DISABLED, False)

    async def test_principals_by_name(self, world: World) -> None:
        bob = await world.person("bob")
        for name in ("service:ci", "alice", "agent:a", "carol", "service:cd", "élodie", "a_b", "axb", "a%b"):
            await world.person(name, owner=bob.uid if ":" in name else None)
        carol = await world.store.principal(name="carol")
        assert carol is not None
        await world.store.end(End(uid=carol.uid, status=Status.DELETED, cause="left"))

        async def names(**query: object) -> list[str]:
            found = await pages(
                lambda after: world.store.principals(**query, after=after)  # type: ignore[arg-type]
            )
            return [each.name for each in found]

        everybody = ["a%b", "a_b", "agent:a", "alice", "axb", "bob", "service:cd", "service:ci", "élodie"]
        assert await names() == everybody
        assert await names(limit=2) == everybody
        assert await names(kind=PrincipalKind.SERVICE) == ["service:cd", "service:ci"]
        assert await names(owner=bob.uid) == ["agent:a", "service:cd", "service:ci"]
        assert await names(owner=bob.uid, kind=PrincipalKind.AGENT) == ["agent:a"]
        assert await names(search="lic") == ["alice"]
        assert await names(search="ce:c", limit=1) == ["service:cd", "service:ci"]
        assert await names(search="_") == ["a_b"], "not a pattern"
        assert await names(search="%") == ["a%b"]
        assert await names(search="'; --") == []
        assert len(await world.store.principals(limit=2)) == 2

    async def test_describe_ends_nothing(self, world: World) -> None:
        bob, ci = await world.person("bob"), await world.person("service:ci")
        key = await world.mint(await world.sign_in(bob), ci)
        changed = await world.store.describe(ci.uid, owner=bob.uid, purpose="builds", by=Actor(name="bob"))
        assert (changed.owner, changed.purpose, changed.epoch) == (bob.uid, "builds", ci.epoch)
        assert await world.store.principal(uid=ci.uid) == changed
        assert await world.denied(key) is None
        event = (await world.events(uid=ci.uid, latest=True))[0]
        assert (event.name, event.by.name) == (EventName.PRINCIPAL_CHANGED, "bob")
        with pytest.raises(Conflict):
            await world.store.describe(ci.uid, owner=None, purpose="", by=SYSTEM)
        with pytest.raises(NotFound):
            await world.store.describe(new_id("prn"), owner=None, purpose="", by=SYSTEM)

    # --- policies -------------------------------------------------------------------------------------------

    async def test_policies_keep_every_field(self, world: World) -> None:
        policy = Policy(
            name="odd", version=7, preset="aal1", overall=timedelta(days=3, microseconds=1), idle=None,
            assurance=2, max_sessions=3, at_limit=AtLimit.REFUSE, rotate_after=None,
            grace=timedelta(seconds=1.5), strict_replay=False, binding=frozenset({Trait.IP}), max_depth=2,
            key_lifetime=DAY, reason="because",
        )  # fmt: skip
        assert await world.store.policy("odd") is None
        done = await world.store.set_policy(policy, Actor(name="bob"))
        assert done.at == world.clock.now()
        assert await world.store.policy("odd") == policy
        assert {each.name for each in await world.store.policies()} == {"default", "odd"}
        event = (await world.events(latest=True, limit=1))[0]
        assert (event.name, event.by.name) == (EventName.POLICY_CHANGED, "bob")

    async def test_a_policy_is_only_overtaken_by_a_higher_version(self, world: World) -> None:
        """Review 17: in a rolling deploy two nodes do not overwrite each other."""
        stored = await world.store.policy("default")
        assert stored is not None
        await world.policy(version=stored.version + 5)
        before = await world.everything()
        for version in (stored.version, stored.version + 5):
            with pytest.raises(Conflict):
                await world.policy(version=version, idle=MINUTE)
        assert await world.everything() == before
        await world.policy(version=stored.version + 6, idle=MINUTE)

    async def test_a_stricter_policy_bites_live_sessions(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(10 * MINUTE)
        await world.policy(idle=10 * MINUTE)
        assert await world.reason(held) is Reason.IDLE
        await world.policy(idle=HOUR)
        assert await world.denied(held) is None, "nothing was ended, and the limit as issued holds"
        await world.policy(assurance=2)
        assert await world.reason(held) is Reason.ASSURANCE

    async def test_a_session_below_its_policy_hands_out_nothing_and_may_step_up(self, world: World) -> None:
        await world.policy(assurance=2)
        alice, agent = await world.person(), await world.person("agent:a")
        held = await world.sign_in(alice)
        with pytest.raises(Conflict) as refused:
            await world.delegate(held, agent)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is Reason.ASSURANCE
        assert await world.store.offer(held.digest, b"s" * 32, b"d" * 32) is None
        new = await world.replace(held)
        assert await world.denied(new) is None
        assert await world.denied(await world.delegate(new, agent)) is None

    async def test_a_looser_policy_revives_nothing(self, world: World) -> None:
        """Review 17: limits are the stricter of as issued and as in force."""
        held = await world.sign_in(await world.person())
        await world.policy(idle=None, overall=30 * DAY)
        world.clock.advance(HOUR)
        assert await world.reason(held) is Reason.IDLE
        new = await world.sign_in(await world.person("bob"))
        world.clock.advance(2 * DAY)
        assert await world.alive(held, new) == [False, True]

    # --- credentials ----------------------------------------------------------------------------------------

    async def test_credentials(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        held = await world.sign_in(alice)
        assert await world.store.credential(alice.uid, "password") is None
        value = bytes(range(256))
        event = Event(name=EventName.PASSWORD_SET, uid=alice.uid, principal="alice", by=Actor(name="alice"))
        await world.store.set_credential(Credential(uid=alice.uid, kind="password", value=value), event)
        for id, secret in (("phone", b"1"), ("tablet", b"2")):
            await world.store.set_credential(Credential(uid=alice.uid, kind="totp", id=id, value=secret))
        stored = await world.store.credential(alice.uid, "password")
        assert stored is not None
        assert (stored.uid, stored.kind, stored.id, stored.value) == (alice.uid, "password", "", value)
        for id, secret in (("phone", b"1"), ("tablet", b"2")):
            stored = await world.store.credential(alice.uid, "totp", id)
            assert stored is not None
            assert stored.value == secret
        assert await world.store.credential(alice.uid, "totp") is None
        assert await world.store.credential(bob.uid, "password") is None
        assert await world.denied(held) is None, "nothing ends"
        assert (await world.happened(uid=alice.uid))[-1] == "principal.password_set"
        await world.store.set_credential(Credential(uid=alice.uid, kind="password", value=b"rehashed"))
        stored = await world.store.credential(alice.uid, "password")
        assert stored is not None
        assert stored.value == b"rehashed"
        assert (await world.happened(uid=alice.uid)).count("principal.password_set") == 1

    async def test_a_credential_hides_in_its_repr(self, world: World) -> None:
        alice = await world.person()
        await world.store.set_credential(Credential(uid=alice.uid, kind="password", value=b"$argon2id$abc"))
        assert "argon2id" not in repr(await world.store.credential(alice.uid, "password"))

    # --- the audit record -----------------------------------------------------------------------------------

    async def test_record_and_events(self, world: World) -> None:
        alice = await world.person()
        client = Client(label="curl", ip="192.0.2.7", user_agent="curl/8")
        by = Actor(name="mallory", client=client)
        world.clock.advance(SECOND)
        await world.store.record(
            Event(
                name=EventName.SIGN_IN_FAILED, principal="alice", uid=alice.uid, by=by, cause="password",
                details={"count": 3, "why": "wrong", "list": ["a", "b"]},
            )
        )  # fmt: skip
        event = (await world.events())[-1]
        assert (event.name, event.principal, event.uid) == (EventName.SIGN_IN_FAILED, "alice", alice.uid)
        assert (event.by, event.cause, event.session) == (by, "password", None)
        assert event.details == {"count": 3, "why": "wrong", "list": ["a", "b"]}
        assert event.at == world.clock.now(), "the store stamps it"

    async def test_events_in_order_and_in_pages(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")
        held = await world.sign_in(alice)
        for number in range(5):
            world.clock.advance(SECOND)
            name = EventName.SIGN_IN_FAILED
            await world.store.record(Event(name=name, uid=bob.uid, principal="bob", cause=str(number)))
        await world.end(held)
        everything = list(await world.events())
        numbers = [event.seq for event in everything]
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0
        paged: list[Event] = []
        while page := await world.events(after=paged[-1].seq if paged else 0, limit=2):
            assert len(page) <= 2
            paged += page
        assert paged == everything
        assert [event.cause for event in await world.events(uid=bob.uid)][1:] == list("01234")
        assert await world.happened(session=held.id) == ["session.begun", "session.revoked"]
        assert await world.events(uid=bob.uid, session=held.id) == type(await world.events())()
        assert list(await world.events(latest=True, limit=3)) == everything[:-4:-1]
        assert [event.cause for event in await world.events(latest=True, limit=2, uid=bob.uid)] == ["4", "3"]
        assert not await world.events(after=numbers[-1])

    async def test_events_by_name_and_instant(self, world: World) -> None:
        alice = await world.person()
        began = world.clock.now()
        for minutes in (0, 30, 50):
            world.clock.advance(minutes * MINUTE)
            await world.store.record(Event(name=EventName.SIGN_IN_FAILED, uid=alice.uid, cause=str(minutes)))
            await world.end(await world.sign_in(alice))
        failed = await world.events(names=[EventName.SIGN_IN_FAILED])
        assert [event.cause for event in failed] == ["0", "30", "50"]
        both = await world.events(names={EventName.SIGN_IN_FAILED, EventName.SESSION_REVOKED}, uid=alice.uid)
        assert [str(event.name) for event in both] == ["sign_in.failed", "session.revoked"] * 3
        assert list(await world.events(names=[EventName.SIGN_IN_FAILED], since=began + 30 * MINUTE)) == list(failed[1:])
        assert not await world.events(since=began + 81 * MINUTE)
        assert list(await world.events(before=failed[2].seq, names=[EventName.SIGN_IN_FAILED], latest=True)) == [
            failed[1], failed[0]
        ]  # fmt: skip
        everything = list(await world.events())
        assert list(await world.events(after=failed[0].seq, before=failed[1].seq)) == [
            event for event in everything if failed[0].seq < event.seq < failed[1].seq
        ]

    async def test_tallies_by_the_hour(self, world: World) -> None:
        alice = await world.person()
        world.clock.advance(HOUR)
        first = world.clock.now().replace(minute=0, second=0, microsecond=0)
        for times in (2, 1):
            for _ in range(times):
                await world.store.record(Event(name=EventName.SIGN_IN_FAILED, uid=alice.uid))
            world.clock.advance(HOUR)
        tallies = await world.store.tallies(first + 59 * MINUTE)
        assert tallies == [
            Tally(first, EventName.SIGN_IN_FAILED, 2), Tally(first + HOUR, EventName.SIGN_IN_FAILED, 1)
        ]  # fmt: skip
        assert await world.store.tallies(first + HOUR) == tallies[1:]

    # --- facts and counts -----------------------------------------------------------------------------------

    async def test_the_record_verifies_from_any_point_on(self, world: World) -> None:
        alice = await world.person()
        halfway = await world.store.verify_events(Verified())
        for n in range(3):
            await world.store.record(Event(name=EventName.SIGN_IN_FAILED, uid=alice.uid, cause=f"{n}"))
        (last,) = await world.events(latest=True, limit=1)
        for known in (Verified(), halfway):
            whole = await world.store.verify_events(known)
            assert (whole.seq, whole.broken, whole.more) == (last.seq, None, False)
        # Whoever has seen more events than there are knows that some are gone.
        gone = await world.store.verify_events(Verified(last.seq + 1))
        assert gone.broken == last.seq + 1

    async def test_facts_are_written_once(self, world: World) -> None:
        assert await world.store.fact("key check") is None
        assert await world.store.set_fact("key check", b"\x00one") == b"\x00one"
        assert await world.store.set_fact("key check", b"two") == b"\x00one"
        assert await world.store.fact("key check") == b"\x00one"
        assert await world.store.fact("other") is None

    async def test_statistics(self, world: World) -> None:
        before = await world.store.statistics()
        alice = await world.person()
        await world.end(await world.sign_in(alice))
        await world.sign_in(alice)
        after = await world.store.statistics()
        assert all(count >= 0 for count in after.values())
        assert any(after[name] > before.get(name, 0) for name in after)
