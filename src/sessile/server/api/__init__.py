"""The JSON API, a file per noun. Under `/api/v1`; every answer that refuses is RFC 9457 problem details."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from sessile.server.api import (
    budgets,
    containments,
    delegations,
    devices,
    events,
    factors,
    impersonations,
    introspect,
    inventory,
    keys,
    leaks,
    leases,
    password,
    principals,
    recovery,
    revocations,
    revoke,
    session,
    sessions,
    teams,
    token,
    waiting,
)  # fmt: skip

PREFIX: Final = "/api/v1"


def router() -> APIRouter:
    found = APIRouter(prefix=PREFIX)
    nouns: list[Any] = [
        inventory, leaks, teams,
        session, sessions, password, recovery, factors, principals, budgets, impersonations, revocations, containments,
        delegations, keys, leases, revoke, introspect, token, events, waiting, devices,
    ]  # fmt: skip
    for noun in nouns:
        found.include_router(noun.router)
    return found
