"""Several processes on one SQLite file, under load, paused and killed: nobody is let in late, nobody shut out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessile import Authority
from tests.proof.trial import kills, pauses, running


@pytest.mark.requirement("ASVS V7.4.1")
async def test_no_late_accept_on_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/sessile.db"
    async with Authority(url):
        """The file exists before the nodes look for it."""
    async with running(Authority(url), [url] * 3) as trial:
        await trial.begin(90)
        for fault in (pauses, kills, pauses):
            await trial.revoke_some(0.15)
            await fault(trial)
        outcome = await trial.balance()
    with capsys.disabled():
        print(f"\n  SQLite, 3 processes: {outcome}")
    assert outcome.revocations > 30
    assert outcome.checks > 1000
    assert (outcome.late_accepts, outcome.false_denials, outcome.unavailable_in_health) == (0, 0, 0)
