"""A database of its own for each test, made by the program itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.program import OPERATOR_PASSWORD, Program


@pytest.fixture
def empty(tmp_path: Path) -> Program:
    """A folder without a database."""
    return Program(tmp_path)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A database that knows alice, and olga, an operator. Only to be copied: hashing passwords is slow."""
    program = Program(tmp_path_factory.mktemp("seeded"))
    program.add("alice")
    program.add("olga", OPERATOR_PASSWORD, "--role", "operator")
    return program


@pytest.fixture
def sessile(tmp_path: Path, seeded: Program) -> Program:
    """A folder with a copy of it."""
    program = Program(tmp_path)
    shutil.copy2(seeded.database, program.database)
    return program
