"""`/introspect`: what a token is worth, for resource servers (RFC 7662)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from sessile.fastapi import require
from sessile.kernel.decide import Active
from sessile.kernel.principal import INTROSPECT
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session, act
from sessile.kernel.token import TokenKind
from sessile.server.access import Ours
from sessile.server.api.revoke import Hint, Token
from sessile.server.nonhuman import Introspection
from sessile.web.access import AccessDenied

router = APIRouter(tags=["Tokens"])


@router.post("/introspect", summary="Ask what a token is worth", response_model_exclude_none=True)
async def introspect(
    token: Token, server: Ours, _asker: Annotated[Session, require(scopes={INTROSPECT})], token_type_hint: Hint = None
) -> Introspection:
    """For holders of the scope `introspect`. A browser's token counts only as a cookie, so it is not active here."""
    if token.startswith(TokenKind.BROWSER):
        return Introspection(active=False)
    found = await server.authority.check(token)
    if not isinstance(found, Active):
        if found.reason in (Reason.UNAVAILABLE, Reason.OVER_BUDGET):
            raise AccessDenied(found)
        return Introspection(active=False)
    info = await server.authority.session(found.session.id)
    return Introspection(
        active=True, scope=" ".join(sorted(info.scopes)), client_id=info.principal, username=info.chain[0],
        sub=info.chain[0], act=act(info.chain), token_type="Bearer", iat=int(info.created.timestamp()),
        exp=int(info.expires.timestamp()), jti=info.id, sid=info.id, kind=info.kind, acr=f"aal{info.assurance}",
    )  # fmt: skip
