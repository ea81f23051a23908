"""Templates: plain look-ups agree with JavaScript, and the cases of real projects give what Digdag gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.config import Template, mark_templates
from dagrun.core.javascript import JavaScript
from dagrun.core.template import evaluate, number_text, references, render, resolve_secrets
from dagrun.errors import TaskFailed
from tests.effort import examples

CASES = json.loads((Path(__file__).parents[1] / "conformance" / "expressions.json").read_text())
ENGINE = JavaScript()
SCOPE = ENGINE.at("UTC", 0.0)


class Refuses:
    """An engine that must not be needed."""

    def run(self, text: str, expressions: Any, view: Any) -> list[str]:
        raise AssertionError(f"{text} went to the engine")

    def parses(self, source: str) -> bool:
        raise AssertionError(f"{source} went to the engine")


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["id"])
def test_an_expression_of_a_real_project(case: dict[str, Any]) -> None:
    base = {name: value for name, value in CASES["base"].items() if name != "timezone"}
    scope = ENGINE.at(CASES["base"]["timezone"], 1709253005.0)
    text = Template("${" + case["expr"] + "}")
    if "error" in case:
        with pytest.raises(TaskFailed):
            evaluate({**base, **case["params"]}, {"echo>": text}, scope)
    else:
        assert evaluate({**base, **case["params"]}, {"echo>": text}, scope)["echo>"] == case["result"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(-1e6, 1e6).map(lambda x: round(x, 6))
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "1", "0", "x y"]), inner),
    max_leaves=8,
)
paths = st.lists(st.sampled_from([".a", ".b", "[0]", "[1]", "['x y']", "['1']", ".length"]), max_size=3)


@given(json_values, paths)
@settings(max_examples=examples(300), deadline=None)
def test_a_plain_look_up_gives_what_javascript_gives(value: Any, path: list[str]) -> None:
    source = "v" + "".join(path)

    def outcome(text: str) -> str:
        try:
            return render(text, {"v": value}, SCOPE)
        except TaskFailed as problem:
            return "TypeError" if "TypeError" in problem.message else problem.message

    assert outcome("${" + source + "}") == outcome("${(" + source + ")}")


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=examples(300), deadline=None)
def test_numbers_are_printed_as_javascript_prints_them(number: float) -> None:
    ours, theirs = number_text(number), render("${(v)}", {"v": number}, SCOPE)
    # ECMA-262 asks for the fewest digits; where two are equally near, QuickJS prints one more than that.
    assert ours == theirs or (float(ours) == float(theirs) == number and len(ours) < len(theirs))


@given(st.integers(10**19, 10**24))
@settings(max_examples=examples(300), deadline=None)
def test_integers_beyond_64_bits_are_the_nearest_doubles(number: int) -> None:
    assert (
        render("${(v)[0]} ${(v)[1]}", {"v": [number, -number]}, SCOPE)
        == f"{number_text(number)} {number_text(-number)}"
    )


@given(st.text(alphabet="${}'\"`/\\abc.[]()+ \n", max_size=30))
@settings(max_examples=examples(300), deadline=None)
def test_no_text_breaks_the_scanner(text: str) -> None:
    try:
        assert isinstance(render(text, {"a": 1, "b": {"c": 2}, "c": "x"}, SCOPE), str)
    except TaskFailed as problem:
        assert problem.kind == "template_error"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$ a$ $1 $(x) $$", "$ a$ $1 $(x) $"),
        ("$${a}", "$1"),
        ("[${}]", "[]"),
        ("${a", "${a"),
        ("$$ ${a $$", "$ ${a $"),
        ("${a} $${", "1 ${"),
        ("${'{' + } $$", "${'{' + } $"),
        ("${secret:k} ${secret:${s}}", "${secret:k} ${secret:text}"),
        ("${'}'}", "}"),
        ("${ {k: 7}.k }", "7"),
        ("${{a: 1}.a}", "1"),
    ],
)
def test_the_forms_of_a_text(text: str, expected: str) -> None:
    assert render(text, {"a": 1, "s": "text"}, SCOPE) == expected


@pytest.mark.parametrize("text", ["${a}", "${m.k} ${l[0]} ${m['x y']}", "no ${n} end", "${big}"])
def test_plain_look_ups_never_enter_javascript(text: str) -> None:
    view = {"a": 1, "m": {"k": [1], "x y": 2}, "l": [None], "n": None, "big": 12345678901234567890}
    render(text, view, Refuses())


def test_an_unknown_name_is_named_with_what_was_meant() -> None:
    with pytest.raises(TaskFailed, match=r"session_dat is not defined.*Did you mean session_date"):
        render("x ${session_dat} y", {"session_date": "2024-01-01"}, SCOPE)


def test_data_is_never_evaluated() -> None:
    inherited = {"stored": "${1 + 1}", **mark_templates({"own": "${stored}"})}
    assert evaluate(inherited, {}, SCOPE) == {"stored": "${1 + 1}", "own": "${1 + 1}"}


def test_do_is_left_for_the_children() -> None:
    local = mark_templates({"loop>": "${n}", "_do": {"echo>": "${i}"}})
    found = evaluate({"n": 2}, local, SCOPE)
    assert found["loop>"] == "2"
    assert isinstance(found["_do"]["echo>"], Template)


@pytest.mark.parametrize("name", ["_check", "_error"])
def test_an_inherited_handler_is_nothing_to_a_task(name: str) -> None:
    inherited = mark_templates({name: {"echo>": "${error.message}"}, "a": 1})
    assert evaluate(inherited, {"b": mark_templates("${typeof " + name + "} ${a}")}, SCOPE) == {
        "a": 1,
        "b": "undefined 1",
    }


def test_references_names_what_a_text_reads() -> None:
    assert references(mark_templates({"a": "${x.y} ${moment(z).format('w')}", "b": ["$$", "${this['q']}"]})) >= {
        "x",
        "z",
        "q",
    }
    assert references({"plain": "${x}"}) == set()


def test_secrets_are_filled_in_and_nothing_else_is() -> None:
    assert resolve_secrets("a ${secret:k} ${other:x}", str.upper) == "a K ${other:x}"
    with pytest.raises(TaskFailed) as problem:
        resolve_secrets("echo ${home:-x}", str, strict=True)
    assert problem.value.kind == "bad_secret_reference"
