"""An MCP server whose tools are guarded by delegated sessions (official Python SDK, streamable HTTP).

A person delegates to an agent with the scopes of the tools that it shall use; the agent sends the token with each call.
Every call is checked here: revoke the delegation, disable the person, contain what is above, and the next is refused.

    SESSILE_DATABASE=sqlite:///sessile.db uvicorn --app-dir examples mcp_server:app --port 8102
"""

import os

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import AnyHttpUrl

from sessile import Active, Authority, Requirement, SessionKind

authority = Authority(os.environ.get("SESSILE_DATABASE", "sqlite:///sessile.db"), create=False)
HERE = AnyHttpUrl(os.environ.get("MCP_URL", "http://127.0.0.1:8102/mcp"))
ISSUER = AnyHttpUrl(os.environ.get("SESSILE_URL", "http://127.0.0.1:8000"))


class Sessions:
    """What the SDK asks about the token of each request."""

    async def verify_token(self, token: str) -> AccessToken | None:
        # Not counted as a call: the tool's own check is.
        found = await authority.check(token, touch=False)
        if not isinstance(found, Active) or found.session.kind is not SessionKind.DELEGATED:
            return None
        session = found.session
        return AccessToken(
            token=token, client_id=session.principal or "", scopes=sorted(session.scopes), subject=found.subject,
            expires_at=int(session.expires.timestamp()), claims={"act": found.act, "sid": session.id},
        )  # fmt: skip


async def acting(tool: str, scope: str) -> Active:
    """Who calls the tool, and for whom. Raises ToolError: it may not, or not any more."""
    presented = get_access_token()
    found = await authority.check(
        presented.token if presented is not None else None, requirement=Requirement(scopes=frozenset({scope}))
    )
    if not isinstance(found, Active):
        raise ToolError(f"refused: {found.reason}")
    found.touch_resource(f"tool:{tool}", "call")
    return found


server = MCPServer(
    "reports", token_verifier=Sessions(),
    auth=AuthSettings(issuer_url=ISSUER, resource_server_url=HERE, validate_token_resource=False),
)  # fmt: skip


@server.tool()
async def search(text: str) -> str:
    """Search the reports."""
    active = await acting("search", "search")
    return f"nothing about {text!r} for {active.subject}, says {active.session.principal}"


@server.tool()
async def publish(text: str) -> str:
    """Publish a report."""
    active = await acting("publish", "publish")
    return f"published for {active.subject}"


# Stateless: each call stands on the token that came with it.
app = server.streamable_http_app(stateless_http=True, json_response=True)
