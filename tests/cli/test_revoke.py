"""`sessile revoke`, `sessile sessions` and `sessile policy explain`: ending, and seeing what is over and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sessile import Authority, Client, Issued
from tests.engines_redis import server, valkey_binary
from tests.program import Program


@pytest.fixture
async def authority(sessile: Program) -> AsyncIterator[Authority]:
    """Another process on the same file: what the application is."""
    async with Authority(f"sqlite:///{sessile.database}", create=False) as authority:
        yield authority


async def begin(authority: Authority, name: str = "alice") -> Issued:
    issued = await authority.begin(name, method="password", client=Client(label="Firefox on Linux", ip="192.0.2.1"))
    assert await authority.check(issued.token)  # and it is in the near cache now
    return issued


async def reason(authority: Authority, issued: Issued) -> str | None:
    checked = await authority.check(issued.token)
    return None if checked else checked.reason


@pytest.mark.requirement("ASVS V7.4.5")
async def test_revoking_a_principal_ends_all_of_its_sessions(sessile: Program, authority: Authority) -> None:
    hers = [await begin(authority) for _ in range(3)]
    other = await begin(authority, "olga")
    receipt = sessile.json("revoke", "--principal", "Alice", "--cause", "laptop stolen")
    assert receipt["subject"] == "alice"
    assert receipt["revoked"] == 3
    assert sorted(receipt["sessions"]) == sorted(issued.active.session.id for issued in hers)
    assert (receipt["cause"], receipt["by"], receipt["reach"]) == ("laptop stolen", "cli", "engine")
    assert receipt["durable"] is True
    assert receipt["effective"] >= receipt["at"]
    assert [await reason(authority, issued) for issued in hers] == ["revoked"] * 3
    assert await reason(authority, other) is None


async def test_the_receipt_says_what_is_on_disk(tmp_path: Path) -> None:
    """Sessions in an engine's memory: the ending is on disk in the directory alone."""
    sessile = Program(tmp_path)
    with server(valkey_binary(), tmp_path / "engine") as engine:
        async with Authority(engine.url, directory=f"sqlite:///{sessile.database}") as authority:
            for name in ("alice", "bob"):
                await begin(authority, name)
        asked = ("--sessions", engine.url, "--cause", "laptop stolen")
        assert sessile.json("revoke", "--principal", "alice", *asked)["durable"] is False
        assert "in memory" in sessile.ok("revoke", "--principal", "bob", *asked)


async def test_the_receipt_says_how_many_and_since_when(sessile: Program, authority: Authority) -> None:
    await begin(authority)
    said = sessile.ok("revoke", "--principal", "alice")
    assert "1 session of alice is over" in said
    assert "accepted nowhere since" in said
    assert "engine" in said
    assert "Nothing of alice was alive." in sessile.ok("revoke", "--principal", "alice")


async def test_revoking_a_session_ends_what_hangs_on_it(sessile: Program, authority: Authority) -> None:
    one, two = await begin(authority), await begin(authority)
    child = await authority.delegate(one.active, to="agent:deploy", scopes={"deploy"})
    assert await authority.check(child.token)
    assert "and 1 session below it" in sessile.ok("revoke", "--session", one.active.session.id)
    assert await reason(authority, one) == "revoked"
    assert await reason(authority, child) == "revoked"
    assert await reason(authority, two) is None
    assert sessile.json("sessions", "revoke", two.active.session.id)["revoked"] == 1
    assert await reason(authority, two) == "revoked"


async def test_everybody_is_asked_for_and_keys_stay(sessile: Program, authority: Authority) -> None:
    """Review 16: keys only by --keys, and a password that is known by then must not sign in at once."""
    person = await begin(authority)
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"})
    assert await authority.check(key.token)
    assert "--yes" in sessile.fails(1, "revoke", "--everyone")
    assert await reason(authority, person) is None
    sessile.ok("revoke", "--everyone", "--yes", "--lock-sign-in", "15m", "--cause", "drill")
    assert await reason(authority, person) == "revoked"
    assert await reason(authority, key) is None
    with pytest.raises(Exception, match="lock"):
        await begin(authority)
    await begin(authority, "olga")
    sessile.ok("revoke", "--everyone", "--yes", "--keys")
    assert await reason(authority, key) == "revoked"


async def test_what_was_never_there_is_said(sessile: Program) -> None:
    """Review 15: a slip in the name must not look like success."""
    assert "alcie" in sessile.fails(1, "revoke", "--principal", "alcie")
    sessile.fails(1, "revoke", "--session", "ses_" + "0" * 27)


async def test_lists_show_who_is_where(sessile: Program, authority: Authority) -> None:
    one, two = await begin(authority), await begin(authority, "olga")
    sessile.ok("sessions", "revoke", two.active.session.id, "--cause", "tidying up")
    live = sessile.items("sessions", "list")
    assert [session["id"] for session in live] == [one.active.session.id]
    assert live[0]["client"] == {"label": "Firefox on Linux", "ip": "192.0.2.1", "user_agent": None}
    both = sessile.ok("sessions", "list", "--ended")
    assert "ended: tidying up" in both
    assert [s["id"] for s in sessile.items("sessions", "list", "--ended", "--principal", "olga")] == [
        two.active.session.id
    ]
    newest = sessile.run("sessions", "list", "--ended", "--limit", "1")
    assert two.active.session.id in newest.stdout
    assert one.active.session.id not in newest.stdout
    assert "--limit" in newest.stderr


async def test_a_tree_shows_both_ties(sessile: Program, authority: Authority) -> None:
    root = await begin(authority)
    child = await authority.delegate(root.active, to="agent:deploy", scopes={"*"})
    grandchild = await authority.delegate(child.active, to="agent:builder", scopes={"deploy"})
    key = await authority.mint_key(root.active, owner="service:ci", scopes={"read"}, label="CI")
    lines = sessile.ok("sessions", "tree", root.active.session.id).splitlines()
    depth = {session: line.index("ses_") for line in lines for session in [line[line.index("ses_") :][:31]]}
    assert depth == {
        root.active.session.id: 0,
        child.active.session.id: 3,
        grandchild.active.session.id: 6,
        key.active.session.id: 3,
    }
    ids = [session["id"] for session in sessile.items("sessions", "tree", root.active.session.id)]
    assert sorted(ids) == sorted(depth)


async def test_no_token_is_ever_shown(sessile: Program, authority: Authority) -> None:
    person = await begin(authority)
    key = await authority.mint_key(person.active, owner="service:ci", scopes={"read"})
    said = "".join(
        sessile.ok(*command, *json)
        for command in (
            ("sessions", "list"), ("sessions", "show", person.active.session.id), ("key", "list"),
            ("sessions", "tree", person.active.session.id), ("audit", "tail"), ("user", "show", "alice"),
            ("policy", "explain", person.active.session.id), ("revoke", "--principal", "alice"),
        )
        for json in ((), ("--json",))
    )  # fmt: skip
    for issued in (person, key):
        assert str(issued.token) not in said
        assert issued.active.digest.hex() not in said


async def test_explaining_a_session_says_why(sessile: Program, authority: Authority) -> None:
    one = await begin(authority)
    child = await authority.delegate(one.active, to="agent:deploy", scopes={"deploy"})

    def explained(issued: Issued) -> dict[str, object]:
        answer: dict[str, object] = sessile.json("policy", "explain", issued.active.session.id)
        return answer

    assert explained(one)["live"] is True
    assert "is live" in sessile.ok("policy", "explain", child.active.session.id)
    sessile.ok("sessions", "revoke", one.active.session.id, "--cause", "laptop stolen")
    answer = explained(one)
    assert (answer["live"], answer["reason"], answer["cure"]) == (False, "revoked", "sign_in")
    assert "laptop stolen" in str(answer["because"])
    assert one.active.session.id in str(explained(child)["because"])
    two = await begin(authority)
    sessile.ok("user", "disable", "alice")
    assert explained(two)["reason"] == "disabled"
    sessile.ok("user", "enable", "alice")
    answer = explained(two)
    assert answer["reason"] == "revoked"
    assert "audit tail --principal alice" in str(answer["because"])


def test_a_policy_is_said_in_words(sessile: Program) -> None:
    said = sessile.ok("policy", "show")
    assert "1 hour without activity" in said
    [policy] = sessile.items("policy", "show")
    assert policy["idle"] == 3600
    sessile.fails(1, "policy", "show", "strictest")
