"""A service of your own that takes delegations and keys as bearer tokens, and checks them from its own near cache.

It opens the database that `sessile serve` has, and asks nobody: a check is a look-up in memory, and a revocation is in
force here when `revoke` returns there.

    SESSILE_DATABASE=sqlite:///sessile.db uvicorn --app-dir examples resource_server:app --port 8100
    curl -H "Authorization: Bearer $TOKEN" http://localhost:8100/reports/7
"""

import os

from fastapi import FastAPI

from sessile import Authority
from sessile.fastapi import CurrentActive, SessileMiddleware, require

authority = Authority(os.environ.get("SESSILE_DATABASE", "sqlite:///sessile.db"), create=False)
app = FastAPI()
app.add_middleware(SessileMiddleware, authority=authority)


@app.get("/reports/{number}", dependencies=[require(scopes={"reports:read"})])
async def report(number: int, active: CurrentActive) -> dict[str, object]:
    """For whom it is and who asks come with the session; what was asked for is noted for the blast radius."""
    active.touch_resource(f"report:{number}", "read")
    return {"report": number, "for": active.subject, "act": active.act}
