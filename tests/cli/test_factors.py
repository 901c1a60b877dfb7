"""`sessile user factors`: an operator's help for whoever lost a second factor, or whose is off."""

from __future__ import annotations

import pytest

from sessile import Authority, Method
from sessile.factors.enrolled import Factors
from sessile.factors.password import Passwords
from sessile.factors.recovery import RecoveryCodes
from sessile.factors.sealing import Seal
from sessile.factors.throttle import IN_A_ROW, Throttle, Throttled
from sessile.kernel.tries import Limit
from sessile.server.key import open_keys
from tests.program import PERSON_PASSWORD, Program

NEW = "seven quiet bridges"


async def opened(program: Program, authority: Authority) -> Factors:
    """As a server on that database has them."""
    keys = await open_keys(authority.store, program.database.with_suffix(".key"))
    return Factors(authority, Seal(keys), Throttle(authority, keys[-1]))


async def off(factors: Factors, kind: str, uid: str) -> None:
    """A hundred wrong tries, without the waiting in between."""
    throttle = factors.throttle
    assert throttle is not None
    row = Limit(key=throttle._key("row", kind, uid), in_a_row=IN_A_ROW, kept=True)
    for _ in range(IN_A_ROW):
        assert await factors.authority.store.count_try([row]) is None


async def is_off(factors: Factors, kind: str, uid: str) -> bool:
    assert factors.throttle is not None
    try:
        await (await factors.throttle.count(kind, uid, known=True, lane="session")).succeeded()
    except Throttled:
        return True
    return False


@pytest.fixture
async def uid(sessile: Program) -> str:
    """Alice, with two apps and recovery codes, both tried too often, and a session."""
    async with Authority(f"sqlite:///{sessile.database}") as authority:
        factors = await opened(sessile, authority)
        issued = await authority.begin("alice", method=Method.PASSKEY)
        for number in range(2):
            await factors.add(issued.active, Method.TOTP, f"app {number}", b"s", f"fct_{number}", confirmed=True)
        await RecoveryCodes(factors).make(issued.active)
        found = issued.active.session.uid or ""
        for kind in (Method.TOTP, Method.RECOVERY_CODE, "password"):
            await off(factors, kind, found)
        return found


@pytest.mark.requirement("ASVS V6.5.6", "63B-4 3.2.1-a", "63B-4 3.2.2-b")
async def test_all_are_listed_and_taken_away_and_what_was_off_counts_anew(sessile: Program, uid: str) -> None:
    listed = sessile.json("user", "factors", "alice")
    assert [one["name"] for one in listed["items"]] == ["app 0", "app 1"]
    assert listed["recovery_codes"] is not None
    assert "app 1" in sessile.ok("user", "factors", "alice", "list")
    one = sessile.json("user", "factors", "alice", "reset", "--id", "fct_0", "--cause", "phone lost", "--yes")
    assert (one["cause"], one["revoked"]) == ("phone lost", 1)
    assert [one["name"] for one in sessile.items("user", "factors", "alice")] == ["app 1"]
    sessile.ok("user", "factors", "alice", "reset", "--yes")
    assert sessile.json("user", "factors", "alice") == {"items": [], "recovery_codes": None, "next": None}
    assert "factor.reset" in sessile.ok("audit", "tail")
    async with Authority(f"sqlite:///{sessile.database}") as authority:
        factors = await opened(sessile, authority)
        assert [await is_off(factors, kind, uid) for kind in (Method.TOTP, Method.RECOVERY_CODE)] == [False, False]


@pytest.mark.requirement("63B-4 3.2.2-b")
async def test_a_new_password_turns_a_password_that_was_off_on_again(sessile: Program, uid: str) -> None:
    sessile.ok("user", "passwd", "alice", "--password-stdin", input=NEW + "\n")
    async with Authority(f"sqlite:///{sessile.database}") as authority:
        factors = await opened(sessile, authority)
        assert not await is_off(factors, "password", uid)
        assert await Passwords(authority, throttle=factors.throttle).sign_in("alice", NEW)


@pytest.mark.usefixtures("uid")
async def test_what_cannot_be_done_is_said(sessile: Program) -> None:
    assert "no such factor" in sessile.fails(1, "user", "factors", "alice", "reset", "--id", "fct_9", "--yes")
    assert "say --yes" in sessile.fails(1, "user", "factors", "alice", "reset")
    assert "--id" in sessile.fails(2, "user", "factors", "alice", "--id", "fct_0")
    sessile.ok("user", "add", "service:ci", "--owner", "alice", "--purpose", "builds")
    assert "no factors" in sessile.fails(2, "user", "factors", "service:ci")
    sessile.fails(1, "user", "factors", "nobody")
    sessile.database.with_suffix(".key").unlink()
    done = sessile.run("user", "factors", "alice", "reset", "--yes")
    assert (done.returncode, "stays off" in done.stderr) == (0, True)
    assert PERSON_PASSWORD not in done.stdout + done.stderr
