"""What a policy makes of a client that is not the one that a session is bound to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from sessile import Active, Authority, Client, Denied, Issued, Policy, Reason, Requirement, Trait
from sessile.kernel.decide import network_of
from sessile.kernel.event import SYSTEM, Event, EventName
from sessile.kernel.policy import Mismatch
from sessile.testing import ManualClock

HOME = Client(ip="192.0.2.7", user_agent="Firefox")
NEAR = Client(ip="192.0.2.99", user_agent="Firefox")
AWAY = Client(ip="203.0.113.9", user_agent="Firefox")
OTHER = Client(ip="192.0.2.7", user_agent="curl")
KEYED = msgspec.structs.replace(HOME, device_key="key")
FORGED = msgspec.structs.replace(HOME, device_key="other")
NETWORK_AND_AGENT = frozenset({Trait.NETWORK, Trait.USER_AGENT})


async def bind(authority: Authority, mismatch: Mismatch, traits: frozenset[Trait] = NETWORK_AND_AGENT) -> None:
    stored = await authority.store.policy("default")
    assert stored is not None
    changes = {"version": stored.version + 1, "idle": timedelta(hours=2)}
    await authority.set_policy(Policy.aal2(**changes, binding=traits, mismatch=mismatch))


async def told(authority: Authority) -> Sequence[Event]:
    return await authority.store.events(names=[EventName.SESSION_MISMATCH])


@pytest.mark.requirement("ASVS V8.2.4", "63B-4 5.3-a")
class TestMismatch:
    async def test_refused_where_it_is_another_and_going_on_where_it_was(self, authority: Authority) -> None:
        await bind(authority, Mismatch.REFUSE)
        issued = await authority.begin("alice", client=HOME)
        for _ in range(2):  # by the store, then from memory
            assert await authority.check(issued.token, client=HOME)
            assert await authority.check(issued.token, client=NEAR), "of the same network"
            for other in (AWAY, OTHER, None):
                denied = await authority.check(issued.token, client=other)
                assert isinstance(denied, Denied)
                assert (denied.reason, denied.cure) == (Reason.UNBOUND, "sign_in")
        assert [event.details["traits"] for event in await told(authority)] == [
            ["network"], ["user_agent"], ["user_agent", "network"],
        ]  # fmt: skip

    async def test_noted_and_let_in(self, authority: Authority, clock: ManualClock) -> None:
        """An event for each other client, and again after an hour, not for each request."""
        await bind(authority, Mismatch.NOTE)
        issued = await authority.begin("alice", client=HOME)
        for _ in range(3):
            for client in (HOME, AWAY):
                assert await authority.check(issued.token, client=client)
        (event,) = await told(authority)
        assert (event.principal, event.session, event.by.client) == ("alice", issued.active.session.id, AWAY)
        assert event.details == {"traits": ["network"], "then": "note"}
        clock.advance(timedelta(minutes=59))
        assert await authority.check(issued.token, client=AWAY)
        assert len(await told(authority)) == 1
        clock.advance(timedelta(minutes=1))
        assert await authority.check(issued.token, client=AWAY)
        assert len(await told(authority)) == 2

    async def test_a_proof_binds_to_the_other_client(self, authority: Authority) -> None:
        await bind(authority, Mismatch.STEP_UP)
        issued = await authority.begin("alice", client=HOME)
        denied = await authority.check(issued.token, client=AWAY)
        assert isinstance(denied, Denied)
        assert (denied.reason, denied.cure, denied.cause) == (Reason.STALE_AUTHENTICATION, "step_up", "unbound")
        assert await authority.check(issued.token, client=HOME), "where it was it goes on"
        proof = await authority.check(issued.token, client=AWAY, requirement=Requirement(below_policy=True))
        assert isinstance(proof, Active)
        again = await authority.elevate(proof, method="password", client=AWAY)
        assert again.active.session.client == AWAY
        assert await authority.check(again.token, client=AWAY)
        assert not await authority.check(again.token, client=HOME)
        assert (await authority.session(again.active.session.id)).client == AWAY
        assert [event.details["then"] for event in await told(authority)] == ["step_up", "step_up"]

    async def test_ended_for_every_client(self, authority: Authority) -> None:
        await bind(authority, Mismatch.END)
        issued = await authority.begin("alice", client=HOME)
        assert await authority.check(issued.token, client=HOME)
        denied = await authority.check(issued.token, client=AWAY)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.UNBOUND
        for client in (HOME, AWAY):
            denied = await authority.check(issued.token, client=client)
            assert isinstance(denied, Denied)
            assert (denied.reason, denied.cause) == (Reason.REVOKED, "unbound")
        assert len(await told(authority)) == 1

    async def test_what_is_over_is_bound_to_nothing(self, authority: Authority, clock: ManualClock) -> None:
        await bind(authority, Mismatch.END)
        issued = await authority.begin("alice", client=HOME)
        clock.advance(timedelta(hours=2))
        denied = await authority.check(issued.token, client=AWAY)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.IDLE
        assert list(await told(authority)) == []

    async def test_a_policy_that_is_set_later_bites_what_memory_holds(self, authority: Authority) -> None:
        issued = await authority.begin("alice", client=HOME)
        assert await authority.check(issued.token, client=AWAY)
        await bind(authority, Mismatch.REFUSE)
        assert authority.peek(issued.token, client=AWAY) is None
        assert not await authority.check(issued.token, client=AWAY)
        for _ in range(2):
            assert await authority.check(issued.token, client=HOME)
        assert authority.peek(issued.token, client=NEAR) is not None, "the entry carries what it is bound to"
        assert authority.peek(issued.token, client=AWAY) is None


class TestDevice:
    """A stolen token is worth nothing without the key that its browser proves."""

    async def begun(self, authority: Authority, mismatch: Mismatch) -> Issued:
        await bind(authority, mismatch, frozenset({Trait.DEVICE}))
        issued = await authority.begin("alice", client=HOME)
        for _ in range(2):
            assert await authority.check(issued.token, client=HOME), "bound to nothing yet"
        assert authority.peek(issued.token) is not None, "and so a check pays nothing"
        assert await authority.store.bind(issued.active.session.id, "key", SYSTEM)
        assert authority.peek(issued.token, client=HOME) is None, "the answer from before is gone"
        return issued

    async def test_refused_without_the_key_and_going_on_with_it(self, authority: Authority) -> None:
        issued = await self.begun(authority, Mismatch.REFUSE)
        for _ in range(2):  # by the store, then from memory
            for other in (HOME, FORGED, None):
                denied = await authority.check(issued.token, client=other)
                assert isinstance(denied, Denied)
                assert (denied.reason, denied.cure) == (Reason.UNBOUND, "sign_in")
            assert await authority.check(issued.token, client=KEYED)
            assert await authority.check(issued.token, client=Client(ip="203.0.113.9", device_key="key")), "anywhere"
        for other in (HOME, FORGED, None):
            assert authority.peek(issued.token, client=other) is None
        assert authority.peek(issued.token, client=KEYED) is not None
        (bound,) = await authority.store.events(names=[EventName.SESSION_BOUND])
        assert (bound.session, bound.details) == (issued.active.session.id, {"device_key": "key"})
        assert {tuple(event.details["traits"]) for event in await told(authority)} == {("device",)}

    async def test_noted_without_the_key_and_let_in(self, authority: Authority) -> None:
        issued = await self.begun(authority, Mismatch.NOTE)
        for _ in range(3):
            for client in (HOME, KEYED):
                assert await authority.check(issued.token, client=client)
        (event,) = await told(authority)
        assert event.details == {"traits": ["device"], "then": "note"}

    async def test_a_proof_without_the_key_unbinds_it(self, authority: Authority) -> None:
        """The person proved itself: in a browser that cannot bind, or that registers a key of its own afterwards."""
        issued = await self.begun(authority, Mismatch.STEP_UP)
        denied = await authority.check(issued.token, client=HOME)
        assert isinstance(denied, Denied)
        assert (denied.reason, denied.cure, denied.cause) == (Reason.STALE_AUTHENTICATION, "step_up", "unbound")
        assert await authority.check(issued.token, client=KEYED)
        proof = await authority.check(issued.token, client=HOME, requirement=Requirement(below_policy=True))
        assert isinstance(proof, Active)
        again = await authority.elevate(proof, method="password", client=HOME)
        assert again.active.session.client == HOME
        assert await authority.check(again.token, client=HOME)
        assert await authority.store.bind(again.active.session.id, "other", SYSTEM)
        assert not await authority.check(again.token, client=HOME)
        assert await authority.check(again.token, client=FORGED)

    async def test_a_proof_with_the_key_keeps_it(self, authority: Authority) -> None:
        issued = await self.begun(authority, Mismatch.STEP_UP)
        proof = await authority.check(issued.token, client=KEYED)
        assert isinstance(proof, Active)
        again = await authority.elevate(proof, method="password", client=KEYED)
        assert again.active.session.client == KEYED
        assert not await authority.check(again.token, client=HOME)

    async def test_ended_without_the_key(self, authority: Authority) -> None:
        issued = await self.begun(authority, Mismatch.END)
        assert await authority.check(issued.token, client=KEYED)
        denied = await authority.check(issued.token, client=HOME)
        assert isinstance(denied, Denied)
        assert denied.reason is Reason.UNBOUND
        denied = await authority.check(issued.token, client=KEYED)
        assert isinstance(denied, Denied)
        assert (denied.reason, denied.cause) == (Reason.REVOKED, "unbound")
        assert not await authority.store.bind(issued.active.session.id, "key", SYSTEM)

    async def test_a_session_begins_bound_to_nothing_whatever_its_client_shows(self, authority: Authority) -> None:
        await bind(authority, Mismatch.REFUSE, frozenset({Trait.DEVICE}))
        issued = await authority.begin("alice", client=KEYED)
        assert issued.active.session.client == HOME
        assert await authority.check(issued.token, client=HOME)


def test_a_network() -> None:
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.200") == "192.0.2.0/24"
    assert network_of("2001:db8:1:2::3") == network_of("2001:db8:1:ffff::") == "2001:db8:1::/48"
    assert network_of("2001:db8:2::") != network_of("2001:db8:1::")
    assert [network_of(wrong) for wrong in (None, "", "here", "192.0.2.7:80")] == [None] * 4
