"""What tests of the authority ask again and again, in one line each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

from sessile import Active, Authority, Client, Denied, Issued, Policy, Reason
from sessile.kernel.event import Event
from sessile.stores.protocol import Credential

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
"""The smallest step of an instant: one before a limit is in time, at the limit is over."""

LAPTOP = Client(ip="192.0.2.1", user_agent="Firefox on a laptop")
PHONE = Client(ip="198.51.100.7", user_agent="Safari on a phone")


async def active(authority: Authority, token: str, **ask: Any) -> Active:
    """The check of a token that has to let in."""
    result = await authority.check(token, **ask)
    assert isinstance(result, Active), result
    return result


async def cached(authority: Authority, token: str, **ask: Any) -> Active:
    """A token that is answered from the near cache from now on.

    Twice: a fill that raced with an invalidation is refused, and a store may tell of one at the first check after it.
    """
    await active(authority, token, **ask)
    await active(authority, token, **ask)
    found = authority.peek(token, **ask)
    assert found is not None, "not in the near cache"
    return found


async def denied(authority: Authority, token: str, **ask: Any) -> Denied:
    """The check of a token that must not let in; neither may the cached path."""
    assert authority.peek(token, **ask) is None
    result = await authority.check(token, **ask)
    assert isinstance(result, Denied), result
    assert authority.peek(token, **ask) is None
    return result


async def reason(authority: Authority, token: str, **ask: Any) -> Reason | None:
    """Why a check denies; None: it lets in."""
    result = await authority.check(token, **ask)
    return result.reason if isinstance(result, Denied) else None


async def reasons(authority: Authority, issued: Iterable[Issued]) -> list[Reason | None]:
    return [await reason(authority, each.token) for each in issued]


async def rules(authority: Authority, **changes: Any) -> Policy:
    """Put AAL2's limits with changes in force, for everybody and at once."""
    stored = await authority.store.policy("default")
    assert stored is not None
    policy = Policy.aal2(version=stored.version + 1, **changes)
    await authority.set_policy(policy)
    return policy


async def events(authority: Authority) -> list[Event]:
    """The whole audit record, in order."""
    found: list[Event] = []
    while page := await authority.store.events(after=found[-1].seq if found else 0, limit=500):
        found += page
    return found


async def happened(authority: Authority) -> list[str]:
    return [event.name.value for event in await events(authority)]


async def password(authority: Authority, name: str, value: bytes = b"another") -> Credential:
    return Credential(uid=(await authority.principal(name)).uid, kind="password", value=value)


def in_one_loop(story: Callable[[Callable[[Coroutine[Any, Any, Any]], Any]], None]) -> None:
    """Run a story that draws its steps from Hypothesis, which knows no coroutines: it gets a `run`."""
    with asyncio.Runner() as runner:
        story(runner.run)
