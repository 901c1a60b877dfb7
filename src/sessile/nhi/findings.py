"""What is wrong with an agent or a service, by OWASP's Non-Human Identities Top 10 of 2025, each with what cures it.

Pure. What cannot be told from what Sessile knows is not here: NHI6 and NHI8 are told only by names and lifetimes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Final

import msgspec

from sessile.kernel.principal import EVERYTHING, RESERVED_SCOPES, Status
from sessile.kernel.session import SessionKind
from sessile.kernel.team import is_team_name
from sessile.kernel.trace import Trace
from sessile.strangers import network

if TYPE_CHECKING:
    from sessile.nhi.inventory import Held, Item
    from sessile.nhi.owning import Owner

DORMANT: Final = timedelta(days=30)
"""A key that was not used for so long is dormant."""
NEW_PLACE: Final = timedelta(days=7)
AT_ONCE: Final = timedelta(hours=1)
"""Two workloads that use one key within so long of each other share it."""
STATIC: Final = timedelta(days=30)
_ENVIRONMENT: Final = re.compile(r"(?:^|[^a-z])(prod|production|staging|stage|test|dev|development)(?:$|[^a-z])")
_SAME: Final = {"production": "prod", "stage": "staging", "development": "dev"}
_PIPELINE: Final = re.compile(r"(?:^|[^a-z])(ci|cd|deploy|pipeline|build|release|github|gitlab|jenkins)(?:$|[^a-z])")
_BROWSER: Final = re.compile(r"Mozilla/|Firefox|Chrome|Safari|Edge|Opera")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, and what to do about it."""

    risk: str
    """`NHI1` … `NHI10`."""
    session: str | None
    """The key or lease that it is about; None: the principal."""
    says: str
    cure: str


def rotation_due(created: datetime, expires: datetime) -> datetime:
    """When a key ought to be rotated: two thirds of its life are over, and a third is left to do it in."""
    return created + (expires - created) * 2 / 3


def findings(
    item: Item, *, owner: Owner | None, uses: Mapping[str, Sequence[Trace]], leaks: Mapping[str, Sequence[Trace]],
    gone: Mapping[str, Sequence[str]], now: datetime,
) -> tuple[Finding, ...]:  # fmt: skip
    """All that is wrong with an item, in the order of the list.

    Args:
        uses: by session, from where it was used, latest first.
        gone: by session, who was shown its secret and has left since.
    """
    if item.status is not Status.ACTIVE:
        return ()
    found = list(_of_principal(item, owner, now))
    for held in item.held:
        if held.rotated_out:
            continue
        found += _of_held(item, held, uses.get(held.id, ()), leaks.get(held.id, ()), gone.get(held.id, ()), now)
    return tuple(sorted(found, key=lambda one: int(one.risk.removeprefix("NHI"))))


def _of_principal(item: Item, owner: Owner | None, now: datetime) -> Iterator[Finding]:
    def finding(risk: str, says: str, cure: str) -> Finding:
        return Finding(risk=risk, session=None, says=says, cure=cure)

    if owner is None:
        yield finding("NHI1", "nobody answers for it", f"sessile user change {item.principal} --owner NAME")
    elif owner.gone:
        cure = f"sessile user change {item.principal} --owner NAME"
        if is_team_name(owner.name):
            cure = f"sessile team join {owner.name} NAME, or sessile user handover {owner.name} --to NAME"
        yield finding("NHI1", f"who answers for it, {owner.name}, {owner.gone}", cure)
    if not item.purpose.strip():
        yield finding("NHI1", "it has no purpose", f"sessile user change {item.principal} --purpose TEXT")
    if not item.held and not item.delegations and now - item.created >= DORMANT:
        yield finding("NHI1", "it holds nothing that lives", f"sessile user disable {item.principal}")
    environments = {_SAME.get(name, name) for scope in item.scopes for name in _ENVIRONMENT.findall(scope.lower())}
    if "prod" in environments and len(environments) > 1:
        yield finding(
            "NHI8", f"it reaches {', '.join(sorted(environments))}",
            "one identity for each environment, each with its own key",
        )  # fmt: skip


def _of_held(
    item: Item, held: Held, uses: Sequence[Trace], leaks: Sequence[Trace], gone: Sequence[str], now: datetime
) -> Iterator[Finding]:
    rotate = f"sessile key rotate {held.id} --by YOU" if held.kind is SessionKind.KEY else "end it, and lease anew"

    def finding(risk: str, says: str, cure: str = rotate) -> Finding:
        return Finding(risk=risk, session=held.id, says=says, cure=cure)

    if now - (held.last_used or held.created) >= DORMANT:
        days = (now - (held.last_used or held.created)).days
        said = f"not used for {days} days" if held.last_used is not None else f"never used in {days} days"
        yield finding("NHI1", said, f"sessile revoke --session {held.id}")
    for name in gone:
        yield finding("NHI1", f"{name}, who has left, was shown the secret")
    for leak in leaks:
        yield finding("NHI2", f"found in the open: {leak.what}", f"sessile contain --session {held.origin or held.id}")
    if held.kind is not SessionKind.KEY:
        return
    places = {place for trace in uses if (place := network(trace.what)) is not None}
    new = {
        place
        for place in places
        if now - min(trace.first for trace in uses if network(trace.what) == place) < NEW_PLACE
    }
    if new and places - new:
        yield finding("NHI3", f"used from a new place: {', '.join(sorted(new))}", f"is it yours? If not: {rotate}")
    if held.assurance < 2:
        yield finding(
            "NHI4", "handed out after a single factor", "mint its successor from a session with a second factor"
        )
    if wide := {EVERYTHING, *RESERVED_SCOPES} & set(held.scopes):
        yield finding("NHI5", f"it may do everything: {' '.join(sorted(wide))}", "mint one that names what it needs")
    if _PIPELINE.search(item.principal) and held.expires - held.created > STATIC:
        yield finding(
            "NHI6", f"a pipeline's key that lives {(held.expires - held.created).days} days",
            "hand each run a delegation of its own length",
        )  # fmt: skip
    if now >= held.rotation_due:
        yield finding("NHI7", f"rotation was due on {held.rotation_due:%Y-%m-%d}")
    if len(shared := _at_once(uses)) > 1:
        yield finding("NHI9", f"used by several at once: {', '.join(sorted(shared))}", "a service, and a key, for each")
    if browsers := sorted({trace.how for trace in uses if _BROWSER.search(trace.how)}):
        yield finding(
            "NHI10", f"used by a person: {', '.join(browsers)}", "people sign in; what acts for them is delegated to"
        )


def _at_once(uses: Sequence[Trace]) -> set[str]:
    """Who used it in turns: each came again after another had come."""
    shared: set[str] = set()
    for one, other in combinations(uses, 2):
        in_turns = other.first < one.last and one.first < other.last
        if in_turns and abs(one.last - other.last) <= AT_ONCE:
            shared |= {f"{each.how or 'a client'} at {each.what or 'an unknown place'}" for each in (one, other)}
    return shared
