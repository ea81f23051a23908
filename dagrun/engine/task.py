"""One call of one task's operator: evaluate, choose the operator, run it, and say how it ended.

    prepare(attempt, task, …) -> Call       the operator and all that it sees, or a Failure
    run(call)                 -> Command, or the outcome
    after_command(call, end)  -> the outcome

Nothing here starts a process or writes to the store: `worker.py` does. Sources: spec/operators 1.2, spec/language 3, 6.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagrun.core.compiler import compile_generated
from dagrun.core.config import Params, mark_templates, merge
from dagrun.core.events import CallAgain, Failure, Outcome, Success
from dagrun.core.files import INPUTS, OUTPUTS, patterns
from dagrun.core.params import Scope
from dagrun.core.retry import Retry, parse_retry
from dagrun.core.template import evaluate
from dagrun.core.tree import Task
from dagrun.core.workflow import NOTHING, Node
from dagrun.engine.attempt import Attempt
from dagrun.engine.context import Context
from dagrun.engine.wishes import Wishes
from dagrun.errors import PluginError, TaskFailed, WorkflowError
from dagrun.plugins import registry
from dagrun.plugins.operator import Again, Command, Ended, Operator, Result, Subtasks, Succeeded, docker_options
from dagrun.secrets.scopes import redirect

if TYPE_CHECKING:
    from dagrun.engine.asked import Services
    from dagrun.files.handover import Delivery
    from dagrun.plugins.host import Hosted

SECOND = 1_000_000
MOST_NESTED = 100  # groups generated inside each other; a workflow that calls itself ends here, not at the task limit
SINCE = "_since"  # in a memo: when the first call of a try with a time limit was made, microseconds


@dataclass(slots=True, eq=False, repr=False)
class Limits:
    """The task's `_timeout` (features F31), in seconds."""

    timeout: float | None = None
    grace: float = 10.0
    signal: str = "TERM"


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """One try: the operator and what it sees. A `hosted` one runs in a process of its own."""

    task: Task
    context: Context
    operator: Operator
    retry: Retry | None
    limits: Limits
    hosted: Hosted | None
    command: Command | None = None  # of the hosted operator's own, once it returned one
    outputs: Sequence[str] = ()  # patterns of files that it hands on
    deliveries: Sequence[Delivery] = ()  # files of others that it asks for
    since: int | None = None
    ended_at: int | None = None  # when its command did
    waits_for: int | None = None  # the attempt whose end cuts a wait short


def prepare(attempt: Attempt, task: Task, services: Services, scope: Scope | None = None) -> Call | Outcome:
    """Everything before the operator is called. A task without an operator, after evaluation, is a success (1.2).

    `scope` is what it sees; without it, what it sees now.
    """
    if scope is None:
        scope = attempt.scope(task)
        for note in attempt.take_notes():
            services.warn(note)
    retry: Retry | None = None
    try:
        wishes = Wishes(attempt.tree, task, services.own_directory)
        params, local = evaluated(attempt, task, scope, services, wishes)
        wishes.directories(local.get(INPUTS))
        outputs = patterns(local.get(OUTPUTS))
        name, command = operator_of(local, params)
        if name is None:
            return Success()
        params["_type"] = name  # as in Digdag, however the task spells it: scripts see it
        if command is not None:
            params["_command"] = command
        else:
            params.pop("_command", None)
        redirects = Params(params).optional_map("_secrets")
        params.pop("_secrets", None)
        typed = Params(params)
        hosted = third_party(attempt, name)
        # A third-party operator is never imported here: it answers for itself from its own process.
        operator = Operator() if hosted else registry.OPERATORS.load(name)()
        if operator.retries and "_retry" in params:
            retry = parse_retry(params["_retry"])
        limits = limits_of(local)
        if "_use" in task.spec.config or "_priority" in task.spec.config:
            from dagrun.core.uses import priority_of, use_of

            use_of(task.spec.config)
            priority_of(task.spec.config)
    except TaskFailed as problem:
        return failure(task, problem, retry)
    except PluginError as problem:
        return failure(task, TaskFailed(str(problem), "plugin_error", "config"), retry)
    context = Context(
        name=task.full_name,
        params=typed,
        local={key: value for key, value in local.items() if value is not None},
        memo={key: value for key, value in task.memo.items() if key != SINCE} if task.memo else NOTHING,
        now=services.now / SECOND,
        task_limit=attempt.live.task_limit,
        workdir=str(params.get("_workdir") or ""),
        services=services,
        redirects=redirects,
    )
    call = Call(task, context, operator, retry, limits, hosted, outputs=outputs, deliveries=wishes.deliveries)
    return check_time(call, services.now)


def evaluated(
    attempt: Attempt, task: Task, scope: Scope, services: Services, wishes: Wishes
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The merged, evaluated map of the task (spec/language P6), and the part of it that is written at the task itself."""
    builtins = {**attempt.builtins(scope), "task_name": task.full_name}
    inherited = {**scope.in_order(), **builtins}
    if attempt.live.workflow.evaluates_data:
        inherited = {**mark_templates(inherited), **builtins}
        names = [name for name in inherited if name not in builtins]
    else:
        names = [name for name in scope.template_names() if name not in builtins]
    merged = evaluate(
        inherited,
        task.spec.config,
        services.javascript.at(attempt.timezone, services.now / SECOND, wishes.file),
        templated=names,
    )
    return merged, {key: part(merged.get(key), value) for key, value in task.spec.config.items()}


def part(merged: Any, own: Any) -> Any:
    """Of a merged value what stands in the task's own map."""
    if isinstance(own, Mapping) and isinstance(merged, Mapping):
        return {key: part(merged.get(key), value) for key, value in own.items()}
    return merged


def operator_of(local: Mapping[str, Any], merged: Mapping[str, Any]) -> tuple[str | None, Any]:
    """The operator's name and command. The name stands in the task's own keys: nothing inherited can take a task over (T-4)."""
    if "_type" in local:
        return Params(local).text("_type"), merged.get("_command")
    for key, value in local.items():
        if key.endswith(">"):
            return key[:-1], value
    return None, None


def third_party(attempt: Attempt, name: str) -> Hosted | None:
    """The operator of a package or of the project; None for one of dagrun's own, and for one that isn't there."""
    if registry.OPERATORS.is_trusted(name):
        return None
    from dagrun.plugins.host import Hosted
    from dagrun.plugins.local import file_of
    from dagrun.plugins.registry import Origin

    file = file_of(name, attempt.manifest)
    if file and not attempt.hosting.project:
        raise TaskFailed(
            f"Operator {name}> of {file} is not run: this daemon allows no operators of projects; "
            "allow them with operators.project = true in its settings, or install it as a package",
            "not_allowed",
            "config",
        )
    if file:
        return Hosted(name, Origin(file=file), attempt.hosting.memory)
    if name in registry.OPERATORS.installed:
        return Hosted(name, registry.OPERATORS.origin(name), attempt.hosting.memory)
    return None


def limits_of(keys: Mapping[str, Any]) -> Limits:
    """`_timeout: 30m`, or a map with `try`; `_kill_grace`; `_signal`."""
    limits = Limits()
    if "_timeout" not in keys and "_kill_grace" not in keys and "_signal" not in keys:
        return limits
    local = Params(keys)
    given = local.get("_timeout")
    if isinstance(given, Mapping):
        limits.timeout = Params(given).duration("try", None)
    elif given is not None:
        limits.timeout = local.duration("_timeout")
    limits.grace = local.duration("_kill_grace", limits.grace)
    limits.signal = local.text("_signal", limits.signal).upper().removeprefix("SIG")
    if limits.signal not in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL"):
        raise TaskFailed(
            f"_signal can't be {limits.signal}; use TERM, INT, HUP, QUIT, USR1, USR2 or KILL", "bad_option", "config"
        )
    return limits


def check_time(call: Call, now: int) -> Call | Outcome:
    """A task that is called again and again is one try: its time limit spans all of its calls."""
    if call.limits.timeout is None:
        return call
    call.since = int(call.task.memo.get(SINCE, now))
    if now - call.since >= call.limits.timeout * SECOND:
        return out_of_time(call)
    return call


# -- running


def run(call: Call) -> Command | Outcome:
    """Call the operator: a command to start, or how it ended."""
    if call.hosted:
        from dagrun.plugins import host

        return host.command(call.hosted, "run", call.context, secrets=granted(call))
    return guarded(call, lambda: call.operator.run(call.context))


def after_command(call: Call, end: Ended, now: int) -> Command | Outcome:
    """The command that `run` returned has ended: what that means. A pause that the operator asks for counts from now."""
    call.ended_at = now
    if not call.hosted:
        return guarded(call, lambda: call.operator.ended(call.context, end))
    from dagrun.plugins import host

    if call.command is not None:
        call.command = None
        return host.command(call.hosted, "ended", call.context, secrets=granted(call), end=end)
    answer = host.answer(call.hosted, end)
    for warning in answer.warnings:
        call.context.warn(warning)
    if answer.failure is not None:
        return failure(call.task, answer.failure, call.retry if answer.retries else None)
    if isinstance(answer.result, Command):
        call.command = answer.result
    return guarded(call, lambda: in_its_container(call, answer.result))


def in_its_container(call: Call, result: Result | Command | None) -> Result | Command | None:
    """A command never runs outside of the container that the task asks for."""
    if isinstance(result, Command) and result.image is None:
        return result._replace(image=docker_options(call.context.params))
    return result


def granted(call: Call) -> dict[str, str]:
    """The secrets that a third-party operator may ask for: those that the task's `_secrets` names."""
    redirects = call.context.redirects
    values = {key: call.context.services.secret(redirect(redirects, key)) for key in leaves(redirects)}
    return {key: value for key, value in values.items() if value is not None}


def leaves(names: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of a nested map."""
    found = []
    for key, value in names.items():
        found += leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return found


def guarded(call: Call, work: Callable[[], Result | Command | None]) -> Command | Outcome:
    try:
        return concluded(call, work())
    except TaskFailed as problem:
        return failure(call.task, problem, call.retry)
    except Exception as problem:
        named = f"{type(problem).__name__}: {problem}"
        return failure(call.task, TaskFailed(named, "operator_error", "runtime"), call.retry)


def concluded(call: Call, result: Result | Command | None) -> Command | Outcome:
    if isinstance(result, Command):
        return result
    if isinstance(result, Again):
        return call_again(call, result)
    if not isinstance(result, Succeeded):
        problem = TaskFailed(f"the operator returned {result!r} instead of a result", "operator_error", "runtime")
        return failure(call.task, problem, call.retry)
    try:
        generated = compiled(call, result.subtasks) if result.subtasks else []
    except WorkflowError as problem:
        # As in Digdag, what was generated is looked at after the operator is done: its `_retry` doesn't apply.
        return failure(call.task, TaskFailed(str(problem), problem.kind, "config"), None)
    return Success(
        stored=result.stored,
        exported=result.exported,
        reset=result.reset,
        generated=generated,
        reason=result.reason,
    )


def call_again(call: Call, again: Again) -> CallAgain:
    now = call.ended_at or int(call.context.now * SECOND)
    due_at = now + int(again.after * SECOND)
    call.waits_for = again.wake_on
    memo = dict(again.memo)
    if call.since is not None and call.limits.timeout is not None:
        memo[SINCE] = call.since
        due_at = min(due_at, call.since + int(call.limits.timeout * SECOND))
    return CallAgain(due_at, memo)


def compiled(call: Call, wanted: Subtasks) -> list[Node]:
    """`^sub` from what an operator generated. Raises WorkflowError."""
    name = call.task.full_name
    group = wanted.config or {}
    if wanted.items:
        group = {**wanted.options, **{item.name: item.config for item in wanted.items}}
    if call.hosted:  # its texts came through JSON
        group = mark_templates(group)
    if not group:
        return []
    if name.count("^sub") >= MOST_NESTED:
        raise WorkflowError(
            f"tasks are generated {MOST_NESTED} levels deep: does this workflow call itself?", kind="task_limit"
        )
    nodes = compile_generated("^sub", group, name)
    data = {item.name: item.data for item in wanted.items}
    for node in nodes:
        if node.parent == 0 and node.spec.name in data:
            node.spec.data = given = data[node.spec.name]  # in the place of what `_export` calls so
            node.spec.export = {key: value for key, value in node.spec.export.items() if key not in given}
    return nodes


# -- failures


def failure(task: Task, problem: TaskFailed, retry: Retry | None) -> Failure:
    """The failure as the task's row keeps it; its message has Digdag's brackets (spec/language P11)."""
    message = problem.message
    if problem.category:
        message = f"{message} ({problem.category})"
    error: dict[str, Any] = {"kind": problem.kind, "message": message}
    if problem.category:
        file, line, _ = task.spec.place
        error["stacktrace"] = f"at {task.full_name}" + (f" ({file}:{line})" if file else "")
    facts = dict(problem.facts)
    stored = facts.pop("stored", {})
    if facts:
        error = merge(error, facts)
    return Failure(
        error,
        retry=None if problem.final else retry,
        platform=problem.platform,
        stored=stored if isinstance(stored, Mapping) else {},
    )


def out_of_time(call: Call) -> Failure:
    limit = call.limits.timeout or 0
    what = str(call.hosted) if call.hosted else "the task"
    problem = TaskFailed(f"{what} did not end within its _timeout of {limit:g} s", "timed_out", "runtime")
    return failure(call.task, problem, call.retry)


def out_of_memory(call: Call) -> Failure:
    text = "the container ran out of memory and was killed; give it more, with docker: {mem: …} or run_options: [-m, …]"
    return failure(call.task, TaskFailed(text, "oom", "runtime"), call.retry)
