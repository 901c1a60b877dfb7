"""Leases: what ends outside and when, what is shown until it has, and what no crash makes anybody forget."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessile import Authority, Conflict, NotFound, Refused
from sessile.kernel.event import Event, EventName
from sessile.kernel.lease import OVERDUE, EndsBy, Outcome
from sessile.kernel.session import Tie
from sessile.nhi.connector import ConnectorFailed, Minted
from sessile.nhi.leases import Leases, probe
from sessile.nhi.outbox import AGAIN, LONGEST_RETRY
from sessile.testing import ManualClock
from tests.authority.asking import HOUR, MINUTE, SECOND, events, happened, rules
from tests.nhi.outside import SEAL, Folder, folder, leases, operator

__all__ = ["folder"]


async def register(leases: Leases, authority: Authority, handle: str, **more: Any) -> str:
    """A lease of alice's, by its id."""
    alice = await operator(authority)
    return (await leases.register(alice.active, connector="folder", handle=handle, **more)).info.id


async def test_a_lease_lives_until_it_is_revoked(authority: Authority, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("token"), label="for the pipeline")
    found = await held.show(id)
    assert (found.state, found.shown, found.label, found.principal) == ("living", "token", "for the pipeline", "alice")
    assert await held.work() == 0
    assert folder.holds("token")
    await authority.revoke(session=id, cause="done")
    assert (await held.show(id)).state == "pending", "at once, before anybody tried"
    assert await held.work() == 1
    found = await held.show(id)
    assert (found.state, found.outcome, folder.holds("token")) == ("confirmed", Outcome.ENDED, False)
    assert (await events(authority))[-1].name is EventName.LEASE_ENDED
    assert (await authority.store.lease(id)).handle == b"", "of no more use, and forgotten"  # type: ignore[union-attr]
    assert not len(await held.all())


async def test_an_ordinary_logout_leaves_it_and_a_containment_does_not(authority: Authority, folder: Folder) -> None:
    """By the tie to its giver: `origin` is for blame, `parent` for life."""
    held = leases(authority, folder=folder)
    alice = await operator(authority)
    stays, goes = [
        (await held.register(alice.active, connector="folder", handle=folder.put(str(tie)), tie=tie)).info.id
        for tie in (Tie.ORIGIN, Tie.PARENT)
    ]
    await authority.revoke(session=alice.active.session.id, cause="logout")
    assert await held.work() == 1
    assert [(await held.show(id)).state for id in (stays, goes)] == ["living", "confirmed"]
    report = await authority.contain(session=alice.active.session.id, cause="stolen")
    assert report.state == "partial"
    assert [(one.id, one.kind, one.connector) for one in report.living] == [(stays, "lease", "folder")]
    assert await held.work() == 1
    assert not folder.holds("origin")
    assert report.id is not None
    assert (await authority.containment(report.id)).state == "closed"


@pytest.mark.requirement("NHI1-c")
async def test_of_two_leases_the_first_failing_the_second_is_tried_and_the_report_closes_by_itself(
    authority: Authority, clock: ManualClock, tmp_path: Path
) -> None:
    broken, other = Folder(tmp_path / "broken"), Folder(tmp_path / "other")
    held = leases(authority, broken=broken, other=other)
    alice = await operator(authority)
    first = await held.register(alice.active, connector="broken", handle=broken.put("one"))
    clock.advance(SECOND)
    second = await held.register(alice.active, connector="other", handle=other.put("two"))
    broken.goes_away()
    report = await authority.contain(session=alice.active.session.id, cause="stolen")
    assert report.id is not None
    await held.work()
    assert not other.holds("two")
    report = await authority.containment(report.id)
    assert report.state == "partial"
    (living,) = report.living
    assert (living.id, living.shown, living.error) == (first.info.id, "one", "the folder is away")
    assert living.next_try is not None
    assert living.next_try > clock.now()
    assert {one.id: one.outcome for one in report.leases} == {first.info.id: None, second.info.id: Outcome.ENDED}
    broken.comes_back()
    assert await held.work() == 0, "not before its time"
    clock.advance(LONGEST_RETRY)
    before = len(await events(authority))
    assert await held.work() == 1
    late = [one for one in (await events(authority))[before:] if one.name is not EventName.SESSION_OVER]
    told = [(one.name, one.details.get("state")) for one in late]
    assert told == [(EventName.LEASE_ENDED, None), (EventName.CONTAINMENT_SETTLED, "closed")], "before anybody looks"
    says_all(late[0], "stolen", "broken:one")
    report = await authority.containment(report.id)
    assert (report.state, report.living) == ("closed", ())


async def test_a_system_that_hangs_holds_up_no_other(authority: Authority, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    class Hanging(Folder):
        async def revoke(self, handle: str) -> Any:
            await go_on.wait()
            return await super().revoke(handle)

    hanging, other = Hanging(tmp_path / "hanging"), Folder(tmp_path / "other")
    held = leases(authority, hanging=hanging, other=other)
    alice = await operator(authority)
    for n in range(40):
        await held.register(alice.active, connector="hanging", handle=hanging.put(f"one-{n}"))
    await held.register(alice.active, connector="other", handle=other.put("two"))
    await authority.contain(session=alice.active.session.id, cause="stolen")
    working = asyncio.create_task(held.work())
    while other.holds("two"):  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0.01)
    assert len(list(hanging.folder.iterdir())) == 40
    go_on.set()
    assert await working == 41
    assert list(hanging.folder.iterdir()) == []


@pytest.mark.parametrize("how", ["idle", "expiry", "everybody", "disabled", "policy", "parent", "its owner"])
async def test_whatever_ends_it_ends_it_outside(
    authority: Authority, clock: ManualClock, folder: Folder, how: str
) -> None:
    held = leases(authority, folder=folder)
    await authority.register("service:ci", owner=(await operator(authority)).active.session.principal)
    alice = await operator(authority)
    lease = await held.register(
        alice.active, connector="folder", handle=folder.put("token"), tie=Tie.PARENT, owner="service:ci",
        lifetime=10 * HOUR,
    )  # fmt: skip
    assert await held.work() == 0
    match how:
        case "idle":
            clock.advance(timedelta(minutes=59))
            await authority.touch(alice.active)
            assert await held.work() == 0
            clock.advance(timedelta(minutes=59))
            assert await held.work() == 0, "somebody acted meanwhile"
            clock.advance(HOUR)
        case "expiry":
            for _ in range(11):
                clock.advance(timedelta(minutes=55))
                await authority.touch(alice.active)
        case "everybody":
            await authority.revoke(everyone=True, keys=True, cause="fire")
        case "disabled":
            await authority.disable("alice", cause="left")
        case "policy":
            clock.advance(MINUTE * 2)
            await rules(authority, overall=MINUTE, idle=MINUTE)
        case "parent":
            await authority.revoke(session=alice.active.session.id, cause="logout")
        case "its owner":
            await authority.disable("service:ci", cause="not used any more")
    assert await held.work() == 1
    assert not folder.holds("token")
    assert (await held.show(lease.info.id)).state == "confirmed"


@pytest.mark.requirement("NHI1")
async def test_disabling_lists_living_leases_and_ends_those_of_the_person(authority: Authority, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    alice = await operator(authority)
    await authority.register("service:ci", owner="alice")
    of_ci = await held.register(alice.active, connector="folder", handle=folder.put("a"), owner="service:ci")
    own = await held.register(alice.active, connector="folder", handle=folder.put("b"))
    receipt = await authority.disable("alice", cause="left")
    assert [one.id for one in receipt.handed_out] == [of_ci.info.id]
    assert own.info.id in receipt.sessions
    await held.work()
    assert (folder.holds("a"), folder.holds("b")) == (True, False)
    await authority.revoke(session=of_ci.info.id, cause="offboarded")
    await held.work()
    assert not folder.holds("a")
    await authority.enable("alice")
    assert [(await held.show(one.info.id)).state for one in (of_ci, own)] == ["confirmed"] * 2


async def test_what_is_late_is_told_once(authority: Authority, clock: ManualClock, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("token"))
    folder.goes_away()
    await authority.revoke(session=id, cause="x")
    await held.work()
    assert not (await held.show(id)).overdue
    for _ in range(6):
        clock.advance(OVERDUE)
        await held.work()
    assert (await happened(authority)).count("lease.overdue") == 1
    found = await held.show(id)
    assert (found.overdue, found.error, found.tries) == (True, "the folder is away", 7)
    assert (await authority.store.statistics())["leases_overdue"] == 1
    folder.comes_back()
    clock.advance(LONGEST_RETRY)
    assert await held.work() == 1
    assert (await authority.store.statistics())["leases_overdue"] == 0


async def test_retries_come_slower_and_slower_and_end_never(
    authority: Authority, clock: ManualClock, folder: Folder
) -> None:
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("token"))
    folder.goes_away()
    await authority.revoke(session=id, cause="x")
    await held.work()
    waits = []
    for _ in range(12):
        found = await held.show(id)
        assert found.next_try is not None
        waits.append(found.next_try - clock.now())
        clock.advance(waits[-1])
        await held.work()
    assert timedelta(seconds=2) < waits[0] <= timedelta(seconds=5)
    assert all(LONGEST_RETRY / 2 <= wait <= LONGEST_RETRY for wait in waits[-3:])
    assert len(set(waits)) == len(waits), "no two that failed together come back together"


async def test_what_nobody_can_end_early_says_until_when_it_lives(
    authority: Authority, clock: ManualClock, folder: Folder
) -> None:
    held = leases(authority, folder=folder)
    until = clock.now() + 2 * HOUR
    id = await register(held, authority, folder.put("stays", until))
    assert (await held.show(id)).expires == until, "the lease is not longer than the credential"
    report = await authority.contain(session=(await authority.session(id)).origin or "", cause="stolen")
    await held.work()
    assert report.id is not None
    report = await authority.containment(report.id)
    assert report.state == "partial"
    assert [(one.until, one.by_hand, one.error) for one in report.living] == [(until, "burn the folder", "")]
    assert (await held.show(id)).state == "lingering"
    clock.advance(OVERDUE)
    assert (await authority.store.statistics())["leases_overdue"] == 0, "it is known until when"
    assert await held.work() == 0
    clock.advance(2 * HOUR)
    assert await held.work() == 1
    assert (await held.show(id)).outcome is Outcome.EXPIRED
    assert (await authority.containment(report.id)).state == "closed"
    assert folder.asked == ["stays"]


def says_all(event: Event, cause: str | None, resource: str) -> None:
    """Whose it is, for whom, on what, how it was decided, in which tree, with what assurance, and why it ended."""
    assert (event.cause, event.details["resource"], event.details["action"]) == (cause, resource, event.name)
    assert event.uid is not None
    assert event.details["for"] == [event.uid]
    assert event.details["decision"] == "allowed"
    assert str(event.details["correlation"]).startswith("ses_")
    assert event.details["assurance"] == 1


async def test_a_person_ends_it_by_hand_and_says_so(authority: Authority, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("token"))
    with pytest.raises(Conflict, match="revoke it first"):
        await held.confirm(id, cause="burnt")
    folder.goes_away()
    report = await authority.contain(session=(await authority.session(id)).origin or "", cause="stolen")
    await held.work()
    found = await held.confirm(id, cause="burnt the folder")
    assert (found.state, found.outcome) == ("confirmed", Outcome.BY_HAND)
    assert report.id is not None
    assert (await authority.containment(report.id)).state == "closed"
    ended = next(one for one in await events(authority) if one.name is EventName.LEASE_ENDED)
    assert (ended.cause, ended.details["outcome"]) == ("burnt the folder", "by_hand")
    says_all(ended, "burnt the folder", "folder:token")
    with pytest.raises(Conflict, match="already"):
        await held.confirm(id, cause="again")


async def test_what_others_need_is_rotated_and_the_new_secret_taken_once(authority: Authority, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("shared"), ends_by=EndsBy.ROTATE)
    with pytest.raises(Conflict, match="no new secret"):
        await held.take_successor(id, by=(await operator(authority)).active)
    report = await authority.contain(principal="alice", cause="stolen")
    await held.work()
    assert (folder.holds("shared"), folder.holds("shared-2")) == (False, True)
    assert report.id is not None
    report = await authority.containment(report.id)
    assert (report.state, [(one.outcome, one.successor) for one in report.leases]) == (
        "closed", [(Outcome.ROTATED, True)],
    )  # fmt: skip
    bob = (await operator(authority, "bob")).active
    assert await held.take_successor(id, by=bob) == {"file": "shared-2"}
    assert report.id is not None
    (lease,) = (await authority.containment(report.id)).leases
    assert (lease.outcome, lease.successor) == (Outcome.ROTATED, False), "nothing waits any more"
    with pytest.raises(Conflict):
        await held.take_successor(id, by=bob)
    (taken,) = [one for one in await events(authority) if one.name is EventName.LEASE_SUCCESSOR_TAKEN]
    assert (taken.by.name, taken.details["successor"]) == ("bob", "shared-2")
    says_all(taken, None, "folder:shared")


async def test_who_may_hand_out_a_lease(authority: Authority, clock: ManualClock, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    folder.put("token")

    async def ask(name: str, scopes: set[str] | None, **more: Any) -> None:
        if await authority.store.principal(name=name) is None:
            await authority.register(name, scopes=scopes)
        issued = await authority.begin(name)
        clock.advance(more.pop("later", timedelta(0)))
        await held.register(issued.active, **{"connector": "folder", "handle": "token", **more})

    with pytest.raises(Refused, match="lease:folder"):
        await ask("carol", None)
    await ask("dave", {"lease:folder"})
    with pytest.raises(Refused, match="authentication"):
        await ask("dave", None, later=6 * MINUTE)
    await ask("dave", None, later=6 * MINUTE, tie=Tie.PARENT)
    with pytest.raises(NotFound, match="no connector"):
        await ask("erin", {"operator"}, connector="other")
    with pytest.raises(ValueError, match="no such file"):
        await ask("dave", None, handle="nothing")
    with pytest.raises(Refused, match="never to people"):
        await ask("dave", None, owner="carol")
    await authority.register("agent:x", owner="carol")
    with pytest.raises(Refused, match="somebody else"):
        await ask("dave", None, owner="agent:x")
    dave = await authority.begin("dave")
    agent = await authority.delegate(dave.active, to="agent:deploy", scopes={"lease:folder"})
    with pytest.raises(Refused, match="authentication"):
        await held.register(agent.active, connector="folder", handle="token")
    lease = await held.register(agent.active, connector="folder", handle="token", tie=Tie.PARENT)
    assert (lease.info.principal, lease.secret) == ("agent:deploy", None)
    assert lease.info.expires == agent.active.session.expires


@pytest.mark.requirement("NHI7")
async def test_what_is_made_outside_is_shown_once(authority: Authority, folder: Folder) -> None:
    held = leases(authority, folder=folder)
    alice = await operator(authority)
    made = await held.mint(alice.active, connector="folder", lifetime=HOUR)
    assert made.secret is not None
    assert folder.holds(made.secret["file"])
    assert made.secret["file"] not in repr(Minted(handle="h", secret=dict(made.secret)))
    await authority.revoke(session=made.info.id, cause="done")
    await held.work()
    assert not folder.holds(made.secret["file"])


async def test_revocation_wins_the_race_with_making(authority: Authority, clock: ManualClock, folder: Folder) -> None:
    """Revoked, and found missing by a worker, while the credential is being made: it does not survive."""
    held = leases(authority, folder=folder)
    alice = await operator(authority)
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Folder):
        async def mint(self, handle: str, until: Any) -> Minted:
            begun.set()
            await go_on.wait()
            return await super().mint(handle, until)

    held = leases(authority, slow=Slow(folder.folder))
    making = asyncio.create_task(held.mint(alice.active, connector="slow"))
    await begun.wait()
    await authority.contain(session=alice.active.session.id, cause="stolen")
    assert await held.work() == 0, "that it is not found does not mean that it will not be"
    go_on.set()
    with pytest.raises(Conflict, match="while its credential was being made"):
        await making
    assert len(list(folder.folder.iterdir())) == 1
    assert await held.work() == 1
    assert list(folder.folder.iterdir()) == []


async def test_no_credential_survives_the_race_with_containment(tmp_path: Path, folder: Folder) -> None:
    """Made and registered while their giver is contained, with workers at it: refused, or ended outside."""
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=(clock := ManualClock())) as authority:
        held = leases(authority, folder=folder)
        got = 0
        for n in range(40):
            alice = await operator(authority)
            folder.put(f"there-{n}")

            async def later(steps: int, work: Any) -> Any:
                for _ in range(steps):
                    await asyncio.sleep(0)
                return await work()

            def register(handle: str, active: Any) -> Any:
                return lambda: held.register(active, connector="folder", handle=handle)

            def mint(active: Any) -> Any:
                return lambda: held.mint(active, connector="folder")

            def contain(id: str) -> Any:
                return lambda: authority.contain(session=id, cause="stolen")

            done = await asyncio.gather(
                later(n % 7, register(f"there-{n}", alice.active)), later(n % 5, mint(alice.active)),
                later(n % 11, contain(alice.active.session.id)), later(n % 3, held.work), return_exceptions=True,
            )  # fmt: skip
            assert all(isinstance(one, Conflict) for one in done if isinstance(one, BaseException)), done
            got += sum(not isinstance(one, BaseException) for one in done[:2])
            if isinstance(done[0], Conflict):
                (folder.folder / f"there-{n}").unlink(missing_ok=True)  # it never was a lease
            clock.advance(SECOND)
        for _ in range(3):
            clock.advance(HOUR)
            await held.work()
        assert list(folder.folder.iterdir()) == []
        assert not len(await held.all())
        assert 0 < got < 80, "both happened"


async def test_making_that_fails_leaves_nothing_behind(
    authority: Authority, clock: ManualClock, folder: Folder
) -> None:
    held = leases(authority, folder=folder)
    alice = await operator(authority)
    folder.goes_away()
    with pytest.raises(ConnectorFailed):
        await held.mint(alice.active, connector="folder")
    (lease,) = await held.all(pending=True)
    assert lease.state == "pending"
    folder.comes_back()
    for _ in range(3):
        clock.advance(LONGEST_RETRY)
        await held.work()
    assert not len(await held.all())


async def test_a_connector_that_is_gone_is_told_until_it_is_back(
    authority: Authority, clock: ManualClock, folder: Folder
) -> None:
    id = await register(leases(authority, folder=folder), authority, folder.put("token"))
    await authority.revoke(session=id, cause="x")
    without = leases(authority)
    await without.work()
    assert "no connector is named folder" in (await without.show(id)).error
    clock.advance(LONGEST_RETRY)
    assert await leases(authority, folder=folder).work() == 1


async def test_probing_says_what_is_wrong(tmp_path: Path) -> None:
    away = Folder(tmp_path / "away")
    away.goes_away()
    assert await probe({"away": away, "here": Folder(tmp_path / "here")}) == {
        "away": "the folder is away",
        "here": None,
    }


async def test_starting_tries_the_connectors_and_waits_for_none(
    authority: Authority, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = Folder(tmp_path / "away")
    away.goes_away()
    held = leases(authority, away=away, folder=folder)
    id = await register(held, authority, folder.put("token"))
    await authority.revoke(session=id, cause="done")
    held.start()
    while folder.holds("token"):  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0.01)
    await held.close()
    assert "connector away: the folder is away" in caplog.text
    assert "connector folder" not in caplog.text


@pytest.mark.requirement("NHI2")
async def test_handles_are_sealed_at_rest(tmp_path: Path, folder: Folder) -> None:
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        held = leases(authority, folder=folder)
        await register(held, authority, folder.put("telltale-handle"))
        with sqlite3.connect(tmp_path / "sessile.db") as db:
            ((body,),) = db.execute("SELECT body FROM lease").fetchall()
        db.close()
        assert json.loads(body)["handle"] != ""
        assert SEAL.seal(b"x")[:5].hex() not in body
        assert "telltale-handle" not in body.replace('"shown":"telltale-handle"', "")


async def test_a_new_lease_is_looked_at_again_soon(authority: Authority, clock: ManualClock, folder: Folder) -> None:
    """What ended in the moment in which it began may not have seen it, where sessions are elsewhere (review 12)."""
    held = leases(authority, folder=folder)
    id = await register(held, authority, folder.put("token"), lifetime=10 * HOUR)
    await held.work()
    due = [(await authority.store.lease(id)).due]  # type: ignore[union-attr]
    clock.advance(MINUTE)
    await held.work()
    due.append((await authority.store.lease(id)).due)  # type: ignore[union-attr]
    assert due[0] == clock.now()
    assert due[1] == clock.now() + AGAIN


CHILD = """
import asyncio, sys
from pathlib import Path
from sessile import Authority
from tests.nhi.outside import Folder, leases, operator

async def main(database, folder):
    async with Authority(database) as authority:
        held = leases(authority, folder=Folder(Path(folder)))
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="folder", handle="token")
        report = await authority.contain(session=alice.active.session.id, cause="stolen")
        print(lease.info.id, report.id, report.state, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_between_the_commit_and_the_first_try(tmp_path: Path, folder: Folder) -> None:
    """kill -9, then another process: the end is still tried, while the system is away and when it is back."""
    database = f"sqlite:///{tmp_path}/sessile.db"
    folder.put("token")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, database, str(folder.folder), stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert child.stdout is not None
        lease, report_id, state = (await child.stdout.readline()).decode().split()
        assert state == "partial"
    finally:
        child.kill()
        await child.wait()
    assert folder.holds("token")
    folder.goes_away()
    async with Authority(database) as authority:
        held = leases(authority, folder=folder)
        assert await held.work() == 0
        found = await held.show(lease)
        assert (found.state, found.error) == ("pending", "the folder is away")
        assert (await authority.containment(report_id)).state == "partial"
    folder.comes_back()
    async with Authority(database) as authority:
        held = leases(authority, folder=folder)
        held.start()
        while (await authority.containment(report_id)).state != "closed":  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.05)
        assert (await held.show(lease)).state == "confirmed"
        await held.close()
    assert not folder.holds("token")
