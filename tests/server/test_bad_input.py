"""Whatever comes in: 4xx with problem details, nothing lost, never a 500."""

from __future__ import annotations

import inspect
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessile.server import models
from tests.server.conftest import BROWSER, COOKIE, Client, World, is_problem, opened

JSON_ROUTES = [
    ("POST", "/api/v1/session"), ("POST", "/api/v1/session/step-up"), ("PUT", "/api/v1/password"),
    ("POST", "/api/v1/principals"), ("PATCH", "/api/v1/principals/alice"), ("POST", "/api/v1/revocations"),
    ("POST", "/api/v1/delegations"), ("POST", "/api/v1/keys"),
]  # fmt: skip

BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "no JSON": (b"username=alice", 400),
    "half": (b'{"username": "al', 400),
    "a bomb of brackets": (b"[" * 60_000, 400),
    "a bomb of objects": (b'{"a":' * 8_000 + b"1" + b"}" * 8_000, 400),
    "a number of 5,000 digits": (b'{"username": ' + b"9" * 5000 + b"}", 400),
    "an infinite number": (b'{"username": 1e999}', 422),
    "not a number": (b"NaN", 422),
    "bytes that are no text": (b'{"username": "\xff\xfe"}', 400),
    "half of a pair": (b'{"username": "\\ud800", "password": "\\udfff"}', 422),
    "a null": (b"null", 422),
    "a list": (b"[]", 422),
    "wrong types": (b'{"username": [], "password": {}}', 422),
    "another's fields": (b'{"username": "a", "password": "b", "role": "operator"}', 422),
    "too much": (b'{"username": "' + b"a" * 70_000 + b'"}', 413),
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
async def test_bodies(world: World, method: str, path: str, what: str) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    body, status = BODIES[what]
    answer = await olivia.request(method, path, content=body, headers={"Content-Type": "application/json"})
    is_problem(answer, status)
    assert len(answer.content) < 3000
    assert (await olivia.get("/api/v1/session")).status_code == 200


@pytest.mark.requirement("ASVS V3.5.2")
@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
async def test_media_types(world: World, method: str, path: str) -> None:
    """A form that another site can send does not pass for JSON, wherever it says it comes from."""
    olivia = await world.signed_in("olivia", operator=True)
    body = json.dumps({"username": "olivia", "password": "x"})
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        is_problem(await olivia.request(method, path, content=body, headers={"Content-Type": kind}), 415)
        foreign = {"Content-Type": kind, "Origin": "https://evil.example"}
        is_problem(await olivia.request(method, path, content=body, headers=foreign), 403)
    is_problem(await olivia.request(method, path, content=body), 415)
    foreign = {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}
    is_problem(await olivia.request(method, path, content=body, headers=foreign), 403)


async def test_a_body_that_does_not_say_how_long_it_is(world: World) -> None:
    client = await world.signed_in("alice")

    async def endless() -> Any:
        while True:
            yield b" " * 8192

    answer = await client.post("/api/v1/keys", content=endless(), headers={"Content-Type": "application/json"})
    is_problem(answer, 413)
    answer = await client.post("/login", content=b"a=" + b"x" * 70_000, headers=BROWSER)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["65537", "99999999999", "9" * 5_000, "-1", "0x10", "1, 1"])
async def test_a_body_that_says_it_is_too_long_is_not_waited_for(world: World, length: str) -> None:
    client = await world.signed_in("alice")

    async def asked_for() -> Any:
        pytest.fail("the body was read")
        yield b""

    headers = {"Content-Type": "application/json", "Content-Length": length}
    is_problem(await client.post("/api/v1/keys", content=asked_for(), headers=headers), 413)


@pytest.mark.requirement("ASVS V7.2.1")
async def test_cookies(world: World) -> None:
    """Review 19: a name that another parser would trim, the name twice, other spellings: none counts."""
    token = (await world.authority.begin("alice")).token.encode()
    name = COOKIE.encode()
    good = name + b"=" + token
    flipped = token[:-1] + (b"A" if token[-1:] != b"A" else b"B")
    for cookie, status in [
        (good, 200), (b"a=b; " + good + b"; c=d", 200), (good + b"; " + good, 400), (b"\x85" + good, 401),
        (b"\xa0" + good, 401), (b"\x1f" + good, 401), (good + b"; \x85" + name + b"=evil", 200),
        (good.replace(b"__Host", b"__host"), 400), (name + b"=" + token[:-1], 401), (name + b"=", 401),
        (name + b"=" + flipped, 401), (name + b"=" + b"\xff" * 50, 400), (name + b"=" + b"x" * 1_000_000, 400),
        (name + b"=" + bytes(range(1, 32)), 400), (b"=" * 1000, 401), (b";" * 10_000, 401), (name, 401),
    ]:  # fmt: skip
        client = await world.client(headers=[(b"Cookie", cookie)])
        answer = await client.get("/api/v1/session")
        assert answer.status_code in ((status,) if status != 401 else (400, 401)), (cookie[:80], answer.text)
        assert "set-cookie" not in answer.headers
        if status != 200:
            is_problem(answer, answer.status_code)


async def test_cookies_that_cannot_be_read_do_not_go_round_in_circles(world: World) -> None:
    token = (await world.authority.begin("alice")).token
    client = await world.client(headers={**BROWSER, "Cookie": f"{COOKIE}={token}; {COOKIE}={token}"})
    answer = await client.get("/account")
    assert answer.status_code == 400
    assert "delete this site" in answer.text


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer slk_x",
        "Basic YTpi",
        "bearer slk_" + "0" * 50,
        "Bearer slk_\xff" + "0" * 49,
    ],
)
async def test_authorizations(world: World, authorization: str) -> None:
    client = await world.client(headers=[(b"Authorization", authorization.encode("latin-1"))])
    answer = await client.get("/api/v1/session")
    is_problem(answer, answer.status_code)
    assert answer.status_code in (400, 401)


async def test_ids_in_paths(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    for text in ("x", "%00", "ses_", "a" * 5000, "ses_" + "i" * 27, "%ff", "a:b", "' OR 1=1 --", "🦑"):
        for path in (
            f"/api/v1/principals/{text}", f"/api/v1/sessions/{text}/tree", f"/api/v1/principals/{text}/sessions",
            f"/console/principals/{text}", f"/console/sessions/{text}/revoke",
        ):  # fmt: skip
            answer = await olivia.get(path)
            assert answer.status_code in (404, 422), path
            is_problem(answer, answer.status_code)


async def test_pages_of_lists(world: World) -> None:
    olivia = await world.signed_in("olivia", operator=True)
    for path in ("/api/v1/sessions", "/api/v1/principals", "/api/v1/keys", "/api/v1/principals/olivia/sessions"):
        for after in ("x", "-1", "9" * 30, "ses_" + "0" * 27, "\x00", "%", "🦑", "a" * 256):
            answer = await olivia.get(path, params={"after": after})
            assert answer.status_code in (200, 422), (path, after, answer.text)
        for query in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"after": "a" * 257}):
            is_problem(await olivia.get(path, params=query), 422)


# -- anything at all ------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
MODELS = inspect.getmembers(models, lambda found: inspect.isclass(found) and issubclass(found, models.Input))
FIELDS = st.sampled_from([field for _, model in MODELS for field in model.model_fields])


@pytest.fixture(scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> Any:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path_factory.mktemp("db"), stack)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(JSON_ROUTES), body=st.dictionaries(FIELDS, ANYTHING, max_size=5) | ANYTHING)
async def test_any_json(lasting: World, route: tuple[str, str], body: Any) -> None:
    method, path = route
    client: Client = await lasting.signed_in("olivia", operator=True)
    answer = await client.request(
        method, path, content=json.dumps(body).encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code < 500
    if answer.status_code >= 400:
        is_problem(answer, answer.status_code)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.sampled_from(["/", "/login", "/account", "/api/v1/session", "/forward-auth", "/api/v1/revoke"]),
    query=st.binary(max_size=40),
    cookie=st.binary(max_size=200),
    origin=st.binary(max_size=40),
    body=st.binary(max_size=200),
)
async def test_any_bytes(
    lasting: World, method: str, path: str, query: bytes, cookie: bytes, origin: bytes, body: bytes
) -> None:
    """Straight to the application: a client library would tidy it up."""
    sent: list[Any] = []
    headers = [
        (b"host", b"localhost"), (b"cookie", cookie), (b"origin", origin), (b"x-forwarded-for", origin),
        (b"user-agent", body), (b"accept", b"text/html"), (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
    ]  # fmt: skip
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "root_path": "", "scheme": "https", "query_string": query, "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("localhost", 443), "state": {},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await lasting.app(scope, receive, send)
    assert sent[0]["status"] < 500
