"""Keys that are rotated with an overlap, theft of one that was rotated out, and where keys are used from."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sessile import Authority, Client, Conflict, NotFound, Reason, Refused, SessionKind
from sessile.kernel.event import EventName
from sessile.testing import ManualClock
from tests.authority.asking import DAY, HOUR, LAPTOP, MINUTE, TICK, cached, events, reason, reasons

RUNNER = Client(ip="203.0.113.9", user_agent="curl/8", label="curl")


@pytest.mark.requirement("NHI7")
async def test_two_keys_count_during_the_handover_and_the_old_one_is_theft_after_it(
    authority: Authority, clock: ManualClock
) -> None:
    """The stolen old key takes its subtree with it; its siblings, the new key among them, stay."""
    alice = await authority.begin("alice")
    old = await authority.mint_key(alice.active, owner="service:ci", scopes={"build", "read"}, lifetime=30 * DAY)
    sibling = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    below = await authority.delegate(old.active, to="agent:runner", scopes={"build"})
    await cached(authority, old.token)
    clock.advance(MINUTE)
    new = await authority.rotate_key(alice.active, old.active.session.id, overlap=HOUR)
    session = new.active.session
    assert (session.principal, session.scopes, session.origin) == (
        "service:ci", old.active.session.scopes, alice.active.session.id,
    )  # fmt: skip
    assert session.expires - session.created == 30 * DAY
    assert await reasons(authority, [old, new, sibling, below]) == [None] * 4
    assert (await authority.session(old.active.session.id)).rotated_out

    clock.advance(HOUR - TICK)
    assert await reasons(authority, [old, new, below]) == [None] * 3
    clock.advance(TICK)
    before = len(await events(authority))
    assert await reason(authority, below.token) is Reason.EXPIRED
    assert await reason(authority, old.token, client=RUNNER) is Reason.REPLAYED
    (stolen,) = (await events(authority))[before:]
    assert (stolen.name, stolen.cause, stolen.session) == (
        EventName.SESSION_CONTAINED, "replayed", old.active.session.id,
    )  # fmt: skip
    assert stolen.by.client.ip == RUNNER.ip
    assert await reasons(authority, [old, new, sibling]) == [Reason.REVOKED, None, None]
    assert await reason(authority, below.token) is Reason.REVOKED


async def test_without_overlap_the_old_key_is_over_at_once(authority: Authority) -> None:
    alice = await authority.begin("alice")
    old = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    await cached(authority, old.token)
    new = await authority.rotate_key(alice.active, old.active.session.id, overlap=timedelta(0))
    assert await reasons(authority, [old, new]) == [Reason.REVOKED, None]


async def test_rotating_is_minting(authority: Authority, clock: ManualClock) -> None:
    """The same rules: fresh, one's own service, never wider; never longer than the policy's maximum."""
    alice, bob = await authority.begin("alice"), await authority.begin("bob", scopes={"read"})
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"}, lifetime=80 * DAY)
    id = key.active.session.id
    for active in (bob.active, key.active):
        with pytest.raises(Refused):
            await authority.rotate_key(active, id)
    assert await reason(authority, key.token) is None
    with pytest.raises(NotFound):
        await authority.rotate_key(alice.active, alice.active.session.id)
    with pytest.raises(ValueError, match="negative"):
        await authority.rotate_key(alice.active, id, overlap=-HOUR)
    new = await authority.rotate_key(alice.active, id, lifetime=1000 * DAY)
    assert new.active.session.expires == clock.now() + 90 * DAY
    with pytest.raises(Conflict):
        await authority.rotate_key(alice.active, id)
    clock.advance(6 * MINUTE)
    with pytest.raises(Refused) as stale:
        await authority.rotate_key(alice.active, new.active.session.id)
    assert stale.value.denied.reason is Reason.STALE_AUTHENTICATION


async def test_of_a_key_that_cannot_be_rotated_no_second_one_lives(authority: Authority) -> None:
    alice = await authority.begin("alice")
    key = await authority.mint_key(alice.active, owner="service:ci", scopes={"build"})
    await authority.revoke(session=key.active.session.id, cause="leaked")
    with pytest.raises(Conflict):
        await authority.rotate_key(alice.active, key.active.session.id)
    live = [one for one in await authority.sessions(principal="service:ci") if one.kind is SessionKind.KEY]
    assert live == []


@pytest.mark.requirement("NHI1")
async def test_last_use_and_from_where(tmp_path: Path, clock: ManualClock) -> None:
    url = f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url, clock=clock) as authority:
        alice = await authority.begin("alice", client=LAPTOP)
        used, dormant = [
            await authority.mint_key(alice.active, owner="service:ci", scopes={"x"}, client=LAPTOP) for _ in range(2)
        ]
        clock.advance(2 * HOUR)
        at = clock.now()
        for _ in range(3):
            assert await authority.check(used.token, client=RUNNER)
        assert await authority.check(alice.token, client=LAPTOP) is not None
    async with Authority(url, clock=clock) as authority:
        ids = [each.active.session.id for each in (used, dormant, alice)]
        found = await authority.last_uses(ids)
        assert list(found) == ids[:1], "not the dormant one, and not people's"
        last = found[ids[0]]
        assert (last.last, last.what, last.how) == (at, RUNNER.ip, RUNNER.label)
        assert (await authority.session(ids[0])).last_seen == at
        assert (await authority.session(ids[1])).last_seen < at
