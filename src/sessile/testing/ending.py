"""Conformance: `end`."""

from __future__ import annotations

import pytest

from sessile.errors import Conflict, NotFound
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState
from sessile.kernel.event import Actor
from sessile.kernel.ids import new_id, new_session_id
from sessile.kernel.principal import Principal, Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind, Tie
from sessile.stores.protocol import Credential, End
from sessile.testing.world import DAY, HOUR, MINUTE, SECOND, TICK, Holder, World, new_digest

BROWSER = frozenset({SessionKind.BROWSER})


class Ending:
    # --- one session ----------------------------------------------------------------------------------------

    async def test_end_of_a_session(self, world: World) -> None:
        """ASVS V7.4.1: none of its tokens is of use any more."""
        alice = await world.person()
        held, other = await world.sign_in(alice), await world.sign_in(alice)
        second = await world.rotate(held)
        pending = new_digest()
        await world.store.offer(second.digest, new_digest(), pending)
        world.clock.advance(SECOND)
        by = Actor(name="bob", session=other.id)
        ended = await world.end(held, "stolen", by=by)
        assert (ended.revoked, ended.sessions, ended.at) == (1, (held.id,), world.clock.now())
        assert {await world.reason(each) for each in (held, second, pending)} == {Reason.REVOKED}
        assert await world.denied(other) is None
        info = await world.info(held)
        assert (info.live, info.ended, info.cause, info.ended_by) == (False, ended.at, "stolen", "bob")
        event = (await world.events(session=held.id))[-1]
        assert (event.name.value, event.cause, event.by, event.at) == ("session.revoked", "stolen", by, ended.at)
        assert (event.principal, event.uid) == ("alice", alice.uid)

    async def test_end_is_idempotent(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        first = await world.end(held, "logout")
        info = await world.info(held)
        world.clock.advance(MINUTE)
        again = await world.end(held, "stolen", by=Actor(name="bob"))
        assert (again.revoked, again.sessions, again.at) == (0, (), world.clock.now())
        assert again.mark >= first.mark
        assert await world.info(held) == info, "the first cause and instant are kept"

    @pytest.mark.parametrize("how", ["idle", "principal"])
    async def test_end_of_what_is_over_already(self, world: World, how: str) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        if how == "idle":
            world.clock.advance(HOUR)
        else:
            await world.store.end(End(uid=alice.uid, cause="password"))
        assert (await world.end(held)).revoked == 0
        assert not (await world.info(held)).live

    async def test_end_of_what_never_was(self, world: World) -> None:
        before = await world.everything()
        with pytest.raises(NotFound):
            await world.store.end(End(session=new_session_id(), cause="logout"))
        with pytest.raises(NotFound):
            await world.store.end(End(session="alice", cause="logout"))
        with pytest.raises(NotFound):
            await world.store.end(End(uid=new_id("prn"), cause="logout"))
        assert await world.everything() == before

    async def test_end_reaches_all_below_by_parent(self, world: World) -> None:
        """Review 11: derived upward, so whatever hangs on it is over with one write."""
        alice, agent, ci = [await world.person(name) for name in ("alice", "agent:a", "service:ci")]
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent)
        below = await world.delegate(child, agent)
        over = await world.delegate(child, agent)
        await world.end(over)
        key, low_key = await world.mint(top, ci), await world.mint(below, ci)
        under_key = await world.delegate(key, agent)
        beside = await world.sign_in(alice)
        ended = await world.end(top)
        assert ended.revoked == 3, "descendants by parent, those alive"
        assert set(ended.sessions) == {top.id, child.id, below.id}
        assert await world.alive(top, child, below, over) == [False] * 4
        assert await world.alive(key, low_key, under_key, beside) == [True] * 4, "origin only carries blame"
        assert {await world.reason(each) for each in (child, below)} == {Reason.REVOKED}
        assert not any([(await world.info(each)).live for each in (top, child, below)])
        assert (await world.end(child)).revoked == 0

    async def test_end_of_a_child_leaves_its_parent(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        one, two = await world.delegate(top, agent), await world.delegate(top, agent)
        await world.end(one)
        assert await world.alive(top, one, two) == [True, False, True]

    async def test_end_names_at_most_a_hundred(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        for _ in range(104):
            await world.delegate(top, agent)
        ended = await world.end(top)
        assert ended.revoked == 105
        assert len(set(ended.sessions)) == 100

    async def test_end_of_a_principal_with_very_many(self, world: World) -> None:
        """One small write, however many there are: the number may be unknown, the ids are some of them."""
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(140)]
        ended = await world.store.end(End(uid=alice.uid, cause="stolen"))
        assert ended.revoked in (None, 140)
        assert len(set(ended.sessions)) == 100
        assert set(ended.sessions) <= {each.id for each in held}
        assert not any(await world.alive(*held))
        again = await world.store.end(End(uid=alice.uid, cause="stolen"))
        assert not again.revoked
        assert again.sessions == ()

    # --- containment ----------------------------------------------------------------------------------------

    async def _handed_out(self, world: World) -> tuple[Principal, Holder, list[Holder]]:
        """A session and the keys that it minted at 0, 10, 20 and 30 minutes."""
        alice, ci = await world.person(), await world.person("service:ci")
        top = await world.sign_in(alice)
        keys = []
        for _ in range(4):
            keys.append(await world.mint(top, ci))
            world.clock.advance(10 * MINUTE)
        return alice, top, keys

    async def test_contain_by_whichever_tie_from_an_instant_on(self, world: World) -> None:
        _, top, keys = await self._handed_out(world)
        agent = await world.person("agent:a")
        below = [await world.delegate(key, agent) for key in keys]
        ended = await world.end(top, "stolen", contain_since=keys[2].session.created)
        assert await world.alive(top, *keys) == [False, True, True, False, False]
        assert await world.alive(*below) == [True, True, False, False], "what a contained key handed out"
        assert {await world.reason(key) for key in keys[2:]} == {Reason.REVOKED}
        assert ended.revoked is None or ended.revoked >= 1
        assert "session.contained" in await world.happened(session=top.id)
        assert [(await world.info(key)).live for key in keys] == [True, True, False, False]

    async def test_contain_what_has_already_ended(self, world: World) -> None:
        """Review 11: tombstones keep the ties. The first cause and instant are kept; containment widens."""
        _, top, keys = await self._handed_out(world)
        await world.end(top, "logout")
        info = await world.info(top)
        assert await world.alive(*keys) == [True] * 4
        await world.end(top, "stolen", contain_since=keys[3].session.created)
        assert await world.alive(*keys) == [True, True, True, False]
        await world.end(top, "stolen", contain_since=keys[1].session.created)
        assert await world.alive(*keys) == [True, False, False, False]
        await world.end(top, "stolen", contain_since=keys[2].session.created)
        assert await world.alive(*keys) == [True, False, False, False], "it never narrows"
        await world.end(top, "logout")
        assert await world.alive(*keys) == [True, False, False, False]
        assert await world.info(top) == info

    async def test_contain_what_expired(self, world: World) -> None:
        _, top, keys = await self._handed_out(world)
        world.clock.advance(10 * DAY)
        while await world.store.sweep():
            pass
        assert await world.alive(top, *keys) == [False, True, True, True, True]
        await world.end(top, "stolen", contain_since=top.session.created)
        assert await world.alive(*keys) == [False] * 4

    async def test_contain_a_principal(self, world: World) -> None:
        alice, top, keys = await self._handed_out(world)
        other = await world.sign_in(alice)
        key = await world.mint(other, await world.person("service:cd"))
        bobs = await world.mint(await world.sign_in(await world.person("bob")), await world.person("service:x"))
        await world.store.end(End(uid=alice.uid, cause="stolen", contain_since=keys[2].session.created))
        assert await world.alive(top, other, key, *keys) == [False, False, False, True, True, False, False]
        assert await world.denied(bobs) is None
        assert "principal.contained" in await world.happened(uid=alice.uid)

    async def test_containing_a_principal_widens_and_never_narrows(self, world: World) -> None:
        alice, _, keys = await self._handed_out(world)
        expected = {3: [True, True, True, False], 1: [True, False, False, False], 2: [True, False, False, False]}
        for place, alive in expected.items():
            since = keys[place].session.created
            await world.store.end(End(uid=alice.uid, cause="stolen", contain_since=since))
            assert await world.alive(*keys) == alive

    async def test_contain_a_principal_whose_sessions_have_ended(self, world: World) -> None:
        alice, top, keys = await self._handed_out(world)
        await world.end(top)
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="offboarded"))
        assert await world.alive(*keys) == [True] * 4
        await world.store.end(End(uid=alice.uid, cause="stolen", contain_since=top.session.created))
        assert await world.alive(*keys) == [False] * 4

    async def test_a_contained_principal_that_is_back_hands_out_anew(self, world: World) -> None:
        """What it handed out is over; what it hands out afterwards, under its new epoch, is not."""
        alice, _, keys = await self._handed_out(world)
        await world.store.end(End(uid=alice.uid, cause="stolen", contain_since=keys[0].session.created))
        world.clock.advance(SECOND)
        again = await world.sign_in(alice)
        child = await world.delegate(again, await world.person("agent:a"))
        key = await world.mint(again, await world.person("service:cd"))
        assert await world.alive(again, child, key) == [True, True, True]
        assert await world.alive(*keys) == [False] * 4

    # --- a principal ----------------------------------------------------------------------------------------

    async def test_end_of_all_of_a_principal(self, world: World) -> None:
        """One write; the epoch is new, opaque and never empty (review 10)."""
        alice, bob, agent = [await world.person(name) for name in ("alice", "bob", "agent:a")]
        held = [await world.sign_in(alice) for _ in range(3)]
        child, key = await world.delegate(held[0], agent), await world.mint(held[0], agent)
        bobs = await world.sign_in(bob)
        ended = await world.store.end(End(uid=alice.uid, cause="sign out everywhere", by=Actor(name="alice")))
        assert ended.revoked is None or ended.revoked >= 3
        assert await world.alive(*held, child, key, bobs) == [False] * 4 + [True, True]
        after = await world.store.principal(uid=alice.uid)
        assert after is not None
        assert after.epoch not in (alice.epoch, b"")
        assert after.status is Status.ACTIVE
        event = (await world.events(uid=alice.uid))[-1]
        assert (event.name.value, event.cause, event.by.name) == (
            "principal.revoked", "sign out everywhere", "alice"
        )  # fmt: skip
        assert await world.denied(await world.sign_in(after)) is None

    async def test_an_epoch_never_comes_back(self, world: World) -> None:
        alice = await world.person()
        held, epochs = [], set()
        for _ in range(20):
            held.append(await world.sign_in(alice))
            epochs.add((await world.snapshot(held[-1])).session.epoch)
            await world.store.end(End(uid=alice.uid, cause="again"))
        assert len(epochs) == 20
        assert await world.alive(*held) == [False] * 20

    async def test_disable_and_enable(self, world: World) -> None:
        """ASVS V7.4.2; enabling again resurrects nothing."""
        alice = await world.person()
        held = await world.sign_in(alice)
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="offboarded"))
        assert await world.reason(held) is Reason.DISABLED
        found = await world.store.principal(name="alice")
        assert found is not None
        assert found.status is Status.DISABLED
        world.clock.advance(SECOND)
        await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="back"))
        assert await world.reason(held) is Reason.REVOKED
        new = await world.sign_in(alice)
        assert await world.alive(held, new) == [False, True]
        names = await world.happened(uid=alice.uid)
        assert [name for name in names if name.startswith("principal.")] == [
            "principal.registered", "principal.disabled", "principal.enabled"
        ]  # fmt: skip

    async def test_disable_stops_the_agents_that_act_for_one(self, world: World) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent)
        below = await world.delegate(child, agent)
        await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="offboarded"))
        assert await world.alive(top, child, below) == [False] * 3

    async def test_disable_an_agent_in_the_middle(self, world: World) -> None:
        alice, agent, other = [await world.person(name) for name in ("alice", "agent:a", "agent:b")]
        top = await world.sign_in(alice)
        child = await world.delegate(top, agent)
        below = await world.delegate(child, other)
        await world.store.end(End(uid=agent.uid, status=Status.DISABLED, cause="misbehaved"))
        assert await world.alive(top, child, below) == [True, False, False]
        await world.store.end(End(uid=agent.uid, status=Status.ACTIVE, cause="mended"))
        assert await world.alive(top, child, below) == [True, False, False]

    async def test_delete_and_take_the_name_again(self, world: World) -> None:
        """Review 10: another principal, which the tokens of the first do not open."""
        alice = await world.person()
        held = await world.sign_in(alice)
        await world.store.end(End(uid=alice.uid, status=Status.DELETED, cause="erased"))
        assert await world.store.principal(name="alice") is None
        assert await world.store.fence("alice") is None
        gone = await world.store.principal(uid=alice.uid)
        assert gone is not None
        assert gone.status is Status.DELETED
        again = await world.person()
        new = await world.sign_in(again)
        assert await world.alive(held, new) == [False, True]
        assert (await world.snapshot(new)).principal == again
        assert "principal.deleted" in await world.happened(uid=alice.uid)
        page = await world.store.principals()
        assert [each.uid for each in page.items if each.name == "alice"] == [again.uid]
        await world.store.end(End(uid=alice.uid, status=Status.DELETED, cause="again"))
        assert await world.store.principal(name="alice") == again
        with pytest.raises((Conflict, NotFound)):
            await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="back"))
        assert await world.alive(held, new) == [False, True]

    async def test_contain_a_principal_that_was_deleted(self, world: World) -> None:
        alice, top, keys = await self._handed_out(world)
        await world.store.end(End(uid=alice.uid, status=Status.DELETED, cause="left"))
        assert await world.alive(*keys) == [True] * 4
        await world.store.end(End(uid=alice.uid, cause="stolen", contain_since=top.session.created))
        assert await world.alive(*keys) == [False] * 4
        gone = await world.store.principal(uid=alice.uid)
        assert gone is not None
        assert gone.status is Status.DELETED

    async def test_end_sets_scopes_policy_and_credential_with_the_epoch(self, world: World) -> None:
        await world.policy(name="operators", overall=HOUR, idle=MINUTE)
        alice = await world.person()
        held = await world.sign_in(alice)
        hashed = Credential(uid=alice.uid, kind="password", value=b"$argon2id$new")
        await world.store.end(
            End(uid=alice.uid, cause="password", credential=hashed, scopes=frozenset({"a"}), policy="operators")
        )
        after = await world.store.principal(uid=alice.uid)
        assert after is not None
        assert (after.scopes, after.policy) == (frozenset({"a"}), "operators")
        stored = await world.store.credential(alice.uid, "password")
        assert stored is not None
        assert stored.value == hashed.value
        assert await world.denied(held) is not None
        assert (await world.sign_in(alice)).session.scopes == {"a"}

    async def test_the_session_that_changes_a_password_goes_on(self, world: World) -> None:
        """Review 16: under the new epoch and with its delegations; all others are over."""
        alice, agent = await world.person(), await world.person("agent:a")
        kept, other = await world.sign_in(alice), await world.sign_in(alice)
        child, others_child = await world.delegate(kept, agent), await world.delegate(other, agent)
        old = kept
        kept = await world.rotate(old)
        pending = new_digest()
        await world.store.offer(kept.digest, new_digest(), pending)
        digest = new_digest()
        await world.store.end(End(uid=alice.uid, cause="password", keep=kept.id, keep_digest=digest))
        found = await world.snapshot(digest)
        assert (found.session.id, found.token_state) == (kept.id, TokenState.CURRENT)
        assert await world.alive(digest, child, other, others_child) == [True, True, False, False]
        assert {await world.reason(each) for each in (old, kept, pending)} == {Reason.SUPERSEDED}
        assert (await world.info(kept)).live
        await world.store.end(End(uid=alice.uid, cause="again"))
        assert await world.alive(digest, child) == [False, False]

    async def test_the_session_kept_may_keep_its_token(self, world: World) -> None:
        alice = await world.person()
        kept, other = await world.sign_in(alice), await world.sign_in(alice)
        await world.store.end(End(uid=alice.uid, cause="others", keep=kept.id))
        assert await world.alive(kept, other) == [True, False]

    @pytest.mark.parametrize("how", ["ended", "idle", "principal", "another's", "disabled"])
    async def test_keep_revives_nothing(self, world: World, how: str) -> None:
        alice, bob = await world.person(), await world.person("bob")
        held = await world.sign_in(bob if how == "another's" else alice)
        digest = new_digest()
        status = None
        match how:
            case "ended":
                await world.end(held)
            case "idle":
                world.clock.advance(HOUR)
            case "principal":
                await world.store.end(End(uid=alice.uid, cause="first"))
            case "disabled":
                status = Status.DISABLED
            case _:
                pass
        mine = await world.sign_in(alice)
        end = End(uid=alice.uid, cause="password", keep=held.id, keep_digest=digest, status=status)
        if how == "disabled":
            await world.store.end(end)
        else:
            with pytest.raises(Conflict) as refused:
                await world.store.end(end)
            assert refused.value.denied is not None or how == "another's"
            assert await world.denied(mine) is None, "what raises changes nothing"
        assert await world.denied(digest) is not None
        await world.store.end(End(uid=alice.uid, status=Status.ACTIVE, cause="enabled"))
        assert await world.denied(digest) is not None
        assert await world.denied(held) is None if how == "another's" else await world.denied(held) is not None

    # --- everybody ------------------------------------------------------------------------------------------

    async def test_end_of_everybody(self, world: World) -> None:
        """Review 16: of the kinds that are named; keys go on."""
        alice, bob, ci, agent = [await world.person(name) for name in ("alice", "bob", "service:ci", "agent:a")]
        browsers = [await world.sign_in(alice), await world.sign_in(bob)]
        child = await world.delegate(browsers[0], agent)
        key = await world.mint(browsers[0], ci)
        under_key = await world.delegate(key, agent)
        cart = await world.visit()
        ended = await world.store.end(End(everyone=BROWSER, cause="incident", by=Actor(name="bob")))
        assert ended.revoked is None or ended.revoked >= 2
        assert await world.alive(*browsers, child) == [False] * 3
        assert await world.alive(key, under_key, cart) == [True] * 3
        assert {await world.reason(each) for each in (*browsers, child)} == {Reason.REVOKED}
        event = (await world.events(latest=True, limit=1))[0]
        assert (event.name.value, event.cause, event.by.name) == ("everyone.revoked", "incident", "bob")
        new = await world.sign_in(alice)
        assert await world.denied(new) is None
        kinds = frozenset({SessionKind.DELEGATED, SessionKind.KEY})
        await world.store.end(End(everyone=kinds, cause="incident"))
        assert await world.alive(new, key, under_key, cart) == [True, False, False, True]
        await world.store.end(End(everyone=frozenset(SessionKind), cause="incident"))
        assert await world.alive(new, cart) == [False, False]

    async def test_end_of_everybody_where_there_is_nobody(self, world: World) -> None:
        ended = await world.store.end(End(everyone=BROWSER, cause="drill"))
        assert not ended.revoked
        assert ended.at == world.clock.now()

    # --- every lifetime, through the store ------------------------------------------------------------------

    @pytest.mark.parametrize("preset", ["aal1", "aal2", "aal3", "operator"])
    async def test_limits_of_the_presets(self, world: World, preset: str) -> None:
        """ASVS V7.3.1 and V7.3.2: idle to the microsecond, and overall however active."""
        from sessile.kernel.policy import Policy

        policy = getattr(Policy, preset)(name=preset)
        await world.store.set_policy(policy, Actor(name="code"))
        alice = await world.person()
        await world.store.end(End(uid=alice.uid, policy=preset, cause="moved"))
        methods = (Method.HARDWARE_KEY,)
        if policy.idle is not None:
            held = await world.sign_in(alice, methods=methods)
            world.clock.advance(policy.idle - TICK)
            assert await world.denied(held) is None
            world.clock.advance(TICK)
            assert await world.reason(held) is Reason.IDLE
        held = await world.sign_in(alice, methods=methods)
        end, step = world.clock.now() + policy.overall, (policy.idle or 10 * DAY) - TICK
        while (left := end - world.clock.now()) > step:
            world.clock.advance(step)
            assert await world.denied(held) is None
            await world.store.touch({held.id: world.clock.now()})
        world.clock.advance(left - TICK)
        assert await world.denied(held) is None
        await world.store.touch({held.id: world.clock.now()})
        world.clock.advance(TICK)
        assert await world.reason(held) is Reason.EXPIRED

    async def test_keys_end_on_time(self, world: World) -> None:
        top = await world.sign_in(await world.person())
        ci = await world.person("service:ci")
        short, long = await world.mint(top, ci, lifetime=DAY), await world.mint(top, ci, lifetime=1000 * DAY)
        world.clock.advance(DAY - TICK)
        assert await world.alive(short, long) == [True, True]
        world.clock.advance(TICK)
        assert await world.alive(short, long) == [False, True]
        world.clock.advance(89 * DAY - TICK)
        assert await world.denied(long) is None
        world.clock.advance(TICK)
        assert await world.reason(long) is Reason.EXPIRED

    async def test_ties_are_what_they_were_after_rotation(self, world: World) -> None:
        """A rotated token names the same session: what it handed out before hangs on it still."""
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice)
        child, key = await world.delegate(top, agent), await world.delegate(top, agent, tie=Tie.ORIGIN)
        new = await world.replace(await world.rotate(top))
        assert await world.alive(new, child, key) == [True] * 3
        await world.end(new, "stolen", contain_since=top.session.created)
        assert await world.alive(new, child, key) == [False] * 3
