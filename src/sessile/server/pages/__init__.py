"""The pages, a file per group. They work without script."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from sessile.server.pages import (
    account,
    addresses,
    audit,
    codes,
    console,
    containing,
    factors,
    nonhuman,
    offboarding,
    overview,
    owned,
    policies,
    reset,
    sign_in,
    step_up,
    story,
    teams,
    waiting,
)


def router() -> APIRouter:
    found = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    for group in (
        sign_in, reset, account, addresses, step_up, codes, factors, console, overview, containing, nonhuman,
        offboarding, owned, teams, policies, audit, story, waiting,
    ):  # fmt: skip
        found.include_router(group.router)
    return found
