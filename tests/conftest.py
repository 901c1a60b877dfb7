"""What every test stands on: the event loop, the requirements tests name, and `need` for missing parts."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

pytest_plugins = ["tests.browser", "tests.engines"]

REQUIREMENTS = Path(__file__).with_name("requirements.tsv")
TEARDOWN = 180
"""Seconds that one may take."""
STDERR = pytest.StashKey[int]()

# CI draws the same examples every time, so that a red run is red again on the next machine; a developer's
# runs draw new ones. No deadline anywhere: what is slow on a busy machine is not wrong.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, database=None)
hypothesis.settings.register_profile("dev", deadline=None)


def in_ci() -> bool:
    """Say whether a missing part is a failure."""
    return os.environ.get("CI", "").lower() == "true"


def need(part: str, how: str) -> NoReturn:
    """End the test because `part` is not on this machine, saying `how` to get it.

    Skips on a developer's machine; fails under `CI=true`, where every part has to be.
    """
    said = f"needs {part}: {how}"
    if in_ci():
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Sessile runs on asyncio, so async tests do."""
    return "asyncio"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "requirement(*ids): the rows of tests/requirements.tsv that this test shows to be met"
    )
    hypothesis.settings.load_profile("ci" if in_ci() else "dev")
    config.stash[STDERR] = os.dup(2)  # what a test prints is captured by then


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """End the process of a teardown that hangs: once a test has failed, no other timeout watches over it."""
    faulthandler.dump_traceback_later(TEARDOWN, exit=True, file=item.config.stash[STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_sessionstart(session: pytest.Session) -> None:
    if (terminal := session.config.pluginmanager.get_plugin("terminalreporter")) is not None:
        session.config.pluginmanager.register(FailuresAtOnce(terminal))


class FailuresAtOnce:
    """Names what has failed when it does: a run that is cut short comes to no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            said = report.longreprtext.strip().rpartition("\n")[2]
            self._terminal.ensure_newline()
            self._terminal.write_line(f"FAILED {report.nodeid} ({report.when}): {said}")


def requirements() -> dict[str, str]:
    """Read the requirements that a test may name: id to title."""
    rows = REQUIREMENTS.read_text(encoding="utf-8").splitlines()[1:]
    return dict(row.split("\t", 1) for row in rows)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = requirements()
    unknown = sorted(
        f"{item.nodeid}: {id!r}"
        for item in items
        for marker in item.iter_markers("requirement")
        for id in marker.args or ("(none given)",)
        if id not in known
    )
    if unknown:
        raise pytest.UsageError("not a row of tests/requirements.tsv:\n  " + "\n  ".join(unknown))
