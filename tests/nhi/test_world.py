"""A company of 1,000 people, 5,000 keys and 2,000 agents, three levels deep: a containment ends exactly what it must.

The generator keeps its own account of who handed what to whom, and says from that alone what has to end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from sessile import Authority, Issued, SessionKind

PEOPLE, KEYS, AGENTS = 1_000, 5_000, 2_000
AT_ONCE = 200


class Company:
    """What was handed out: each with its giver, and whether its life hangs on it."""

    def __init__(self, authority: Authority, seed: int) -> None:
        self.authority = authority
        self.random = random.Random(seed)  # noqa: S311 - the same company each time
        self.issued: dict[str, Issued] = {}
        self.giver: dict[str, tuple[str, bool]] = {}
        self.people: list[str] = []
        self.root: dict[str, str] = {}

    async def found(self) -> None:
        people = [f"person{n}" for n in range(PEOPLE)]
        for some in chunks(people):
            await asyncio.gather(*(self._person(name) for name in some))
        agents, keys = Counter(self.random.choices(people, k=AGENTS)), Counter(self.random.choices(people, k=KEYS))
        for some in chunks(people):
            await asyncio.gather(*(self._equip(name, agents[name], keys[name]) for name in some))

    async def _person(self, name: str) -> None:
        issued = await self.authority.begin(name)
        self.issued[issued.active.session.id] = issued
        self.people.append(issued.active.session.id)
        self.root[name] = issued.active.session.id

    async def _equip(self, name: str, agents: int, keys: int) -> None:
        root = self.root[name]
        draw = random.Random(f"{name} {agents} {keys}")  # noqa: S311 - of its own: these run at once
        service = f"service:{name}"
        tops = [await self._hand(root, service, key=True) for _ in range(keys)]
        for n in range(agents):
            # Each agent acts for the person or for one of the keys, and hands on twice.
            above = draw.choice([root, *tops])
            for _ in range(3):
                above = await self._hand(above, f"agent:{name}-{n}", key=False)

    async def _hand(self, giver: str, to: str, *, key: bool) -> str:
        active = self.issued[giver].active
        if key:
            issued = await self.authority.mint_key(active, owner=to, scopes={"x"})
        else:
            issued = await self.authority.delegate(active, to=to, scopes={"x"})
        id = issued.active.session.id
        self.issued[id], self.giver[id] = issued, (giver, not key)
        return id

    def below(self, root: str, *, by_parent_only: bool) -> set[str]:
        """All that must end with `root`."""
        ends = {root}
        for id, (giver, parent) in self.giver.items():  # givers were written down first
            if giver in ends and (parent or not by_parent_only):
                ends.add(id)
        return ends

    async def dead(self) -> set[str]:
        return {id for id, issued in self.issued.items() if not await self.authority.check(issued.token)}


def chunks(names: list[str]) -> list[list[str]]:
    return [names[n : n + AT_ONCE] for n in range(0, len(names), AT_ONCE)]


@pytest.mark.requirement("NHI1-b")
@pytest.mark.timeout(300)
async def test_a_stolen_session_takes_with_it_what_it_handed_out_and_nothing_else(tmp_path: Path) -> None:
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        company = Company(authority, seed=11)
        await company.found()
        kinds = Counter(issued.active.session.kind for issued in company.issued.values())
        assert kinds == {SessionKind.BROWSER: PEOPLE, SessionKind.KEY: KEYS, SessionKind.DELEGATED: 3 * AGENTS}
        assert {len(each.active.session.lineage) for each in company.issued.values()} == {0, 1, 2, 3, 4}
        assert await company.dead() == set()

        # The one that handed out most, by both ties.
        stolen = max(company.people, key=lambda id: len(company.below(id, by_parent_only=False)))
        must = company.below(stolen, by_parent_only=False)
        report = await authority.contain(session=stolen, cause="stolen")
        assert await company.dead() == must
        assert report.state == "closed"
        assert report.radius is not None
        assert {one.id for one in report.radius.sessions if one.fate == "ends"} == must
        assert report.radius.ended == len(must)
        assert report.radius.stays == {}

        # And one that signs out: its delegations end, its keys and what hangs on those live.
        leaver = max(set(company.people) - {stolen}, key=lambda id: len(company.below(id, by_parent_only=True)))
        ends = company.below(leaver, by_parent_only=True)
        handed_out = company.below(leaver, by_parent_only=False)
        assert len(handed_out) > len(ends) > 1
        await authority.revoke(session=leaver, cause="logout")
        assert await company.dead() == must | ends

        # It turns out that it was stolen, too.
        report = await authority.contain(session=leaver, cause="stolen")
        assert await company.dead() == must | handed_out
        assert report.radius is not None
        assert {one.id for one in report.radius.sessions if one.fate == "ends"} == handed_out - ends
