"""`sessile bench`: every figure is there, nothing stays behind. How large the figures are is not tested."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from sessile.authority import Authority
from tests.engines import new_postgres
from tests.program import PROGRAM, Program, environment

QUICK = ("bench", "--seconds", "2", "--processes", "2")


def figures(value: Any) -> list[float]:
    """All numbers of an answer, however deep."""
    if isinstance(value, dict):
        return [number for each in value.values() for number in figures(each)]
    return [value] if isinstance(value, int | float) else []


def sound(report: dict[str, Any], engine: str) -> None:
    assert report["engine"] == engine
    assert report["denial"].pop("late_accepts") == 0
    assert report["denial"].pop("undenied") == 0
    # SQLite waits for nothing; and where a denial comes before the acknowledgement, it took no time after it.
    delta = report.pop("delta_ms")
    waited = report["denial"].pop("after_acknowledgement_ms")
    assert 0 <= waited["p50"] <= waited["p99"] <= waited["most"]
    assert all(figure > 0 for figure in figures(report))
    for name in ("check_cached", "check_uncached"):
        check = report[name]
        assert check["to_round_trip"] == pytest.approx(
            check["microseconds"]["median"] / report["round_trip_microseconds"]["median"]
        )
    assert report["principal"]["many"] > report["principal"]["few"]
    assert report["revoke"]["returned_ms"]["p50"] >= delta


def test_it_measures_in_a_file_of_its_own(empty: Program) -> None:
    before = sorted(empty.folder.iterdir())
    sound(empty.json(*QUICK), "sqlite")
    assert sorted(empty.folder.iterdir()) == before


def test_a_database_that_is_named_is_left_alone(sessile: Program) -> None:
    """The new file lies beside it: on the disk that is asked about."""
    was, before = sessile.database.read_bytes(), sorted(sessile.folder.iterdir())
    done = sessile.run(*QUICK, "--database", f"sqlite:///{sessile.database}")
    assert done.returncode == 0, done.stderr
    assert "bare round trip (sqlite3, one row by its key)" in done.stdout
    assert "0 checks accepted after a revocation had returned" in done.stdout
    assert f"{sessile.folder}/sessile-bench-" in done.stderr
    assert sessile.database.read_bytes() == was
    assert sorted(sessile.folder.iterdir()) == before


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_puts_away(empty: Program, signum: signal.Signals) -> None:
    place = empty.folder / "temporary"
    place.mkdir()
    with subprocess.Popen(
        [PROGRAM, "bench", "--seconds", "60"], cwd=empty.folder, env=environment(TMPDIR=str(place)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert str(place) in process.stderr.readline()
        process.stderr.readline()  # it measures
        assert len(list(place.iterdir())) == 1
        process.send_signal(signum)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
    assert not list(place.iterdir())


def test_it_refuses_what_is_no_store_and_what_is_one_process(empty: Program) -> None:
    empty.fails(2, "bench", "--database", "memory:")
    said = empty.fails(2, "bench", "--database", "mysql://root:hunter2@db/x")
    assert "hunter2" not in said


async def test_on_an_engine_it_asks_and_puts_away(empty: Program) -> None:
    with new_postgres() as server:
        server.database("bench")
        url = server.url("bench")
        async with Authority(url) as authority:
            await authority.register("alice")
        refused = empty.run(*QUICK, "--database", url)
        assert refused.returncode == 1
        assert "audit record" in refused.stderr  # what it will do was said before it asked
        assert "--yes" in refused.stderr
        done = empty.run(*QUICK, "--database", url, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        sound(json.loads(done.stdout), "postgresql")
        async with Authority(url, create=False) as authority:
            assert [principal.name for principal in await authority.store.principals()] == ["alice"]
            assert not (await authority.sessions()).items
