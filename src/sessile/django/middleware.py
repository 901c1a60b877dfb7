"""The middleware, in the place of Django's `SessionMiddleware`, and what a view may demand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from sessile.django.front import access, front, given_settings
from sessile.django.sessions import SessionStore, current
from sessile.errors import SessileError
from sessile.kernel.decide import Denied
from sessile.kernel.reason import Reason
from sessile.web.access import empty_data, requirement
from sessile.web.problem import Problem
from sessile.web.watch import Over
from sessile.wsgi import SyncAccess, headers_of, joined, peer_of

View = TypeVar("View", bound=Callable[..., Any])


class SessileMiddleware(SessionMiddleware):  # type: ignore[misc]  # Django has no types
    """The rules of `sessile.asgi`, for Django under WSGI and ASGI. `request.COOKIES` is not used (review 19)."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        super().__init__(get_response)
        self._front = front()
        self._former = given_settings().get("import_from")

    def process_request(self, request: Any) -> HttpResponse | None:
        current.set(None)
        scope = getattr(request, "scope", None)
        headers = headers_of(request.META) if scope is None else joined(scope["headers"])
        if b"host" not in headers:  # the server's own name then, as for Django (`HttpRequest.get_host`)
            headers[b"host"] = "{SERVER_NAME}:{SERVER_PORT}".format_map(request.META).encode("latin-1", "replace")
        here = self._front.arrive(request.method, request.path, headers, peer_of(request.META))
        if isinstance(here, Problem):
            return _response(here)
        request.sessile = here
        request.session = SessionStore.of(here)
        current.set(request.session)
        if self._former is not None and isinstance(here.result, Denied) and here.result.reason is Reason.MISSING:
            from sessile.django.importing import take_over

            request.sessile_taken_over = take_over(request.session, headers.get(b"cookie", b""), *self._former)
        return None

    def process_exception(self, request: Any, error: Exception) -> HttpResponse | None:
        here = getattr(request, "sessile", None)
        if isinstance(here, SyncAccess) and isinstance(error, SessileError):
            return _response(here.access.problem(error))
        return None

    def process_response(self, request: Any, response: Any) -> Any:
        here = getattr(request, "sessile", None)
        if not isinstance(here, SyncAccess):
            return response
        session = request.session
        if isinstance(session, SessionStore):
            try:
                _save(session, here, response.status_code)
            except SessileError as error:
                here.access.data.follow(empty_data())
                response.close()
                response = _response(here.access.problem(error))
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
        status, left, body = self._front.leave(here, response.status_code, headers)
        if body is not None:
            response.close()
            response = HttpResponse(body, status=status)
        _put(response, [pair for pair in left if pair not in headers])
        if self._former is not None and getattr(request, "sessile_taken_over", False):
            response.delete_cookie(self._former[1])
        if response.streaming and here.access.live is not None:
            pieces = response.streaming_content
            response.streaming_content = _watched_async(pieces, here) if response.is_async else _watched(pieces, here)
        return response


def _save(session: SessionStore, here: SyncAccess, status: int) -> None:
    if session.accessed:
        here.access.looked = True
    # As Django does it: not after an error of the server, and an empty session begins none.
    wanted = session.modified or settings.SESSION_SAVE_EVERY_REQUEST
    if wanted and status < 500 and (here.access.live is not None or not session.is_empty()):
        session.save()


def _put(response: Any, headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        text = value.decode("latin-1")
        if name == b"set-cookie":
            response.cookies.load(text)
        elif name == b"vary":
            patch_vary_headers(response, (text,))
        else:
            response.headers[name.decode().title()] = text


def _response(problem: Problem) -> HttpResponse:
    response = HttpResponse(problem.body(), status=problem.status)
    for name, value in problem.response_headers():
        response.headers[name.decode().title()] = value.decode("latin-1")
    return response


def _watched(pieces: Iterable[bytes], here: SyncAccess) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        if number and not here.alive:
            raise Over("the session behind this answer has ended")
        yield piece


async def _watched_async(pieces: AsyncIterator[bytes], here: SyncAccess) -> AsyncIterator[bytes]:
    number = 0
    async for piece in pieces:
        # The cached path does not block; what it does not know is asked in a thread.
        if number and here.access.peek() is None and not await sync_to_async(lambda: here.alive)():
            raise Over("the session behind this answer has ended")
        number += 1
        yield piece


def require(
    *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (), below_policy: bool = False
) -> Callable[[View], View]:
    """Let a view run only for a person's, agent's or service's live session that meets all of this.

    For functions, sync or async; of a class-based view: `method_decorator(require(assurance=2), name="dispatch")`.
    See `SyncAccess.require`.
    """
    needed = requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy)

    def decorate(view: View) -> View:
        if inspect.iscoroutinefunction(view):

            @functools.wraps(view)
            async def guarded_async(request: Any, *args: Any, **kwargs: Any) -> Any:
                await sync_to_async(access(request).meet)(needed)
                return await view(request, *args, **kwargs)

            return cast(View, guarded_async)

        @functools.wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> Any:
            access(request).meet(needed)
            return view(request, *args, **kwargs)

        return cast(View, guarded)

    return decorate
