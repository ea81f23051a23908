"""Runs conformance cases against the store and the engine, with a clock that jumps over waits."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from dagrun.cli.opened import Opened
from dagrun.cli.resuming import declared_files, old_side
from dagrun.cli.running import revision_of, schedule_params, store_revision
from dagrun.core.events import Canceled
from dagrun.core.resume import Side, Wish, plan
from dagrun.core.session import parse_full_time, whole_seconds
from dagrun.core.state import DONE
from dagrun.core.tree import TaskTree
from dagrun.engine.attempt import Attempt
from dagrun.engine.launch import Launcher
from dagrun.engine.local import Local
from dagrun.engine.rows import decode
from dagrun.engine.submit import Submission
from dagrun.engine.tries import Report
from dagrun.engine.workspace import Workspaces
from dagrun.executors.process import ProcessExecutor
from dagrun.logs.files import read
from dagrun.plugins import registry
from dagrun.plugins.operator import Again, Operator, Subtasks, Succeeded, TaskFailed
from dagrun.project.archive import Directory, snapshot
from dagrun.project.loader import compile_file, workflow_files
from dagrun.secrets.mask import Masker
from dagrun.store.sql import open_store

# -- the test operators of the cases


class Engine(Operator):
    runs_in = "engine"
    retries = False


class Store(Engine):
    def run(self, task: Any) -> Succeeded:
        return Succeeded(stored=task.params.map_("_command"), reset=task.params.list_("reset", []))


class Export(Engine):
    def run(self, task: Any) -> Succeeded:
        body = task.params.optional_map("_do")
        return Succeeded(exported=task.params.map_("_command"), subtasks=Subtasks(config=body) if body else None)


RUNS: Counter[tuple[int, str]] = Counter()  # by session and full name
KILLERS: dict[int, Any] = {}  # attempt → what cancels it


def count_run(task: Any) -> int:
    key = (task.params["session_id"], task.name)
    RUNS[key] += 1
    return RUNS[key]


class Flaky(Engine):
    def run(self, task: Any) -> Succeeded:
        if count_run(task) <= task.params.integer("_command"):
            raise TaskFailed("flaky")
        return Succeeded()


class Once(Engine):
    def run(self, task: Any) -> Succeeded:
        return Succeeded(stored=task.params.map_("_command") if count_run(task) == 1 else {})


class Poll(Engine):
    def run(self, task: Any) -> Succeeded | Again:
        polls = task.memo.get("polls", 0)
        if polls < task.params.integer("_command"):
            return Again(1, {"polls": polls + 1})
        return Succeeded()


class Kill(Engine):
    def run(self, task: Any) -> Succeeded:
        KILLERS[task.params["attempt_id"]]()
        return Succeeded()


TEST_OPERATORS = {"store": Store, "export": Export, "flaky": Flaky, "once": Once, "poll": Poll, "kill": Kill}


@contextmanager
def operators_registered() -> Iterator[None]:
    RUNS.clear()
    KILLERS.clear()
    for name, operator in TEST_OPERATORS.items():
        registry.OPERATORS.register(name, operator)
    try:
        yield
    finally:
        for name in TEST_OPERATORS:
            registry.OPERATORS.unregister(name)


# -- running


@dataclass
class Clock:
    """The machine's, with jumps."""

    ahead: int = 0  # microseconds

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self.ahead


@dataclass
class Recorder:
    """Observes a run."""

    starts: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    prints: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def moved(self, attempt: Attempt, task: Any, move: Any) -> None:
        if move.after == "running":
            self.starts.setdefault(attempt.id, []).append((task.full_name, self.clock()))
        if move.after in DONE:
            self.last = attempt.id

    def warned(self, text: str) -> None:
        self.warnings.append(text)

    def logging(self, task: Any, path: str) -> None:
        pass

    def logged(self, task: Any, path: str) -> None:
        text = read(path).decode()
        if "echo>" in task.spec.config or task.spec.config.get("_type") == "echo" or "_command" in task.spec.config:
            attempt = int(Path(path).parent.name)
            self.prints.setdefault(attempt, []).append((task.full_name, text.removesuffix("\n")))
        else:
            self.output[task.full_name] = text

    def tick(self) -> float:
        return 60.0


class JumpingLocal(Local):
    """Jumps over every wait in which no command runs."""

    recorder: Recorder

    def run(self) -> None:
        while self.worker.attempts:
            seconds = self.worker.poll(self.ring)
            self.let_go()
            if not self.worker.attempts:
                break
            pause = self.until_alarm(seconds)
            if self.worker.tries:
                self.worker.wait(min(pause, 0.25))
            else:
                # `poll` caps its delay by the look-around; what is due later takes a few rounds of jumps.
                self.recorder.clock.ahead += int(max(pause, 0.001) * 1_000_000)


@dataclass
class Result:
    attempt: Attempt
    tree: TaskTree
    recorder: Recorder

    @property
    def id(self) -> int:
        return self.attempt.id

    @property
    def state(self) -> str:
        state = self.tree.root.state
        return "error" if state == "group_error" else state

    def starts(self) -> Counter[str]:
        return Counter(name for name, _ in self.recorder.starts.get(self.id, ()))

    def prints(self) -> list[str]:
        return [text for _, text in self.recorder.prints.get(self.id, ())]

    def waits(self) -> list[float]:
        """Seconds between the runs of the task that ran most often."""
        name = self.starts().most_common(1)[0][0]
        times = [at for moved, at in self.recorder.starts[self.id] if moved == name]
        return [(after - before) / 1_000_000 for before, after in pairwise(times)]


class Project:
    """One project directory with its store: what a case pushes and starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.opened = Opened(str(directory))
        self.recorder = Recorder()
        self.store: Any = open_store(f"sqlite:///{directory}/.dagrun/state.db")
        self.store._database.clock = self.recorder.clock
        self.opened.__dict__["store"] = self.store
        self.attempts: list[Attempt] = []
        self.locals: dict[int, JumpingLocal] = {}
        self.revision: Any = None

    def push(self, files: Mapping[str, Any]) -> None:
        """Store a revision. Raises WorkflowError where a workflow of the project is broken."""
        for path in self.directory.iterdir():
            if path.name != ".dagrun":
                remove(path)
        write_files(self.directory, files)
        here = Directory(str(self.directory))
        for file in workflow_files(here):
            compile_file(here, file)
        digest, manifest = snapshot(str(self.directory), self.opened.state_dir)
        with self.store.transaction() as tx:
            self.revision = revision_of(self.opened, store_revision(tx, self.opened, digest, manifest))

    def submit(
        self,
        workflow: str = "w",
        *,
        params: Mapping[str, Any] | None = None,
        session: str = "2024-01-15T00:00:00Z",
        retry_name: str = "",
        options: Mapping[str, Any] | None = None,
        resume: Mapping[str, Any] | None = None,
    ) -> Attempt:
        found = self.revision.workflow(workflow)
        at = parse_full_time(session.replace(".900Z", "Z"))
        assert at is not None
        old = self.attempts[resume["of"] - 1] if resume else None
        made = self.plan(found, old, params or {}, resume) if resume and old else None
        local = self.local()
        attempt = local.submit(
            Submission(
                workflow=found,
                project_id=self.revision.row.project_id,
                revision=self.revision.row,
                session_time=whole_seconds(at),
                params=params or {},
                retry_name=retry_name,
                options={"task_limit": 1000, **(options or {})},
                plan=made,
                resumed_from=old.id if old else None,
            ),
            self.revision,
        )
        self.attempts.append(attempt)
        self.locals[attempt.id] = local
        KILLERS[attempt.id] = lambda: local.worker.reports.append(Report(attempt, Canceled("kill>")))
        return attempt

    def plan(self, workflow: Any, old: Attempt, params: Mapping[str, Any], resume: Mapping[str, Any]) -> Any:
        with self.store.reading() as tx:
            row = tx.get_attempt(old.id)
        tree, before = old_side(self.opened, row)
        after = Side(workflow, params, lambda spec: declared_files(self.revision.files, spec))
        wish = Wish(keep_changed=True) if resume["mode"] == "failed" else Wish(before=resume["from"])
        return plan(tree, old.id, before, after, wish)

    def local(self) -> JumpingLocal:
        launcher = Launcher(
            self.store.id,
            self.opened.state_dir,
            ProcessExecutor(Masker),
            Workspaces(self.opened.state_dir),
        )
        local = JumpingLocal(
            self.store,
            self.opened.state_dir,
            launcher,
            self.recorder,
            slots=16,
            secret_value=lambda key: None,
            schedule_params=schedule_params,
            clock=self.recorder.clock,
        )
        local.recorder = self.recorder
        return local

    def run(self, attempt: Attempt) -> Result:
        self.locals[attempt.id].run()
        return Result(attempt, attempt.tree, self.recorder)

    def number(self, attempt: Attempt) -> int:
        with self.store.reading() as tx:
            return tx.get_attempt(attempt.id).number


def write_files(directory: Path, files: Mapping[str, Any]) -> None:
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else content["text"]
        target.write_bytes(text.encode())
        if not isinstance(content, str) and "mode" in content:
            target.chmod(int(content["mode"], 8))


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        os.unlink(path)


__all__ = ["Project", "Result", "decode", "operators_registered", "write_files"]
