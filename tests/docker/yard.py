"""A site whose tasks run in containers: the real `dagrun`, as `run` or as a daemon, with a real engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests import containers
from tests.daemon.site import Site


class Yard(Site):
    def __init__(self, place: Path) -> None:
        self.host = containers.engine()
        super().__init__(place)
        self.image = "busybox"

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DOCKER_HOST": self.host}

    @property
    def docker(self) -> str:
        """The container of tasks that use the library: it sees the ledger."""
        options = {"image": self.image, "volumes": [f"{self.place}:{self.place}"], "env": {"PLACE": str(self.place)}}
        return f"_docker: {json.dumps(options)}"

    def tasks(self, workflow: str, name: str = "wf") -> None:
        super().tasks(f"{self.docker}\n{workflow}", name)

    def ran(self, text: str, *words: str, files: Mapping[str, str] = {}, code: int = 0) -> str:
        """`dagrun run` of a workflow: all that it printed."""
        self.write({"w.dig": text, **files})
        return self.call("run", "w.dig", "--rerun", *words, code=code)

    def containers(self) -> list[str]:
        return containers.all_containers(str(self.directory))

    def is_clean(self) -> bool:
        """No container, no claim, no directory of a try."""
        claims = self.state / "containers"
        return not self.containers() and not (claims.exists() and list(claims.iterdir())) and not self.leftovers()

    def error(self, task: str) -> dict[str, Any]:
        error: dict[str, Any] = self.rows()[task]["error"]
        return error

    def close(self) -> None:
        super().close()
        for name in self.containers():
            with suppress(subprocess.CalledProcessError):  # it is being removed
                containers.docker("rm", "-f", name)
