"""Token revocation by RFC 7009: over HTTP, against a server that speaks it, and against our own."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessile import Authority
from sessile.kernel.lease import Outcome
from sessile.nhi.connector import ConnectorFailed
from sessile.nhi.connectors.oauth import OAuth
from sessile.testing import ManualClock
from tests.nhi.connectors.authorization_server import CLIENT, SECRET, AuthorizationServer
from tests.nhi.outside import leases, operator
from tests.program import Program


@pytest.fixture
def server() -> Iterator[AuthorizationServer]:
    running = AuthorizationServer()
    yield running
    running.close()


def jwt(exp: float) -> str:
    parts = [{"alg": "RS256"}, {"sub": "alice", "exp": exp}]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), "sig"]
    )


async def test_a_token_is_revoked_and_the_server_told_which(server: AuthorizationServer) -> None:
    server.tokens |= {"one", "two"}
    outside = OAuth(server.url, CLIENT, SECRET)
    assert await outside.revoke("one") is None
    assert await outside.revoke("refresh_token:two") is None
    assert await outside.revoke("one") is None, "not found is success"
    assert (server.tokens, server.hints) == (set(), [None, "refresh_token", None])
    described = await outside.describe("refresh_token:two")
    assert described.shown.startswith("refresh token ")
    assert "two" not in described.shown
    public = OAuth(server.url, "public", None)
    assert await public.revoke("one") is None
    await outside.close()
    await public.close()


async def test_a_jwt_lives_to_its_exp_where_nobody_asks(server: AuthorizationServer, tmp_path: Path) -> None:
    clock = ManualClock()
    until = (clock.now() + timedelta(hours=1)).replace(microsecond=0)
    token = jwt(until.timestamp())
    server.tokens.add(token)
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        held = leases(authority, idp=OAuth(server.url, CLIENT, SECRET))
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="idp", handle=token)
        assert lease.info.expires == until
        # The wall clock of the machine is past it, or before it: the test's clock is what the outbox goes by.
        await authority.contain(session=alice.active.session.id, cause="stolen")
        await held.work()
        assert server.tokens == set()
        assert (await held.show(lease.info.id)).until == until
        await held.close()


async def test_a_jwt_is_over_at_once_where_resource_servers_ask(server: AuthorizationServer) -> None:
    far = 4_000_000_000
    outside = OAuth(server.url, CLIENT, SECRET)
    lives = await outside.revoke(jwt(far))
    assert lives is not None
    assert lives.timestamp() == far
    asking = OAuth(server.url, CLIENT, SECRET, introspected=True)
    assert await asking.revoke(jwt(far)) is None
    assert await outside.revoke(jwt(1)) is None
    assert (await outside.describe("a.b.c")).until is None
    await outside.close()
    await asking.close()


async def test_refusals_name_the_cure_and_no_secret(server: AuthorizationServer) -> None:
    wrong = OAuth(server.url, CLIENT, "hunter2")
    with pytest.raises(ConnectorFailed, match="check client_id and client_secret") as told:
        await wrong.probe()
    assert "hunter2" not in str(told.value)
    outside = OAuth(server.url, CLIENT, SECRET)
    await outside.probe()
    with pytest.raises(ConnectorFailed, match="unsupported_token_type"):
        await outside.revoke("unsupported")
    server.broken = True
    with pytest.raises(ConnectorFailed, match="503"):
        await outside.revoke("one")
    for handle in ("", "refresh_token:", "two words", "line\nbreak", "x" * 20_000):
        with pytest.raises(ValueError, match="the handle is the token"):
            await outside.revoke(handle)
    for url in ("http://idp.example.com/revoke", "https://u:p@idp.example.com/", "ftp://x", "revoke"):
        with pytest.raises(ValueError, match=r"."):
            OAuth(url, CLIENT, SECRET)
    nobody = OAuth("http://127.0.0.1:9/revoke", CLIENT, SECRET)
    with pytest.raises(ConnectorFailed, match="does not answer"):
        await nobody.revoke("one")
    for one in (wrong, outside, nobody):
        await one.close()


async def test_our_own_server_speaks_it(tmp_path: Path) -> None:
    """One installation's key, leased by another: ended there through `/api/v1/revoke`."""
    program = Program(tmp_path)
    program.add("alice")
    minted = program.json(
        "key", "mint", "--owner", "service:ci", "--by", "alice", "--scope", "read", "--password-stdin",
        input="orange boats at noon\n",
    )  # fmt: skip
    with program.started("serve", "--port", "0") as running:
        outside = OAuth(f"{running.url}/api/v1/revoke", "console", None)
        async with Authority("memory:") as authority:
            held = leases(authority, other=outside)
            lease = await held.register((await operator(authority)).active, connector="other", handle=minted["token"])
            await authority.revoke(session=lease.info.id, cause="done")
            assert await held.work() == 1
            assert (await held.show(lease.info.id)).outcome is Outcome.ENDED
            await held.close()
    (key,) = await asyncio.to_thread(program.items, "key", "list", "--ended")
    assert key["live"] is False
