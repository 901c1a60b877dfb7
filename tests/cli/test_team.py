"""`sessile team`: people who answer together, and what they answer for."""

from __future__ import annotations

from tests.program import PERSON_PASSWORD, Program


def test_a_team_answers_for_a_service(sessile: Program) -> None:
    made = sessile.json("team", "add", "platform", "--member", "alice")
    assert (made["id"], made["members"]) == ("team:platform", [{"id": "alice", "status": "active"}])
    assert "platform" in sessile.fails(1, "team", "add", "platform")
    sessile.ok("user", "add", "service:ci", "--owner", "team:platform", "--purpose", "builds")
    assert sessile.json("user", "show", "service:ci")["owner"] == "team:platform"
    minted = sessile.json(
        "key", "mint", "--owner", "service:ci", "--scope", "read", "--by", "alice", "--password-stdin",
        input=PERSON_PASSWORD + "\n",
    )  # fmt: skip
    assert minted["owner"] == "service:ci"
    assert "olga" in sessile.ok("team", "join", "platform", "olga")
    assert sessile.json("user", "show", "olga")["teams"] == ["team:platform"]
    assert "service:ci" in sessile.ok("team", "show", "platform")
    assert "team:platform" in sessile.ok("team", "list", "--member", "olga")
    sessile.ok("team", "leave", "platform", "olga")
    assert "let somebody join" in sessile.fails(1, "team", "leave", "platform", "alice")
    assert "hand them over first" in sessile.fails(1, "team", "delete", "platform")
    assert sessile.items("inventory", "--owner", "team:platform")[0]["owner"] == "team:platform"
    assert sessile.json("user", "holdings", "alice")["principals"] == ["service:ci"]
    done = sessile.json("user", "offboard", "alice", "--to", "olga")
    assert done["handed_over"] == ["service:ci"]
    assert "alice (disabled)" in sessile.ok("team", "show", "platform")
    sessile.ok("team", "leave", "platform", "alice")
    sessile.ok("team", "delete", "platform")
    assert sessile.items("team", "list") == []
