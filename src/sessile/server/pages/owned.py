"""`/console/register` and `/console/principals/{id}/change`: a service or an agent, who answers for it and what it is
for."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.errors import Conflict, NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import demand
from sessile.kernel.principal import Principal, PrincipalKind, canonical, kind_of
from sessile.nhi.owning import LONGEST_PURPOSE
from sessile.server.access import FRESH_OPERATOR, Operator, Ours, PrincipalPath
from sessile.server.api.principals import owner_name
from sessile.server.pages.console import CONSOLE, principal_path
from sessile.server.pages.render import CheckedForm, go, page, text
from sessile.server.pages.step_up import step_up_first
from sessile.server.wording import TEXTS

router = APIRouter(prefix=CONSOLE)

REGISTER: Final = f"{CONSOLE}/register"
_INVENTORY: Final = f"{CONSOLE}/inventory"


@router.get("/register")
async def ask_register(request: Request, active: Operator) -> Response:
    return _form(request, None, {"owner": active.session.principal or ""})


@router.post("/register")
async def register(request: Request, server: Ours, active: Operator, form: CheckedForm) -> Response:
    typed = _typed(form)
    errors = _errors(typed)
    try:
        if kind_of(canonical(typed["name"])) is PrincipalKind.HUMAN:
            raise ValueError("a person")
    except ValueError:
        errors = {"name": TEXTS.owned.name_wrong} | errors
    if not errors:
        try:
            made = await server.authority.register(
                typed["name"], owner=typed["owner"], purpose=typed["purpose"], by=active
            )
        except (NotFound, ValueError):
            errors["owner"] = TEXTS.owned.owner_wrong.format(owner=typed["owner"])
        except Conflict as error:
            errors["name" if "is named" in str(error) else "owner"] = _sentence(error)
        else:
            return go(principal_path(made.name))
    return _form(request, None, typed, status=422, errors=errors)


@router.get("/principals/{id}/change")
async def ask_change(id: PrincipalPath, request: Request, server: Ours, _active: Operator) -> Response:
    one = await _nonhuman(server.authority.principal(id))
    return _form(request, one, {"owner": await owner_name(server, one) or "", "purpose": one.purpose})


@router.post("/principals/{id}/change")
async def change(
    id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    one, typed = await _nonhuman(server.authority.principal(id)), _typed(form)
    errors = _errors(typed)
    if not errors and demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        del typed["name"]
        return step_up_first(request, here, TEXTS.step_up.for_operator, _path(one), **typed)
    if not errors:
        try:
            await server.authority.describe(one.name, owner=typed["owner"], purpose=typed["purpose"], by=active)
        except (NotFound, ValueError):
            errors["owner"] = TEXTS.owned.owner_wrong.format(owner=typed["owner"])
        except Conflict as error:
            errors["owner"] = _sentence(error)
        else:
            return go(principal_path(one.name))
    return _form(request, one, typed, status=422, errors=errors)


async def _nonhuman(found: Any) -> Principal:
    one: Principal = await found
    if one.kind is PrincipalKind.HUMAN:
        raise NotFound(f"{one.name} answers for itself")
    return one


def _typed(form: FormData) -> dict[str, str]:
    return {name: text(form, name).strip()[:1_000] for name in ("name", "owner", "purpose")}


def _errors(typed: dict[str, str]) -> dict[str, str]:
    words = TEXTS.owned
    errors: dict[str, str] = {}
    if not typed["owner"]:
        errors["owner"] = words.owner_hint
    if not typed["purpose"]:
        errors["purpose"] = words.purpose_missing
    elif len(typed["purpose"]) > LONGEST_PURPOSE:
        errors["purpose"] = words.purpose_long.format(maximum=LONGEST_PURPOSE)
    return errors


def _form(
    request: Request, one: Principal | None, entered: dict[str, str], *, status: int = 200,
    errors: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    return page(
        request, "owned.html", status=status, one=one, path=REGISTER if one is None else _path(one), entered=entered,
        back=_INVENTORY if one is None else principal_path(one.name), errors=errors or {}, longest=LONGEST_PURPOSE,
    )  # fmt: skip


def _path(one: Principal) -> str:
    return f"{principal_path(one.name)}/change"


def _sentence(error: Exception) -> str:
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."
