"""Sessions in a FastAPI application. Run it: `uvicorn five_lines:app`."""

from fastapi import FastAPI, Request

from sessile import Authority
from sessile.fastapi import CurrentSession, SessileMiddleware, sign_in

app = FastAPI()
app.add_middleware(SessileMiddleware, authority=Authority("sqlite:///sessile.db"))


@app.post("/login")
async def login(request: Request, name: str) -> None:  # look at the password before this
    await sign_in(request, name, method="password")


@app.get("/me")
async def me(session: CurrentSession) -> str | None:
    return session.principal
