"""Images are there before they are needed. Tasks that want the same one wait for one pull, or one build, together."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors.docker.engine import Engine

_LOOK_SECONDS = 0.1  # so late at most does a task that was told to end stop waiting
TELL_SECONDS = 2.0  # from one line about a pull to the next
MEGABYTE = 1_000_000


class Stopped(Exception):
    """The task was told to end while it waited."""


class Work:
    """A pull or a build that goes on, and what came of it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.problem: BaseException | None = None


class Images:
    """`say` tells people about pulls; it may be called from any thread."""

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._say = say
        self._lock = threading.Lock()
        self._at_work: dict[str, Work] = {}

    def have(self, image: str, pull: str, stopped: Callable[[], bool]) -> str:
        """The engine has the image; returns the user that it runs as. Raises TaskFailed, Stopped."""
        user = None if pull == "always" else self._engine.image_user(image)
        if user is not None:
            return user
        if pull == "never":
            raise TaskFailed(
                f"the engine has no image {image}, and pull: never forbids to get it\n  docker pull {image}",
                "image_missing",
                "config",
            )
        self.together(f"pull {image}", lambda: self._pull(image), stopped)
        return self._engine.image_user(image) or ""

    def together(self, key: str, work: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """The work is done, by us or by whoever began it first; who waits gets the failure, too."""
        with self._lock:
            found = self._at_work.get(key)
            ours = found is None
            if found is None:
                found = self._at_work[key] = Work()
        if ours:
            threading.Thread(target=self._do, args=(key, found, work), name=f"dagrun {key}", daemon=True).start()
        while not found.done.wait(_LOOK_SECONDS):
            if stopped():
                raise Stopped
        if found.problem is not None:
            raise found.problem

    def _do(self, key: str, work: Work, what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException as problem:
            work.problem = problem
        finally:
            with self._lock:
                del self._at_work[key]
            work.done.set()

    def _pull(self, image: str) -> None:
        self._say(f"pulling {image}")
        progress, told_at = Progress(), time.monotonic()
        for event in self._engine.pull(image):
            progress.add(event)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                self._say(f"pulling {image}: {progress}")
        self._say(f"pulled {image}: {progress}")


class Progress:
    """How far a pull has come, from what the engine tells of each layer."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.bytes: dict[str, tuple[int, int]] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        layer, status = event.get("id"), event.get("status", "")
        if layer is None or status.startswith("Pulling from"):
            return
        current, total = self.bytes.get(layer, (0, 0))
        detail = event.get("progressDetail") or {}
        if status == "Downloading":
            current, total = detail.get("current") or current, detail.get("total") or total
        elif status in ("Download complete", "Pull complete", "Already exists"):
            current = total
        self.bytes[layer] = current, total
        if status in ("Pull complete", "Already exists"):
            self.done.add(layer)

    def __str__(self) -> str:
        if not self.bytes:
            return "all of its layers were here"
        current, total = (sum(part[side] for part in self.bytes.values()) / MEGABYTE for side in (0, 1))
        return f"{len(self.done)} of {len(self.bytes)} layers, {current:.1f} of {total:.1f} MB"


def pull_by_client(client: str, image: str, environment: Mapping[str, str], directory: str) -> None:
    """By the client that the file names: it may speak to another engine than ours. Raises TaskFailed."""
    ended = subprocess.run(
        [client, "pull", image], env=environment, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )  # fmt: skip
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip()
        raise TaskFailed(
            f"the image {image} can't be pulled: {said or f'{client} ended with code {ended.returncode}'}",
            "image_pull_failed",
            "runtime",
            platform=True,
        )


def is_listed(client: str, image: str, environment: Mapping[str, str], directory: str) -> bool:
    """Whether `docker images` shows it, as Digdag asks (spec/operators 4.3)."""
    ended = subprocess.run(
        [client, "images", "--format", "{{.Repository}}:{{.Tag}}"],
        env=environment, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    return image in ended.stdout.decode(errors="replace").split()
