"""A Django project: settings, views, and what tests lean on. Importing it sets Django up, once for the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from sessile import Authority

FOLDER = Path(tempfile.mkdtemp(prefix="sessile-django-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

MIDDLEWARE = [
    "sessile.django.SessileMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CONTEXT = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": CONTEXT},
    }
]

settings.configure(
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "django.db"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.admin",
        "sessile.django",
    ],
    MIDDLEWARE=MIDDLEWARE,
    TEMPLATES=TEMPLATES,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # quick, for tests
    SESSILE={"authority": Authority("memory:")},
    SESSION_ENGINE="sessile.django.sessions",
    SESSION_COOKIE_NAME="__Host-sessile",
    SESSION_COOKIE_SECURE=True,
    USE_TZ=True,
)
django.setup()

from collections.abc import AsyncIterator, Iterator  # noqa: E402 - Django is set up first

from django.contrib import admin, messages  # noqa: E402
from django.contrib.auth import alogin, authenticate  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from sessile.django import access, require  # noqa: E402

call_command("migrate", verbosity=0)


def home(request: Any) -> HttpResponse:
    session = access(request).session
    return JsonResponse({"user": request.user.get_username(), "principal": session.principal if session else None})


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def count(request: Any) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


def data(request: Any) -> HttpResponse:
    return JsonResponse(dict(request.session))


def much(request: Any) -> HttpResponse:
    request.session["much"] = "x" * 70_000
    return HttpResponse("saved")


def broken(request: Any) -> HttpResponse:
    request.session["broken"] = True
    return HttpResponse("broken", status=500)


def cycled(request: Any) -> HttpResponse:
    request.session.cycle_key()
    return HttpResponse(request.session.session_key or "")


def note(request: Any) -> HttpResponse:
    messages.info(request, "saved")
    return HttpResponse()


def notes(request: Any) -> HttpResponse:
    return JsonResponse({"notes": [str(one) for one in messages.get_messages(request)]})


@require(assurance=2)
def sensitive(request: Any) -> HttpResponse:
    return HttpResponse("done")


def totp(request: Any) -> HttpResponse:
    return HttpResponse(str(access(request).step_up(method="totp").assurance))


@require()
async def in_a_coroutine(request: Any) -> HttpResponse:
    user = await request.auser()
    return HttpResponse(user.get_username())


async def login_in_a_coroutine(request: Any) -> HttpResponse:
    user = await sync(authenticate)(request, username="alice", password="first")
    await alogin(request, user)
    await request.session.aset("count", 7)
    return HttpResponse(request.session.session_key)


def stream(request: Any) -> HttpResponse:
    def pieces() -> Iterator[bytes]:
        yield from (b"one", b"two", b"three")

    return StreamingHttpResponse(pieces())


async def async_stream(request: Any) -> HttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two", b"three"):
            yield piece

    return StreamingHttpResponse(pieces())


from asgiref.sync import sync_to_async as sync  # noqa: E402

urlpatterns = [
    path("", home),
    path("plain", plain),
    path("count", count),
    path("data", data),
    path("much", much),
    path("broken", broken),
    path("cycled", cycled),
    path("note", note),
    path("notes", notes),
    path("sensitive", sensitive),
    path("totp", totp),
    path("async", in_a_coroutine),
    path("async-login", login_in_a_coroutine),
    path("stream", stream),
    path("async-stream", async_stream),
    path("admin/", admin.site.urls),
]
