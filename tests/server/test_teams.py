"""Teams, and who answers for services and agents, in the console: with forms alone."""

from __future__ import annotations

from sessile.kernel.principal import PrincipalKind
from tests.server.conftest import MINUTE, World


async def test_teams_are_made_and_changed_by_forms(world: World) -> None:
    olivia = await world.browser("olivia", operator=True)
    for name in ("alice", "bob"):
        await world.person(name)
    page = (await olivia.get("/console/teams")).text
    assert "No teams yet" in page
    made = await olivia.submit("/console/teams", name="Platform", members="alice, nobody-there")
    assert made.status_code == 422
    assert "nobody-there" in made.text
    assert 'value="Platform"' in made.text
    made = await olivia.submit("/console/teams", name="a b", members="")
    assert made.status_code == 422
    made = await olivia.submit("/console/teams", name="Platform", members="alice")
    assert (made.status_code, made.headers["location"]) == (303, "/console/teams/team%3Aplatform")
    again = await olivia.submit("/console/teams", name="platform", members="")
    assert (again.status_code, "already" in again.text) == (422, True)

    team = "/console/teams/team:platform"
    joined = await olivia.submit(f"{team}/join", page=team, member="bob")
    assert joined.status_code == 303
    assert "bob is in the team." in (await olivia.get(team)).text
    assert (await olivia.submit(f"{team}/join", page=team, member="service:x")).status_code == 422
    await world.authority.register("service:ci", owner="team:platform", purpose="builds")
    assert (await olivia.submit(f"{team}/leave", page=team, leaves="bob")).status_code == 303
    last = await olivia.submit(f"{team}/leave", page=team, leaves="alice")
    assert (last.status_code, "let somebody join, or hand over" in last.text) == (422, True)
    assert "Delete the team" not in (await olivia.get(team)).text
    assert "team:platform" in (await olivia.get("/console/principals/alice")).text
    assert "/console/teams/team%3Aplatform" in (await olivia.get("/console/inventory")).text
    only = (await olivia.get("/console/inventory", params={"owner": "Team:Platform"})).text
    assert ("service:ci" in only, (await olivia.get("/console/inventory?owner=team:")).status_code) == (True, 404)
    disable = "/console/principals/alice/disable"
    assert "Nobody else answers for service:ci." in (await olivia.get(disable)).text
    receipt = (await olivia.submit(disable, cause="left")).text
    assert "Nobody answers for these now" in receipt
    assert "/console/principals/service%3Aci/change" in receipt
    assert "Nobody in it is active" in (await olivia.get(team)).text
    assert "NHI1" in (await olivia.get("/console/teams")).text

    # Who answers for it is changed on its page, which asks for a fresh proof and keeps what was typed.
    change = "/console/principals/service%3Aci/change"
    assert 'value="team:platform"' in (await olivia.get(change)).text
    refused = await olivia.submit(change, owner="team:platform2", purpose="builds")
    assert (refused.status_code, "There is no team:platform2" in refused.text) == (422, True)
    assert (await olivia.submit(change, owner="alice", purpose="builds")).status_code == 422
    token = await olivia.form_token(change)
    world.clock.advance(6 * MINUTE)
    stale = await olivia.post(change, data={"owner": "bob", "purpose": "builds", "form_token": token})
    assert (stale.status_code, stale.headers["location"]) == (303, "/account/step-up")
    assert 'value="bob"' in (await olivia.get(change)).text
    olivia = await world.browser("olivia")
    done = await olivia.submit(change, owner="bob", purpose="builds more")
    assert done.status_code == 303
    one = await world.authority.principal("service:ci")
    assert (one.owner, one.purpose) == ((await world.authority.principal("bob")).uid, "builds more")
    assert (await olivia.submit(f"{team}/delete", page=team)).status_code == 303
    assert "team:platform is deleted." in (await olivia.get("/console/teams")).text
    assert (await olivia.get(team)).status_code == 404


async def test_a_service_is_made_with_an_owner_and_a_purpose(world: World) -> None:
    olivia = await world.browser("olivia", operator=True)
    path = "/console/register"
    assert 'value="olivia"' in (await olivia.get(path)).text, "who is named, if nobody else is"
    for fields, said in (
        ({"name": "service:ci", "owner": "olivia", "purpose": " "}, "Say what it is for."),
        ({"name": "service:ci", "owner": "", "purpose": "builds"}, "team:NAME"),
        ({"name": "ci", "owner": "olivia", "purpose": "builds"}, "Begin with service: or agent:"),
        ({"name": "service:ci", "owner": "nobody", "purpose": "builds"}, "There is no nobody"),
        ({"name": "service:ci", "owner": "olivia", "purpose": "x" * 501}, "at most 500 characters"),
    ):
        answer = await olivia.submit(path, **fields)
        assert (answer.status_code, said in answer.text) == (422, True), fields
    done = await olivia.submit(path, name="service:ci", owner="olivia", purpose="builds")
    assert done.headers["location"] == "/console/principals/service%3Aci"
    assert (await olivia.submit(path, name="service:ci", owner="olivia", purpose="x")).status_code == 422
    made = await world.authority.principal("service:ci")
    assert (made.kind, made.purpose) == (PrincipalKind.SERVICE, "builds")
    assert (await olivia.get("/console/principals/olivia/change")).status_code == 404
    carol = await world.browser("carol")
    for page in (path, "/console/teams", "/console/principals/service:ci/change"):
        assert (await carol.get(page)).status_code == 403
