"""Applications under `gunicorn --preload`: opened before the fork, current after it (Review 5)."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessile import Active, Authority
from sessile.sync import SyncAuthority

FLASK = """
    import os
    import flask
    from sessile import Authority
    from sessile.flask import Sessile, current_session

    app = flask.Flask(__name__)
    sessile = Sessile(app, Authority(os.environ["SESSIONS"]))
    # Opened, used and listening in the master, before it forks.
    assert sessile.authority.check(sessile.authority.begin("warm").token)

    @app.get("/me")
    def me():
        return current_session.principal

    @app.after_request
    def say_who(answer):
        answer.headers["Worker"] = os.getpid()
        return answer
"""

DJANGO = """
    import os
    import django
    from django.conf import settings
    from sessile import Authority

    settings.configure(
        SECRET_KEY="of a test", ALLOWED_HOSTS=["localhost"], ROOT_URLCONF=__name__,
        INSTALLED_APPS=["sessile.django"], MIDDLEWARE=[f"{__name__}.say_who", "sessile.django.SessileMiddleware"],
        SESSILE={"authority": Authority(os.environ["SESSIONS"])}, SESSION_ENGINE="sessile.django.sessions",
        SESSION_COOKIE_NAME="__Host-sessile", SESSION_COOKIE_SECURE=True,
    )

    def say_who(get_response):
        def answer(request):
            response = get_response(request)
            response.headers["Worker"] = str(os.getpid())
            return response
        return answer

    django.setup()
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path
    from sessile.django import access, authority, require

    @require()
    def me(request):
        return HttpResponse(access(request).session.principal)

    urlpatterns = [path("me", me)]
    app = get_wsgi_application()
    assert authority().check(authority().begin("warm").token)
"""


@contextmanager
def gunicorn(folder: Path, program: str, database: str) -> Iterator[int]:
    """Two workers of one preloaded master; the port they listen on."""
    (folder / "application.py").write_text(textwrap.dedent(program), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listening, (folder / "log").open("w") as log:
        os.set_inheritable(listening.fileno(), True)
        master = subprocess.Popen(
            [
                sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--no-control-socket",
                "--bind", f"fd://{listening.fileno()}", "application:app",
            ],
            cwd=folder, env=os.environ | {"SESSIONS": database}, pass_fds=(listening.fileno(),),
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield listening.getsockname()[1]
        finally:
            master.terminate()
            master.wait(20)


def ask(port: int, token: str) -> tuple[int, str]:
    """The status, and which worker said so."""
    connection = http.client.HTTPConnection("localhost", port, timeout=10)
    try:
        connection.request("GET", "/me", headers={"Cookie": f"__Host-sessile={token}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Worker"]
    finally:
        connection.close()


def ask_both(port: int, token: str) -> dict[str, set[int]]:
    """What each worker says. One is kept busy by a connection that says nothing, so that the other has to answer."""
    said: dict[str, set[int]] = {}
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port)):
            status, worker = ask(port, token)
        said.setdefault(worker, set()).add(status)
        if len(said) == 2:
            return said
    raise AssertionError(f"only one worker has answered: {said}")


@pytest.mark.parametrize("program", [FLASK, DJANGO], ids=["flask", "django"])
def test_each_preloaded_worker_hears_of_a_revocation_elsewhere(tmp_path: Path, program: str) -> None:
    database = f"sqlite:///{tmp_path / 'sessile.db'}"
    with SyncAuthority(Authority(database)) as authority, gunicorn(tmp_path, program, database) as port:
        issued = authority.begin("alice", method="password")
        for _ in range(3):  # by then each answers from its memory
            said = ask_both(port, issued.token)
            assert list(said.values()) == [{200}, {200}], (tmp_path / "log").read_text()
        assert isinstance(authority.check(issued.token), Active)
        authority.revoke(session=issued.active.session.id, cause="elsewhere")
        # The next request of each, and every one after it.
        assert list(ask_both(port, issued.token).values()) == [{401}, {401}]
