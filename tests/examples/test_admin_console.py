"""The admin console on two nodes with a real Valkey between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from sessile import Authority
from tests.engines_redis import server, valkey_binary
from tests.examples.conftest import PASSWORD, opened, sign_in

KEY = bytes(range(32))


@pytest.fixture
async def nodes(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> AsyncIterator[tuple[Callable[[], httpx.AsyncClient], ...]]:
    """Two of them, each with an authority of its own; they make browsers."""
    module = example("admin_console")
    with server(valkey_binary(), tmp_path / "engine") as engine:
        async with AsyncExitStack() as stack:
            apps = [
                module.make_app(
                    Authority(f"{engine.url}/0", directory=f"sqlite:///{tmp_path}/directory.db", policy=module.POLICY),
                    PASSWORD,
                    KEY,
                    node,
                )
                for node in ("one", "two")
            ]
            yield tuple([await stack.enter_async_context(opened(app)) for app in apps])


@pytest.mark.requirement("ASVS V7.4.2", "ASVS V7.4.5")
async def test_who_is_disabled_at_one_node_is_out_at_the_other(
    nodes: tuple[Callable[[], httpx.AsyncClient], ...],
) -> None:
    one, two = nodes
    olga, carol, dan = one(), two(), two()
    await sign_in(olga, "olga")
    for browser, name in ((carol, "carol"), (dan, "dan")):
        assert "Your consoles" in (await sign_in(browser, name)).text
        for _ in range(3):  # answered from this node's memory by now
            assert (await browser.get("/")).url.path == "/"
    assert (await carol.post("/people/dan/disable", data={"cause": "spite"})).status_code == 403

    receipt = await olga.post("/people/carol/disable", data={"cause": "left the company"})
    assert "carol is out" in receipt.text
    out = await carol.get("/")  # the very next request
    assert (out.status_code, "This account is disabled" in out.text) == (401, True)
    assert (await sign_in(carol, "carol")).status_code == 401
    assert (await dan.get("/")).url.path == "/"

    assert "carol: disabled, 0 live" in (await olga.get("/")).text
    await olga.post("/people/carol/enable")
    assert (await carol.get("/")).url.path == "/login"  # what had ended stays ended
    assert "Your consoles" in (await sign_in(carol, "carol")).text
