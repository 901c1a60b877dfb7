"""The yard: pins, the package as shipped, the layers, the commands, and what the tests lean on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from playwright.async_api import Page

from tests.conftest import need, requirements

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "sessile"


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        need("a git checkout", "run the tests in a clone")
    listed = run("git", "ls-files", "-z", "--cached")
    assert listed.returncode == 0, listed.stderr
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# --- pins ---------------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    """Read a requirements file: each distribution for this Python with its version; every one has to have a hash."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([a-z0-9-]+)==(\S+)(?: ; ([^#]*?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)", line.strip())
        assert match, f"not a pin with hashes: {line}"
        if match[3] is None or Marker(match[3]).evaluate():
            found[match[1]] = match[2]
    return found


def test_what_the_server_runs_on_is_what_the_tests_run_on() -> None:
    server, dev = pins("server.txt"), pins("dev.txt")
    assert server.items() <= dev.items()


@pytest.mark.parametrize("name", ["server.txt", "dev.txt"])
def test_the_environment_is_the_pinned_one(name: str) -> None:
    installed = {re.sub(r"[-_.]+", "-", found.name).lower(): found.version for found in metadata.distributions()}
    differing = {
        pin: (version, installed[pin])
        for pin, version in pins(name).items()
        if pin in installed and installed[pin] != version
    }
    assert differing == {}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]

    def names(entries: list[str | dict[str, str]]) -> set[str]:
        return {re.split(r"[<>=!;\[ ]", entry)[0] for entry in entries if isinstance(entry, str)}

    server = names(project["project"]["dependencies"] + extras["server"] + groups["build"])
    everything = server.union(*(names(extra) for extra in extras.values()), names(groups["dev"]))
    assert server <= pins("server.txt").keys()
    assert everything <= pins("dev.txt").keys()


# --- the package --------------------------------------------------------------------------------------------


def test_the_core_needs_msgspec_only() -> None:
    needed = [entry for entry in metadata.requires("sessile") or [] if "extra ==" not in entry]
    assert [re.split(r"[<>=]", entry)[0] for entry in needed] == ["msgspec"]


@pytest.mark.parametrize("module", ["sessile", "sessile.asgi", "sessile.sync", "sessile.wsgi"])
def test_the_core_imports_nothing_of_the_extras(module: str) -> None:
    """Whoever installs the core has neither a framework nor a template library."""
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {{"sessile", "msgspec"}} | sys.stdlib_module_names:
            raise ModuleNotFoundError(name + " is not in the core install", name=name)
sys.meta_path.insert(0, Absent())
import {module}
"""
    done = run(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    """SQL, templates and static files are read at run time: an install from the wheel must have them."""
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in tracked() if SOURCE in path.parents}
    assert "sessile/py.typed" in wanted
    assert wanted - held == set()
    assert {name.partition("/")[0] for name in held} == {"sessile", "sessile-0.1.0.dist-info"}


def test_the_command_is_installed() -> None:
    done = run(str(Path(sys.executable).with_name("sessile")), "--help")
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


# --- the code -----------------------------------------------------------------------------------------------

# Dependencies point one way: a part may import what stands in its own row or in a row before it. A new part needs a
# place here before another may import it.
ORDER: list[set[str]] = [
    {"kernel"},
    {"clock", "errors", "follow", "near", "settle", "stores", "trust"},
    {
        "authority",
        "checks",
        "data",
        "ending",
        "hooks",
        "leaving",
        "nhi",
        "receipt",
        "signing_in",
        "strangers",
        "sync",
        "upkeep",
        "watching",
        "working",
    },
    {"dbsc", "factors", "signals", "web"},
    {"asgi"},
    {"starlette", "fastapi", "testing", "wsgi"},
    {"django", "flask"},
    {"server"},
    {"cli"},
]
RANK = {part: rank for rank, row in enumerate(ORDER) for part in row}


def imported(path: Path) -> Iterator[str]:
    """Give the parts of the package a file imports: `kernel` for `from sessile.kernel.token import …`"""
    package = ("sessile", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "sessile" else [module]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "sessile" and rest:
                yield rest.partition(".")[0]


def files_of(part: str) -> list[Path]:
    return sorted((SOURCE / part).rglob("*.py")) or [SOURCE / f"{part}.py"]


@pytest.mark.parametrize(
    "part", ["kernel", "stores", "authority", "sync", "web", "asgi", "wsgi", "flask", "django", "server"]
)
def test_dependencies_point_one_way(part: str) -> None:
    wrong = {
        f"{path.relative_to(SOURCE)} imports {other}"
        for path in files_of(part)
        for other in imported(path)
        if RANK.get(other, len(ORDER)) > RANK[part]
    }
    assert wrong == set()


def test_the_kernel_imports_nothing_of_the_rest() -> None:
    assert {other for path in files_of("kernel") for other in imported(path)} == {"kernel"}


def test_the_kernel_does_no_io() -> None:
    """The decision is a pure function: the kernel reaches no clock, no file, no socket and no thread."""
    barred = {"asyncio", "io", "os", "pathlib", "socket", "sqlite3", "subprocess", "threading", "time"}
    wrong = {
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in (SOURCE / "kernel").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if name.partition(".")[0] in barred
    }
    assert wrong == set()


def test_a_file_tells_one_story() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in SOURCE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert long == {}


def test_the_repository_is_light() -> None:
    heavy = {str(path.relative_to(ROOT)): size for path in tracked() if (size := path.stat().st_size) > 400_000}
    assert heavy == {}


# --- the commands -------------------------------------------------------------------------------------------


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert declared
    said = run("make", "--no-print-directory", MAKEFLAGS="").stdout
    assert re.findall(r"^  make (\w+) +\S", said, re.MULTILINE) == declared[1].split()


def test_demo_passes_the_port_on() -> None:
    plan = run("make", "--no-print-directory", "--dry-run", "demo", "PORT=8123", MAKEFLAGS="")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.splitlines()[-1] == ".venv/bin/sessile demo --port 8123"


def test_ci_is_a_program_that_bash_can_read() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert run("bash", "-n", str(script)).returncode == 0


# --- what tests lean on -------------------------------------------------------------------------------------


def test_a_missing_part_is_skipped_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a lathe: buy one"):
        need("a lathe", "buy one")


def test_a_missing_part_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a lathe: buy one"):
        need("a lathe", "buy one")


def collect(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run a test file of one's own under the real conftest."""
    file = folder / "test_sample.py"
    file.write_text(source, encoding="utf-8")
    return run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}",
        f"--config-file={ROOT / 'pyproject.toml'}", "-p", "tests.conftest", str(file),
    )  # fmt: skip


def test_a_requirement_that_nobody_knows_stops_the_run(tmp_path: Path) -> None:
    done = collect(
        tmp_path,
        "import pytest\n@pytest.mark.requirement('ASVS V99.9.9')\ndef test_it() -> None: ...\n",
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "'ASVS V99.9.9'" in done.stdout + done.stderr


def test_a_known_requirement_may_be_named(tmp_path: Path) -> None:
    done = collect(
        tmp_path,
        "import pytest\n@pytest.mark.requirement('ASVS V7.2.4')\ndef test_it() -> None: ...\n",
    )
    assert done.returncode == 0, done.stdout
    assert "ASVS V7.2.4" in requirements()


def test_an_awaitable_that_nobody_awaits_fails(tmp_path: Path) -> None:
    """A check that nobody awaits lets everybody in: Python's warning about it is an error here."""
    done = collect(
        tmp_path,
        "import gc\nasync def check() -> bool: return False\n"
        "async def test_it() -> None:\n    check()\n    gc.collect()\n",
    )
    assert done.returncode == 1, done.stdout
    assert "was never awaited" in done.stdout


async def test_the_browser_is_real(page: Page) -> None:
    await page.set_content("<title>Sessile</title><p id=a></p><script>a.textContent = 6 * 7</script>")
    assert await page.title() == "Sessile"
    assert await page.text_content("#a") == "42"
