"""A secret scanner's post in GitHub's form: signed, and only then does it end what it names."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.authority.asking import reasons
from tests.program import Program
from tests.server.conftest import Client, World, is_problem, opened

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[no-any-return]


def keys_file(folder: Path) -> Path:
    listed = {
        "k1": pem(KEY),
        "p384": pem(ec.generate_private_key(ec.SECP384R1())),
        "rsa": pem(rsa.generate_private_key(65537, 2048)),
    }
    path = folder / "keys.json"
    path.write_text(
        json.dumps({"public_keys": [{"key_identifier": n, "key": k, "is_current": True} for n, k in listed.items()]})
    )
    return path


async def post(
    client: Client,
    finds: object,
    *,
    key: ec.EllipticCurvePrivateKey = KEY,
    identifier: str = "k1",
    altered: bytes = b"",
) -> httpx.Response:
    body = json.dumps(finds).encode()
    signature = base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()
    headers = {
        "Content-Type": "application/json", "Github-Public-Key-Identifier": identifier,
        "Github-Public-Key-Signature": signature,
    }  # fmt: skip
    return await client.post("/api/v1/secret-scanning", content=body + altered, headers=headers)


@pytest.mark.requirement("NHI2")
async def test_a_signed_report_ends_what_it_names_and_offers_the_origin(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack, secret_scanning=str(keys_file(tmp_path)))
        await world.person("alice")
        alice = await world.authority.begin("alice")
        leaked, kept, agent = (
            await world.authority.mint_key(alice.active, owner="service:ci", scopes={"x"}),
            await world.authority.mint_key(alice.active, owner="service:ci", scopes={"x"}),
            await world.authority.delegate(alice.active, to="agent:a", scopes={"x"}),
        )
        anybody = await world.client()
        finds = [
            {"token": str(one), "type": "sessile_key", "url": "https://example.org/repo/blob/x", "source": "content"}
            for one in (leaked.token, agent.token, "nonsense", leaked.token[:-1] + "yx"[leaked.token[-1] != "x"])
        ]
        for refused in (
            await post(anybody, finds, key=OTHER),
            await post(anybody, finds, identifier="unknown"),
            await post(anybody, finds, identifier="rsa"),
            await post(anybody, finds, altered=b" "),
            await anybody.post("/api/v1/secret-scanning", json=finds),
        ):
            is_problem(refused, 403)
        assert await reasons(world.authority, [leaked, agent, kept]) == [None, None, None]
        answer = await post(anybody, finds)
        assert (answer.status_code, answer.content) == (200, b"")
        said = [str(reason) for reason in await reasons(world.authority, [leaked, agent, kept])]
        assert said == ["revoked", "revoked", "None"]
        is_problem(await post(anybody, {"no": "list"}), 400)

        olivia = await world.signed_in("olivia", operator=True)
        listed = {one["session"]: one for one in (await olivia.get("/api/v1/leaks")).json()["items"]}
        one = listed[leaked.active.session.id]
        assert (one["principal"], one["where"], one["origin"], one["origin_live"]) == (
            "service:ci", "https://example.org/repo/blob/x", alice.active.session.id, True,
        )  # fmt: skip
        events = await world.authority.store.events(session=leaked.active.session.id)
        (found,) = [event for event in events if event.name == "token.leaked"]
        assert found.details["origin"] == alice.active.session.id
        assert str(leaked.token) not in str(events)
        body = {"session": one["origin"], "cause": "leaked a key"}
        assert (await olivia.post("/api/v1/containments", json=body)).json()["radius"]["ends"]["key"] == 1
        is_problem(await (await world.signed_in("bob")).get("/api/v1/leaks"), 403)


async def test_who_ends_a_found_key_is_told_to_operators_too(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world: World = await opened(tmp_path, stack)
        alice = await world.authority.begin("alice")
        key = await world.authority.mint_key(alice.active, owner="service:ci", scopes={"x"})
        anybody = await world.client()
        assert (await anybody.post("/api/v1/revoke", data={"token": key.token})).status_code == 200
        (one,) = await world.authority.leaks()
        assert (one.session, one.reporter, one.origin) == (
            key.active.session.id, "its holder", alice.active.session.id,
        )  # fmt: skip
        is_problem(await post(anybody, []), 404)
    program = Program(tmp_path)
    listed = await asyncio.to_thread(program.items, "key", "leaks", "--since", "36500d")
    assert [each["session"] for each in listed] == [one.session]
    said = await asyncio.to_thread(program.ok, "key", "leaks", "--since", "36500d")
    assert f"sessile contain --session {one.origin} --dry-run" in said
