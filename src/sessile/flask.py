"""Sessions in Flask's words: `Sessile(app, Authority("sqlite:///sessile.db"))`.

The WSGI middleware does the work. `flask.session` is the session's data, a dict of JSON values that stays on
the server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, Unpack

import flask
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.local import LocalProxy

from sessile.authority import Authority
from sessile.data import SessionData
from sessile.errors import SessileError
from sessile.kernel.assurance import Method
from sessile.kernel.session import Session
from sessile.sync import SyncAuthority, SyncSignIn
from sessile.web.access import AccessDenied, problem_of, requirement
from sessile.web.problem import Problem
from sessile.wsgi import Front, SessileMiddleware, Settings, SyncAccess, headers_of, path_of, peer_of

__all__ = [
    "AccessDenied",
    "Sessile",
    "SyncAccess",
    "access",
    "current_session",
    "require",
    "sign_in",
    "sign_out",
    "step_up",
]

P = ParamSpec("P")
T = TypeVar("T")

_OWN = "sessile.own"
"""In the environment of a request that came by no server: `test_request_context`, a test client's transaction."""


class Sessile:
    """Sessions for a Flask application. `authority` is the same one for code that does not await.

    The settings are those of `sessile.asgi.SessileMiddleware`.

    Raises:
        ValueError: a setting that cannot be; says what to write.
    """

    def __init__(
        self, app: flask.Flask | None = None, authority: Authority | None = None, **settings: Unpack[Settings]
    ) -> None:
        authority = authority or Authority()
        self.authority = SyncAuthority(authority)
        self._settings = settings
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """For applications that are made in a function of their own."""
        middleware = SessileMiddleware(app.wsgi_app, self.authority.authority, **self._settings)
        app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask has it documented
        app.session_interface = _Interface(middleware.front)
        app.register_error_handler(SessileError, _said)
        app.extensions["sessile"] = self


def access() -> SyncAccess:
    """What this request may do, signed in or not.

    Raises:
        RuntimeError: the application has no Sessile, or there is no request.
    """
    found = flask.request.environ.get("sessile.access")
    if not isinstance(found, SyncAccess):
        raise RuntimeError("no session here: Sessile(app, Authority('sqlite:///sessile.db'))")
    return found


def _current() -> Session:
    return access().require().session


current_session: Session = LocalProxy(_current)  # type: ignore[assignment]
"""The live session of a person, an agent or a service. Without one it raises `AccessDenied` (401) when it is looked at;
`access().session` is None then."""


def sign_in(who: str | SyncSignIn, *, method: Method | str) -> Session:
    """Begin a session for a person who has just proved itself. See `SyncAccess.sign_in`."""
    return access().sign_in(who, method=method)


def step_up(*, method: Method | str) -> Session:
    """The person of this session has proved itself anew. See `SyncAccess.step_up`."""
    return access().step_up(method=method)


def sign_out() -> None:
    """End this session and let the browser forget it. Raises as `Access.sign_out`."""
    access().sign_out()


def require(
    *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (), below_policy: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a view run only for a person's, agent's or service's live session that meets all of this.

    `@app.post("/deploy")`, and below it `@require(assurance=2, fresh=timedelta(minutes=5))`. See `SyncAccess.require`.
    """
    needed = requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy)

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            access().meet(needed)
            answer: T = flask.current_app.ensure_sync(view)(*args, **kwargs)
            return answer

        return guarded

    return decorate


class _Data(SessionMixin):
    """`flask.session`."""

    accessed = True

    def __init__(self, data: SessionData) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return repr(self._data)


class _Interface(SessionInterface):
    """Flask's door to its session. What is in it is saved by the middleware, before the answer starts."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def open_session(self, app: flask.Flask, request: flask.Request) -> _Data | None:
        environ = request.environ
        here = environ.get("sessile.access")
        if here is None:
            here = self._front.arrive(request.method, path_of(environ), headers_of(environ), peer_of(environ))
            if isinstance(here, Problem):
                return None
            environ["sessile.access"] = here
            environ[_OWN] = True
        return _Data(here.access.data)

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        environ = flask.request.environ
        if not environ.get(_OWN):
            return
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        status, left, body = self._front.leave(environ["sessile.access"], response.status_code, headers)
        response.status_code = status
        response.headers.clear()
        response.headers.extend([(name.decode().title(), value.decode("latin-1")) for name, value in left])
        if body is not None:
            response.set_data(body)


def _said(error: SessileError) -> flask.Response:
    here = flask.request.environ.get("sessile.access")
    problem = here.access.problem(error) if isinstance(here, SyncAccess) else problem_of(error)
    headers = [(name.decode(), value.decode("latin-1")) for name, value in problem.response_headers()]
    return flask.Response(problem.body(), problem.status, headers)
