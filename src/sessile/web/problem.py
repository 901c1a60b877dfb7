"""Refusals that a program can act on and a person can read: RFC 9457 problem details.

`type` is ``urn:sessile:problem:`` and the reason. It is a name, the same wherever the service is mounted, and
nothing is to be found under it: a relative address would lead nowhere in an application that only uses the
library. Beside the standard's members there are `reason` (why the check denied) and `cure` (`sign_in`,
`step_up`, `retry`, `none`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sessile.web.csrf import VARY

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:sessile:problem:"
RETRY_AFTER: Final = 2
"""Seconds that a client is asked to wait when the store is away: a failover takes about that."""

A_DAY: Final = 86_400
"""Seconds until one may ask again where waiting alone does not help."""

_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document and the headers that go with it. `detail` is shown to people: never put a secret
    in it.
    """

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    reason: str | None = None
    cure: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self) -> bytes:
        """The document as JSON in UTF-8. Members without a value are left out."""
        members: dict[str, str | int] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.reason is not None:
            members["reason"] = str(self.reason)
        if self.cure is not None:
            members["cure"] = str(self.cure)
        return json.dumps(members, ensure_ascii=False).encode("utf-8", "replace")

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers of the answer, raw; never stored by a cache."""
        return [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            *self.headers,
        ]


class Denial(NamedTuple):
    """How one reason of the kernel is said over HTTP. `error` is the code for clients with a bearer token."""

    status: int
    title: str
    detail: str
    error: str | None = "invalid_token"


DENIALS: Final[dict[str, Denial]] = {
    "missing": Denial(401, "Not signed in", "Please sign in to go on.", None),
    "malformed": Denial(
        400,
        "Sign-in not readable",
        "What your browser sent as its sign-in cannot be read. Please delete this site's cookies and sign in again.",
        "invalid_request",
    ),
    "unknown": Denial(
        401, "Session not known", "This session is not known here, or ended a while ago. Please sign in."
    ),
    "idle": Denial(
        401, "Signed out after inactivity", "You were signed out because you were inactive. Please sign in."
    ),
    "expired": Denial(401, "Session expired", "This session has reached its longest duration. Please sign in again."),
    "revoked": Denial(
        401,
        "Session ended",
        "This session was ended, by you on another device or by an operator. Please sign in again.",
    ),
    "disabled": Denial(401, "Account disabled", "This account is disabled. Please ask an operator."),
    "superseded": Denial(401, "Session renewed", "Your sign-in was renewed in the meantime. Please try again."),
    "replayed": Denial(
        401,
        "Session ended for safety",
        "An old copy of this session's sign-in was used, which can mean that it was stolen. Please sign in again.",
    ),
    "unbound": Denial(
        401,
        "Session belongs to another device",
        "This session is tied to another device or browser and cannot be used from here. Please sign in.",
    ),
    "assurance": Denial(
        401,
        "A further proof is needed",
        "This needs a stronger sign-in. Please confirm with a further factor.",
        "insufficient_user_authentication",
    ),
    "stale_authentication": Denial(
        401,
        "A fresh proof is needed",
        "Your last proof of who you are is too long ago for this. Please confirm that it is you.",
        "insufficient_user_authentication",
    ),
    "out_of_scope": Denial(403, "Not permitted", "This session may not do that.", "insufficient_scope"),
    "over_budget": Denial(
        429,
        "Budget used up",
        "This agent has made as many calls as its budget allows; the Retry-After header says when it may go on.",
        None,
    ),
    "unavailable": Denial(
        503,
        "Sessions cannot be checked",
        "Sessions cannot be checked at the moment. You are still signed in; please try again shortly.",
        None,
    ),
}
"""By reason, as the kernel names it. The sentences may be shown to people as they are."""

_OTHER: Final = Denial(401, "Access denied", "Access was denied. Please sign in again.")


def sentence(reason: str) -> str:
    """Why access was denied, in words for a person: for pages, as `Problem.detail` is for programs."""
    return DENIALS.get(reason, _OTHER).detail


def denied(
    reason: str,
    cure: str,
    *,
    bearer: bool = False,
    acr_values: Iterable[str] = (),
    max_age: int | None = None,
    scopes: Iterable[str] = (),
    wait: int | None = None,
) -> Problem:
    """The problem that says a denial of the kernel. Reasons that are not in the table are answered as 401.

    `bearer`: the client presented a bearer token, so the challenge carries RFC 6750's error code and, for a
    step-up, RFC 9470's `acr_values` and `max_age` (seconds); `scopes` are those that were needed. Every 401
    has a challenge (RFC 9110 15.5.2); one without error code tells a bearer client no more than that it may
    present a token. `wait` is for Retry-After, in seconds.
    """
    denial = DENIALS.get(reason, _OTHER)
    headers: list[tuple[bytes, bytes]] = []
    if bearer and denial.error is not None:
        headers.append(bearer_challenge(denial.error, acr_values=acr_values, max_age=max_age, scopes=scopes))
    elif denial.status == 401:
        headers.append(bearer_challenge())
    if denial.status in (429, 503):
        after = wait or (RETRY_AFTER if denial.status == 503 else A_DAY)
        headers.append((b"retry-after", str(after).encode()))
    return Problem(
        status=denial.status,
        title=denial.title,
        detail=denial.detail,
        type=TYPE_PREFIX + reason if reason in DENIALS else "about:blank",
        reason=reason,
        cure=cure,
        headers=tuple(headers),
    )


def bearer_challenge(
    error: str | None = None,
    *,
    acr_values: Iterable[str] = (),
    max_age: int | None = None,
    scopes: Iterable[str] = (),
) -> tuple[bytes, bytes]:
    """A ``WWW-Authenticate: Bearer`` header (RFC 6750 3; RFC 9470 3 for `acr_values` and `max_age` in
    seconds).

    Raises `ValueError` for text that cannot stand in a quoted string without escapes: it never comes from a
    request.
    """
    parameters = ['realm="sessile"']
    if error is not None:
        parameters.append(f'error="{_scope_token(error)}"')
    if needed := " ".join(_scope_token(text) for text in acr_values):
        parameters.append(f'acr_values="{needed}"')
    if max_age is not None:
        if max_age < 0:
            raise ValueError("max_age must be 0 seconds or more")
        parameters.append(f'max_age="{max_age}"')
    if needed := " ".join(_scope_token(text) for text in scopes):
        parameters.append(f'scope="{needed}"')
    return b"www-authenticate", ("Bearer " + ", ".join(parameters)).encode("ascii")


def _scope_token(text: str) -> str:
    if not _SCOPE_TOKEN.fullmatch(text):
        raise ValueError("a challenge's values must be printable ASCII without quotes, backslashes and spaces")
    return text


def cross_site(why: str) -> Problem:
    """403 for a request that `sessile.web.csrf` refused; `why` is its reason."""
    return Problem(403, "Cross-site request refused", why, TYPE_PREFIX + "cross_site", headers=(VARY,))


def misdirected() -> Problem:
    """421 for a host that is not allowed. It is not repeated: the client chose it."""
    return Problem(
        421,
        "Unknown host",
        "This service does not answer to the host name of this request. If it should, the operator adds it "
        "to the public origins or the allowed hosts.",
        TYPE_PREFIX + "misdirected",
    )
