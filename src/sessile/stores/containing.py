"""The cut of a containment, as every store writes it down."""

from __future__ import annotations

from datetime import datetime

from sessile.kernel.containment import EVER, NEVER, Before, Cut
from sessile.kernel.event import Actor
from sessile.kernel.principal import Principal
from sessile.kernel.session import Session
from sessile.stores.protocol import End, Ended


def before(target: Session | Principal) -> Before:
    """What a cut changes of its target. To be taken before the change."""
    if isinstance(target, Session):
        return Before(ended=target.ended, contained_since=target.contained_since)
    return Before(
        contained_since=target.contained_since, contained_at=target.contained_at, epoch=target.epoch,
        status=target.status,
    )  # fmt: skip


def cut_of(end: End, target: Session | Principal | None, was: Before, ended: Ended) -> Cut:
    """The cut that an ending with `containment` makes of its target."""
    name = target.principal if isinstance(target, Session) else target.name if target is not None else None
    return Cut(
        id=end.containment or "", session=end.session, uid=end.uid, principal=name, since=end.contain_since or EVER,
        at=ended.at, cause=end.cause, by=end.by.name, by_uid=end.by.uid, by_session=end.by.session, before=was,
        delta=ended.delta,
    )  # fmt: skip


def ending_of(end: End, target: Session | Principal, was: Before, at: datetime) -> Cut | None:
    """What an ending is to those who were over with it; None: nothing can have been."""
    since = NEVER if end.contain_since is None else end.contain_since
    cut = Cut(
        id=end.containment or "", session=end.session, uid=end.uid, principal=None, since=since, at=at,
        cause=end.cause, by=end.by.name, by_uid=end.by.uid, by_session=end.by.session, before=was,
    )  # fmt: skip
    return cut if cut.may_end_others else None


def aside(session: Session, cause: str, by: Actor, at: datetime) -> Cut:
    """The same of a session that ends because another begins."""
    return Cut(
        id="", session=session.id, principal=None, since=NEVER, at=at, cause=cause, by=by.name, by_uid=by.uid,
        by_session=by.session, before=Before(),
    )  # fmt: skip


def widened(principal: Principal, since: datetime | None, now: datetime) -> dict[str, datetime]:
    """What a containment since then changes of a principal."""
    if since is None:
        return {}
    return {"contained_since": min(since, principal.contained_since or since), "contained_at": now}
