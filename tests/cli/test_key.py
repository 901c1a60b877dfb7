"""`sessile key`: minting, listing and ending."""

from __future__ import annotations

from sessile import Authority
from tests.program import OPERATOR_PASSWORD, PERSON_PASSWORD, Program

MINT = ("key", "mint", "--owner", "service:ci", "--scope", "read")


async def test_a_person_who_signs_in_mints_a_key(sessile: Program) -> None:
    sessile.ok("user", "add", "service:ci", "--owner", "olga", "--purpose", "builds")
    minted = sessile.json(
        *MINT, "--by", "olga", "--lifetime", "30d", "--label", "CI", "--password-stdin", input=OPERATOR_PASSWORD + "\n"
    )
    assert minted["scopes"] == ["read"]
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        active = await authority.check(minted["token"])
        assert active
        assert active.session.principal == "service:ci"
        assert (active.session.expires - active.session.created).days == 30
        # The key names the session that handed it out, which is over: an ordinary ending leaves the key alive.
        giver = await authority.session(minted["origin"])
        assert (giver.principal, giver.live) == ("olga", False)
        [listed] = sessile.items("key", "list")
        assert (listed["id"], listed["label"]) == (minted["id"], "CI")
        assert sessile.items("key", "list", "--owner", "service:ci") == [listed]
        sessile.ok("key", "revoke", minted["id"], "--cause", "leaked")
        denied = await authority.check(minted["token"])
        assert not denied
        assert denied.reason == "revoked"
    assert sessile.items("key", "list") == []
    [ended] = sessile.items("key", "list", "--ended")
    assert ended["cause"] == "leaked"


def test_the_key_alone_is_on_standard_output(sessile: Program) -> None:
    done = sessile.run(*MINT, "--by", "olga", "--password-stdin", input=OPERATOR_PASSWORD + "\n")
    assert done.returncode == 0
    assert done.stdout.startswith("slk_")
    assert done.stdout.count("\n") == 1
    assert done.stdout.strip() not in done.stderr


def test_a_wrong_password_mints_nothing(sessile: Program) -> None:
    said = sessile.fails(1, *MINT, "--by", "olga", "--password-stdin", input=PERSON_PASSWORD + "\n")
    assert PERSON_PASSWORD not in said
    assert sessile.items("key", "list") == []


def test_only_the_owner_or_an_operator_mints(sessile: Program) -> None:
    """Review 14: a key of somebody else's service would be escalation."""
    sessile.ok("user", "add", "service:ci", "--owner", "olga", "--purpose", "builds")
    assert "belongs to somebody else" in sessile.fails(
        1, *MINT, "--by", "alice", "--password-stdin", input=PERSON_PASSWORD + "\n"
    )
    assert "no scope" in sessile.fails(
        1, "key", "mint", "--owner", "service:mine", "--scope", "operator", "--by", "alice", "--password-stdin",
        input=PERSON_PASSWORD + "\n",
    )  # fmt: skip
    # The sign-in for it leaves nothing behind.
    assert sessile.items("sessions", "list", "--principal", "alice") == []


async def test_only_keys_are_ended_as_keys(sessile: Program) -> None:
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        person = await authority.begin("alice", method="password")
    assert "no key" in sessile.fails(1, "key", "revoke", person.active.session.id)
    assert len(sessile.items("sessions", "list")) == 1
