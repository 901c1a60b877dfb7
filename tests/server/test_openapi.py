"""The OpenAPI document against a running server: what schemathesis makes of the one, the other answers as said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sessile.server import Settings, create_app
from tests.server.conftest import COOKIE
from tests.server.running import Running, running

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
APP = create_app(Settings(database="memory:"), hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
DOCUMENT: dict[str, Any] = APP.openapi()
OPERATIONS = [(method, path) for path, found in DOCUMENT["paths"].items() for method in found]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(APP) as found:
        found.call(found.authority.register("olivia", scopes={"*", "operator"}))
        yield found


def test_the_document_names_all_of_the_contract() -> None:
    assert {path for _, path in OPERATIONS} == {
        f"/api/v1/{rest}"
        for rest in (
            "devices", "devices/{id}", "parked", "parked/{id}", "parked/{id}/resume", "approvals", "approvals/{id}",
            "approvals/{id}/approve",
            "approvals/{id}/refuse", "approvals/{id}/use",
            "keys/{id}/rotate", "impersonations", "token", "principals/{id}/budget",
            "session", "session/step-up", "sessions", "sessions/{id}", "sessions/{id}/tree", "password", "containments",
            "containments/{id}", "principals",
            "principals/{id}", "principals/{id}/sessions", "erasures", "revocations", "delegations", "keys",
            "keys/{id}", "revoke", "introspect", "events", "factors", "factors/{id}", "factors/totp",
            "factors/totp/{id}/confirm",
            "factors/passkeys", "factors/passkeys/options", "factors/recovery-codes", "session/passkey",
            "session/passkey/options", "session/step-up/options", "principals/{id}/factors",
            "password/forgot", "password/reset", "password/strength", "addresses", "addresses/{id}",
            "addresses/confirm",
            "leases", "leases/{id}", "leases/{id}/confirm", "leases/{id}/successor", "leaks", "secret-scanning",
            "inventory", "principals/{id}/holdings", "principals/{id}/handover",
            "principals/{id}/offboarding",
            "teams", "teams/{id}", "teams/{id}/members", "teams/{id}/members/{member}", "teams/{id}/holdings",
            "teams/{id}/handover",
        )
    }  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_answers_as_it_says(server: Running, method: str, path: str) -> None:
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path][method.upper()]

    @settings(
        max_examples=12, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(st.data())
    def exercise(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        # A session of its own each time: some of these end their own, or everybody's.
        token = server.call(server.authority.begin("olivia")).token
        case.cookies = {COOKIE: str(token)}
        response = case.call(base_url=server.url)
        case.validate_response(response, checks=CHECKS)

    exercise()
    assert server.call(server.authority.principal("olivia")).name == "olivia"
