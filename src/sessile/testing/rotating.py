"""Conformance: `offer`, `confirm`, `replace` and `touch`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessile.errors import Conflict
from sessile.kernel.assurance import Method
from sessile.kernel.decide import TokenState
from sessile.kernel.event import SYSTEM
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionKind
from sessile.stores.protocol import PREDECESSORS, End
from sessile.testing.world import DAY, HOUR, MINUTE, SECOND, TICK, Holder, World, new_digest

GRACE = timedelta(seconds=60)
"""Of the suite's policy."""


class Rotating:
    # --- offer and confirm (by age) -------------------------------------------------------------------------

    async def test_offer_and_first_use(self, world: World) -> None:
        """Review 18: the old token counts until its successor is first presented, and a grace after that."""
        held = await world.sign_in(await world.person())
        world.clock.advance(20 * MINUTE)
        salt, successor = new_digest(), new_digest()
        assert await world.store.offer(held.digest, salt, successor) == salt
        assert (await world.snapshot(held)).token_state is TokenState.CURRENT
        assert (await world.snapshot(successor)).token_state is TokenState.SUCCESSOR
        world.clock.advance(10 * MINUTE)
        assert await world.alive(held, successor) == [True, True], "a lost answer signs nobody out"
        await world.store.confirm(successor)
        used = world.clock.now()
        old, new = await world.snapshot(held), await world.snapshot(successor)
        assert (new.token_state, new.session.id) == (TokenState.CURRENT, held.id)
        assert (new.session.generation, new.session.rotated) == (1, used)
        assert (old.token_state, old.token_since, old.session.id) == (TokenState.PREDECESSOR, used, held.id)
        world.clock.advance(GRACE - TICK)
        assert await world.alive(held, successor) == [True, True]
        world.clock.advance(TICK)
        assert [await world.reason(held), await world.reason(successor)] == [Reason.REPLAYED, None]

    async def test_offer_is_the_same_for_all_that_ask(self, world: World) -> None:
        """Review 18b: two tabs get one successor; only it is stored."""
        held = await world.sign_in(await world.person())
        salt, successor, other = new_digest(), new_digest(), new_digest()
        assert await world.store.offer(held.digest, salt, successor) == salt
        world.clock.advance(HOUR / 2)
        assert await world.store.offer(held.digest, new_digest(), other) == salt
        assert await world.store.read(other) is None
        assert await world.denied(successor) is None

    async def test_offer_only_to_who_holds_the_current_token(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        successor = new_digest()
        await world.store.offer(held.digest, new_digest(), successor)
        pending = Holder(successor, held.session)
        await world.store.confirm(successor)
        superseded = await world.sign_in(alice)
        await world.replace(superseded)
        ended = await world.sign_in(alice)
        await world.end(ended)
        offered = await world.sign_in(alice)
        second = new_digest()
        await world.store.offer(offered.digest, new_digest(), second)
        before = await world.everything(held, pending, superseded, ended)
        for digest in (held.digest, superseded.digest, ended.digest, second, new_digest()):
            extra = new_digest()
            assert await world.store.offer(digest, new_digest(), extra) is None
            assert await world.store.read(extra) is None
        assert await world.everything(held, pending, superseded, ended) == before

    @pytest.mark.parametrize("how", ["idle", "expired", "disabled", "everyone", "parent"])
    async def test_offer_and_confirm_of_what_is_over(self, world: World, how: str) -> None:
        alice, agent = await world.person(), await world.person("agent:a")
        top = await world.sign_in(alice, lifetime=HOUR if how == "expired" else None)
        held = await world.delegate(top, agent) if how == "parent" else top
        successor, late = new_digest(), new_digest()
        assert await world.store.offer(held.digest, new_digest(), successor)
        match how:
            case "idle" | "expired":
                world.clock.advance(HOUR)
            case "disabled":
                await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
            case "everyone":
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
            case _:
                await world.end(top)
        before = await world.everything(held)
        await world.store.confirm(successor)
        assert await world.store.offer(held.digest, new_digest(), late) is None
        assert await world.everything(held) == before, "revocation wins"
        assert await world.alive(held, successor) == [False, False]

    async def test_confirm_is_idempotent(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        successor = new_digest()
        await world.store.offer(held.digest, new_digest(), successor)
        await world.store.confirm(successor)
        world.clock.advance(SECOND)
        before = await world.everything(held)
        await world.store.confirm(successor)
        await world.store.confirm(new_digest())
        await world.store.confirm(held.digest)
        assert await world.everything(held) == before, "the grace does not start anew"

    async def test_confirm_after_an_event_has_overtaken_it(self, world: World) -> None:
        """Grace never crosses an event (ASVS V7.2.4)."""
        held = await world.sign_in(await world.person())
        successor = new_digest()
        await world.store.offer(held.digest, new_digest(), successor)
        new = await world.replace(held)
        await world.store.confirm(successor)
        assert await world.alive(held, successor, new) == [False, False, True]
        assert await world.reason(successor) is Reason.SUPERSEDED
        assert (await world.snapshot(new)).token_state is TokenState.CURRENT

    async def test_so_many_predecessors_are_remembered(self, world: World) -> None:
        held = [await world.sign_in(await world.person())]
        used = []
        for _ in range(PREDECESSORS + 2):
            held.append(await world.rotate(held[-1]))
            used.append(world.clock.now())
            world.clock.advance(MINUTE)
        assert [await world.store.read(old.digest) for old in held[:2]] == [None, None]
        found = [await world.snapshot(old) for old in held[2:-1]]
        assert [old.token_state for old in found] == [TokenState.PREDECESSOR] * PREDECESSORS
        assert [old.token_since for old in found] == used[2:]
        assert (await world.snapshot(held[-1])).session.generation == PREDECESSORS + 2
        assert {await world.reason(old) for old in held[2:-1]} == {Reason.REPLAYED}
        assert await world.denied(held[-1]) is None

    # --- replace (by an event) ------------------------------------------------------------------------------

    async def test_replace_ends_every_other_token(self, world: World) -> None:
        """ASVS V7.2.4: the old token is over at once, and so are those that counted beside it."""
        first = await world.sign_in(await world.person())
        second = await world.rotate(first)
        pending = new_digest()
        await world.store.offer(second.digest, new_digest(), pending)
        assert await world.alive(first, second, pending) == [True] * 3
        digest = new_digest()
        found = await world.store.replace(second.digest, digest, Method.TOTP, SYSTEM)
        assert found.snapshot == await world.snapshot(digest)
        assert (found.at, found.delta) == (world.clock.now(), world.store.delta), "what it ended, it says since when"
        assert found.snapshot.token_state is TokenState.CURRENT
        assert {await world.reason(old) for old in (first, second, pending)} == {Reason.SUPERSEDED}
        assert (await world.snapshot(second)).token_since == world.clock.now()
        assert await world.denied(digest) is None

    async def test_replace_leaves_theft_what_it_is(self, world: World) -> None:
        """A predecessor beyond its grace did not count any more: it stays `replayed`."""
        first = await world.sign_in(await world.person())
        second = await world.rotate(first)
        world.clock.advance(GRACE)
        await world.replace(second)
        assert await world.reason(first) is Reason.REPLAYED

    @pytest.mark.parametrize("how", ["replace", "keep"])
    async def test_after_an_event_the_next_successor_is_a_new_one(self, world: World, how: str) -> None:
        """A salt that was offered before the event derives nothing after it."""
        alice = await world.person()
        held = await world.sign_in(alice)
        assert await world.store.offer(held.digest, new_digest(), new_digest())
        if how == "replace":
            new = await world.replace(held)
        else:
            new = Holder(new_digest(), held.session)
            await world.store.end(End(uid=alice.uid, cause="password", keep=held.id, keep_digest=new.digest))
        salt, successor = new_digest(), new_digest()
        assert await world.store.offer(new.digest, salt, successor) == salt
        await world.store.confirm(successor)
        assert await world.alive(held, new, successor) == [False, True, True]
        assert (await world.snapshot(successor)).token_state is TokenState.CURRENT

    async def test_replace_resets_both_limits(self, world: World) -> None:
        """63B-4 5.2: reauthentication resets both; 2.2.3: the overall one, by all that makes up the assurance."""
        held = await world.sign_in(await world.person())
        began = world.clock.now()
        world.clock.advance(HOUR / 2)
        held = await world.replace(held, Method.PASSWORD)
        now = renewed = world.clock.now()
        session = (await world.snapshot(held)).session
        assert (session.last_seen, session.expires, session.rotated) == (now, now + DAY, now)
        assert session.proved == now > began
        for method, since in ((Method.TOTP, renewed), (Method.TOTP, renewed), (Method.PASSWORD, None)):
            world.clock.advance(HOUR / 2)
            before, now = world.clock.now() - HOUR / 2, world.clock.now()
            held = await world.replace(held, method)
            session = (await world.snapshot(held)).session
            assert {event.method for event in session.authentications} == {Method.PASSWORD, Method.TOTP}
            assert (session.assurance, session.authenticated, session.last_seen) == (2, now, now)
            assert (session.proved, session.expires) == (since or before, (since or before) + DAY)
        assert (session.id, session.generation, session.created) == (held.id, 4, began)
        assert "session.elevated" in await world.happened(session=held.id)

    async def test_replace_without_a_method(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(HOUR / 2)
        new = await world.replace(held, None)
        session = (await world.snapshot(new)).session
        assert session.authentications == held.session.authentications
        assert (session.expires, session.generation) == (held.session.expires, 1)
        assert await world.reason(held) is Reason.SUPERSEDED
        assert "session.rotated" in await world.happened(session=held.id)

    async def test_of_two_racing_replacements_the_second_wins(self, world: World) -> None:
        """Review 18."""
        held = await world.sign_in(await world.person())
        first = await world.replace(held)
        world.clock.advance(GRACE - TICK)
        second = await world.replace(held)
        assert await world.alive(held, first, second) == [False, False, True]
        assert await world.reason(first) is Reason.SUPERSEDED
        world.clock.advance(GRACE + TICK)
        with pytest.raises(Conflict) as refused:
            await world.replace(held)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is Reason.SUPERSEDED
        assert await world.denied(second) is None

    async def test_replace_by_who_holds_no_token_that_counts(self, world: World) -> None:
        first = await world.sign_in(await world.person())
        second = await world.rotate(first)
        world.clock.advance(GRACE)
        before = await world.everything(first, second)
        for digest, reason in ((first.digest, Reason.REPLAYED), (new_digest(), Reason.UNKNOWN)):
            fresh = new_digest()
            with pytest.raises(Conflict) as refused:
                await world.store.replace(digest, fresh, Method.TOTP, SYSTEM)
            assert refused.value.denied is not None
            assert refused.value.denied.reason is reason
            assert await world.store.read(fresh) is None
        assert await world.everything(first, second) == before

    async def test_replace_by_a_predecessor_within_its_grace(self, world: World) -> None:
        first = await world.sign_in(await world.person())
        second = await world.rotate(first)
        new = await world.replace(first)
        assert await world.alive(first, second, new) == [False, False, True]

    @pytest.mark.parametrize("how", ["ended", "idle", "disabled", "everyone", "principal", "superseded"])
    async def test_replace_of_what_is_over(self, world: World, how: str) -> None:
        alice = await world.person()
        held = await world.sign_in(alice)
        reason = Reason.REVOKED
        match how:
            case "ended":
                await world.end(held)
            case "idle":
                world.clock.advance(HOUR)
                reason = Reason.IDLE
            case "disabled":
                await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
                reason = Reason.DISABLED
            case "everyone":
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
            case "principal":
                await world.store.end(End(uid=alice.uid, cause="password"))
            case _:
                await world.replace(held)
                await world.end(held)
        before = await world.everything(held)
        with pytest.raises(Conflict) as refused:
            await world.replace(held)
        assert refused.value.denied is not None
        assert refused.value.denied.reason is reason
        assert await world.everything(held) == before

    # --- touch ----------------------------------------------------------------------------------------------

    async def test_touch_moves_the_idle_limit_and_no_other(self, world: World) -> None:
        """63B-4 5.2: activity resets inactivity only."""
        held = await world.sign_in(await world.person())
        world.clock.advance(HOUR - TICK)
        await world.store.touch({held.id: world.clock.now()})
        found = (await world.snapshot(held)).session
        assert (found.last_seen, found.expires) == (world.clock.now(), held.session.expires)
        world.clock.advance(HOUR - TICK)
        assert await world.denied(held) is None
        world.clock.advance(TICK)
        assert await world.reason(held) is Reason.IDLE

    async def test_touch_moves_forward_only(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        world.clock.advance(10 * MINUTE)
        seen = world.clock.now()
        await world.store.touch({held.id: seen})
        await world.store.touch({held.id: seen - MINUTE})
        assert (await world.snapshot(held)).session.last_seen == seen
        world.clock.advance(10 * MINUTE)
        await world.store.touch({held.id: seen + MINUTE})
        assert (await world.snapshot(held)).session.last_seen == seen + MINUTE, "when it was, not when it came"

    async def test_touch_never_makes_a_limit_late(self, world: World) -> None:
        """An instant that the store's clock has not reached counts as now, at most."""
        held = await world.sign_in(await world.person())
        await world.store.touch({held.id: world.clock.now() + DAY})
        world.clock.advance(HOUR)
        assert await world.reason(held) is Reason.IDLE

    @pytest.mark.parametrize("how", ["ended", "idle", "disabled", "principal", "everyone"])
    async def test_touch_revives_nothing(self, world: World, how: str) -> None:
        """Review 13: a late flush of coalesced touches comes after the end."""
        alice = await world.person()
        held, other = await world.sign_in(alice), await world.sign_in(await world.person("bob"))
        world.clock.advance(30 * MINUTE)
        seen = world.clock.now()
        match how:
            case "ended":
                await world.end(held)
            case "idle":
                await world.store.touch({other.id: seen})
                world.clock.advance(30 * MINUTE)
            case "disabled":
                await world.store.end(End(uid=alice.uid, status=Status.DISABLED, cause="off"))
            case "principal":
                await world.store.end(End(uid=alice.uid, cause="password"))
            case _:
                await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="all"))
        before = await world.everything(held)
        await world.store.touch({held.id: seen})
        assert await world.everything(held) == before

    async def test_touch_for_an_act_that_came_after_the_end(self, world: World) -> None:
        """Nor does one whose act the store's state of that instant would have denied."""
        held = await world.sign_in(await world.person())
        world.clock.advance(2 * HOUR)
        await world.store.touch({held.id: world.clock.now() - MINUTE})
        assert await world.reason(held) is Reason.IDLE

    async def test_touch_of_many_at_once(self, world: World) -> None:
        """One that has ended, or never was, does not keep the others back."""
        alice = await world.person()
        held = [await world.sign_in(alice) for _ in range(3)]
        await world.end(held[1])
        world.clock.advance(MINUTE)
        now = world.clock.now()
        nobody = "ses_" + "0" * 27
        await world.store.touch({nobody: now, **{each.id: now for each in held}})
        assert [(await world.info(each)).last_seen == now for each in held] == [True, False, True]
        await world.store.touch({})

    async def test_touch_writes_no_event(self, world: World) -> None:
        held = await world.sign_in(await world.person())
        before = await world.events()
        await world.store.touch({held.id: world.clock.now()})
        assert await world.events() == before
