"""An empty project directory with a home of its own, and the real command in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import zygote
from tests.zygote import Ended


class Project:
    def __init__(self, top: Path) -> None:
        self.directory = top / "project"
        self.outside = top / "outside"
        self.home = top / "home"
        for directory in (self.directory, self.outside, self.home):
            directory.mkdir()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("DAGRUN_", "DIGDAG_", "XDG_"))
        }
        self.environment = {**kept, "HOME": str(self.home), "OUTSIDE": str(self.outside), "COLUMNS": "200"}

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dagrun.cli", *arguments]

    def run(
        self, *arguments: str, code: int | None = 0, given: str = "", cwd: Path | None = None, anew: bool = False
    ) -> Ended:
        """What became of `dagrun …`; with `code` it must have ended so. `anew`: its own words are those of its process."""
        ended = zygote.call(arguments, cwd=cwd or self.directory, env=self.environment, given=given, anew=anew)
        assert code is None or ended.code == code, ended
        assert "Traceback" not in ended.err, ended.err
        return ended

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").out)

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return zygote.start(arguments, cwd=self.directory, env=self.environment, text=True, **more)

    def ran(self) -> list[str]:
        """The lines that tasks appended to $OUTSIDE/ran, in order."""
        path = self.outside / "ran"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
