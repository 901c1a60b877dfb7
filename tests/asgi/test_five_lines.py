"""The five lines of the README, run as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import httpx
import pytest

from sessile import Authority
from sessile.asgi import SessileMiddleware

SNIPPET = Path(__file__).parents[2] / "examples" / "five_lines.py"


async def test_five_lines_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = runpy.run_path(str(SNIPPET))["app"]
    (authority,) = (m.kwargs["authority"] for m in app.user_middleware if m.cls is SessileMiddleware)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://localhost") as browser:
        assert (await browser.get("/me")).json()["reason"] == "missing"
        assert (await browser.post("/login", params={"name": "alice"})).status_code == 200
        assert (await browser.get("/me")).json() == "alice"
        # Somebody else, elsewhere, on the same file.
        async with Authority("sqlite:///sessile.db") as operator:
            await operator.revoke(principal="alice", cause="stolen")
        answer = await browser.get("/me")
        assert (answer.status_code, answer.json()["reason"]) == (401, "revoked")
    await authority.close()


def test_they_are_few() -> None:
    """Without imports, blank lines and the application's own: what sessions cost is under five lines."""
    lines = [line for line in SNIPPET.read_text().splitlines() if any(word in line for word in ("sessile", "sign_in"))]
    assert len(lines) <= 5
