"""`/introspect`: what a token is worth, for resource servers (RFC 7662)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from sessile.fastapi import require
from sessile.kernel.decide import Active
from sessile.kernel.principal import INTROSPECT
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.kernel.token import TokenKind
from sessile.server.access import Ours
from sessile.server.api.revoke import Hint, Token
from sessile.server.models import Output
from sessile.web.access import AccessDenied

router = APIRouter(tags=["Tokens"])


class Introspection(Output):
    """The members of RFC 7662, section 2.2; only `active` where the token counts for nothing."""

    active: bool
    scope: str | None = None
    username: str | None = None
    sub: str | None = None
    token_type: str | None = None
    iat: int | None = None
    exp: int | None = None
    sid: str | None = None
    kind: str | None = None
    acr: str | None = None


@router.post("/introspect", summary="Ask what a token is worth", response_model_exclude_none=True)
async def introspect(
    token: Token, server: Ours, _asker: Annotated[Session, require(scopes={INTROSPECT})], token_type_hint: Hint = None
) -> Introspection:
    """For holders of the scope `introspect`. A browser's token counts only as a cookie, so it is not active here."""
    if token.startswith(TokenKind.BROWSER):
        return Introspection(active=False)
    found = await server.authority.check(token)
    if not isinstance(found, Active):
        if found.reason is Reason.UNAVAILABLE:
            raise AccessDenied(found)
        return Introspection(active=False)
    info = await server.authority.session(found.session.id)
    return Introspection(
        active=True, scope=" ".join(sorted(info.scopes)), username=info.principal, sub=info.principal,
        token_type="Bearer", iat=int(info.created.timestamp()), exp=int(info.expires.timestamp()), sid=info.id,
        kind=info.kind, acr=f"aal{info.assurance}",
    )  # fmt: skip
