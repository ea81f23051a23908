"""The files of other tasks that a try asks for (features F79): found in the attempt's tree, by the names that `_needs` has, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dagrun.core.files import Output, targets
from dagrun.core.state import FAILED, FAILING, SUCCESS
from dagrun.core.tree import Task, TaskTree, left_out
from dagrun.engine.workspace import FILES
from dagrun.errors import TaskFailed

if TYPE_CHECKING:
    from dagrun.files.handover import Delivery


class Wishes:
    """The files of other tasks that one try asks for. `own` is the try's own directory."""

    __slots__ = ("own", "task", "tree", "wanted")

    def __init__(self, tree: TaskTree, task: Task, own: str) -> None:
        self.tree = tree
        self.task = task
        self.own = own
        self.wanted: dict[tuple[str, bool], Output] = {}  # where, and whether below the working directory

    @property
    def deliveries(self) -> list[Delivery]:
        if not self.wanted:
            return []
        from dagrun.files.handover import Delivery

        return [Delivery(file, path, in_workspace) for (path, in_workspace), file in self.wanted.items()]

    def file(self, name: str, path: str) -> str:
        """Where the file will be when the command runs. Raises TaskFailed."""
        path = os.path.normpath(path)
        found = outputs_of(self.tree, self.task, name)
        wanted = [(task, one) for task, one in found if one.path == path]
        if len(wanted) != 1:
            there = ", ".join(one.path for _, one in found[:10])
            why = f"its files are: {there}" if there else why_none(self.tree, self.task, name)
            if wanted:
                why = f"{len(wanted)} tasks below it do; name one of them"
            raise TaskFailed(f'{name}.file("{path}"): {name} hands on no such file; {why}', "input_missing", "config")
        task, output = wanted[0]
        # Names of tasks can be long, and may hold what a shell takes for something else: a & in those of for_each>.
        place = f"{FILES}/{task.index}/{path}"
        self.wanted[place, False] = output
        return f"{self.own}/{place}"

    def directories(self, inputs: Mapping[str, Any] | None) -> None:
        """What `_inputs` asks for. Raises TaskFailed."""
        owners: dict[str, Task] = {}
        for name, directory in targets(inputs).items():
            found = outputs_of(self.tree, self.task, name)
            if not found:
                raise TaskFailed(f"_inputs: {name} hands on no files; {why_none(self.tree, self.task, name)}",
                                 "input_missing", "config")  # fmt: skip
            for task, one in found:
                path = os.path.normpath(f"{directory}/{one.path}")
                other = owners.setdefault(path, task)
                if other is not task:
                    raise TaskFailed(
                        f"_inputs: both {other.full_name} and {task.full_name} hand on {path}; "
                        "name them one by one, with a directory for each",
                        "bad_option",
                        "config",
                    )
                self.wanted[path, True] = one


def outputs_of(tree: TaskTree, asking: Task, name: str) -> list[tuple[Task, Output]]:
    """The files of a task, or of all tasks below a group, with their tasks. Raises TaskFailed."""
    source = find(tree, asking, name)
    if source is None:
        raise TaskFailed(
            f"{name}: no task of that name is seen from here, or it has not begun yet", "unknown_dependency", "config"
        )
    if source.state != SUCCESS and not source.outputs:  # its own checks run before it is one
        why = (
            how_to_wait(tree, asking, source, name)
            if source.state not in (FAILING, *FAILED)
            else ", and hands on nothing"
        )
        raise TaskFailed(f"{name}: its files can't be had, it is {source.state}{why}", "input_missing", "config")
    return [(task, one) for task in (source, *tree.descendants(source)) for one in task.outputs]


def how_to_wait(tree: TaskTree, asking: Task, source: Task, name: str) -> str:
    """Who asks may have been generated; then the task has to wait in whose place it stands in the file."""
    line = [asking, *tree.ancestors(asking)]
    if source in line:
        return ", and this task is a part of it"
    around = [source, *tree.ancestors(source)]
    waiting = next(task for task, above in pairwise(line) if above in around)
    return f"; let {waiting.full_name} wait for it, with _needs: [{name}]"


def why_none(tree: TaskTree, asking: Task, name: str) -> str:
    source = find(tree, asking, name)
    if source is not None and left_out(source):
        return "it was left out of this run, as it was not asked for: run it, too"
    return "declare them there with _outputs"


def find(tree: TaskTree, asking: Task, name: str) -> Task | None:
    """Among the siblings, then among those of each task around, outwards; last as a full name (as `_needs`)."""
    ending = name.replace("/", "+").replace("++", "+")
    tasks = tree.by_name()
    found = (tasks.get(f"{around}{ending}") for around in (*(one.full_name for one in tree.ancestors(asking)), ""))
    return next((task for task in found if task is not None and not task.superseded), None)
