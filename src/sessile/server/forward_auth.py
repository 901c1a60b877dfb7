"""`/forward-auth`: a reverse proxy asks for each request whether it may pass (nginx, Caddy, Traefik, Envoy).

200 with `Remote-*` headers, 401, or a redirect to the login page for a browser that wants a page. All `Remote-*`
are in every answer, empty where there is nothing to say: a proxy that copies them overwrites what a client sent
(review 21). Names beyond ASCII are percent-encoded.

`X-Forwarded-*` are believed only from the configured proxies. The forwarded method is judged by the CSRF rule,
from whoever it comes: it can only make the answer stricter. No token is rotated here, since proxies do not relay
Set-Cookie of a 200.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active, Denied
from sessile.kernel.reason import Cure, Reason
from sessile.kernel.trace import LONGEST
from sessile.server.access import Ours
from sessile.server.pages.render import LOGIN, STEP_UP, remember
from sessile.server.problems import respond
from sessile.server.state import Server
from sessile.web.access import AccessDenied
from sessile.web.csrf import OriginHeaders
from sessile.web.hosts import parse_origin
from sessile.web.problem import cross_site

router = APIRouter(include_in_schema=False)

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_SAFE_IN_HEADER: Final = "!$&'()*+,;=:@-._~"


@router.get("/forward-auth")
async def decide(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """Whether the forwarded request may pass."""
    here.rotates = False
    trusted = _from_proxy(request, server)
    method = request.headers.get("x-forwarded-method", "GET")
    host = request.headers.get("x-forwarded-host") if trusted else None
    headers = OriginHeaders.of(request.scope["headers"])
    verdict = server.origins.judge(
        method if method in _METHODS else "POST",
        OriginHeaders(headers.sec_fetch_site, headers.origin, host or headers.host),
    )
    if not verdict:
        return _with_remote(respond(cross_site(verdict.reason)))
    result = here.result
    if isinstance(result, Active) and result.session.uid is not None:
        session = result.session
        if trusted and server.settings.touched_paths:
            _note(result, request, server, method, host)
        return _with_remote(Response(), session.principal or "", session.id, str(session.assurance))
    denied = Denied(reason=Reason.MISSING) if isinstance(result, Active) else result
    return _with_remote(_refuse(request, server, denied, method, trusted=trusted, bearer=here.bearer))


def _note(active: Active, request: Request, server: Server, method: str, host: str | None) -> None:
    """Note the path as touched, if it is one of those that are."""
    path = urlsplit(request.headers.get("x-forwarded-uri", "")).path
    if any(fnmatchcase(path, pattern) for pattern in server.settings.touched_paths):
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in f"path:{host or ''}{path}")
        active.touch_resource(shown[:LONGEST], method if method in _METHODS else "")


def _refuse(request: Request, server: Server, denied: Denied, method: str, *, trusted: bool, bearer: bool) -> Response:
    page = method == "GET" and not bearer and "text/html" in request.headers.get("accept", "")
    if page and denied.cure in (Cure.SIGN_IN, Cure.STEP_UP) and denied.reason is not Reason.MALFORMED:
        path = LOGIN if denied.cure is Cure.SIGN_IN else STEP_UP
        response: Response = RedirectResponse(_own(server, path), 302)
        remember(server, response, request.headers.get("x-forwarded-uri") if trusted else None)
        return response
    problem = AccessDenied(denied, bearer=bearer).problem()
    response = respond(problem)
    if problem.status == 400:
        response.status_code = 401  # proxies know 401 and 403
    return response


def _own(server: Server, path: str) -> str:
    """A page of this server: at its public origin where one is configured, else on the asked host."""
    origins = server.settings.origins
    origin = parse_origin(origins[0]) if origins else None
    return path if origin is None else f"{origin}{path}"


def _from_proxy(request: Request, server: Server) -> bool:
    try:
        peer = ip_address(request.client.host) if request.client is not None else None
    except ValueError:
        return False
    mapped = peer.ipv4_mapped if isinstance(peer, IPv6Address) else None
    return (mapped or peer) in server.trusted


def _with_remote(response: Response, user: str = "", session: str = "", assurance: str = "") -> Response:
    response.headers["Remote-User"] = quote(user, safe=_SAFE_IN_HEADER)
    response.headers["Remote-Session"] = session
    response.headers["Remote-Assurance"] = assurance
    response.headers["Cache-Control"] = "no-store"
    return response
