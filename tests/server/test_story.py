"""One session's page in the console: what a request would be told, and what became of it."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.server.conftest import LAPTOP, World

HOUR = timedelta(hours=1)


def said(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_the_story_of_a_session(world: World) -> None:
    olga = await world.browser("olga", operator=True)
    issued = await world.authority.begin("alice", method="password", client=LAPTOP)
    given = await world.authority.delegate(issued.active, to="agent:deploy", scopes=set(), label="night run")
    path = f"/console/sessions/{issued.active.session.id}"

    # From the principal's page, by its link.
    assert f'href="{path}"' in (await olga.get("/console/principals/alice")).text
    live = said((await olga.get(path)).text)
    assert "It would be let in." in live
    assert "in 1 hour if nobody acts in it" in live
    assert "Firefox on Linux, 192.0.2.7" in live
    assert "night run" in live
    assert "Ends after 1 hour without activity." in live

    await world.authority.revoke(session=issued.active.session.id, cause="laptop stolen")
    over = said((await olga.get(path)).text)
    assert "It would be denied: revoked." in over
    assert "It was ended just now by Sessile: laptop stolen." in over
    assert "Session ended by Sessile: laptop stolen" in over
    assert "Nothing alive" in over
    # What hung on it says so, and leads there.
    child = await olga.get(f"/console/sessions/{given.active.session.id}")
    assert "It went with Firefox on Linux of alice, which it hung on." in said(child.text)
    assert f'href="{path}"' in child.text


async def test_what_time_and_epochs_end_is_explained(world: World) -> None:
    idle = await world.authority.begin("alice", method="password")
    world.clock.advance(HOUR)
    olga = await world.browser("olga", operator=True)
    page = said((await olga.get(f"/console/sessions/{idle.active.session.id}")).text)
    assert "Nobody acted in it for as long as its policy allows" in page
    ended = await world.authority.begin("alice", method="password")
    await world.authority.revoke(principal="alice", cause="stolen")
    page = said((await olga.get(f"/console/sessions/{ended.active.session.id}")).text)
    assert "It would be denied: revoked." in page
    assert "alice" in page
    out = await world.authority.begin("alice", method="password")
    await world.authority.disable("alice", cause="left")
    page = said((await olga.get(f"/console/sessions/{out.active.session.id}")).text)
    assert "It would be denied: disabled. alice is disabled." in page


async def test_the_story_is_for_operators(world: World) -> None:
    alice = await world.browser("alice")
    issued = await world.authority.begin("bob", method="password")
    assert (await alice.get(f"/console/sessions/{issued.active.session.id}")).status_code == 403
    olga = await world.browser("olga", operator=True)
    missing = issued.active.session.id[:-1] + ("x" if issued.active.session.id[-1] != "x" else "y")
    assert (await olga.get(f"/console/sessions/{missing}")).status_code == 404
