"""Known devices by API and by page."""

from __future__ import annotations

import re

from tests.server.conftest import PASSWORD, World, is_problem

SIGN_IN = {"username": "alice", "password": PASSWORD}


async def test_a_device_is_listed_and_forgotten(world: World) -> None:
    await world.person("alice", password=True)
    one, two = await world.client(), await world.client()
    for client in (one, two, two):
        assert (await client.post("/api/v1/session", json=SIGN_IN)).status_code == 201
    items = (await one.get("/api/v1/devices")).json()["items"]
    assert sorted(item["current"] for item in items) == [False, True]
    other = next(item["id"] for item in items if not item["current"])
    bob = await world.signed_in("bob")
    assert (await bob.get("/api/v1/devices")).json()["items"] == []
    is_problem(await bob.delete(f"/api/v1/devices/{other}"), 404)
    assert (await one.delete(f"/api/v1/devices/{other}")).status_code == 204
    is_problem(await one.delete(f"/api/v1/devices/{other}"), 404)
    assert [item["current"] for item in (await one.get("/api/v1/devices")).json()["items"]] == [True]
    assert [item["current"] for item in (await two.get("/api/v1/devices")).json()["items"]] == [False]
    assert (await two.post("/api/v1/session", json=SIGN_IN)).status_code == 201
    names = [event.name.value for event in await world.authority.store.events()]
    assert names.count("device.added") == 3, "it is told as a new one again"
    assert names.count("device.forgotten") == 1


async def test_forgetting_on_the_page(world: World) -> None:
    await world.person("alice", password=True)
    alice = await world.browser("alice")
    await alice.post("/api/v1/session", json=SIGN_IN)
    page = (await alice.get("/account")).text
    assert "This device" in page
    (action,) = re.findall(r"/account/devices/dev_[0-9a-z]+/forget", page)
    token = re.search(r'name="form_token" value="([^"]+)"', page)
    assert token is not None
    assert (await alice.post(action, data={"form_token": token[1]})).headers["location"] == "/account"
    page = (await alice.get("/account")).text
    assert "Forgotten." in page
    assert "No device is known" in page
