"""What is wrong or suspicious in a workflow that compiles: what will fail, and what has no effect."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings

from dagrun.core.check import Operators, check
from dagrun.core.compiler import compile_workflow
from dagrun.core.kinds import Option
from dagrun.core.yaml import load
from dagrun.errors import PluginError
from tests.core.simulate import text_of
from tests.core.workflows import workflow
from tests.effort import examples

# Options of each known operator, and whether its own `_retry` works.
KNOWN = {
    "sh": ((Option("*", "any"),), True),
    "echo": ((), False),
    "loop": ((), False),
    "call": ((), True),
    "mail": ((Option("to", "text or list"),), True),
}
OPERATORS = Operators(lambda: [*KNOWN, "other"], KNOWN.get)


def findings(definition: dict[str, Any] | str, *paths: str) -> list[tuple[str, str, str]]:
    text = definition if isinstance(definition, str) else text_of(definition)
    found = check(compile_workflow("w", load(text, "w.dig", None)), OPERATORS, paths)
    return [(one.level, one.kind, one.task.removeprefix("+w")) for one in found]


def texts(definition: dict[str, Any] | str, *paths: str) -> list[str]:
    text = definition if isinstance(definition, str) else text_of(definition)
    return [str(one) for one in check(compile_workflow("w", load(text, "w.dig", None)), OPERATORS, paths)]


def test_a_plain_workflow_has_no_findings():
    assert findings({"+a": {"sh>": "x", "_retry": 3}, "+g": {"_retry": 1, "+b": {"mail>": "x", "to": "me"}}}) == []


# -- operators


def test_an_unknown_operator_is_an_error_with_the_nearest_one_and_its_place():
    assert texts("+g:\n  +a:\n    ehco>: x\n") == [
        "w.dig:2:3: error: +w+g+a: unknown operator ehco>\n  did you mean echo>?"
    ]


def test_an_unknown_operator_that_is_like_no_other_is_told_to_be_installed():
    assert "is the package that brings it installed?" in texts({"+a": {"zzzzzzzz>": "x"}})[0]


def test_an_operator_of_digdag_alone_is_taken_for_no_other():
    (text,) = texts({"+a": {"pg>": "x.sql"}})
    assert "dagrun doesn't have this one of Digdag's" in text and "did you mean" not in text


def test_an_operator_of_which_nothing_but_the_name_is_known_is_left_alone():
    assert findings({"+a": {"other>": "x", "whatever": 1}}) == []


def test_an_operator_may_be_named_by_type():
    assert findings({"+a": {"_type": "nope"}}) == [("error", "unknown_operator", "+a")]


@pytest.mark.parametrize(("given", "shown"), [(None, "null"), (["sh"], '["sh"]')])
def test_a_type_that_is_no_text_is_an_error_whatever_stands_beside_it(given, shown):
    (text,) = texts({"+a": {"_type": given, "echo>": "x"}})
    assert text.endswith(f": error: +w+a: _type must be the name of an operator, but it is {shown}")


def test_an_operator_named_by_a_template_can_not_be_checked():
    assert findings({"+a": {"_type": "${t}", "x": 1}}) == []


@pytest.mark.parametrize("key", ["_do", "_else_do", "_check", "_error"])
def test_below_what_may_never_be_reached_an_unknown_operator_is_a_warning(key):
    text = f"+a:\n  loop>: 2\n  {key}:\n    +b:\n      ehco>: x\n    +c:\n      echo>: x\n"
    name = {"_check": "^check", "_error": "^error"}.get(key, "^sub")
    assert texts(text) == [f"w.dig:4:5: warning: +w+a{name}+b: unknown operator ehco>\n  did you mean echo>?"]


def test_it_is_found_at_any_depth_and_beside_what_does_not_compile():
    body = {"+b": {"loop>": 1, "_do": {"+c": {"echo>": "x", "_error": {"ehco>": "x"}}}}}
    definition = {"+a": {"loop>": 1, "_do": body, "_check": {"echo>": 1, "sh>": 2}}}
    assert findings(definition) == [("warning", "unknown_operator", "+a^sub+b^sub+c^error")]


def test_the_handlers_of_groups_and_those_that_an_export_gives_are_looked_at():
    definition = {"_error": {"no>": 1}, "+g": {"_export": {"_error": {"no>": 1}}, "+a": {"echo>": "x"}}}
    assert [task for _, _, task in findings(definition)] == ["^error", "+g^error"]


@pytest.mark.parametrize("key", ["+tell", "do"])
def test_the_tasks_of_an_alarm_are_looked_at(key):
    definition = {"sla": {"duration": "01:00", key: {"no>": 1}}, "+a": {"echo>": "x"}}
    ((level, kind, _),) = findings(definition)
    assert (level, kind) == ("warning", "unknown_operator")


def test_tasks_of_an_alarm_that_would_be_left_out_are_told():
    (text,) = texts({"sla": {"duration": "01:00", "foo": "bar"}, "+a": {"echo>": "x"}})
    told = "the tasks of sla are left out when it rings: a group can't have these keys: foo"
    assert re.match(rf"w\.dig:\d+:\d+: warning: \+w: {told}\n", text)


def test_of_what_only_a_template_gives_nothing_is_told():
    given = {"+a": {"loop>": 1, "_do": "${body}"}, "+b": {"loop>": 1, "_do": {"_type": "${t}"}}}
    assert [task for _, _, task in findings({**given, "+c": {"loop>": 1, "_do": {"no>": 1}}})] == ["+c^sub"]


def test_an_operator_that_is_broken_is_told_below_a_do_too():
    def known(name: str) -> None:
        if name == "bad":
            raise PluginError("bad> can't be loaded\n  install it")

    text = text_of({"+a": {"loop>": 1, "_do": {"bad>": 1}}})
    (found,) = check(compile_workflow("w", load(text, "w.dig", None)), Operators(lambda: ["loop", "bad"], known), ())
    assert (found.level, found.kind, found.hint) == ("warning", "plugin_error", "install it")


# -- keys


def test_an_option_that_the_operator_does_not_have_is_a_warning_with_the_nearest_one():
    (text,) = texts({"+a": {"mail>": "x", "tp": "me"}})
    assert "warning: +w+a: mail> has no option tp, and nothing else uses it\n  did you mean to?" in text


def test_a_key_that_some_template_names_is_used():
    assert findings({"+a": {"mail>": "x ${who}", "who": "me"}}) == []
    assert findings({"_export": {"all": "${who}"}, "+a": {"mail>": "x", "who": "me"}}) == []


def test_sh_takes_any_key_as_a_variable_but_not_a_slip_of_a_policy():
    assert findings({"+a": {"sh>": "x", "name": 1, "_mine": 2}}) == []
    (text,) = texts({"+a": {"sh>": "x", "_retyr": 3}})
    assert "_retyr is no key of a task\n  did you mean _retry?" in text


@pytest.mark.parametrize(
    ("key", "good", "where"),
    [("_workspace", "shared", "task"), ("_workspace", "shared", "group"), ("_keep", "always", "task")],
)
def test_a_choice_has_its_values(key, good, where):
    def definition(value: str) -> dict[str, Any]:
        return {"+a": {"sh>": "x", key: value}} if where == "task" else {"+a": {key: value, "+b": {"sh>": "x"}}}

    assert findings(definition("sometimes")) == [("error", "bad_option", "+a")]
    assert findings(definition(good)) == findings(definition("${x}")) == []


# -- what has no effect


@pytest.mark.parametrize("key", ["_check", "_secrets"])
def test_this_key_has_no_effect_on_a_group(key):
    assert findings({"+g": {key: {"+c": {"sh>": "x"}}, "+a": {"sh>": "x"}}}) == [("warning", "no_effect", "+g")]


def test_retry_has_no_effect_on_an_operator_that_does_not_know_it():
    assert findings({"+a": {"echo>": "x", "_retry": 3}}) == [("warning", "no_effect", "+a")]


def test_retry_of_a_generating_operator_has_an_effect():
    assert findings({"+a": {"loop>": 3, "_do": {"+b": {"sh>": "x"}}, "_retry": 3}}) == []


# -- retry


def test_a_retry_of_a_group_that_will_be_ignored_is_a_warning():
    assert findings({"+g": {"_retry": "${n}", "+a": {"sh>": "x"}}}) == [("warning", "bad_retry", "+g")]
    assert findings({"_retry": {"interval": 3}, "+a": {"sh>": "x"}}) == [("warning", "bad_retry", "")]


@pytest.mark.parametrize("value", ["three", None, {"interval": 3}, {"limit": 1, "interval_type": "linear"}])
def test_a_retry_of_a_task_that_will_fail_is_an_error(value):
    assert findings({"+a": {"sh>": "x", "_retry": value}}) == [("error", "bad_retry", "+a")]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("three", '_retry can\'t be "three"; use a number, or a map with limit'),
        ("{}", "Parameter 'limit' is required but not set\n  write _retry: 3, or _retry: {limit: 3}"),
    ],
)
def test_a_bad_retry_is_told_at_its_line_with_one_remedy(value, told):
    assert texts(f"+a:\n  sh>: x\n  _retry: {value}\n") == [f"w.dig:3:3: error: +w+a: {told}"]


def test_a_retry_is_read_with_what_is_exported_to_the_task_as_the_run_does():
    task = {"sh>": "x", "_retry": {"interval": 3}}
    limit = {"_export": {"_retry": {"limit": 3}}}
    assert findings({"+a": {**task, **limit}}) == findings({"+g": {**limit, "+h": {"+a": task}}}) == []
    number = {"_export": {"_retry": 3}}
    assert findings({**limit, "+g": {**number, "+a": task}}) == [("error", "bad_retry", "+g+a")]
    assert findings({"+a": {"sh>": "x", "_export": {"_retry": "three"}}}) == [("error", "bad_retry", "+a")]


@pytest.mark.parametrize("value", ["${n}", {"limit": "${n}"}])
def test_a_retry_of_a_task_that_is_a_template_can_not_be_checked(value):
    assert findings({"+a": {"sh>": "x", "_retry": value}}) == []


# -- files


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("./run.sh", True), ("./run.sh --all", True), ("./bin/run.sh", True), ("run.sh", False), ("cat ./run.sh", False),
        ("./$X.sh", False), ("./*.sh", False), ("./${x}.sh", False), ("", False), ("  ", False),
    ],
)  # fmt: skip
def test_a_script_that_is_not_in_the_project_is_an_error(command, missing):
    assert findings({"+a": {"sh>": command}}) == [("error", "missing_script", "+a")] * missing


def test_a_script_that_is_in_the_project_is_found():
    assert findings({"+a": {"sh>": "./bin/run.sh x"}}, "bin/run.sh") == []


@pytest.mark.parametrize("command", ["sub", "sub.dig"])
def test_a_called_file_is_looked_for_with_its_suffix(command):
    assert findings({"+a": {"call>": command}}) == [("error", "file_not_found", "+a")]
    assert findings({"+a": {"call>": command}}, "sub.dig") == []


def test_files_are_looked_for_of_an_operator_that_is_named_by_its_type_too():
    tasks = {"+a": {"_type": "call", "_command": "sub"}, "+b": {"_type": "sh", "_command": "./run.sh"}}
    assert findings(tasks) == [("error", "file_not_found", "+a"), ("error", "missing_script", "+b")]
    assert findings(tasks, "sub.dig", "run.sh") == []


def test_a_called_file_of_another_directory_is_left_to_the_operator():
    assert findings({"+a": {"call>": "lib/sub"}}) == []


@pytest.mark.parametrize(
    "around", [{"_workspace": "shared"}, {"_workspace": "project"}, {"_export": {"_workdir": "lib"}}]
)
def test_files_that_are_read_elsewhere_than_at_the_top_of_the_project_are_left_to_the_run(around):
    tasks = {"+a": {"call>": "sub"}, "+b": {"sh>": "./run.sh"}}
    assert findings({"+g": {**around, "+h": tasks}}) == []
    assert findings({name: {**task, **around} for name, task in tasks.items()}) == []


def test_files_of_a_task_with_a_workspace_of_its_own_again_are_looked_for():
    tasks = {"_workspace": "own", "+a": {"call>": "sub"}}
    assert findings({"+g": {"_workspace": "shared", "+h": tasks}}) == [("error", "file_not_found", "+g+h+a")]


# -- odd forms


@pytest.mark.parametrize("value", [3, None, ["a"], {"command": "./run.sh"}, True])
def test_a_command_that_is_no_text_is_left_to_the_operator(value):
    assert findings({"+a": {"sh>": value}, "+b": {"call>": value}}) == []


def test_a_called_file_that_a_template_names_can_not_be_checked():
    assert findings({"+a": {"call>": "${name}"}}) == []


def test_the_command_is_found_behind_other_keys():
    assert findings({"+a": {"x": "./none.sh", "sh>": "./run.sh"}}, "none.sh") == [("error", "missing_script", "+a")]


def test_a_null_key_is_as_good_as_none():
    definition = {"+a": {"echo>": "x", "_retry": None, "_keep": None}, "+g": {"_secrets": None, "+b": {"sh>": "x"}}}
    assert findings(definition) == []


def test_retry_of_an_operator_that_is_told_to_know_it_has_an_effect():
    known = Operators(lambda: ["wait"], lambda _: ((), True))
    workflow = compile_workflow("w", load(text_of({"+a": {"wait>": "3s", "_retry": 3}}), "w.dig", None))
    assert check(workflow, known, ()) == []


def test_a_key_like_no_other_gets_no_suggestion():
    (text,) = texts({"+a": {"mail>": "x", "qqqqqqqqqqqq": 1}})
    assert text.endswith("mail> has no option qqqqqqqqqqqq, and nothing else uses it")


@pytest.mark.parametrize("key", ["_sesction_of_mine_alone", "retyr", "_"])
def test_a_variable_of_sh_is_no_slip_unless_it_is_like_a_policy_and_begins_like_one(key):
    assert findings({"+a": {"sh>": "x", key: 1}}) == []


@pytest.mark.parametrize("key", ["_export", "_error", "_check", "_needs", "_env", "_timeout", "_signal", "_kill_grace"])
def test_a_key_that_the_engine_reads_is_used(key):
    value: Any = {"_needs": [], "_timeout": "3s", "_signal": "INT", "_kill_grace": "1s"}.get(key, {})
    assert findings({"+a": {"mail>": "x", key: value}}) == []


def test_a_finding_without_a_place_begins_with_its_level():
    workflow = compile_workflow("w", load(text_of({"+a": {"nope>": 1}}), "w.dig", None))
    (found,) = check(workflow, OPERATORS, ())
    assert str(found._replace(place=(None, None, None), hint=None)) == "error: +w+a: unknown operator nope>"
    assert str(found._replace(place=("w.dig", 3, None), hint=None)).startswith("w.dig:3: error: ")


def test_one_task_may_have_several_findings():
    definition = {"+a": {"mail>": "x", "_keep": "maybe", "tp": 1, "_retry": "three"}}
    assert {kind for _, kind, _ in findings(definition)} == {"bad_option", "unused_key", "bad_retry"}


# -- all together


def test_findings_stand_in_the_order_of_the_file():
    definition = {
        "+b": {"nope>": 1},
        "+a": {"echo>": "x", "_retry": 1},
        "+g": {"_secrets": {"a": "b"}, "+c": {"no>": 1}},
    }
    assert [task for _, _, task in findings(definition)] == ["+b", "+a", "+g", "+g+c"]


@settings(max_examples=examples(60), deadline=None)
@given(definition=workflow(fail_fast=True))
def test_any_workflow_of_sh_that_compiles_has_no_errors(definition):
    assert [one for one in findings(definition) if one[0] == "error"] == []


# -- values of options

TABLE = (
    Option("_command", "duration"), Option("_do", "map"), Option("n", "integer"), Option("on", "boolean", "", "", ("always",)),
    Option("to", "text or list"), Option("mode", "word", "", "", ("fast", "slow")), Option("all", "JSON list"),
    Option("any", "any"), Option("key", "secret"),
)  # fmt: skip
TYPED = Operators(lambda: ["typed"], lambda _: (TABLE, True))


def typed(**options: Any) -> list[str]:
    text = text_of({"+a": {"typed>": "3s", **options}})
    return [one.message for one in check(compile_workflow("w", load(text, "w.dig", None)), TYPED, ())]


@pytest.mark.parametrize(
    "options",
    [
        {"n": "3"}, {"n": 3.7}, {"n": ""}, {"n": None}, {"n": "${x}"}, {"on": 1}, {"on": "True"}, {"on": "always"},
        {"to": "a"}, {"to": 1}, {"to": ["a"]}, {"mode": "Fast"}, {"all": "[1]"}, {"all": [1]}, {"any": {"a": [1]}},
        {"_do": {"+b": {"echo>": "${x}"}}}, {"typed>": "1h 30m"}, {"typed>": 5}, {"typed>": None},
    ],
)  # fmt: skip
def test_what_an_option_takes_is_as_lenient_as_its_reader(options):
    assert typed(**options) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": "three"}, 'n must be a whole number, but it is "three"'),
        ({"n": [1]}, "n must be a whole number, but it is [1]"),
        ({"on": "yes"}, 'on must be true or false or always, but it is "yes"'),
        ({"to": {"a": 1}}, 'to must be a text or a list, but it is {"a":1}'),
        ({"mode": "medium"}, 'mode must be fast or slow, but it is "medium"'),
        ({"all": "1"}, 'all must be a list, or the JSON text of one, but it is "1"'),
        ({"_do": "x"}, '_do must be a map, but it is "x"'),
        ({"n": "x" * 200}, f'n must be a whole number, but it is "{"x" * 96}...'),
        ({"typed>": "soon"}, 'typed> must be a duration such as 1h 30m, or a number of seconds, but it is "soon"'),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error(options, message):
    assert typed(**options) == [message]


def test_a_value_of_the_wrong_kind_is_told_with_its_own_line():
    text = "+a:\n  typed>: 1s\n  n: x\n"
    (found,) = check(compile_workflow("w", load(text, "w.dig", None)), TYPED, ())
    assert str(found) == 'w.dig:3:3: error: +w+a: n must be a whole number, but it is "x"'


def test_a_secret_is_no_option():
    assert typed(key="x") == ["typed> has no option key, and nothing else uses it"]


def test_an_operator_that_cannot_be_loaded_is_an_error_of_its_task():
    def broken(_: str) -> Any:
        raise PluginError("Operator other> is broken")

    found = check(
        compile_workflow("w", load("+a: {other>: x}", "w.dig", None)), Operators(lambda: ["other"], broken), ()
    )
    assert [(one.level, one.kind, one.message) for one in found] == [
        ("error", "plugin_error", "Operator other> is broken")
    ]
