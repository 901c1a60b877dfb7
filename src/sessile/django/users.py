"""What happens to users happens to their principals: sign-in, a new password, disabling, a new name, deletion.

Changes that bypass the model (`QuerySet.update`, SQL) are not seen here; Django itself still looks at the password's
hash and `is_active` at every request that asks for `request.user`.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model, load_backend
from django.contrib.auth.backends import ModelBackend, RemoteUserBackend
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save

from sessile.django.front import authority, name_of, principal_of
from sessile.django.sessions import SessionStore, current
from sessile.errors import NotFound
from sessile.kernel.assurance import Method

PASSWORD_CHANGED = "password"
_BEFORE = "_sessile_before"


class _Before(NamedTuple):
    username: object
    password: str
    active: bool


def connect() -> None:
    model = get_user_model()
    user_logged_in.connect(_signed_in, dispatch_uid="sessile")
    pre_save.connect(_saving, sender=model, dispatch_uid="sessile")
    post_save.connect(_saved, sender=model, dispatch_uid="sessile")
    post_delete.connect(_deleted, sender=model, dispatch_uid="sessile")


def _signed_in(*, request: Any, user: Any, **_: Any) -> None:
    session = getattr(request, "session", None)
    if isinstance(session, SessionStore):
        session.sign_in(user, method_of(user))


def method_of(user: Any) -> Method:
    """How the user proved itself, by the backend that let it in."""
    backend = load_backend(user.backend) if getattr(user, "backend", None) else None
    if isinstance(backend, ModelBackend) and not isinstance(backend, RemoteUserBackend):
        return Method.PASSWORD
    return Method.FEDERATED


def _saving(*, sender: Any, instance: Any, raw: bool, update_fields: Any = None, **_: Any) -> None:
    name = sender.USERNAME_FIELD
    instance.__dict__.pop(_BEFORE, None)
    if raw or instance.pk is None or (update_fields and not {name, "password", "is_active"} & set(update_fields)):
        return
    # `is_active` need be no column of an own user model.
    active = any(field.name == "is_active" for field in sender._meta.concrete_fields)
    row = sender._base_manager.filter(pk=instance.pk).values_list(name, "password", *(["is_active"] if active else []))
    found = row.first()
    if found is not None:
        setattr(instance, _BEFORE, _Before(found[0], found[1], found[2] if active else True))


def _saved(*, sender: Any, instance: Any, update_fields: Any = None, **_: Any) -> None:
    before: _Before | None = instance.__dict__.pop(_BEFORE, None)
    if before is None:
        return
    name, former = principal_of(instance), name_of(before.username, instance.pk)
    if former != name:
        with contextlib.suppress(NotFound):  # it has never signed in
            authority().revoke(principal=former, cause="renamed")
    upgraded = set(update_fields or ()) == {"password"} and getattr(instance, "_password", None) is None
    if before.password != instance.password and not upgraded:
        _end_sessions(instance, name)
    if before.active != instance.is_active:
        # Once it is certain: a rolled back transaction shuts nobody out.
        change = authority().enable if instance.is_active else authority().disable
        transaction.on_commit(lambda: _told(lambda: change(name, cause="is_active")), using=instance._state.db)


def _end_sessions(user: Any, name: str) -> None:
    """All of the user's sessions are over (ASVS V7.4.3), but for the one in which the user itself changed it."""
    session = current.get()
    with contextlib.suppress(NotFound):
        if session is None or not session.end_others(user, PASSWORD_CHANGED):
            authority().revoke(principal=name, cause=PASSWORD_CHANGED)


def _deleted(*, instance: Any, using: str, **_: Any) -> None:
    name = principal_of(instance)
    transaction.on_commit(lambda: _told(lambda: authority().delete(name, cause="deleted")), using=using)


def _told(tell: Any) -> None:
    with contextlib.suppress(NotFound):
        tell()
