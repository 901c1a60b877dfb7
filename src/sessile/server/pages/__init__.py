"""The pages, a file per group. They work without script."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from sessile.server.pages import account, console, factors, sign_in, step_up, story


def router() -> APIRouter:
    found = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    for group in (sign_in, account, step_up, factors, console, story):
        found.include_router(group.router)
    return found
