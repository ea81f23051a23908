"""Rules of the language where two of them meet, as whole runs: beside the cases of language.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.conformance.harness import Project, Result, operators_registered

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs the workflow `w`, given as its text, with other files beside it."""

    def run(
        text: str, files: Mapping[str, str] | None = None, params: Mapping[str, Any] | None = None, limit: int = 1000
    ) -> Result:
        project = Project(tmp_path / "p")
        project.push({"w.dig": dedent(text), **(files or {})})
        return project.run(project.submit(params=params, options={"task_limit": limit}))

    with operators_registered():
        yield run


def errors(result: Result) -> dict[str, str]:
    return {task.full_name: task.error["message"] for task in result.tree.tasks if task.error}


# -- what a task has in view


def test_a_handler_in_an_own_export_is_not_evaluated_before_its_time(run):
    result = run("""
        +a:
          _export:
            _error: {echo>: "failed: ${error.message}"}
          fail>: boom
    """)
    assert result.prints() == ["failed: boom"]


def test_a_check_that_is_exported_above_is_nothing_to_the_tasks_below(run):
    result = run("""
        _export:
          _check: {echo>: "${rows.count}"}
        +a: {echo>: "${typeof _check}"}
    """)
    assert (result.state, result.prints()) == ("success", ["undefined"])


def test_a_body_that_is_exported_is_evaluated_by_its_tasks(run):
    result = run("""
        _export:
          _do: {echo>: "${i}"}
        +a: {loop>: 2}
    """)
    assert result.prints() == ["0", "1"]


def test_a_body_is_merged_with_one_that_is_exported_above_and_left_to_its_tasks(run):
    result = run("""
        _export:
          _do: {_export: {x: "x${i}"}, echo>: exported}
        +a: {loop>: 2, _do: {echo>: "${i} ${x}"}}
    """)
    assert result.prints() == ["0 x0", "1 x1"]


LAST = "${last_session_time} ${last_session_date} ${last_session_unixtime}"


def test_what_is_derived_from_a_given_time_goes_by_the_value_that_the_task_sees(run):
    result = run(
        f"""
        _export: {{last_session_time: "2024-02-03T00:00:00+00:00"}}
        +a: {{echo>: "{LAST}"}}
        +b: {{store>: {{last_session_time: "2024-03-04T00:00:00+00:00"}}}}
        +c: {{echo>: "{LAST}"}}
        """,
        params={"last_session_time": "2024-01-02T00:00:00+00:00"},
    )
    assert result.prints() == [
        "2024-02-03T00:00:00+00:00 2024-02-03 1706918400",
        "2024-03-04T00:00:00+00:00 2024-03-04 1709510400",
    ]


@pytest.mark.parametrize("name", ["next_session", "last_executed_session"])
@pytest.mark.parametrize("given", ["2024-01-02T00:00:00Z", "2024-01-02T00:00:00+0000", "2024-01-02", 7, ""])
def test_nothing_is_derived_from_what_is_not_written_like_a_session_time(run, name, given):
    text = f'+a: {{echo>: "${{{name}_time}} ${{typeof {name}_date}}"}}'
    assert run(text, params={f"{name}_time": given}).prints() == [f"{given} undefined"]


def test_the_command_of_a_type_may_be_inherited(run):
    result = run("""
        _export: {_command: inherited}
        +a: {_type: echo}
        +b: {_type: echo, _command: own}
    """)
    assert result.prints() == ["inherited", "own"]


def test_a_command_finds_the_type_and_the_command_of_its_task_in_its_environment(run):
    result = run("""
        +a: {sh>: 'echo "$_type|$_command"'}
        +b: {_type: sh, _command: 'echo "$_type|$_command"'}
    """)
    printed = 'sh|echo "$_type|$_command"\n'
    assert result.recorder.output["+w+a"] == printed
    assert [text for name, text in result.recorder.prints[result.id] if name == "+w+b"] == [printed.rstrip()]


@pytest.mark.parametrize(("name", "kind"), [("null", "missing (_type)"), ("{a: 1}", "bad_type (_type)")])
def test_a_type_is_a_text(run, name, kind):
    assert run(f"+a: {{_type: {name}}}").tree.tasks[1].error["kind"] == kind


# -- called files


def test_the_export_of_a_called_file_is_a_map(run):
    result = run("+a: {call>: d/x}", {"d/x.dig": "_export: x\n+b: {echo>: b}"})
    assert result.tree.tasks[1].error["kind"] == "bad_type (_export)"
    assert errors(result)["+w+a"].endswith("(config)")


@pytest.mark.parametrize(("path", "state"), [("1d/x", "error"), ("d/1x", "success")])
def test_the_path_of_a_called_file_begins_like_the_name_of_a_workflow(run, path, state):
    result = run(f"+a: {{call>: {path}}}", {f"{path}.dig": "+b: {echo>: b}"})
    assert result.state == state


def test_a_file_outside_is_refused_in_digdags_words(run):
    words = errors(run("+a: {call>: ../x}"))["+w+a"]
    assert words.startswith("Given path '../x.dig' is outside of project directory '")
    assert words.count("(illegal argument)") == 1


# -- what generators and failures put into an `_export`


@pytest.mark.parametrize(
    ("loop", "printed"),
    [
        ("for_range>: {from: 0, to: 1, step: 1}", '{"from":0,"to":1,"index":0}'),
        ("for_each>: {range: [{to: 1}]}", '{"to":1}'),
    ],
)
def test_a_variable_of_a_loop_replaces_what_the_body_exports(run, loop, printed):
    result = run(f"""
        +a:
          {loop}
          _do:
            _export: {{range: {{x: 1}}}}
            echo>: "${{range}}"
    """)
    assert result.prints() == [printed]


def test_a_variable_of_a_loop_is_merged_with_what_is_exported_above(run):
    result = run("""
        _export: {x: {a: 1, b: 1}}
        +a:
          for_each>: {x: [{b: 2}]}
          _do: {echo>: "${x}"}
    """)
    assert result.prints() == ['{"a":1,"b":2}']


def test_the_error_replaces_what_its_handler_exports(run):
    result = run("""
        +a:
          _error:
            _export: {error: {code: 1}}
            echo>: "${error}"
          +b: {fail>: boom}
    """)
    assert result.prints() == ['{"message":"boom"}']


def test_what_tasks_reset_is_gone_from_the_export_of_the_handler_of_their_group(run):
    result = run("""
        +a:
          _error:
            _export: {x: 1, y: {a: 1, b: 2}, z: 3}
            echo>: "${typeof x} ${y} ${z}"
          +b: {store>: {y: {c: 3}}, reset: [x, y.a]}
          +f: {fail>: boom}
    """)
    assert result.prints() == ['undefined {"b":2,"c":3} 3']


# -- retries


def test_a_retry_without_a_value_fails_a_task_that_reads_it_and_no_other(run):
    result = run("""
        _parallel: true
        +a: {sh>: "true", _retry: null}
        +b: {echo>: b, _retry: null}
        +g:
          _retry: null
          +c: {echo>: c}
    """)
    assert [task.full_name for task in result.tree.tasks if task.error] == ["+w+a"]
    assert result.tree.tasks[1].error["kind"] == "bad_retry"


# -- the limit of tasks


def test_tasks_of_a_round_beyond_the_limit_succeed_if_they_add_none(run):
    result = run(
        """
        +g:
          _retry: 2
          +f: {flaky>: 2}
          +e: {echo>: e}
        """,
        limit=5,
    )
    assert (result.state, result.prints()) == ("success", ["e"])


def test_a_handler_reads_of_the_limit_in_digdags_words(run):
    result = run('+a: {loop>: 3, _do: {echo>: x}, _error: {echo>: "${error.message}"}}', limit=5)
    assert result.prints() == ["Too many tasks. Limit: 5, Current: 2, Adding: 4 (task limit exceeded)"]
