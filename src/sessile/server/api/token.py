"""`/token`: one token for another, narrower one in another's hands (RFC 8693)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.responses import JSONResponse, Response

from sessile.errors import Conflict, LimitExceeded, Refused
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.principal import RESERVED_SCOPES, check_scopes, covers
from sessile.kernel.reason import Reason
from sessile.kernel.token import TokenKind
from sessile.server.access import Ours
from sessile.server.nonhuman import Exchanged
from sessile.server.state import Server
from sessile.web.access import Access, AccessDenied

router = APIRouter(tags=["Tokens"])

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
_UNMET: Final = (Reason.UNAVAILABLE, Reason.OVER_BUDGET)

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}
"""RFC 6749, section 5.2."""

Given = Annotated[str, Form(min_length=1, max_length=4096)]
Maybe = Annotated[str | None, Form(max_length=4096)]


class _NotExchanged(Exception):
    """RFC 6749, section 5.2, and RFC 8693, section 2.2.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@router.post(
    "/token", summary="Exchange a token", response_model=Exchanged,
    responses={400: {"description": "Not exchanged", "content": {"application/json": {"schema": _ERROR}}}},
)  # fmt: skip
async def exchange(
    server: Ours, here: CurrentAccess, grant_type: Given, subject_token: Given, subject_token_type: Given,
    actor_token: Maybe = None, actor_token_type: Maybe = None, scope: Maybe = None, requested_token_type: Maybe = None,
    audience: Maybe = None, resource: Maybe = None,
) -> Response:  # fmt: skip
    """A delegated session below the one that `subject_token` names: for the agent or service of `actor_token`, or of
    the bearer token that asks, or, without either, for the subject's own agent. It has at most the subject's scopes and
    dies with it. Who may be handed what is as with `POST /delegations`.

    A browser's token is none here: it counts only as a cookie.
    """
    try:
        _understood(grant_type, subject_token_type, actor_token, actor_token_type, requested_token_type)
        if audience is not None or resource is not None:
            raise _NotExchanged("invalid_target", "tokens are good for every service that asks here")
        subject = await _presented(server, here, subject_token, "subject_token")
        actor = await _actor(server, here, actor_token) or subject
        wanted = subject.session.scopes - RESERVED_SCOPES if scope is None else _scopes(scope)
        if not covers(subject.session.scopes, wanted):
            raise _NotExchanged("invalid_scope", "a session hands out no scope that it does not have")
        try:
            issued = await server.authority.delegate(
                subject, to=actor.session.principal or "", scopes=wanted, client=here.client
            )
        except (Refused, Conflict, LimitExceeded, ValueError) as error:
            raise _NotExchanged("invalid_request", str(error)) from None
    except _NotExchanged as error:
        return _answer({"error": error.error, "error_description": str(error)}, 400)
    session = issued.active.session
    return _answer(
        Exchanged(
            access_token=str(issued.token), issued_token_type=ACCESS_TOKEN, token_type="Bearer",
            expires_in=max(0, int((session.expires - server.now()).total_seconds())),
            scope=" ".join(sorted(session.scopes)),
        ).model_dump()
    )  # fmt: skip


def _understood(
    grant: str, subject_type: str, actor: str | None, actor_type: str | None, requested: str | None
) -> None:
    if grant != GRANT:
        raise _NotExchanged("unsupported_grant_type", f"the grant type is {GRANT}")
    if (actor is None) != (actor_type is None):
        raise _NotExchanged("invalid_request", "actor_token and actor_token_type go together")
    for what in (subject_type, actor_type, requested):
        if what not in (None, ACCESS_TOKEN):
            raise _NotExchanged("invalid_request", f"the type of a token is {ACCESS_TOKEN}")


async def _presented(server: Server, here: Access, token: str, name: str) -> Active:
    found = None if token.startswith(TokenKind.BROWSER) else await server.authority.check(token, client=here.client)
    if isinstance(found, Active):
        return found
    if found is not None and found.reason in _UNMET:
        raise AccessDenied(found)
    raise _NotExchanged("invalid_request", f"{name} counts for nothing")


async def _actor(server: Server, here: Access, token: str | None) -> Active | None:
    if token is not None:
        return await _presented(server, here, token, "actor_token")
    return here.active if here.bearer else None


def _scopes(text: str) -> frozenset[str]:
    try:
        return check_scopes(text.split())
    except ValueError as error:
        raise _NotExchanged("invalid_scope", str(error)) from None


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    # RFC 6749, section 5.1.
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})
