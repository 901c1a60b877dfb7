"""Sessions to show, in pages by key; and what the indexes of an engine know. Lists hold up no check for long."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from sessile.kernel.decide import Snapshot, info, is_live
from sessile.kernel.ids import ALPHABET, partition_of
from sessile.kernel.session import SessionInfo
from sessile.stores.protocol import Page
from sessile.stores.redis.engine import asking
from sessile.stores.redis.layout import tag
from sessile.stores.redis.reach import Reach

MOST = 1_000
"""Rows of a page."""
_TREE = 100_000
Place = tuple[int, int, str]
"""Depth (0 where it does not order), microseconds since 1970, id."""


async def below(reach: Reach, partition: str, session_id: str, limit: int) -> list[str]:
    """Sessions whose life hangs on it, nearest first; more than `limit` are not looked for."""
    found: list[str] = []
    level = [session_id]
    while level and len(found) <= limit:
        children = [child for _, child in await _handed_out(reach, partition, level)]
        level = []
        for start in range(0, len(children), 100):
            some = children[start : start + 100]
            rows = await reach.look(partition, asking("s", some))
            stored = [(one, rows.stored(one)) for one in some]
            level += [one for one, row in stored if row is not None and row.session.parent is not None]
            if len(found) + len(level) > limit:
                break
        found += level
    return found


async def of(reach: Reach, partition: str, uid: str, limit: int) -> list[str]:
    """A principal's sessions in a partition, newest first, one more than `limit` at most."""
    ids = await reach.engine.call(partition, "ZRANGE", f"{tag(partition)}of:{uid}", "0", str(limit), "REV")
    return [one.decode() for one in ids]


async def _handed_out(reach: Reach, partition: str, ids: list[str]) -> list[tuple[int, str]]:
    calls = [
        reach.engine.call(partition, "ZRANGE", f"{tag(partition)}by:{one}", "0", "-1", "WITHSCORES") for one in ids
    ]
    return [(int(score), child.decode()) for rows in await asyncio.gather(*calls) for child, score in rows]


async def list_sessions(
    reach: Reach, *, uid: str | None, giver: str | None, root: str | None, ended: bool, after: str | None, limit: int
) -> Page[SessionInfo]:
    """See `Store.sessions`."""
    limit = max(1, min(limit, MOST))
    place = _parse(after)
    tree = root is not None
    if root is not None:
        places = await _tree(reach, root)
    elif giver is not None:
        places = await _given(reach, giver)
    elif uid is not None:
        places = await _of_all(reach, f"of:{uid}")
    else:
        return await _all(reach, place, ended, limit)
    order = sorted(places, reverse=not tree)
    if place is not None:
        order = [one for one in order if (one > place if tree else one < place)]
    shown: list[tuple[Place, SessionInfo]] = []
    for start in range(0, len(order), limit + 1):
        shown += await _shown(reach, order[start : start + limit + 1], ended)
        if len(shown) > limit:
            break
    return _page(shown, limit)


def _page(shown: list[tuple[Place, SessionInfo]], limit: int) -> Page[SessionInfo]:
    following = " ".join(map(str, shown[limit - 1][0])) if len(shown) > limit else None
    return Page([one for _, one in shown[:limit]], following)


def _parse(after: str | None) -> Place | None:
    # `after` comes back from outside: what is no place of ours is the beginning.
    found = re.fullmatch(r"([0-9]{1,2}) ([0-9]{1,18}) (ses_[0-9a-z]{27})", after or "")
    return (int(found[1]), int(found[2]), found[3]) if found else None


async def _shown(reach: Reach, places: list[Place], ended: bool) -> list[tuple[Place, SessionInfo]]:
    views = await _views(reach, places)
    return [(place, info(view, view.now)) for place, view in views if ended or is_live(view, view.now)]


async def _views(reach: Reach, places: list[Place]) -> list[tuple[Place, Snapshot]]:
    by_partition: dict[str, list[str]] = {}
    for _, _, session_id in places:
        by_partition.setdefault(partition_of(session_id), []).append(session_id)
    looked = await asyncio.gather(*[reach.look(p, asking("s", ids)) for p, ids in by_partition.items()])
    rows = dict(zip(by_partition, looked, strict=True))
    views = []
    for place in places:
        found = rows[partition_of(place[2])]
        stored = found.stored(place[2])
        if stored is not None:
            views.append((place, found.view(stored)))
    return views


async def _tree(reach: Reach, root: str) -> list[Place]:
    partition = partition_of(root)
    stored = (await reach.look(partition, ["s" + root])).stored(root)
    if stored is None:
        return []
    depth = len(stored.session.lineage)
    places = [(depth, round(stored.session.created.timestamp() * 1_000_000), root)]
    level = [root]
    while level and len(places) < _TREE:
        depth += 1
        children = await _handed_out(reach, partition, level)
        places += [(depth, created, child) for created, child in children]
        level = [child for _, child in children]
    return places


async def handed_out(
    reach: Reach, *, root: str | None, uid: str | None, after: str | None, limit: int
) -> Page[Snapshot]:
    """See `Store.handed_out`."""
    limit = max(1, min(limit, MOST))
    place = _parse(after)
    seeds = [root] if root is not None else [one for _, _, one in await _of_all(reach, f"of:{uid}")]
    trees = await asyncio.gather(*[_tree(reach, seed) for seed in seeds])
    order = sorted({one for tree in trees for one in tree})
    if place is not None:
        order = [one for one in order if one > place]
    views = await _views(reach, order[:limit])
    following = " ".join(map(str, order[limit - 1])) if len(order) > limit else None
    return Page([view for _, view in views], following)


async def _of_all(reach: Reach, index: str) -> list[Place]:
    calls = [
        reach.engine.call(partition, "ZRANGE", f"{tag(partition)}{index}", "0", "-1", "WITHSCORES")
        for partition in ALPHABET
    ]
    return [(0, int(score), one.decode()) for rows in await asyncio.gather(*calls) for one, score in rows]


async def _given(reach: Reach, giver: str) -> list[Place]:
    by_partition: dict[str, list[str]] = {}
    for _, _, session_id in await _of_all(reach, f"of:{giver}"):
        by_partition.setdefault(partition_of(session_id), []).append(session_id)
    found = await asyncio.gather(*[_handed_out(reach, p, ids) for p, ids in by_partition.items()])
    return [(0, created, child) for rows in found for created, child in rows]


async def _all(reach: Reach, place: Place | None, ended: bool, limit: int) -> Page[SessionInfo]:
    """Newest first over all partitions: each is asked for as many as the page may need."""
    shown: list[tuple[Place, SessionInfo]] = []
    while True:
        highest = "+inf" if place is None else str(place[1])
        calls = [_newest(reach, partition, highest, place, limit + 1) for partition in ALPHABET]
        parts = await asyncio.gather(*calls)
        order = sorted((one for part in parts for one in part), reverse=True)[: limit + 1]
        shown += await _shown(reach, order, ended)
        if len(shown) > limit or len(order) <= limit:
            return _page(shown, limit)
        place = order[-1]


async def _newest(reach: Reach, partition: str, highest: str, place: Place | None, count: int) -> list[Place]:
    """Entries of one instant come in the order of their ids; there may be more of them than one page takes."""
    found: list[Place] = []
    offset = 0
    while len(found) < count:
        rows: list[Any] = await reach.engine.call(
            partition, "ZRANGE", f"{tag(partition)}all", highest, "-inf", "BYSCORE", "REV",
            "LIMIT", str(offset), str(count), "WITHSCORES",
        )  # fmt: skip
        places = [(0, int(score), one.decode()) for one, score in rows]
        found += [one for one in places if place is None or one < place]
        offset += count
        if len(rows) < count:
            break
    return found


async def show_session(reach: Reach, session_id: str) -> SessionInfo | None:
    """See `Store.session`."""
    found = await reach.look(partition_of(session_id), ["s" + session_id])
    stored = found.stored(session_id)
    return info(found.view(stored), found.now) if stored is not None else None
