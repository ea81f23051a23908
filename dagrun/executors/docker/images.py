"""Images are there before they are needed. Tasks that want the same one wait for one pull, or one build, together."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from dagrun.errors import TaskFailed
from dagrun.executors.docker.client import Client, Stopped
from dagrun.executors.docker.engine import Engine
from dagrun.executors.docker.options import Options, build_arguments, built_image, dockerfile
from dagrun.plugins.executor import Launch

_LOOK_SECONDS = 0.1  # so late at most does a task that was told to end stop waiting
TELL_SECONDS = 2.0  # from one line about a pull to the next
MEGABYTE = 1_000_000

Event = Mapping[str, Any]


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

    def ready(self, options: Options, launch: Launch, client: Client) -> tuple[str, str]:
        """The image of a task is there; its name, and the user that it runs as. Raises TaskFailed, Stopped.

        Another client than ours may speak to another engine: it alone is asked then, and the user isn't known.
        """
        image, stopped = image_name(options, launch), client.stopped
        if options.build:
            self.together(f"build {image}", lambda: self._build(image, options, launch, client), stopped)
        elif options.client is None:
            return image, self.have(image, options.pull, stopped)
        elif options.pull == "always":
            self.together(f"pull {image} by {options.client}", lambda: client.pull(image), stopped)
        return image, "" if options.client else self._engine.image_user(image) or ""

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

        def work() -> None:  # another one may have ended since we asked
            if pull == "always" or self._engine.image_user(image) is None:
                self._pull(image, stopped)

        self.together(f"pull {image}", work, stopped)
        return self._engine.image_user(image) or ""

    def together(self, key: str, work: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """The work is done, by us or by whoever began it first; who waits gets the failure, too.

        If the one who does it is told to end, it raises Stopped, and another one who waits does it.
        """
        while True:
            with self._lock:
                found = self._at_work.get(key)
                ours = found is None
                if found is None:
                    found = self._at_work[key] = Work()
            if ours:
                self._do(key, found, work)
            while not found.done.wait(_LOOK_SECONDS):
                if stopped():
                    raise Stopped
            if found.problem is None:
                return
            if ours or not isinstance(found.problem, Stopped):
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

    def _build(self, image: str, options: Options, launch: Launch, client: Client) -> None:
        """Unless it is there. Its output goes into the log of the task that needed it first."""
        if client.lists(image) if options.client else self._engine.image_user(image) is not None:
            return
        path = os.path.join(launch.io, f"Dockerfile.{image.replace(':', '.')}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(dockerfile(options))
        with open(launch.log, "ab") as log:
            code, _, _ = client.run(build_arguments(options, path, image, launch.workspace), log)
        os.unlink(path)
        if code:
            raise TaskFailed(
                f"the image can't be built: docker build ended with code {code}; the log of {launch.task} says why",
                "build_failed",
                "runtime",
            )

    def _pull(self, image: str, stopped: Callable[[], bool]) -> None:
        self._say(f"pulling {image}")
        progress, told_at = Progress(), time.monotonic()
        for event in until_stopped(self._engine.pull(image), stopped):
            progress.add(event)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                self._say(f"pulling {image}: {progress}")
        self._say(f"pulled {image}: {progress}")


def image_name(options: Options, launch: Launch) -> str:
    return built_image(options, launch.project_id) if options.build else options.image


def until_stopped(events: Generator[Event, None, None], stopped: Callable[[], bool]) -> Iterator[Event]:
    """The events, as they come; a thread reads them, since a registry may keep silent for long. Raises Stopped."""
    told: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
    unwanted = threading.Event()

    def read() -> None:
        try:
            with closing(events):
                for event in events:
                    told.put(event)
                    if unwanted.is_set():
                        return
            told.put(None)
        except BaseException as problem:
            told.put(problem)

    threading.Thread(target=read, name="dagrun pull", daemon=True).start()
    try:
        while True:
            if stopped():
                raise Stopped
            try:
                event = told.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            if event is None:
                return
            yield event
    finally:
        unwanted.set()


class Progress:
    """How far a pull has come, from what the engine tells of each layer."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.bytes: dict[str, tuple[int, int]] = {}

    def add(self, event: Event) -> None:
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
