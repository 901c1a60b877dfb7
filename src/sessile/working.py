"""Work that outlives a short session: parked for its own person, or asked for another one's approval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec

from sessile.errors import Conflict, LimitExceeded, NotFound, Refused, refused
from sessile.kernel.decide import Active, Denied, Requirement, Snapshot, decide, holds
from sessile.kernel.event import Actor, Event, EventName, actor_in, actor_of
from sessile.kernel.ids import new_id
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, Session, SessionKind
from sessile.kernel.token import digest, well_formed
from sessile.kernel.work import MOST, TooLarge, Work, WorkKind, WorkState, check_work, may_give, still_counts
from sessile.nhi.authority import NonHuman

T = TypeVar("T")

PARKED_FOR = timedelta(hours=8)
ASKED_FOR = timedelta(hours=1)
_TIMED_OUT = (Reason.IDLE, Reason.EXPIRED)


class Working(NonHuman):
    """What `Authority` can do for work under short lifetimes."""

    # -- parking ------------------------------------------------------------------------------------------------

    async def park(
        self, token: str, name: str, work: object, *, type_name: str = "", lifetime: timedelta = PARKED_FOR,
        client: Client | None = None,
    ) -> Work:  # fmt: skip
        """Keep what a person was at when its session timed out, until the person is back.

        `token` is what the browser presented: of a session that is alive, or whose inactivity or overall limit was
        reached. It opens nothing any more, but shows whose work this is. Nobody is shown it before the same person has
        proved itself anew (`resume`). Ending that session, all of the person's, or everybody's destroys it.

        Args:
            name: what it is, for the person: 1 to 100 characters.
            work: a msgspec Struct, a dataclass, or plain JSON: at most 16 KiB of JSON.
            type_name: what it is to the application; if not given the name of its type.
            lifetime: for how long, at most seven days.

        Raises:
            Conflict: the session was ended, or never was; `denied` says why. Refused: no person's browser.
            LimitExceeded: over 16 KiB, or ten wait already. ValueError: see `kernel.work.check_work`.
        """
        await self.open()
        body, kind = msgspec.json.encode(work), type_name or type(work).__name__
        _check(name, kind, body, lifetime)
        session = await self._timed_out(token, client)
        if session.kind is not SessionKind.BROWSER or session.uid is None:
            raise refused(session, "only a person's browser parks work")
        now = self.clock.now()
        parked = Work(
            id=new_id("wrk"), kind=WorkKind.PARKED, uid=session.uid, session=session.id, name=name, type=kind,
            body=body, begun=now, until=now + lifetime,
        )  # fmt: skip
        await self.store.add_work(
            parked, MOST, _event(EventName.WORK_PARKED, parked, session, actor_in(session, client))
        )
        return parked

    async def _timed_out(self, token: str, client: Client | None) -> Session:
        snapshot = await self.store.read(digest(token)) if well_formed(token) else None
        denied = decide(snapshot, snapshot.now if snapshot is not None else self.clock.now(), client=client)
        if snapshot is not None and denied is not None and denied.reason in _TIMED_OUT:
            # Only time stands against it: it counted when its person was last seen.
            at = min(snapshot.session.last_seen, snapshot.now)
            denied = decide(snapshot, at, client=client, requirement=Requirement(below_policy=True))
        if snapshot is None or denied is not None:
            reason = denied.reason if denied is not None else Reason.UNKNOWN
            raise Conflict(f"nothing is kept of this session: {reason}", denied)
        return snapshot.session

    async def parked(self, active: Active) -> Sequence[Work]:
        """What waits for this person, oldest first."""
        if active.session.uid is None:
            return ()
        found = await self.store.works(WorkKind.PARKED, uid=active.session.uid, limit=MOST)
        return [work for work in found if still_counts(await self.store.session(work.session))]

    async def resume(self, active: Active, id: str, type: type[T]) -> T:
        """Take parked work up again, once.

        Raises:
            NotFound: nothing of this person's waits under that id (any more). Refused: the person has not proved itself
            since it was parked; `denied` has the cure `step_up`. ValueError: it is no such value; it goes on waiting.
        """
        work = await self._own(active, id, WorkKind.PARKED)
        if (at := active.session.authenticated) is None or at <= work.begun:
            raise Refused(
                "prove yourself anew to take this up",
                Denied(reason=Reason.STALE_AUTHENTICATION, session=active.session.id, at=at),
            )
        value = msgspec.json.decode(work.body, type=type)
        if not await self._taken(work, WorkState.WAITING, EventName.WORK_RESUMED, active):
            raise NotFound(f"no work {id} waits")
        return value

    async def drop(self, active: Active, id: str) -> None:
        """Let parked work, or an approval that one asked for, go. Raises NotFound."""
        work = await self._own(active, id)
        if not await self._taken(work, work.state, EventName.WORK_DROPPED, active):
            raise NotFound(f"no work {id} waits")

    # -- four eyes ----------------------------------------------------------------------------------------------

    async def ask_approval(
        self, active: Active, name: str, context: object, *, type_name: str = "", lifetime: timedelta = ASKED_FOR,
        scope: str = "", assurance: int = 2, fresh: timedelta = timedelta(minutes=5),
    ) -> Work:  # fmt: skip
        """Ask for another person's approval of something, before it is done.

        It is bound to this session: it dies when that is over for any reason but its limits, and nobody else uses it.

        Args:
            name: what is to be approved, for people. context: what exactly, as `park`'s `work`; it does not change.
            scope: what whoever approves has to hold. assurance, fresh: how it has to have proved itself, and when.

        Raises:
            Conflict: this session is over. Refused: of nobody. LimitExceeded: ten are asked for already. ValueError.
        """
        body, kind = msgspec.json.encode(context), type_name or type(context).__name__
        _check(name, kind, body, lifetime)
        session = (await self._strict_again(active)).session
        if session.uid is None:
            raise refused(session, "an anonymous session asks for nothing")
        now = self.clock.now()
        asked = Work(
            id=new_id("wrk"), kind=WorkKind.APPROVAL, uid=session.uid, session=session.id, name=name, type=kind,
            body=body, begun=now, until=now + lifetime, behind=await self._behind(session), scope=scope,
            assurance=assurance, fresh=fresh,
        )  # fmt: skip
        await self.store.add_work(asked, MOST, _event(EventName.APPROVAL_ASKED, asked, session, actor_of(active)))
        return asked

    async def approvals(self, *, principal: str | None = None) -> Sequence[Work]:
        """What waits for an approval, or has one that is not used yet, oldest first, at most 100: of a principal, or of
        all. Raises NotFound."""
        await self.open()
        uid = (await self.principal(principal)).uid if principal is not None else None
        found = await self.store.works(WorkKind.APPROVAL, uid=uid)
        return [work for work in found if await self._counts(work)]

    async def approval(self, id: str) -> Work:
        """One approval, as it stands. Raises NotFound: it was never asked for, was used or refused, or died."""
        await self.open()
        work = await self.store.work(id)
        if work is None or work.kind is not WorkKind.APPROVAL or not await self._counts(work):
            raise NotFound(f"no approval {id} waits")
        return work

    async def approve(self, active: Active, id: str) -> Work:
        """Give another's approval. It is bound to this session too, and dies when this is ended before it is used.

        Raises:
            NotFound: it does not wait (any more). Conflict: somebody was first, or this session is over.
            Refused: whoever stands behind the asker, no person, or without the authentication that it asks for:
            `denied` says which.
        """
        work = await self.approval(id)
        session = (await self._strict_again(active)).session
        if (denied := may_give(work, session, self.clock.now())) is not None:
            raise Refused("this is for another person to approve, with a fresh and strong enough proof", denied)
        given = msgspec.structs.replace(
            work, state=WorkState.GIVEN, giver=session.uid, giver_session=session.id, given=self.clock.now()
        )
        if not await self.store.give_work(given, _event(EventName.APPROVAL_GIVEN, work, session, actor_of(active))):
            raise Conflict("somebody was first: it was approved, refused, or is over")
        return given

    async def refuse(self, active: Active, id: str) -> None:
        """Refuse another's approval. The same may do it as `approve`, whatever their authentication. Raises as that."""
        work = await self.approval(id)
        session = active.session
        denied = may_give(msgspec.structs.replace(work, assurance=0, fresh=timedelta.max), session, self.clock.now())
        if denied is not None:
            raise Refused("this is for another person to refuse", denied)
        if not await self._taken(work, work.state, EventName.APPROVAL_REFUSED, active):
            raise Conflict("somebody was first: it was approved, refused, or is over")

    async def use_approval(self, active: Active, id: str, type: type[T]) -> T:
        """Use an approval that was given, once, in the session that asked for it: what was approved, as it was asked.

        Raises:
            NotFound: not of this session, not given, used, or dead. Conflict: this session is over. ValueError: no such
            value.
        """
        work = await self.approval(id)
        session = (await self._strict_again(active)).session
        if work.session != session.id or work.state is not WorkState.GIVEN:
            raise NotFound(f"no approval {id} was given to this session")
        value = msgspec.json.decode(work.body, type=type)
        if not await self._taken(work, WorkState.GIVEN, EventName.APPROVAL_USED, active):
            raise NotFound(f"no approval {id} was given to this session")
        return value

    # -- both ---------------------------------------------------------------------------------------------------

    async def _own(self, active: Active, id: str, kind: WorkKind | None = None) -> Work:
        work = await self.store.work(id)
        if work is None or work.uid != active.session.uid or kind not in (None, work.kind):
            raise NotFound(f"no work {id} waits")
        if not await self._counts(work):
            raise NotFound(f"no work {id} waits")
        return work

    async def _counts(self, work: Work) -> bool:
        """Whether neither session was ended. What hangs below another is over with that: no row says so."""
        if not still_counts(await self.store.session(work.session)):
            return False
        return work.giver_session is None or still_counts(await self.store.session(work.giver_session))

    async def _taken(self, work: Work, state: WorkState, name: EventName, active: Active) -> bool:
        event = _event(name, work, active.session, actor_of(active))
        return await self.store.take_work(work.id, state, event) is not None

    async def _strict_again(self, active: Active) -> Snapshot:
        """The session as it is now. Raises Conflict: it is over."""
        await self.open()
        snapshot = await self.store.read(active.digest)
        denied = holds(snapshot, self.clock.now() if snapshot is None else snapshot.now)
        if snapshot is None or denied is not None:
            reason = denied.reason if denied is not None else Reason.UNKNOWN
            raise Conflict(f"this session is over: {reason}", denied)
        return snapshot

    async def _behind(self, session: Session) -> frozenset[str]:
        """Who acts, everybody it acts for, and who answers for them."""
        uids = {session.uid, *(link.uid for link in session.lineage)} - {None}
        behind = {uid for uid in uids if uid is not None}
        for uid in list(behind):
            if (one := await self.store.principal(uid=uid)) is not None:
                behind |= await self.answering(one)
        return frozenset(behind)


def _check(name: str, kind: str, body: bytes, lifetime: timedelta) -> None:
    try:
        check_work(name, kind, body, lifetime)
    except TooLarge as error:
        raise LimitExceeded(str(error)) from None


def _event(name: EventName, work: Work, session: Session, by: Actor) -> Event:
    return Event(
        name=name, principal=session.principal, uid=session.uid, session=work.session, by=by,
        details={"work": work.id, "called": work.name, "type": work.type},
    )  # fmt: skip
