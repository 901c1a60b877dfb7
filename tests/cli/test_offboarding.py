"""`sessile key rotate`, `sessile user budget | holdings | handover | offboard`."""

from __future__ import annotations

from tests.program import OPERATOR_PASSWORD, Program


def test_keys_are_rotated_and_a_leaver_leaves_them_to_somebody(sessile: Program) -> None:
    sessile.ok("user", "add", "service:ci", "--owner", "alice", "--purpose", "builds")
    minted = sessile.json(
        "key", "mint", "--owner", "service:ci", "--scope", "read", "--by", "olga", "--password-stdin",
        input=OPERATOR_PASSWORD + "\n",
    )  # fmt: skip
    new = sessile.json(
        "key", "rotate", minted["id"], "--by", "olga", "--overlap", "2h", "--password-stdin",
        input=OPERATOR_PASSWORD + "\n",
    )  # fmt: skip
    assert (new["owner"], new["replaces"]) == ("service:ci", minted["id"])
    listed = {one["id"]: one for one in sessile.items("key", "list")}
    assert [listed[one["id"]]["rotated_out"] for one in (minted, new)] == [True, False]
    assert "never used" in sessile.ok("key", "list")
    assert sessile.json("user", "budget", "service:ci", "--per-minute", "60")["per_minute"] == 60
    assert "60" in sessile.ok("user", "budget", "service:ci")
    assert sessile.json("user", "budget", "service:ci", "--none")["per_minute"] is None
    assert sessile.json("user", "holdings", "alice")["principals"] == ["service:ci"]
    assert "service:ci" in sessile.ok("user", "handover", "alice", "--to", "olga")
    sessile.fails(1, "user", "offboard", "alice")
    done = sessile.json("user", "offboard", "olga", "--to", "alice")
    assert (done["handed_over"], {one["id"] for one in done["rotate"]}) == (
        ["service:ci"], {minted["id"], new["id"]},
    )  # fmt: skip
