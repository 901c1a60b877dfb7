"""The session engine: `SESSION_ENGINE = "sessile.django.sessions"`.

A Django session is a Sessile session: of nobody (`anonymous`) until somebody signs in, then of that user's principal.
`session_key` is the token, which the browser holds in its cookie: like every session key of Django's it is a secret.
How long a session lives is the policy's, not `set_expiry`'s.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import Any, Self

import msgspec
from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase

from sessile.data import encode
from sessile.django.front import front, principal_of
from sessile.errors import Conflict
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active
from sessile.kernel.session import SessionKind
from sessile.kernel.token import TokenKind, digest, new_token
from sessile.receipt import Issued
from sessile.stores.protocol import End
from sessile.web.access import AccessDenied
from sessile.wsgi import SyncAccess

current: ContextVar[SessionStore | None] = ContextVar("sessile_session", default=None)
"""The session of the request that is being answered."""


class SessionStore(SessionBase):  # type: ignore[misc]  # Django has no types
    """Of a request (`of`), or of a token: what Django's test client and commands make."""

    _session_key: str | None

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._access: SyncAccess | None = None

    @classmethod
    def of(cls, here: SyncAccess) -> Self:
        store = cls(here.token if here.access.live is not None else None)
        store._access = here
        return store

    @property
    def here(self) -> SyncAccess:
        if self._access is None:
            self._access = front().presented(self.session_key)
        return self._access

    # -- Django's side ------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        here = self.here
        live = here.access.live
        if live is None:
            self._session_key = None
            return {}
        data = dict(here.access.data)
        if live.session.uid is None:
            # Nobody's session says of nobody who it is, whatever was written there.
            data.pop(SESSION_KEY, None)
        return data

    def save(self, must_create: bool = False) -> None:
        """Raises SessileError: `LimitExceeded` above 64 KiB, `AccessDenied` where the browser holds a newer session."""
        if must_create:
            self._begin()
        here = self.here
        values = msgspec.json.decode(encode(self._get_session(no_load=must_create)), type=dict[str, Any])
        data = here.access.data
        data.clear()
        data.update(values)
        front().save(here)
        self._session_key = here.token

    def create(self) -> None:
        self.save(must_create=True)
        self.modified = True

    def _begin(self) -> None:
        self.here.hand(front().sync.begin(None, client=self.here.client))
        self._session_key = self.here.token

    def exists(self, session_key: str) -> bool:
        return isinstance(front().sync.check(session_key, touch=False), Active)

    def delete(self, session_key: str | None = None) -> None:
        if session_key is None or session_key == self.session_key:
            self.here.sign_out()
            return
        found = front().sync.check(session_key, touch=False)
        if isinstance(found, Active):
            front().sync.revoke(session=found.session.id, cause="deleted", by=found, wait=False)

    def cycle_key(self) -> None:
        """A new token at once; the old one is over. Without a session there is nothing to do: one begins with its data.

        Raises:
            AccessDenied: the session has ended meanwhile.
        """
        data = self._session
        live = self.here.access.live
        if live is None:
            return
        if live.session.kind is SessionKind.ANONYMOUS:
            self._begin()
            front().sync.revoke(session=live.session.id, cause="replaced", by=live, wait=False)
        else:
            try:
                self.here.hand(front().sync.elevate(live, method=None, client=self.here.client))
            except Conflict as error:
                raise error if error.denied is None else AccessDenied(error.denied) from None
        self._session_key = self.here.token
        self._session_cache = data
        self.modified = True

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing: an open authority sweeps by itself."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Nothing: an open authority sweeps by itself."""

    # -- Sessile's side -----------------------------------------------------------------------------------------

    def sign_in(self, user: Any, method: Method) -> None:
        """`user` has just proved itself: its principal's session takes this one's place, with its data."""
        data = self._session
        self.here.sign_in(principal_of(user), method=method)
        self._session_key = self.here.token
        self._session_cache = data
        self.modified = True

    def take_over(self, user: Any, method: Method, proved: datetime, data: dict[str, Any]) -> bool:
        """A session that another engine began goes on as this one. False: by the policy it is over."""
        with front().sync.sign_in(principal_of(user)) as attempt:
            issued = attempt.begin(method=method, client=self.here.client, proved=proved)
        found = front().sync.check(issued.token, client=self.here.client)
        if not isinstance(found, Active):
            return False
        self.here.hand(Issued(issued.token, found))
        self._session_key = issued.token
        self._session_cache = data
        self.modified = True
        return True

    def end_others(self, user: Any, cause: str) -> bool:
        """End all of the user's sessions but this one, which goes on under a new token. False: it is not the user's."""
        live = self.here.access.live
        if live is None or live.session.kind is not SessionKind.BROWSER or live.session.principal != principal_of(user):
            return False
        assert live.session.uid is not None  # noqa: S101 - a browser's session is somebody's
        token = new_token(TokenKind.BROWSER, live.session.partition)
        end = End(uid=live.session.uid, cause=cause, keep=live.session.id, keep_digest=digest(token))
        front().sync.end(end, by=live)
        found = front().sync.check(token, client=self.here.client, touch=False)
        if not isinstance(found, Active):
            raise AccessDenied(found)
        self.here.hand(Issued(token, found))
        self._session_key = token
        return True
