"""Conformance: `read` and `begin`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState, info, is_live
from sessile.kernel.event import Actor
from sessile.kernel.ids import new_id
from sessile.kernel.issue import Draft, Fence, TooDeep, Wider
from sessile.kernel.policy import AtLimit, Policy
from sessile.kernel.principal import OPERATOR, Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind, Tie
from sessile.stores.protocol import End
from sessile.testing.world import DAY, HOUR, MINUTE, SECOND, TICK, World, new_digest


class Beginning:
    # --- read -----------------------------------------------------------------------------------------------

    async def test_read_of_a_token_that_never_was(self, world: World) -> None:
        assert await world.store.read(new_digest()) is None
        assert await world.store.read(b"") is None

    async def test_read_gives_all_that_a_decision_needs(self, world: World) -> None:
        alice = await world.person(scopes=frozenset({"read", "write"}))
        client = Client(label="Firefox", ip="192.0.2.1", user_agent="Mozilla/5.0", device_key="k")
        held = await world.sign_in(
            alice, methods=(Method.PASSWORD, Method.TOTP), client=client, label="laptop", lifetime=HOUR
        )
        found = await world.snapshot(held)
        session, now = found.session, world.clock.now()
        assert (session.id, session.kind) == (held.id, SessionKind.BROWSER)
        assert (session.uid, session.principal) == (alice.uid, "alice")
        assert [(event.method, event.at) for event in session.authentications] == [
            (Method.PASSWORD, now), (Method.TOTP, now)
        ]  # fmt: skip
        assert session.created == session.last_seen == session.rotated == now
        assert session.expires == now + HOUR
        assert session.idle == Policy.aal2().idle
        assert session.scopes == {"read", "write"}
        unbound = msgspec.structs.replace(client, device_key=None)
        assert (session.client, session.label) == (unbound, "laptop"), "bound to no key of another session"
        assert (session.parent, session.origin, session.lineage, session.generation) == (None, None, (), 0)
        assert (session.ended, session.cause, session.ended_by, session.contained_since) == (None,) * 4
        assert found.principal == alice
        assert found.policy == await world.store.policy("default")
        assert found.everyone.keys() == set(SessionKind)
        assert found.everyone[SessionKind.BROWSER] == session.everyone
        assert len({*found.everyone.values(), b""}) > 1, "an epoch is never empty"
        assert (found.token_state, found.ancestors) == (TokenState.CURRENT, ())
        assert found.now == now
        assert found.now.utcoffset() == timedelta(0)

    async def test_read_gives_the_clock_of_the_store(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(3 * SECOND + TICK)
        assert (await world.snapshot(held)).now == world.clock.now()

    async def test_read_gives_the_lineage_nearest_first(self, world: World) -> None:
        alice, agent, other = [await world.person(name) for name in ("alice", "agent:a", "agent:b")]
        top = await world.sign_in(alice)
        world.clock.advance(SECOND)
        since = world.clock.now()
        child = await world.delegate(top, agent)
        world.clock.advance(SECOND)
        key = await world.mint(child, other)
        found = await world.snapshot(key)
        assert [
            (above.link.session, above.link.uid, above.link.tie, above.link.since) for above in found.ancestors
        ] == [
            (child.id, agent.uid, Tie.ORIGIN, world.clock.now()),
            (top.id, alice.uid, Tie.ORIGIN, since),
        ]
        assert [above.session.id for above in found.ancestors if above.session] == [child.id, top.id]
        assert [above.principal for above in found.ancestors] == [agent, alice]
        assert tuple(above.link for above in found.ancestors) == found.session.lineage
        assert all(above.policy is not None for above in (await world.snapshot(child)).ancestors)

    async def test_read_of_a_tombstone_says_why(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(SECOND)
        await world.end(held, "stolen", by=Actor(name="bob"))
        ended = world.clock.now()
        world.clock.advance(SECOND)
        denied = await world.denied(held)
        assert denied is not None
        assert (denied.reason, denied.session) == (Reason.REVOKED, held.id)
        assert (denied.at, denied.cause, denied.by) == (ended, "stolen", "bob")

    async def test_local_reads_never_suspend(self, world: World) -> None:
        """Sent once they are done: nothing was awaited."""
        held = await world.sign_in(await world.person())
        if not world.store.local:
            pytest.skip("the store does not say that it is local")
        for reading in (
            world.store.read(held.digest),
            world.store.read(new_digest()),
            world.store.read_data(held.id),
        ):
            with pytest.raises(StopIteration):
                reading.send(None)

    # --- begin ----------------------------------------------------------------------------------------------

    async def test_begin_answers_what_read_then_finds(self, world: World) -> None:
        alice = await world.person()
        draft = world.draft(alice.uid)
        begun = await world.store.begin(draft)
        assert begun.ended == ()
        assert begun.snapshot == await world.snapshot(draft.digest)
        assert await world.happened(session=draft.id) == ["session.begun"]
        (event,) = await world.events(session=draft.id)
        assert (event.principal, event.uid, event.at) == ("alice", alice.uid, world.clock.now())

    async def test_begin_takes_the_policy_of_the_principal(self, world: World) -> None:
        await world.policy(name="short", overall=HOUR, idle=MINUTE)
        alice = await world.person()
        await world.store.end(End(uid=alice.uid, policy="short", cause="moved"))
        session = (await world.sign_in(alice)).session
        assert (session.policy, session.idle, session.expires) == (
            "short", MINUTE, world.clock.now() + HOUR
        )  # fmt: skip

    async def test_begin_of_an_anonymous_session(self, world: World) -> None:
        """Review 28: sessions without a principal."""
        held = await world.visit()
        session = (await world.snapshot(held)).session
        assert (session.kind, session.uid, session.principal, session.assurance) == (
            SessionKind.ANONYMOUS, None, None, 0
        )  # fmt: skip
        assert session.scopes == frozenset()
        assert await world.denied(held) is None

    @pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED])
    async def test_begin_refuses_who_is_not_active(self, world: World, status: Status) -> None:
        alice = await world.person()
        await world.store.end(End(uid=alice.uid, status=status, cause="offboarded"))
        before = await world.everything()
        with pytest.raises(Conflict) as refused:
            await world.sign_in(alice)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is Reason.DISABLED
        assert await world.everything() == before

    async def test_begin_refuses_who_does_not_exist(self, world: World) -> None:
        before = await world.everything()
        with pytest.raises((Conflict, NotFound)):
            await world.store.begin(world.draft(new_id("prn")))
        assert await world.everything() == before

    async def test_begin_within_the_fence(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice, fence=await world.fence())
        assert await world.denied(held) is None

    @pytest.mark.parametrize(
        "change",
        [
            {"cause": "password"},
            {"cause": "offboarded", "status": Status.DISABLED},
            {"cause": "everyone"},
        ],
        ids=["epoch", "status", "everyone"],
    )
    async def test_begin_outside_the_fence(self, world: World, change: dict[str, Any]) -> None:
        """Review 10: what was read before the credential was looked at has changed; enabled again or not."""
        alice = await world.person()
        fence = await world.fence()
        if change["cause"] == "everyone":
            await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="everyone"))
        else:
            await world.store.end(End(uid=alice.uid, **change))
            await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="enabled"))
        before = await world.everything()
        with pytest.raises(Conflict):
            await world.sign_in(alice, fence=fence)
        assert await world.everything() == before
        assert await world.denied(await world.sign_in(alice, fence=await world.fence())) is None

    async def test_begin_with_the_fence_of_another(self, world: World) -> None:
        alice, _ = await world.person(), await world.person("bob")
        with pytest.raises(Conflict):
            await world.sign_in(alice, fence=await world.fence("bob"))
        good = await world.fence()
        with pytest.raises(Conflict):
            await world.sign_in(alice, fence=Fence(good.uid, b"", good.everyone))
        with pytest.raises(Conflict):
            await world.sign_in(alice, fence=Fence(good.uid, good.epoch, b""))

    async def test_begin_while_sign_in_is_locked(self, world: World) -> None:
        """Review 16: an attacker with a password does not sign in again a second later; an operator does."""
        alice, agent = await world.person(), await world.person("agent:a")
        root = await world.person("root", scopes=frozenset({"*", OPERATOR}))
        await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), lock_sign_in=MINUTE, cause="incident"))
        with pytest.raises(Conflict):
            await world.sign_in(alice)
        held = await world.sign_in(root)
        assert await world.denied(held) is None
        assert await world.denied(await world.delegate(held, agent)) is None
        world.clock.advance(MINUTE - TICK)
        with pytest.raises(Conflict):
            await world.sign_in(alice)
        world.clock.advance(TICK)
        assert await world.denied(await world.sign_in(alice)) is None

    async def test_begin_of_a_child(self, world: World) -> None:
        alice, agent = await world.person(scopes=frozenset({"a", "b"})), await world.person("agent:a")
        top = await world.sign_in(alice, methods=(Method.PASSWORD, Method.TOTP))
        world.clock.advance(MINUTE)
        child = await world.delegate(top, agent, scopes=frozenset({"a"}))
        session = (await world.snapshot(child)).session
        assert (session.parent, session.origin) == (top.id, top.id)
        assert (session.uid, session.scopes) == (agent.uid, frozenset({"a"}))
        assert session.authentications == top.session.authentications, "the giver's, of that time"
        assert session.authenticated is None, "never fresh"
        assert session.expires <= top.session.expires
        key = await world.mint(top, agent, scopes=frozenset({"b"}))
        session = (await world.snapshot(key)).session
        assert (session.parent, session.origin, session.scopes) == (None, top.id, frozenset({"b"}))
        assert await world.happened(session=child.id) == ["session.delegated"]
        assert await world.happened(session=key.id) == ["key.minted"]
        assert await world.alive(top, child, key) == [True, True, True]

    @pytest.mark.parametrize("tie", list(Tie))
    async def test_begin_hands_out_nothing_wider(self, world: World, tie: Tie) -> None:
        """Review 14: exactly its scopes, none that the giver has not, and `*` does not give the reserved ones."""
        alice, agent = await world.person(scopes=frozenset({"a"})), await world.person("agent:a")
        root = await world.person("root")
        top, everything = await world.sign_in(alice), await world.sign_in(root)
        before = await world.everything(top)
        for giver, scopes in ((top, {"a", "b"}), (top, {"*"}), (everything, {OPERATOR}), (everything, {"introspect"})):
            with pytest.raises(Wider):
                await world.delegate(giver, agent, tie=tie, scopes=frozenset(scopes))
        with pytest.raises(Wider):
            await world.sign_in(alice, scopes=frozenset({"b"}))
        assert await world.everything(top) == before
        none = await world.delegate(top, agent, tie=tie)
        assert (await world.snapshot(none)).session.scopes == frozenset(), "None is not 'all'"

    async def test_begin_no_deeper_than_the_policy_allows(self, world: World) -> None:
        await world.policy(max_depth=3)
        alice, agent = await world.person(), await world.person("agent:a")
        chain = [await world.sign_in(alice)]
        for _ in range(3):
            chain.append(await world.delegate(chain[-1], agent))
        before = await world.everything(*chain)
        for tie in Tie:
            with pytest.raises(TooDeep):
                await world.delegate(chain[-1], agent, tie=tie)
        assert await world.everything(*chain) == before
        assert await world.alive(*chain) == [True] * 4

    @pytest.mark.parametrize("how", ["ended", "disabled", "idle", "expired", "everyone", "superseded", "unknown"])
    @pytest.mark.parametrize("tie", list(Tie))
    async def test_begin_under_what_is_over(self, world: World, how: str, tie: Tie) -> None:
        """Nothing is minted from what has ended (review 11)."""
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        reason = Reason.REVOKED
        match how:
            case "ended":
                await world.end(top)
            case "disabled":
                await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
                reason = Reason.DISABLED
            case "idle":
                world.clock.advance(HOUR)
                reason = Reason.IDLE
            case "expired":
                for _ in range(48):
                    world.clock.advance(30 * MINUTE)
                    await world.store.touch({top.id: world.clock.now()})
                reason = Reason.EXPIRED
            case "everyone":
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
            case "superseded":
                await world.replace(top)
                reason = Reason.SUPERSEDED
            case _:
                top.digest = new_digest()
                reason = Reason.UNKNOWN
        before = await world.everything()
        with pytest.raises(Conflict) as refused:
            await world.delegate(top, agent, tie=tie)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is reason
        assert await world.everything() == before

    async def test_begin_under_a_child_whose_parent_is_over(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent)
        await world.end(top)
        with pytest.raises(Conflict) as refused:
            await world.delegate(child, agent)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is Reason.REVOKED

    async def test_a_child_never_outlives_its_parent(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice, lifetime=30 * MINUTE)
        child = await world.delegate(top, agent, lifetime=10 * DAY)
        below = await world.delegate(child, agent, lifetime=10 * DAY)
        key = await world.mint(child, agent, lifetime=10 * DAY)
        world.clock.advance(30 * MINUTE - TICK)
        assert await world.alive(top, child, below, key) == [True] * 4
        world.clock.advance(TICK)
        assert await world.alive(top, child, below, key) == [False, False, False, True]

    async def test_a_child_ends_with_the_idleness_of_its_parent(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent)
        world.clock.advance(59 * MINUTE)
        await world.store.touch({top.id: world.clock.now()})
        world.clock.advance(59 * MINUTE)
        assert await world.alive(top, child) == [True, True]
        world.clock.advance(MINUTE)
        assert [await world.reason(top), await world.reason(child)] == [Reason.IDLE, Reason.IDLE]

    async def test_begin_at_the_limit_refuses(self, world: World) -> None:
        await world.policy(max_sessions=2, at_limit=AtLimit.REFUSE)
        alice, agent = await world.person(), await world.person("agent:a")
        one, two = await world.sign_in(alice), await world.sign_in(alice)
        before = await world.everything(one, two)
        with pytest.raises(LimitExceeded):
            await world.sign_in(alice)
        assert await world.everything(one, two) == before
        await world.delegate(one, agent)
        await world.mint(one, await world.person("service:ci"))
        await world.sign_in(await world.person("bob"))
        await world.end(one)
        three = await world.sign_in(alice)
        assert await world.alive(one, two, three) == [False, True, True]

    async def test_begin_at_the_limit_counts_the_living_only(self, world: World) -> None:
        await world.policy(max_sessions=1, at_limit=AtLimit.REFUSE)
        alice = await world.person()
        await world.sign_in(alice)
        world.clock.advance(HOUR)
        await world.sign_in(alice)
        await world.store.end(End(uid=alice.uid, cause="password"))
        await world.sign_in(alice)
        await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
        await world.sign_in(alice)
        with pytest.raises(LimitExceeded):
            await world.sign_in(alice)

    async def test_begin_at_the_limit_ends_the_least_recently_seen(self, world: World) -> None:
        await world.policy(max_sessions=2, at_limit=AtLimit.END_OLDEST)
        alice = await world.person()
        one = await world.sign_in(alice)
        world.clock.advance(SECOND)
        two = await world.sign_in(alice)
        world.clock.advance(SECOND)
        await world.store.touch({one.id: world.clock.now()})
        world.clock.advance(SECOND)
        draft = world.draft(alice.uid)
        begun = await world.store.begin(draft)
        assert begun.ended == (two.id,)
        assert (begun.at, begun.delta) == (world.clock.now(), world.store.delta), "what it ended, it says since when"
        assert await world.alive(one, two, draft.digest) == [True, False, True]
        ended = await world.info(two)
        assert (ended.cause, ended.ended) == ("limit", world.clock.now())
        assert "session.revoked" in await world.happened(session=two.id)

    async def test_begin_after_the_limit_was_lowered_ends_as_many_as_it_takes(self, world: World) -> None:
        alice = await world.person()
        held = []
        for _ in range(4):
            world.clock.advance(SECOND)
            held.append(await world.sign_in(alice))
        await world.policy(max_sessions=2)
        begun = await world.store.begin(world.draft(alice.uid))
        assert set(begun.ended) == {each.id for each in held[:3]}
        assert await world.alive(*held) == [False, False, False, True]

    async def test_begin_in_the_place_of_another(self, world: World) -> None:
        """Review 23: signing in over a living session ends it."""
        alice, bob = await world.person(), await world.person("bob")
        old = await world.sign_in(bob)
        await world.store.write_data(old.id, 0, b"bob's")
        world.clock.advance(SECOND)
        draft = world.draft(alice.uid, replaces=old.id)
        begun = await world.store.begin(draft)
        assert (begun.ended, begun.at, begun.delta) == ((old.id,), world.clock.now(), world.store.delta)
        assert await world.alive(old, draft.digest) == [False, True]
        ended = await world.info(old)
        assert (ended.cause, ended.ended) == ("replaced", world.clock.now())
        assert "session.revoked" in await world.happened(session=old.id)
        assert await world.store.read_data(draft.id) == (0, b""), "a principal's data is not handed to another"

    async def test_begin_in_the_place_of_an_anonymous_one(self, world: World) -> None:
        """Review 28: the cart comes along; the token from before sign-in does not live on (63B-4 5.1)."""
        cart = await world.visit()
        await world.store.write_data(cart.id, 0, b"three apples")
        new = await world.sign_in(await world.person(), replaces=cart.id)
        assert await world.alive(cart, new) == [False, True]
        version, data = await world.store.read_data(new.id)
        assert data == b"three apples"
        assert await world.store.write_data(new.id, version, b"four apples")

    async def test_begin_in_the_place_of_what_is_over(self, world: World) -> None:
        alice = await world.person()
        old = await world.sign_in(alice)
        await world.end(old, "logout")
        new = await world.sign_in(alice, replaces=old.id)
        assert await world.alive(old, new) == [False, True]
        assert (await world.info(old)).cause == "logout", "the first cause is kept"

    async def test_the_one_replaced_does_not_count(self, world: World) -> None:
        await world.policy(max_sessions=1, at_limit=AtLimit.REFUSE)
        alice = await world.person()
        old = await world.sign_in(alice)
        new = await world.sign_in(alice, replaces=old.id)
        assert await world.alive(old, new) == [False, True]

    async def test_begin_refused_replaces_nothing(self, world: World) -> None:
        await world.policy(max_sessions=1, at_limit=AtLimit.REFUSE)
        alice, cart = await world.person(), await world.visit()
        held = await world.sign_in(alice)
        await world.store.write_data(cart.id, 0, b"pears")
        with pytest.raises(LimitExceeded):
            await world.sign_in(alice, replaces=cart.id)
        assert await world.alive(held, cart) == [True, True]
        assert (await world.store.read_data(cart.id))[1] == b"pears"

    async def test_listed_as_the_kernel_shows_it(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        found = await world.snapshot(held)
        assert is_live(found, world.clock.now())
        assert await world.info(held) == info(found, world.clock.now())

    async def test_begin_twice_with_one_id_or_one_token(self, world: World) -> None:
        """A draft sent twice must not give two people one token; the first is untouched."""
        alice, bob = await world.person(), await world.person("bob")
        held = await world.sign_in(alice)
        before = await world.everything(held)
        for changes in ({"digest": held.digest}, {"id": held.id}):
            draft: Draft = world.draft(bob.uid, **changes)
            with pytest.raises(Conflict):
                await world.store.begin(draft)
        assert await world.everything(held) == before
