"""What a test needs and this machine lacks: the test is skipped by name, and in CI, where everything is installed, it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def give_up(problem: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(problem, pytrace=False)
    pytest.skip(problem)


def need(*programs: str) -> None:
    """These programs are there."""
    for program in programs:
        if shutil.which(program) is None:
            give_up(f"{program} is not installed")
