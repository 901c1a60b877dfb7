"""`/console`: principals and their sessions, and what an operator ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active, demand
from sessile.kernel.principal import OPERATOR, Principal
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.receipt import Receipt
from sessile.server.access import FRESH_OPERATOR, After, Operator, Ours, PrincipalPath, SessionPath
from sessile.server.api.principals import owner_name
from sessile.server.pages.render import CheckedForm, page, text
from sessile.server.pages.step_up import step_up_first
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access

CONSOLE: Final = "/console"
router = APIRouter(prefix=CONSOLE)

PRINCIPALS: Final = 25
"""Rows of a page; each costs a look at its sessions."""
ROOTS: Final = 20
_COUNTED: Final = 1000
_NAMED: Final = 20
MAX_CAUSE: Final = 200
SPANS: Final = {
    "hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30),
}  # fmt: skip
"""How far back one may look, by the word in the address."""

End = Callable[[Active, str], Awaitable[Receipt]]


@dataclass
class Node:
    """A session and what it handed out, for the tree."""

    session: SessionInfo
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Act:
    """What an operator is about to do: how the page asks, and how it is done."""

    path: str
    what: str
    consequence: list[str]
    submit: str
    subject: str
    end: End
    fresh: bool = False
    dangerous: bool = True
    back: str = CONSOLE
    back_label: str = TEXTS.receipt.back_console
    done: str | None = None
    """Where to go on after it, if not back."""
    other: tuple[str, str] | None = None
    """Another act that may be meant, and what its button says."""
    choice: tuple[str, str] | None = None
    """A box to tick: the name of the field, and what stands beside it."""


@router.get("")
async def show(
    request: Request, server: Ours, _active: Operator, q: Annotated[str, Query(max_length=128)] = "",
    after: After = None,
) -> Response:  # fmt: skip
    found = await server.authority.store.principals(search=q.strip().casefold(), after=after, limit=PRINCIPALS)
    more = urlencode({"after": found.next, **({"q": q} if q else {})}) if found.next is not None else None
    return page(
        request, "console.html", now=server.now(), query=q, principals=[await _row(server, one) for one in found],
        next_href=more and f"{CONSOLE}?{more}", everyone_href=f"{CONSOLE}/everyone/revoke",
    )  # fmt: skip


@router.get("/principals/{id}")
async def show_principal(
    id: PrincipalPath, request: Request, server: Ours, _active: Operator, after: After = None
) -> Response:
    found = await server.authority.principal(id)
    roots = await server.authority.sessions(principal=found.name, after=after, limit=ROOTS)
    return page(
        request, "principal.html", now=server.now(), principal=found, operator=OPERATOR in found.scopes,
        owner=await owner_name(server, found), teams=await _teams(server, found),
        factors=await server.factors.of(found.uid),
        tree=await trees(server, roots),
        next_href=roots.next and f"{principal_path(found.name)}?{urlencode({'after': roots.next})}",
    )  # fmt: skip


# -- acts: asked by GET, done by POST -------------------------------------------------------------------------------


async def _revoke_session(server: Server, id: str) -> Act:
    info = await server.authority.session(id)
    below = await server.authority.sessions(tree=id, limit=_COUNTED)
    name = info.principal or ""
    return Act(
        path=f"{CONSOLE}/sessions/{id}/revoke",
        what=TEXTS.confirm.revoke_session.format(name=name),
        consequence=_ends(one for one in below if _hangs_on(one, id, below)),
        submit=TEXTS.confirm.revoke_submit,
        subject=id,
        end=lambda by, cause: server.authority.revoke(session=id, cause=cause, by=by),
        back=principal_path(name),
        back_label=TEXTS.receipt.back.format(name=name),
    )


async def _revoke_principal(server: Server, id: str) -> Act:
    name = (await server.authority.principal(id)).name
    return _of_principal(
        name, "revoke", TEXTS.confirm.revoke_principal, TEXTS.confirm.revoke_submit,
        [*await _ends_of(server, name), TEXTS.confirm.can_return],
        lambda by, cause: server.authority.revoke(principal=name, cause=cause, by=by),
    )  # fmt: skip


async def _disable(server: Server, id: str) -> Act:
    principal = await server.authority.principal(id)
    name = principal.name
    given = await server.authority.store.sessions(giver=principal.uid, limit=_COUNTED)
    stays = _listed(one for one in given if one.parent is None)
    alone = [one.name for one in await server.authority.owned_alone(principal.uid)]
    return _of_principal(
        name, "disable", TEXTS.confirm.disable, TEXTS.confirm.disable_submit,
        [
            *await _ends_of(server, name),
            TEXTS.confirm.stays_out,
            *([TEXTS.confirm.keeps.format(list=stays)] if stays else []),
            *([TEXTS.owned.alone.format(list=TEXTS.listing(alone[:_NAMED]))] if alone else []),
        ],
        lambda by, cause: server.authority.disable(name, cause=cause, by=by), fresh=True,
    )  # fmt: skip


async def _enable(server: Server, id: str) -> Act:
    name = (await server.authority.principal(id)).name
    return _of_principal(
        name, "enable", TEXTS.confirm.enable, TEXTS.confirm.enable_submit, [TEXTS.confirm.enable_hint],
        lambda by, cause: server.authority.enable(name, cause=cause, by=by), fresh=True, dangerous=False,
    )  # fmt: skip


async def _delete(server: Server, id: str) -> Act:
    act = await _disable(server, id)
    keeps = act.consequence[2:] if TEXTS.confirm.stays_out in act.consequence else []
    said = [act.consequence[0], TEXTS.leaving.gone, TEXTS.leaving.record, *keeps, TEXTS.leaving.lock]
    return _gone(server, act, "delete", TEXTS.leaving.delete_what, TEXTS.leaving.delete_submit, said, erase=False)


async def _erase(server: Server, id: str) -> Act:
    act = await _delete(server, id)
    said = [act.consequence[0], TEXTS.leaving.gone, TEXTS.leaving.erase_what_goes, TEXTS.leaving.erase_first]
    return _gone(server, act, "erase", TEXTS.leaving.erase_what, TEXTS.leaving.erase_submit, said, erase=True)


def _gone(server: Server, act: Act, verb: str, what: str, submit: str, consequence: list[str], *, erase: bool) -> Act:
    name, to_principal = act.subject, act.path.rpartition("/")[0]
    return replace(
        act, path=f"{to_principal}/{verb}", what=what.format(name=name), consequence=consequence, submit=submit,
        end=lambda by, cause: server.authority.delete(name, cause=cause, by=by, erase=erase), back=to_principal,
        done=CONSOLE, back_label=TEXTS.receipt.back_console,
        other=None if erase else (f"{to_principal}/erase", TEXTS.leaving.erase_instead),
    )  # fmt: skip


async def _revoke_everyone(server: Server, *, keys: bool = False) -> Act:
    counts = await server.counts()
    ends = TEXTS.kinds(
        {kind: counts.get(f"sessions_{kind}", 0) for kind in (SessionKind.BROWSER, SessionKind.DELEGATED)}
    )
    return Act(
        path=f"{CONSOLE}/everyone/revoke",
        what=TEXTS.confirm.revoke_everyone,
        consequence=[TEXTS.confirm.ends.format(list=ends), TEXTS.console.everyone_hint],
        submit=TEXTS.confirm.revoke_everyone_submit,
        subject=TEXTS.console.everyone,
        end=lambda by, cause: server.authority.revoke(everyone=True, keys=keys, cause=cause, by=by),
        fresh=True,
        choice=("with_keys", TEXTS.confirm.keys_too),
    )


@router.get("/sessions/{id}/revoke")
async def ask_revoke_session(
    id: SessionPath, request: Request, server: Ours, active: Operator, here: CurrentAccess
) -> Response:
    return _ask(request, server, here, active, await _revoke_session(server, id))


@router.post("/sessions/{id}/revoke")
async def revoke_session(
    id: SessionPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    return await _do(request, server, here, active, form, await _revoke_session(server, id))


async def _reset_factors(server: Server, id: str) -> Act:
    name = (await server.authority.principal(id)).name

    async def end(by: Active, cause: str) -> Receipt:
        return (await server.factors.reset(name, by=by, cause=cause))[1]

    words = TEXTS.factor_reset
    said = [words.gone, *await _ends_of(server, name), words.sure.format(name=name)]
    return _of_principal(name, "reset-factors", words.what, words.submit, said, end, fresh=True)


_OF_PRINCIPAL: Final[dict[str, Callable[[Server, str], Awaitable[Act]]]] = {
    "revoke": _revoke_principal,
    "disable": _disable,
    "enable": _enable,
    "reset-factors": _reset_factors,
    "delete": _delete,
    "erase": _erase,
}


def _routes(verb: str, make: Callable[[Server, str], Awaitable[Act]]) -> None:
    """The two routes of an act on a principal."""

    async def ask(id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess) -> Response:
        return _ask(request, server, here, active, await make(server, id))

    async def do(
        id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
    ) -> Response:
        return await _do(request, server, here, active, form, await make(server, id))

    router.add_api_route(f"/principals/{{id}}/{verb}", ask, methods=["GET"])
    router.add_api_route(f"/principals/{{id}}/{verb}", do, methods=["POST"])


for _verb, _make in _OF_PRINCIPAL.items():
    _routes(_verb, _make)


@router.get("/everyone/revoke")
async def ask_revoke_everyone(request: Request, server: Ours, active: Operator, here: CurrentAccess) -> Response:
    return _ask(request, server, here, active, await _revoke_everyone(server))


@router.post("/everyone/revoke")
async def revoke_everyone(
    request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    act = await _revoke_everyone(server, keys=text(form, "with_keys") == "yes")
    return await _do(request, server, here, active, form, act)


def _ask(request: Request, server: Server, here: Access, active: Active, act: Act) -> Response:
    if act.fresh and demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        return step_up_first(request, here, TEXTS.step_up.for_operator, act.path)
    return _confirm(request, act)


async def _do(request: Request, server: Server, here: Access, active: Active, form: FormData, act: Act) -> Response:
    cause = text(form, "cause").strip()
    if not cause:
        return _confirm(request, act, status=422, errors={"cause": TEXTS.confirm.cause_missing})
    if len(cause) > MAX_CAUSE:
        said = TEXTS.confirm.cause_long.format(maximum=MAX_CAUSE)
        return _confirm(request, act, status=422, cause=cause, errors={"cause": said})
    if act.fresh and demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        ticked = {} if act.choice is None else {act.choice[0]: text(form, act.choice[0])}
        return step_up_first(request, here, TEXTS.step_up.for_operator, act.path, cause=cause, **ticked)
    receipt = await act.end(active, cause)
    return page(
        request, "receipt.html", now=server.now(), receipt=receipt, subject=act.subject, back_href=act.done or act.back,
        back_label=act.back_label,
    )  # fmt: skip


def _confirm(request: Request, act: Act, *, status: int = 200, **context: Any) -> Response:
    return page(
        request, "confirm.html", status=status, what=act.what, consequence=act.consequence, action=act.path,
        cancel_href=act.back, submit=act.submit, dangerous=act.dangerous, other=act.other, choice=act.choice,
        **context,
    )  # fmt: skip


def _of_principal(
    name: str, verb: str, what: str, submit: str, consequence: list[str], end: End, *, fresh: bool = False,
    dangerous: bool = True,
) -> Act:  # fmt: skip
    return Act(
        path=f"{principal_path(name)}/{verb}", what=what.format(name=name), consequence=consequence, submit=submit,
        subject=name, end=end, fresh=fresh, dangerous=dangerous, back=principal_path(name),
        back_label=TEXTS.receipt.back.format(name=name),
    )  # fmt: skip


async def _teams(server: Server, principal: Principal) -> list[str]:
    return [team.name for team in await server.authority.store.teams(member=principal.uid, limit=_COUNTED)]


# -- looking --------------------------------------------------------------------------------------------------------


async def _row(server: Server, one: Principal) -> dict[str, Any]:
    live = await server.authority.store.sessions(uid=one.uid, limit=_COUNTED)
    return {
        "name": one.name, "kind": one.kind, "status": one.status, "operator": OPERATOR in one.scopes,
        "live": len(live), "last_seen": max((info.last_seen for info in live), default=None),
    }  # fmt: skip


async def trees(server: Server, roots: Iterable[SessionInfo]) -> list[Node]:
    trees = []
    for root in roots:
        nodes = {root.id: (top := Node(root))}
        for info in await server.authority.sessions(tree=root.id, limit=_COUNTED):
            above = nodes.get(info.origin or "")
            if info.id != root.id and above is not None:  # givers come first
                above.children.append(nodes.setdefault(info.id, Node(info)))
        trees.append(top)
    return trees


async def _ends_of(server: Server, name: str) -> list[str]:
    """What ends with all sessions of a principal: those, and the delegations below them."""
    found: dict[str, SessionInfo] = {}
    for info in await server.authority.sessions(principal=name, limit=_COUNTED):
        below = await server.authority.sessions(tree=info.id, limit=_COUNTED)
        found |= {one.id: one for one in below if _hangs_on(one, info.id, below)}
    return _ends(found.values())


def _hangs_on(info: SessionInfo, root: str, tree: Iterable[SessionInfo]) -> bool:
    """Whether its life hangs on the root: by `parent` all the way up."""
    parents = {one.id: one.parent for one in tree}
    at: str | None = info.id
    while at is not None and at != root:
        at = parents.get(at)
    return at == root


def _ends(infos: Iterable[SessionInfo]) -> list[str]:
    listed = _listed(infos)
    return [TEXTS.confirm.ends.format(list=listed) if listed else TEXTS.confirm.ends_nothing]


def _listed(infos: Iterable[SessionInfo]) -> str:
    return TEXTS.kinds(Counter(info.kind for info in infos))


def principal_path(name: str) -> str:
    return f"{CONSOLE}/principals/{quote(name, safe='')}"
