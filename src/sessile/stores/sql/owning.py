"""Who answers for agents and services: registering, describing and teams, inside and outside the writer."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.kernel.event import Actor, EventName, described_event, registered_event, team_event
from sessile.kernel.principal import Principal, PrincipalKind, Status, ownerless
from sessile.kernel.team import MOST_MEMBERS, Team, is_team
from sessile.stores.owning import LAST, NO_OWNER, STILL_OWNS, can_answer
from sessile.stores.protocol import PAGE, Credential, Page
from sessile.stores.sql.directory import MOST, find_named, find_principal, put_credential, save_principal
from sessile.stores.sql.rows import PRINCIPAL_COLUMNS, datetime_of, instant, principal_of, principal_values
from sessile.stores.sql.transaction import Db, Transaction

T = TypeVar("T")

_MEMBERS = f"SELECT {', '.join(PRINCIPAL_COLUMNS)} FROM principal WHERE uid IN"  # noqa: S608 - names of our own
_MEMBERS += " (SELECT member FROM team_member WHERE team = ?) AND status <> 'deleted' ORDER BY name"

# -- reading ----------------------------------------------------------------------------------------------------


def find_team(db: Db, uid: str) -> Team | None:
    return _team(db.execute("SELECT uid, name, created FROM team WHERE uid = ?", (uid,)).fetchall())


def find_team_named(db: Db, name: str) -> Team | None:
    return _team(db.execute("SELECT uid, name, created FROM team WHERE name = ?", (name,)).fetchall())


def _team(rows: Sequence[Any]) -> Team | None:
    return Team(uid=rows[0][0], name=rows[0][1], created=datetime_of(rows[0][2])) if rows else None


def members(db: Db, team: str) -> Sequence[Principal]:
    found = (principal_of(row) for row in db.execute(_MEMBERS, (team,)).fetchall())
    return [one for one in found if one is not None]


def list_teams(db: Db, member: str | None, search: str, after: str | None, limit: int) -> Page[Team]:
    limit = max(1, min(limit, MOST))
    where, values = ["name > ?"], [after or ""]
    for condition, wanted in (
        ("instr(name, ?) > 0", search or None),
        ("uid IN (SELECT team FROM team_member WHERE member = ?)", member),
    ):
        if wanted is not None:
            where.append(condition)
            values.append(wanted)
    sql = f"SELECT uid, name, created FROM team WHERE {' AND '.join(where)} ORDER BY name LIMIT ?"  # noqa: S608
    rows = db.execute(sql, (*values, limit + 1)).fetchall()
    found = [Team(uid=uid, name=name, created=datetime_of(created)) for uid, name, created in rows[:limit]]
    return Page(found, found[-1].name if len(rows) > limit else None)


# -- in the writer's transaction --------------------------------------------------------------------------------


def lock(tx: Transaction, owner: str | None, *uids: str) -> None:
    """Nobody changes those principals, nor whether `owner` can answer for something, until the commit."""
    if owner is None or not is_team(owner):
        tx.lock_principals((*uids, owner))
        return
    tx.lock_teams((owner,))
    listed = tx.rows("SELECT member FROM team_member WHERE team = ?", owner)
    tx.lock_principals((*uids, *(member for (member,) in listed)))


def must_answer(tx: Transaction, principal: Principal, owner: str | None) -> None:
    """Raises NotFound, Conflict: `owner` cannot answer for that principal."""
    if wrong := ownerless(principal.kind, owner):
        raise Conflict(f"{principal.name}: {wrong}")
    if owner is None:
        return
    if is_team(owner):
        team = find_team(tx.db, owner)
        if team is None:
            raise NotFound("no such team")
        if not any(can_answer(one) for one in members(tx.db, owner)):
            raise Conflict(f"{team.name} has no member who is active: {NO_OWNER}")
        return
    found = find_principal(tx.db, owner)
    if found is None:
        raise NotFound("no such owner")
    if not can_answer(found):
        raise Conflict(f"{found.name} cannot answer for it: {NO_OWNER}")


def lock_to_end(tx: Transaction, uid: str, status: Status | None) -> None:
    """Before an ending of a principal. Raises Conflict: it is enabled, and nobody answers for it."""
    known = find_principal(tx.db, uid) if status is Status.ACTIVE else None
    if known is None or known.kind is PrincipalKind.HUMAN:
        tx.lock_principals((uid,))
        return
    lock(tx, known.owner, uid)
    found = find_principal(tx.db, uid)
    if found is None or found.status is Status.DELETED:
        return
    if found.owner != known.owner:
        raise Conflict(f"somebody else answers for {found.name} since a moment: look, and try again")
    must_answer(tx, found, found.owner)


def register(tx: Transaction, principal: Principal, by: Actor, credential: Credential | None) -> None:
    """See `Directory.register`."""
    lock(tx, principal.owner)
    if find_named(tx.db, principal.name) is not None:
        raise Conflict(f"a principal is named {principal.name} already")
    must_answer(tx, principal, principal.owner)
    tx.insert("principal", principal_values(principal))
    if credential is not None:
        put_credential(tx, credential)
    tx.record(registered_event(principal, by))


def describe(tx: Transaction, uid: str, owner: str | None, purpose: str, by: Actor) -> Principal:
    """See `Directory.describe`."""
    lock(tx, owner, uid)
    principal = find_principal(tx.db, uid)
    if principal is None or principal.status is Status.DELETED:
        raise NotFound("no such principal")
    if owner != principal.owner:
        must_answer(tx, principal, owner)
    changed = msgspec.structs.replace(principal, owner=owner, purpose=purpose)
    save_principal(tx, changed)
    tx.record(described_event(principal, changed, by))
    return changed


def add_team(tx: Transaction, team: Team, uids: Sequence[str], by: Actor) -> None:
    """See `Owning.add_team`."""
    tx.lock_principals(uids)
    if find_team_named(tx.db, team.name) is not None:
        raise Conflict(f"a team is named {team.name} already")
    if len(set(uids)) > MOST_MEMBERS:
        raise LimitExceeded(f"a team has at most {MOST_MEMBERS} people")
    people = [_person(tx, uid) for uid in dict.fromkeys(uids)]
    tx.insert("team", {"uid": team.uid, "name": team.name, "created": instant(team.created)})
    tx.record(team_event(EventName.TEAM_CREATED, team, by))
    for one in people:
        _join(tx, team, one, by)


def join_team(tx: Transaction, uid: str, member: str, by: Actor) -> bool:
    """See `Owning.join_team`."""
    team = _locked(tx, uid, member)
    person = _person(tx, member)
    there = {one.uid for one in members(tx.db, uid)}
    if member in there:
        return False
    if len(there) >= MOST_MEMBERS:
        raise LimitExceeded(f"a team has at most {MOST_MEMBERS} people")
    _join(tx, team, person, by)
    return True


def leave_team(tx: Transaction, uid: str, member: str, by: Actor) -> bool:
    """See `Owning.leave_team`."""
    team = _locked(tx, uid, member)
    person = find_principal(tx.db, member)
    if person is None:
        raise NotFound("no such principal")
    there = members(tx.db, uid)
    if member not in {one.uid for one in there}:
        return False
    if _owns(tx, uid) and not any(can_answer(one) and one.uid != member for one in there):
        raise Conflict(LAST.format(name=team.name))
    tx.change("DELETE FROM team_member WHERE team = ? AND member = ?", uid, member)
    tx.record(team_event(EventName.TEAM_LEFT, team, by, person))
    return True


def delete_team(tx: Transaction, uid: str, by: Actor) -> None:
    """See `Owning.delete_team`."""
    team = _locked(tx, uid)
    if _owns(tx, uid):
        raise Conflict(STILL_OWNS.format(name=team.name))
    tx.change("DELETE FROM team_member WHERE team = ?", uid)
    tx.change("DELETE FROM team WHERE uid = ?", uid)
    tx.record(team_event(EventName.TEAM_DELETED, team, by))


def _locked(tx: Transaction, uid: str, *uids: str) -> Team:
    lock(tx, uid, *uids)
    team = find_team(tx.db, uid) if is_team(uid) else None
    if team is None:
        raise NotFound("no such team")
    return team


def _person(tx: Transaction, uid: str) -> Principal:
    found = find_principal(tx.db, uid)
    if found is None or found.status is Status.DELETED:
        raise NotFound("no such principal")
    if not can_answer(found):
        raise Conflict(f"{found.name} cannot be in a team: its members are people who are active")
    return found


def _join(tx: Transaction, team: Team, person: Principal, by: Actor) -> None:
    tx.change("INSERT INTO team_member (team, member) VALUES (?, ?)", team.uid, person.uid)
    tx.record(team_event(EventName.TEAM_JOINED, team, by, person))


def _owns(tx: Transaction, uid: str) -> bool:
    return bool(tx.rows("SELECT 1 FROM principal WHERE owner = ? AND status <> 'deleted' LIMIT 1", uid))


class SQLOwning(abc.ABC):
    """`Owning`, on an engine that speaks SQL."""

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _list(self, read: Callable[[Db, datetime], T]) -> T: ...

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object) -> T: ...

    async def register(self, principal: Principal, by: Actor, credential: Credential | None = None) -> None:
        await self._write(register, principal, by, credential)

    async def describe(self, uid: str, *, owner: str | None, purpose: str, by: Actor) -> Principal:
        return await self._write(describe, uid, owner, purpose, by)

    async def add_team(self, team: Team, members: Sequence[str], by: Actor) -> None:
        await self._write(add_team, team, members, by)

    async def team(self, *, name: str | None = None, uid: str | None = None) -> Team | None:
        if name is not None:
            return await self._point(lambda db, _: find_team_named(db, name))
        return await self._point(lambda db, _: find_team(db, uid)) if uid is not None else None

    async def teams(
        self, *, member: str | None = None, search: str = "", after: str | None = None, limit: int = PAGE
    ) -> Page[Team]:
        return await self._list(lambda db, _: list_teams(db, member, search, after, limit))

    async def members(self, team: str) -> Sequence[Principal]:
        return await self._list(lambda db, _: members(db, team))

    async def join_team(self, team: str, member: str, by: Actor) -> bool:
        return await self._write(join_team, team, member, by)

    async def leave_team(self, team: str, member: str, by: Actor) -> bool:
        return await self._write(leave_team, team, member, by)

    async def delete_team(self, team: str, by: Actor) -> None:
        await self._write(delete_team, team, by)
