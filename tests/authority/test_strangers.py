"""Review 13: unknown tokens are throttled per network before the store is asked."""

from __future__ import annotations

from datetime import timedelta

from sessile import Authority, Client, Reason
from sessile.kernel.decide import Denied
from sessile.kernel.token import TokenKind, new_token
from sessile.strangers import A_SECOND, BURST, network
from sessile.testing import ManualClock

HERE, THERE = Client(ip="192.0.2.1"), Client(ip="192.0.2.2")


async def reason(authority: Authority, client: Client | None) -> Reason:
    denied = await authority.check(new_token(TokenKind.BROWSER, "0"), client=client)
    assert isinstance(denied, Denied)
    return denied.reason


async def test_a_network_that_guesses_has_to_wait() -> None:
    clock = ManualClock()
    async with Authority("memory:", clock=clock) as authority:
        issued = await authority.begin("alice", method="password", client=HERE)
        assert await authority.check(issued.token, client=HERE)
        assert {await reason(authority, HERE) for _ in range(BURST)} == {Reason.UNKNOWN}
        assert await reason(authority, HERE) is Reason.UNAVAILABLE  # asked to wait; nobody is signed out
        assert await authority.check(issued.token, client=HERE)  # who is known is let in from memory
        assert await reason(authority, THERE) is Reason.UNKNOWN
        clock.advance(timedelta(seconds=1))
        assert [await reason(authority, HERE) for _ in range(A_SECOND)] == [Reason.UNKNOWN] * A_SECOND
        assert await reason(authority, HERE) is Reason.UNAVAILABLE


async def test_without_an_address_nobody_waits() -> None:
    async with Authority("memory:") as authority:
        assert {await reason(authority, None) for _ in range(BURST + 5)} == {Reason.UNKNOWN}


def test_an_address_stands_for_its_network() -> None:
    assert network("2001:db8::1") == network("2001:db8::2") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1")
    assert network("a socket") is network(None) is None
