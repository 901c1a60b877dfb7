"""`/console/principals/{id}/offboard`: when a person leaves, what is theirs, and what becomes of each of it.

Two steps, both by POST and without script: what is chosen, then all that will happen; the second is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.errors import Conflict, NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import demand
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import SessionInfo
from sessile.nhi.offboarding import Holdings
from sessile.server.access import FRESH_OPERATOR, Operator, Ours, PrincipalPath
from sessile.server.pages.console import CONSOLE, MAX_CAUSE, principal_path
from sessile.server.pages.render import CheckedForm, page, text
from sessile.server.pages.step_up import step_up_first
from sessile.server.state import Server
from sessile.server.wording import TEXTS

router = APIRouter(prefix=CONSOLE)

MOST: Final = 500
"""Agents, services, keys and leases that one page offers each."""
_NAME: Final = 120


@dataclass
class Chosen:
    """What an operator chose for each."""

    to: str = ""
    heirs: dict[str, str] = field(default_factory=dict)
    """By name of an agent or a service: who takes it over, other than `to`."""
    end: frozenset[str] = frozenset()
    """Names of those that end although somebody is named, and ids of keys and leases that end."""
    cause: str = ""

    @classmethod
    def of(cls, form: FormData, found: Holdings) -> Chosen:
        heirs = {one.name: said for one in found.principals if (said := text(form, f"to {one.name}").strip()[:_NAME])}
        ends = frozenset(one for one in form.getlist("end") if isinstance(one, str))
        return cls(text(form, "to").strip()[:_NAME], heirs, ends, text(form, "cause").strip())

    def heir(self, name: str) -> str:
        """Who takes it over; empty: it ends."""
        return "" if name in self.end else self.heirs.get(name) or self.to


@router.get("/principals/{id}/offboard")
async def ask(id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess) -> Response:
    person = await _person(server, id)
    if demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        return step_up_first(request, here, TEXTS.step_up.for_operator, _path(person))
    return _choose(request, server, person, await server.authority.holdings(person.name), Chosen())


@router.post("/principals/{id}/offboard")
async def do(
    id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    person = await _person(server, id)
    found = await server.authority.holdings(person.name)
    chosen = Chosen.of(form, found)
    errors = await _errors(server, person, found, chosen)
    step = text(form, "step")
    if errors or step == "change":
        return _choose(request, server, person, found, chosen, status=422 if errors else 200, errors=errors)
    if demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        return step_up_first(request, here, TEXTS.step_up.for_operator, _path(person))
    if step != "do":
        return page(
            request, "offboard_sure.html", person_name=person.name, chosen=chosen, path=_path(person),
            happens=_happens(person, found, chosen),
        )  # fmt: skip
    return page(
        request, "offboarded.html", now=server.now(), **await _done(server, active, person, found, chosen)
    )  # fmt: skip


async def _person(server: Server, id: str) -> Principal:
    found = await server.authority.principal(id)
    if found.kind is not PrincipalKind.HUMAN:
        raise NotFound(f"{found.name} is no person")
    return found


def _choose(
    request: Request, server: Server, person: Principal, found: Holdings, chosen: Chosen, *, status: int = 200,
    errors: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    held = {one.name: [each for each in _secrets(found, held=True) if each.principal == one.name]
            for one in found.principals}  # fmt: skip
    return page(
        request, "offboard.html", status=status, now=server.now(), person_name=person.name, path=_path(person),
        back=principal_path(person.name), principals=found.principals[:MOST], held=held,
        secrets=_secrets(found)[:MOST], given={one.id for one in found.handed_out}, chosen=chosen, errors=errors or {},
    )  # fmt: skip


def _secrets(found: Holdings, *, held: bool = False) -> list[SessionInfo]:
    """Keys and leases that the person handed out or saw; `held`: those of its agents and services, too."""
    every = [*found.handed_out, *(one.session for one in found.seen), *(found.held if held else ())]
    return list({one.id: one for one in every}.values())


async def _errors(server: Server, person: Principal, found: Holdings, chosen: Chosen) -> dict[str, str]:
    errors: dict[str, str] = {}
    fields = {"to": chosen.to} | {f"to {name}": heir for name, heir in chosen.heirs.items()}
    for where, heir in fields.items():
        if not heir:
            continue
        try:  # of nothing: it is only judged whether that one can
            await server.authority.hand_over(person.name, to=heir, only=())
        except (NotFound, ValueError):
            errors[where] = TEXTS.offboarding.no_heir.format(to=heir)
        except Conflict as error:
            errors[where] = f"{str(error)[:1].upper()}{str(error)[1:]}."
    if not chosen.cause:
        errors["cause"] = TEXTS.confirm.cause_missing
    elif len(chosen.cause) > MAX_CAUSE:
        errors["cause"] = TEXTS.confirm.cause_long.format(maximum=MAX_CAUSE)
    return errors


def _by_heir(found: Holdings, chosen: Chosen) -> dict[str, list[str]]:
    """The agents and services by who takes them over; under the empty name those that end."""
    groups: dict[str, list[str]] = {}
    for one in found.principals:
        groups.setdefault(chosen.heir(one.name), []).append(one.name)
    return groups


def _happens(person: Principal, found: Holdings, chosen: Chosen) -> list[str]:
    words = TEXTS.offboarding
    groups = _by_heir(found, chosen)
    ends = groups.pop("", [])
    said = [words.out.format(name=person.name)]
    said += [words.takes.format(heir=heir, list=TEXTS.listing(names)) for heir, names in sorted(groups.items())]
    if ends:
        said.append((words.ends_too if len(ends) == 1 else words.end_too).format(list=TEXTS.listing(ends)))
    for one in _secrets(found):
        over = one.id in chosen.end or one.principal in ends
        words_ = words.key_ends if over else words.key_stays
        said.append(words_.format(key=TEXTS.session_name(one), principal=one.principal))
    return said


async def _done(
    server: Server, active: Operator, person: Principal, found: Holdings, chosen: Chosen
) -> dict[str, Any]:  # fmt: skip
    authority = server.authority
    handed: list[tuple[str, str]] = []
    for heir, names in _by_heir(found, chosen).items():
        if heir:
            done = await authority.hand_over(person.name, to=heir, only=names, by=active)
            handed += [(one.name, heir) for one in done]
    ended = [one for one in _secrets(found) if one.id in chosen.end]
    for one in ended:
        await authority.revoke(session=one.id, cause=chosen.cause, by=active, wait=False)
    # Behind them, and it waits for all: what nobody took over ends with the person, whatever came in between.
    left = await authority.offboard(person.name, cause=chosen.cause, by=active)
    over = {one.id for one in ended}
    return {
        "person_name": person.name, "receipt": left.receipt, "handed": handed, "disabled": left.disabled,
        "ended": ended, "rotate": _rotate(left.rotate, over), "back": principal_path(person.name),
    }  # fmt: skip


def _rotate(left: Sequence[SessionInfo], over: set[str]) -> list[SessionInfo]:
    return [one for one in left if one.id not in over]


def _path(person: Principal) -> str:
    return f"{principal_path(person.name)}/offboard"
