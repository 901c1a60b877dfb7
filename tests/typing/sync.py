"""The types that an application sees of the sync face, WSGI, Flask and Django; mypy reads this, nothing runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

import flask
import msgspec

from sessile import Active, Authority, Client, Denied, Issued, Receipt, Session, SessionInfo
from sessile.django import access as django_access
from sessile.django import authority as django_authority
from sessile.django import require as django_require
from sessile.flask import Sessile, access, current_session, require, sign_in, sign_out, step_up
from sessile.kernel.principal import Principal
from sessile.sync import SyncAuthority, wait
from sessile.wsgi import CookieSpec, SessileMiddleware, SyncAccess


class Cart(msgspec.Struct):
    items: list[str] = []


authority = Authority("memory:")
app = flask.Flask(__name__)
sessile = Sessile(app, authority, cookie=CookieSpec(same_site="Strict"), origins=["https://a.b"])
pure = SessileMiddleware(app.wsgi_app, authority, trusted_proxies=["10.0.0.0/8"])
Sessile(app, authority, origin="https://a.b")  # type: ignore[call-arg]  # no such setting

with SyncAuthority(authority) as sync:
    with sync.sign_in("alice") as attempt:
        assert_type(attempt.begin(method="password", client=Client()), Issued)
    assert_type(sync.check("token", client=Client()), Active | Denied)
    issued = sync.begin("alice", method="password", lifetime=timedelta(hours=1))
    assert_type(issued, Issued)
    assert_type(sync.elevate(issued.active, method="totp"), Issued)
    assert_type(sync.delegate(issued.active, to="agent:a", scopes={"x"}), Issued)
    assert_type(sync.revoke(session="ses_x", cause="logout"), Receipt)
    assert_type(sync.session("ses_x"), SessionInfo)
    assert_type(wait(authority.register("bob")), Principal)
    with sync.data(issued.active, Cart) as cart:
        assert_type(cart, Cart)
    sync.revoke(sesion="ses_x", cause="logout")  # type: ignore[call-arg]  # the authority's own signature
    sync.delegate("ses_x", to="agent:a", scopes={"x"})  # type: ignore[arg-type]  # Review 15: a proof, not a name


@app.get("/me")
@require(assurance=2, fresh=timedelta(minutes=5), scopes={"x"})
def me(name: str) -> str:
    assert_type(access(), SyncAccess)
    assert_type(access().result, Active | Denied)
    assert_type(access().session, Session | None)
    assert_type(access().require(assurance=1), Active)
    assert_type(current_session.principal, str | None)
    assert_type(sign_in("alice", method="password"), Session)
    assert_type(step_up(method="totp"), Session)
    sign_out()
    return name


assert_type(me("x"), str)


@django_require(assurance=2)
def view(request: object) -> str:
    assert_type(django_access(request), SyncAccess)
    assert_type(django_authority(), SyncAuthority)
    return ""


assert_type(view(object()), str)
