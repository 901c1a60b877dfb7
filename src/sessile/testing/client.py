"""For tests of an application: a test client that is signed in."""

from __future__ import annotations

import email.message
import urllib.request
from typing import Any, Protocol

from sessile.authority import Authority
from sessile.kernel.assurance import Method
from sessile.receipt import Issued
from sessile.web.cookie import CookieSpec


class TestClient(Protocol):
    """What is used of httpx's clients and of Starlette's `TestClient`."""

    base_url: Any
    cookies: Any


async def sign_in_as(
    client: TestClient, authority: Authority, name: str, *, method: Method | str = Method.PASSWORD,
    cookie: CookieSpec | None = None,
) -> Issued:  # fmt: skip
    """Begin a session for `name` and give its cookie to `client`, as if that browser had signed in.

    `await sign_in_as(client, authority, "alice")`; with Starlette's `TestClient`, inside `with client:`,
    `client.portal.call(sign_in_as, client, authority, "alice")`, so that it runs on the application's own loop.

    Args:
        client: its base URL is one that the application answers to, such as `https://localhost`.
        method: how the person proved itself: `passkey` for assurance 2.
        cookie: as the middleware has it.

    Raises:
        ValueError: the client would not send the cookie: its base URL is not https.
    """
    spec = cookie or CookieSpec()
    base = str(client.base_url)
    if spec.secure and not base.startswith("https://"):
        raise ValueError(f"the session's cookie is sent over https only: base_url='https://localhost', not {base!r}")
    issued = await authority.begin(name, method=method)
    answer = email.message.Message()
    answer["Set-Cookie"] = spec.set_header(issued.token)[1].decode("ascii")
    # As an answer of the application would set it, so that a later one replaces it.
    client.cookies.jar.extract_cookies(_Answer(answer), urllib.request.Request(base))  # noqa: S310 - nothing is opened
    return issued


class _Answer:
    """As much of an HTTP answer as a cookie jar looks at."""

    def __init__(self, headers: email.message.Message) -> None:
        self._headers = headers

    def info(self) -> email.message.Message:
        return self._headers
