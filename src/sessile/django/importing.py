"""Taking over what Django's own engine began, at a browser's next visit.

Only a login is taken over, never what nobody's session holds: the former cookie had no prefix, so a sibling subdomain
could have set it. No authentication event is invented. Django keeps when a user last logged in, on whichever browser;
the session counts as proved then, and never within the last hour: it satisfies no `fresh=`, and a login that is older
than the policy's overall limit is over.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace

from django.contrib.auth import BACKEND_SESSION_KEY, get_user

from sessile.django.front import front
from sessile.django.sessions import SessionStore
from sessile.django.users import method_of
from sessile.errors import SessileError
from sessile.web import cookie as cookies

logger = logging.getLogger("sessile")

NOT_FRESH = timedelta(hours=1)
_KEY = re.compile(rb"[a-z0-9]{32}")  # as Django makes them


def take_over(session: SessionStore, raw: bytes, engine: str, cookie: str) -> bool:
    """Whether the browser's former session, if it has one, goes on as this one. The former is deleted, unless it is not
    known yet whether it may."""
    key = cookies.find(raw, cookie.encode())
    if not isinstance(key, bytes) or not _KEY.fullmatch(key):
        return False
    former = import_module(engine).SessionStore(key.decode())
    # Django's own rules: a backend that is still in use, a user that is active, the hash of its password.
    user = get_user(SimpleNamespace(session=former))
    last_login = getattr(user, "last_login", None)
    if not user.is_authenticated or last_login is None:
        return False
    user.backend = former[BACKEND_SESSION_KEY]
    proved = min(last_login, front().authority.clock.now() - NOT_FRESH)
    try:
        taken = session.take_over(user, method_of(user), proved, dict(former.items()))
    except SessileError as error:
        logger.warning("a session of Django's is not taken over: %s", error)
        return False
    former.delete()
    return taken
