"""What is wrong or suspicious in a workflow that compiles. Pure: what is known of files and operators comes in.

An error is something that will fail when it is reached; a warning is something that has no effect, looks like a slip, or will
fail below a `_do`, `_else_do`, `_check`, `_error` or `sla`, which may never be reached: Digdag runs such a file.
Rules: features F06 and spelling rule 10, spec/language 10.2 items 22 to 24.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dagrun.core.compiler import compile_generated, compiled_below
from dagrun.core.config import Map, Template, merge, near_or_missing, suggest
from dagrun.core.kinds import Option, json_text, to_text
from dagrun.core.retry import group_retry, parse_retry
from dagrun.core.template import references
from dagrun.core.workflow import Node, Place, TaskSpec, Workflow
from dagrun.errors import PluginError, TaskFailed, WorkflowError
from dagrun.light import NamedTuple

ERROR, WARNING = "error", "warning"

# Keys that the engine reads in any operator task.
POLICIES = (
    "_type", "_command", "_export", "_error", "_check", "_retry", "_parallel", "_background", "_after", "_needs",
    "_secrets", "_env", "_disable", "_do", "_else_do", "_timeout", "_kill_grace", "_signal", "_workspace", "_keep", "_use", "_rate", "_priority",
    "_workdir", "_docker", "_outputs", "_inputs",
)  # fmt: skip
ANY = "*"  # the option of an operator that takes keys of any name
LONGEST_SHOWN = 100  # characters of a value in a message
CHOICES = {"_workspace": ("own", "shared", "project"), "_keep": ("never", "on_failure", "always")}


class Finding(NamedTuple):
    level: str
    kind: str
    message: str
    task: str
    place: Place
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in self.place if part is not None)
        text = (
            f"{where}: {self.level}: {self.task}: {self.message}"
            if where
            else f"{self.level}: {self.task}: {self.message}"
        )
        return f"{text}\n  {self.hint}" if self.hint else text


class Operators(NamedTuple):
    """What is known of operators: all names; of one, its options and whether its own `_retry` works; None: unknown.

    `known` raises PluginError for a broken one.
    """

    names: Callable[[], Sequence[str]]
    known: Callable[[str], tuple[Sequence[Option], bool] | None]


def check(workflow: Workflow, operators: Operators, paths: Container[str]) -> list[Finding]:
    """All findings, task by task in file order, those of `sla` last. `paths` are the project's files."""
    used = references(
        [[node.spec.config, node.spec.export, node.spec.error, node.spec.check] for node in workflow.nodes]
    )
    findings: list[Finding] = []
    for node in workflow.nodes:
        checker = Checker(node, operators, paths, used, list(groups_around(workflow, node)))
        findings += checker.operator_task() if node.spec.operator else checker.group()
        findings += checker.below()
    return [*findings, *of_alarm(workflow, operators, paths, used)]


def of_alarm(workflow: Workflow, operators: Operators, paths: Container[str], used: set[str]) -> Iterator[Finding]:
    """Of the tasks of `sla:`."""
    if not isinstance(workflow.sla, Mapping):
        return
    from dagrun.core.sla import tasks_of

    root = workflow.nodes[0]
    checker = Checker(root, operators, paths, used)
    try:
        nodes = compile_generated("^sla", tasks_of(workflow.sla), root.full_name)
    except TaskFailed:
        return  # told by whoever reads the whole of it
    except WorkflowError as problem:
        place = workflow.sla.place("") if isinstance(workflow.sla, Map) else root.spec.place
        message = f"the tasks of sla are left out when it rings: {problem.message}"
        yield checker.finding(WARNING, problem.kind, message, problem.hint)._replace(place=place)
        return
    yield from checker.appearing(nodes)


class Checker(NamedTuple):
    node: Node
    operators: Operators
    paths: Container[str]
    used: set[str]  # names that some template of the workflow mentions
    around: Sequence[TaskSpec] = ()  # the groups around it, the nearest first

    @property
    def spec(self) -> TaskSpec:
        return self.node.spec

    def finding(self, level: str, kind: str, message: str, hint: str | None = None) -> Finding:
        return Finding(level, kind, message, self.node.full_name, self.spec.place, hint)

    def place_of(self, key: str) -> Place:
        return self.spec.places.get(key, self.spec.place)

    # -- groups

    def group(self) -> Iterator[Finding]:
        for key in ("_check", "_secrets"):
            if self.spec.config.get(key) is not None:
                yield self.finding(WARNING, "no_effect", f"{key} has no effect on a group", hint="put it into a task")
        note = group_retry(self.spec.own("_retry"))[1]
        if note:
            yield self.bad_retry(WARNING, note)
        yield from self.choices()

    def choices(self) -> Iterator[Finding]:
        for key, allowed in CHOICES.items():
            value = self.spec.config.get(key)
            if value is not None and not isinstance(value, Template) and value not in allowed:
                yield self.finding(ERROR, "bad_option", f"{key} can't be {value!r}", hint=f"use {', '.join(allowed)}")

    # -- operator tasks

    def operator_task(self) -> Iterator[Finding]:
        name = operator_name(self.spec)
        yield from self.choices()
        problem = self.problem_of(name, ERROR)
        if problem is not None:
            yield problem
            return
        known = self.operators.known(name) if name is not None else None
        if name is None or known is None:
            return
        options, retries = known
        if not retries and self.spec.config.get("_retry") is not None and name in ("echo", "fail", "wait", "notify"):
            yield self.finding(WARNING, "no_effect", f"_retry has no effect on {name}>")
        yield from self.keys(name, [option.name for option in options if option.kind != "secret"])
        yield from self.values(options)
        if works_at_top((self.spec, *self.around)):
            yield from self.files(name)
        yield from self.retry(retries)

    def problem_of(self, name: str | None, level: str) -> Finding | None:
        """The operator has no name, is unknown, or broken."""
        if name is None:
            named = self.spec.config["_type"]
            message = f"_type must be the name of an operator, but it is {json_text(named)}"
            return None if isinstance(named, Template) else self.finding(level, "bad_type", message)
        try:
            if self.operators.known(name) is not None or name in self.operators.names():
                return None
        except PluginError as problem:
            return self.finding(level, "plugin_error", *str(problem).split("\n  ", 1))
        hint = near_or_missing("operator", name, self.operators.names())
        return self.finding(level, "unknown_operator", f"unknown operator {name}>", hint=hint)

    def below(self) -> Iterator[Finding]:
        """What can be said of the tasks that appear while it runs."""
        for nodes in compiled_below(self.node):
            yield from self.appearing(nodes)

    def appearing(self, nodes: Sequence[Node]) -> Iterator[Finding]:
        """Of their operators, and those of all that appears below them."""
        for node in nodes:
            below = self._replace(node=node)
            problem = below.problem_of(operator_name(node.spec), WARNING) if node.spec.operator else None
            if problem is not None:
                yield problem
            yield from below.below()

    def keys(self, name: str, options: Sequence[str]) -> Iterator[Finding]:
        for key in self.spec.config:
            if key.endswith(">") or key in options or key in POLICIES or key in self.used or ANY in options:
                continue
            near = suggest(key, [*options, *POLICIES])
            hint = f"did you mean {near}?" if near else None
            yield self.finding(
                WARNING, "unused_key", f"{name}> has no option {key}, and nothing else uses it", hint=hint
            )
        for key in self.spec.config:
            if ANY in options and key not in options and key not in POLICIES and key.startswith("_"):
                near = suggest(key, list(POLICIES))
                if near:
                    yield self.finding(
                        WARNING, "unused_key", f"{key} is no key of a task", hint=f"did you mean {near}?"
                    )

    def values(self, options: Sequence[Option]) -> Iterator[Finding]:
        """Of what is written out; what a template will give, nobody knows."""
        by_name = {option.name: option for option in options if option.kind != "secret"}
        for key, value in self.spec.config.items():
            option = by_name.get("_command" if key.endswith(">") else key)
            if option is None or isinstance(value, Template) or option.takes(value):
                continue
            shown = json_text(value)
            shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[: LONGEST_SHOWN - 3]}..."
            message = f"{key} must be {option.expected}, but it is {shown}"
            yield self.finding(ERROR, "bad_type", message)._replace(place=self.place_of(key))

    def files(self, name: str) -> Iterator[Finding]:
        words = written_command(self.spec).split()
        if name == "sh" and words:
            word = words[0]
            if word.startswith("./") and word.removeprefix("./") not in self.paths and plain_word(word):
                yield self.finding(ERROR, "missing_script", f"there is no {word} in the project")
        path = called_file(self.spec)
        if path is not None and path not in self.paths:
            yield self.finding(ERROR, "file_not_found", f"there is no {path} in the project")

    def retry(self, retries: bool) -> Iterator[Finding]:
        if "_retry" not in self.spec.config and "_retry" not in self.spec.export:
            return
        value = self.spec.own("_retry")
        for group in self.around:
            exported = group.export.get("_retry")
            if not isinstance(value, Mapping) or not isinstance(exported, Mapping | None):
                break
            value = merge(exported or {}, value)
        if (value is None and not retries) or isinstance(value, Template) or has_template(value):
            return
        try:
            parse_retry(value)
        except TaskFailed as problem:
            yield self.bad_retry(ERROR, problem.message)

    def bad_retry(self, level: str, message: str) -> Finding:
        """At its own line; a message that doesn't say what to write instead gets a hint."""
        hint = None if "; use " in message else "write _retry: 3, or _retry: {limit: 3}"
        return self.finding(level, "bad_retry", message, hint)._replace(place=self.place_of("_retry"))


def groups_around(workflow: Workflow, node: Node) -> Iterator[TaskSpec]:
    """The nearest first."""
    while node.parent is not None:
        node = workflow.nodes[node.parent]
        yield node.spec


def works_at_top(specs: Sequence[TaskSpec]) -> bool:
    """Whether a task works at the top of the project's files as they are, and not below a `_workdir`, or where others may write.

    `specs` are that of the task and those around it.
    """
    workspace = next((spec.config["_workspace"] for spec in specs if spec.config.get("_workspace")), "own")
    return workspace == "own" and not any("_workdir" in spec.config or "_workdir" in spec.export for spec in specs)


def written_command(spec: TaskSpec) -> str:
    """Empty where it is a template, or no text."""
    named = ["_command"] if "_type" in spec.config else [key for key in spec.config if key.endswith(">")]
    command = next((spec.config.get(key) for key in named), None)
    return command if isinstance(command, str) and not isinstance(command, Template) else ""


def called_file(spec: TaskSpec) -> str | None:
    """The file beside it that `call>` names literally."""
    path = written_command(spec) if operator_name(spec) == "call" else ""
    if not path or "/" in path:
        return None
    return path if path.endswith(".dig") else f"{path}.dig"


def operator_name(spec: TaskSpec) -> str | None:
    """None where it is a template, or no text, or there is none."""
    if "_type" not in spec.config:
        return next((key[:-1] for key in spec.config if key.endswith(">")), None)
    with suppress(ValueError):
        named = spec.config["_type"]
        return None if isinstance(named, Template) else to_text(named)
    return None


def has_template(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(item, Template) for item in value.values())


def plain_word(word: str) -> bool:
    return not any(sign in word for sign in "$*?[]{}()<>|&;'\"`\\")
