"""What the documentation says is so: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from sessile import AtLimit, Policy, Reason
from sessile.stores.protocol import TOMBSTONE

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line its text begins on."""

    language: str
    text: str
    line: int


def blocks(name: str, *languages: str) -> list[Block]:
    found: list[Block] = []
    language, start, lines = "", 0, []
    for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif start:
            found.append(Block(language, "\n".join(lines) + "\n", start))
            start = 0
        else:
            language, start, lines = line[3:].strip(), number + 1, []
    assert not start, f"{name}: the fence before line {start} is never closed"
    return [block for block in found if block.language in languages]


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


# -- Python -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "python")])
async def test_the_python_on_a_page_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page are one program, with `await` at its top as in `python -m asyncio`."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in blocks(name, "python"):
        code = compile(
            "\n" * (block.line - 1) + block.text,
            str(ROOT / name),
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)  # noqa: S307 - our own page
        else:
            exec(code, names)  # noqa: S102 - our own page


def test_the_five_lines_in_the_readme_are_the_example() -> None:
    example = (ROOT / "examples" / "five_lines.py").read_text(encoding="utf-8")
    assert any(block.text.strip() in example for block in blocks("README.md", "python"))


# -- commands -----------------------------------------------------------------------------------------------------


def commands(name: str) -> list[list[str]]:
    """Every `sessile …` and `make …` that a page shows, in words."""
    lines = [line for block in blocks(name, "sh", "console") for line in block.text.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(name))
    found = []
    for line in lines:
        line = re.sub(r"^(\$ |\.venv/bin/|[A-Z_]+=\S+ )+", "", line.strip())
        if re.match(r"(sessile|make)( |$)", line):
            found.append([word for word in shlex.split(line, comments=True) if word not in "…|"])
    return found


@functools.cache
def help_of(path: tuple[str, ...]) -> str:
    """What `sessile PATH --help` prints."""
    import contextlib
    import io

    from sessile.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main([*path, "--help"])
    assert status == 0, f"there is no command `sessile {' '.join(path)}`"
    return re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())


def subcommands(path: tuple[str, ...]) -> set[str]:
    listed = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", help_of(path), re.DOTALL | re.MULTILINE)
    return set(re.findall(r"^  ([a-z]+)(?: |$)", listed[1], re.MULTILINE)) if listed else set()


def leaves(path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    below = subcommands(path)
    return {path} if not below else {leaf for name in below for leaf in leaves((*path, name))}


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_on_a_page_exist_with_their_options(name: str) -> None:
    for words in commands(name):
        shown = " ".join(words)
        if words[0] == "make":
            for word in words[1:]:
                if re.fullmatch(r"[a-z]+", word):
                    assert re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"{name}: {shown}"
            continue
        path: tuple[str, ...] = ()
        rest = words[1:]
        while rest and rest[0] in subcommands(path):
            path, rest = (*path, rest[0]), rest[1:]
        said = help_of(path)
        for word in rest:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert re.search(rf"(?<![\w-]){word}(?![\w-])", said), f"{name}: no {word} in `{shown}`"
        if rest and not rest[0].startswith("-"):
            assert not subcommands(path) or rest[0].isupper(), f"{name}: no such command: {shown}"


def test_the_page_on_the_command_line_shows_every_command() -> None:
    shown = {tuple(words[1:]) for words in commands("docs/cli.md")}
    missing = [leaf for leaf in leaves() if not any(words[: len(leaf)] == leaf for words in shown)]
    assert not missing


# -- links --------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(str(page.relative_to(ROOT))), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        n = sum(1 for one in found if one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one))
        found.add(f"{slug}-{n}" if n else slug)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_links_on_a_page_lead_somewhere(name: str) -> None:
    page, text = ROOT / name, prose(name)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)", text, re.MULTILINE)
    for label in re.findall(r"\]\[([^\]]+)\]", text):
        assert re.search(rf"^\[{re.escape(label)}\]: ", text, re.MULTILINE), f"{name}: [{label}] is not defined"
    for target in targets:
        if target.startswith(("https://", "mailto:")):
            continue
        assert not target.startswith("http://"), f"{name}: {target}"
        path, _, anchor = target.partition("#")
        there = (page.parent / unquote(path)).resolve() if path else page
        assert there.exists(), f"{name}: {target} leads nowhere"
        assert not anchor or anchor in anchors(there), f"{name}: no heading {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)\s#]+)", text)
        for there in ((page.parent / link).resolve() for link in links if "://" not in link):
            ahead += there.glob("*.md") if there.is_dir() else [there]
    assert [name for name, page in zip(NAMES, PAGES, strict=True) if page not in seen] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_tests_and_sources_that_a_page_names_are_there(name: str) -> None:
    text = prose(name)
    for path, test in re.findall(r"`((?:tests|src)/[\w/]+\.py)(?:::(\w+))?`", text):
        assert (ROOT / path).is_file() or path.endswith("NAME.py"), f"{name}: no file {path}"
        if test:
            assert re.search(rf"def {test}\(", (ROOT / path).read_text(encoding="utf-8")), f"{name}: no {path}::{test}"


# -- numbers and names --------------------------------------------------------------------------------------------


def table(name: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without their back ticks."""
    _, _, after = (ROOT / name).read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert after, f"{name} has no heading {heading!r}"
    rows: list[list[str]] = []
    for line in after.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def said(length: timedelta | None) -> str:
    if length is None:
        return "none"
    seconds = int(length.total_seconds())
    # 24 and 12 hours are said as the standard says them.
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0 and (unit != "day" or seconds > size or size == seconds):
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError(length)


@pytest.mark.requirement("ASVS V7.1.1", "63B-4 5.2-e")
def test_the_documented_lifetimes_are_those_of_the_presets() -> None:
    def same(written: str, length: timedelta | None) -> bool:
        return written == said(length) or (length == timedelta(days=1) and written == "24 hours")

    rows = table("docs/lifetimes.md", "Presets")
    assert {row[0] for row in rows} == {f"Policy.{one}()" for one in ("aal1", "aal2", "aal3", "operator")}
    for written, overall, idle, assurance, rotation in rows:
        policy = getattr(Policy, written.removeprefix("Policy.").removesuffix("()"))()
        assert same(overall, policy.overall), written
        assert same(idle, policy.idle), written
        assert assurance == str(policy.assurance), written
        assert same(rotation, policy.rotate_after), written
    text = " ".join(prose("docs/lifetimes.md").split())
    default = Policy()
    assert f"at most {default.key_lifetime.days} days (`key_lifetime`)" in text
    assert f"`grace`, {int(default.grace.total_seconds())} seconds by default" in text


@pytest.mark.requirement("ASVS V7.1.2")
def test_the_documented_rule_for_too_many_sessions_is_the_default() -> None:
    rows = table("docs/lifetimes.md", "Concurrency")
    assert {row[0].removesuffix(" (the default)") for row in rows} == {one.value for one in AtLimit}
    assert [row[0] for row in rows if "(the default)" in row[0]] == [f"{Policy().at_limit.value} (the default)"]
    assert Policy().max_sessions is None
    assert "By default there is no limit." in (ROOT / "docs/lifetimes.md").read_text(encoding="utf-8")


def test_the_documented_reasons_are_all_there_are_with_their_cures() -> None:
    rows = table("docs/how-it-works.md", "One request")
    assert {(reason, cure) for reason, cure, _ in rows} == {(one.value, one.cure.value) for one in Reason}


@pytest.mark.requirement("63B-4 5.3-b")
def test_the_documented_retention_is_the_stores() -> None:
    assert f"{TOMBSTONE.days} days after its end" in (ROOT / "docs/privacy.md").read_text(encoding="utf-8")


def test_the_documented_calls_are_those_of_the_openapi_document() -> None:
    from sessile.server.app import create_app
    from sessile.server.settings import Settings

    described = create_app(Settings(database="memory:")).openapi()["paths"]
    offered = {f"{method.upper()} {path}" for path, calls in described.items() for method in calls}
    text = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    documented = {call.split("?")[0] for call in re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", text, re.MULTILINE)}
    assert {call for call in offered if " /api/" in call} == documented
