"""The files of other tasks that a try asks for (features F79): found in the attempt's tree, by the names that `_needs` has, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagrun.core.files import Output, conflicts, targets
from dagrun.core.state import SUCCESS
from dagrun.core.tree import Task, TaskTree
from dagrun.errors import TaskFailed

if TYPE_CHECKING:
    from dagrun.files.handover import Delivery

FILES = "files"  # below the try's own directory: what templates ask for


class Wishes:
    """The files of other tasks that one try asks for. `own` is the try's own directory."""

    __slots__ = ("deliveries", "own", "task", "tree")

    def __init__(self, tree: TaskTree, task: Task, own: str) -> None:
        self.tree = tree
        self.task = task
        self.own = own
        self.deliveries: list[Delivery] = []

    def file(self, name: str, path: str) -> str:
        """Where the file will be when the command runs. Raises TaskFailed."""
        found = outputs_of(self.tree, self.task, name)
        wanted = [(task, one) for task, one in found if one.path == path]
        if len(wanted) != 1:
            there = ", ".join(one.path for _, one in found[:10]) or "none"
            why = "several tasks hand it on" if wanted else f"its files are: {there}"
            raise TaskFailed(f'{name}.file("{path}"): {name} hands on no such file; {why}', "input_missing", "config")
        task, output = wanted[0]
        place = f"{FILES}/{task}/{path}"
        self.add(output, place, in_workspace=False)
        return f"{self.own}/{place}"

    def directories(self, inputs: Mapping[str, Any] | None) -> None:
        """What `_inputs` asks for. Raises TaskFailed."""
        for name, directory in targets(inputs).items():
            found = outputs_of(self.tree, self.task, name)
            clash = conflicts((task, one.path) for task, one in found)
            if clash:
                raise TaskFailed(f"_inputs: {name}: {clash}; name them one by one", "bad_option", "config")
            if not found:
                raise TaskFailed(
                    f"_inputs: {name} hands on no files; declare them there with _outputs", "input_missing", "config"
                )
            for _, one in found:
                self.add(one, os.path.normpath(f"{directory}/{one.path}"), in_workspace=True)

    def add(self, file: Output, path: str, *, in_workspace: bool) -> None:
        from dagrun.files.handover import Delivery

        self.deliveries.append(Delivery(file, path, in_workspace))


def outputs_of(tree: TaskTree, asking: Task, name: str) -> list[tuple[str, Output]]:
    """The files of a task, or of all tasks below a group, with the names of their tasks. Raises TaskFailed."""
    source = find(tree, asking, name)
    if source is None:
        raise TaskFailed(
            f"{name}: no task of that name is seen from here, or it has not begun yet", "unknown_dependency", "config"
        )
    if source.state != SUCCESS and not source.outputs:  # its own checks run before it is one
        raise TaskFailed(
            f"{name}: its files can't be had, it is {source.state}; wait for it, with _needs: [{name}]",
            "input_missing",
            "config",
        )
    return [(task.full_name, one) for task in (source, *tree.descendants(source)) for one in task.outputs]


def find(tree: TaskTree, asking: Task, name: str) -> Task | None:
    """Among the siblings, then among those of each task around, outwards (as `_needs`)."""
    ending = name.replace("/", "+").replace("++", "+")
    wanted = [f"{around.full_name}{ending}" for around in tree.ancestors(asking)]
    found: dict[str, Task] = {
        task.full_name: task for task in tree.tasks if not task.superseded and task.full_name.endswith(ending)
    }
    return next((found[full_name] for full_name in wanted if full_name in found), None)
