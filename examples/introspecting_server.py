"""The same service where it cannot reach the database, or is written in another language: it asks by introspection.

RFC 7662. It needs a key with the scope `introspect`, which an operator mints for it, and keeps no answer: a revocation
is in force at the next call.

    SESSILE_URL=https://sessile.example.com SESSILE_KEY=slk_… \\
        uvicorn --app-dir examples introspecting_server:app --port 8101
"""

import os
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request

app = FastAPI()


def asker() -> httpx.AsyncClient:
    """How Sessile is asked."""
    return httpx.AsyncClient(
        base_url=os.environ["SESSILE_URL"], headers={"Authorization": f"Bearer {os.environ['SESSILE_KEY']}"}, timeout=5
    )


async def token(request: Request, ask: Annotated[httpx.AsyncClient, Depends(asker)]) -> dict[str, object]:
    """What the bearer token is worth. Nothing but a plain yes lets in."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not presented:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    try:
        async with ask:
            answer = await ask.post("/api/v1/introspect", data={"token": presented})
    except httpx.HTTPError:
        raise HTTPException(503, headers={"Retry-After": "2"}) from None
    if answer.status_code in (429, 503):
        raise HTTPException(answer.status_code, headers={"Retry-After": answer.headers.get("Retry-After", "2")})
    found: dict[str, object] = answer.json() if answer.status_code == 200 else {}
    if found.get("active") is not True:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return found


@app.get("/reports/{number}")
async def report(number: int, found: Annotated[dict[str, object], Depends(token)]) -> dict[str, object]:
    """`sub` is for whom, `act` who asks, `scope` what they may."""
    if "reports:read" not in str(found.get("scope", "")).split():
        raise HTTPException(403, headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})
    return {"report": number, "for": found.get("sub"), "act": found.get("act")}
