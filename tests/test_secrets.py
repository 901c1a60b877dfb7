"""How the whole package treats secrets, read from its source: compared, hashed, drawn."""

from __future__ import annotations

import ast
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sessile.kernel.token import TokenKind, new_token

SOURCE = Path(__file__).resolve().parent.parent / "src" / "sessile"
SECRET = {
    "token", "secret", "digest", "mac", "signature", "password", "code", "hash", "hashed", "presented", "challenge",
    "form_token", "shown",
}  # fmt: skip
COMPARED = {
    "stores/redis/layout.py: token.digest == digest": "digests, which are looked up, of one session's own rows",
    "django/users.py: before.password != instance.password": "two stored hashes of one row: was it changed?",
}
"""Where such a word is compared by ==, and why that tells nobody anything."""
WEAK = {
    "factors/totp.py": "HMAC-SHA-1, which RFC 6238 has authenticator apps use",
    "stores/redis/engine.py": "the name by which Redis knows a script",
}
DRAWN = {
    "nhi/outbox.py", "stores/postgres/listening.py", "stores/postgres/writing.py", "stores/redis/engine.py",
    "stores/redis/line.py",
}  # fmt: skip
"""Who draws with `random`: how long to wait until the next try. And the simulator, from a seed."""
EACH = 2_000


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


@pytest.mark.requirement("ASVS V11.2.4")
def test_no_secret_is_compared_by_a_comparison_that_takes_short_cuts() -> None:
    found = {
        f"{file}: {ast.unparse(node)}"
        for file, tree in sources()
        if not file.startswith("testing/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and any(isinstance(one, (ast.Eq, ast.NotEq)) for one in node.ops)
        and any(last_name(side) in SECRET for side in (node.left, *node.comparators))
        and not any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
    }  # fmt: skip
    assert found == set(COMPARED)


@pytest.mark.requirement("ASVS V11.4.1")
def test_weak_hashes_serve_nothing_that_has_to_be_strong() -> None:
    weak = ("md5", "sha1", "md4", "ripemd160")
    found = {
        file
        for file, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id.lower() in weak)
        or (isinstance(node, ast.Attribute) and node.attr.lower() in weak)
        or (isinstance(node, ast.alias) and node.name.lower() in weak)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lower() in weak[:1])
    }
    assert found == set(WEAK)
    engine = (SOURCE / "stores" / "redis" / "engine.py").read_text(encoding="utf-8")
    assert engine.count("sha1(") == engine.count("usedforsecurity=False") == 1


@pytest.mark.requirement("63B-4 3.2.12-a")
def test_secrets_come_from_the_operating_system_only() -> None:
    """`secrets` asks it. Nothing else draws but what is listed, and none of that is told to anybody."""

    def imports(tree: ast.Module) -> set[str]:
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        return names | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    found = {
        file for file, tree in sources()
        if imports(tree) & {"random", "uuid", "numpy", "numpy.random"} and not file.startswith("testing/")
    }  # fmt: skip
    assert found == DRAWN


def _tokens(_: int = 0) -> list[str]:
    return [str(new_token(TokenKind.BROWSER, "0")) for _ in range(EACH)]


@pytest.mark.requirement("ASVS V11.5.2")
def test_many_threads_and_forked_workers_at_once_draw_no_token_twice() -> None:
    with multiprocessing.get_context("fork").Pool(4) as workers, ThreadPoolExecutor(8) as threads:
        forked = workers.map_async(_tokens, range(8), chunksize=1)
        drawn = [token for some in threads.map(_tokens, range(8)) for token in some]
        drawn += [token for some in forked.get(60) for token in some]
    assert len(set(drawn)) == len(drawn) == 16 * EACH
