"""Merging of maps, reading of options (spec/operators 1.3 and 1.4) and printing of values."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagrun.core.config import Map, Params, Template, mark_templates, merge, suggest
from dagrun.core.kinds import java_double, json_text
from dagrun.errors import TaskFailed

BAD = object()

CONVERSIONS: dict[str, list[tuple[Any, Any]]] = {
    "text": [
        ("a", "a"), ("", ""), (1, "1"), (True, "true"), (False, "false"), (1.5, "1.5"), (1000.0, "1000.0"),
        (1.2345678901234567e19, "1.2345678901234567E19"), (1e22, "1.0E22"), ([], BAD), ({}, BAD),
    ],
    "boolean": [
        (True, True), (False, False), ("true", True), ("True", True), ("false", False), ("False", False), ("", False),
        ("  ", False), ("null", False), (" true ", True), (0, False), (2, True), (-1, True), ("TRUE", BAD),
        ("yes", BAD), ("on", BAD), ("1", BAD), ("0", BAD), (1.0, BAD), ([], BAD), ({}, BAD),
    ],
    "integer": [
        (3, 3), (3.7, 3), (-3.7, -3), ("3", 3), (" 12 ", 12), ("-3", -3), ("", 0), (" ", 0), (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)), (str(2**63 - 1), 2**63 - 1), ("3.0", BAD), ("x", BAD), ("1_000", BAD), ("١", BAD),
        (True, BAD), (2**63, BAD), (str(2**63), BAD), (1e30, BAD), (float("nan"), BAD), ("9" * 5000, BAD), ([], BAD),
        ({}, BAD),
    ],
    "list_": [([1], [1]), ([], []), ("[1]", BAD), ("a", BAD), (1, BAD), ({}, BAD)],
    "list_or_json": [
        ([1], [1]), ('[1, {"a": null}]', [1, {"a": None}]), (" [] ", []), ("[1] x", BAD), ("{}", BAD), ("a", BAD),
        ("[NaN]", BAD), ("[" * 100_000, BAD), ("", BAD), (1, BAD), ({}, BAD),
    ],
    "map_": [({"a": 1}, {"a": 1}), ({}, {}), ("{}", BAD), ([], BAD), (1, BAD)],
    "map_or_json": [
        ({"a": 1}, {"a": 1}), ('{"b": 1, "a": 2}', {"b": 1, "a": 2}), (' {"a": 1} junk', {"a": 1}), ("[]", BAD),
        ("a: 1", BAD), ("{", BAD), ("", BAD), ([], BAD), (1, BAD),
    ],
    "duration": [
        ("1d 2h 3m 4s", 93784.0), ("10s", 10.0), ("1h30m", 5400.0), ("2d", 172800.0), ("  1 H  5 m ", 3900.0),
        ("1d", 86400.0), (90, 90.0), (1.5, 1.5), ("90", 90.0), ("0.5", 0.5), (0, 0.0), ("30m 1h", BAD), ("-5", BAD),
        (-5, BAD), ("1.5h", BAD), ("", BAD), ("  ", BAD), ("soon", BAD), (True, BAD), (float("inf"), BAD), ([], BAD),
        ("9" * 20 + "s", BAD), ("9" * 400, BAD), ("1h 1h", BAD),
    ],
}  # fmt: skip
TABLE = [(getter, value, result) for getter, rows in CONVERSIONS.items() for value, result in rows]
GETTERS = sorted(CONVERSIONS)


@pytest.mark.parametrize(
    ("getter", "value", "result"), TABLE, ids=lambda part: "refused" if part is BAD else repr(part)[:40]
)
def test_a_value_is_converted_as_jackson_does(getter: str, value: Any, result: Any) -> None:
    read = getattr(Params({"k": value}), getter)
    if result is not BAD:
        assert read("k") == result
        assert type(read("k")) is type(result)
        assert read("k", None) == result
        return
    for arguments in (["k"], ["k", None]):  # a default is no excuse for a wrong type
        with pytest.raises(TaskFailed) as caught:
            read(*arguments)
        assert (caught.value.kind, caught.value.category) == ("bad_type (k)", "config")
        assert "'k'" in caught.value.message
        assert len(caught.value.message) < 250


@pytest.mark.parametrize("getter", GETTERS)
@pytest.mark.parametrize("values", [{}, {"k": None}])
def test_a_missing_or_null_option_is_its_default_or_an_error(getter: str, values: dict[str, Any]) -> None:
    read = getattr(Params(values), getter)
    default = object()
    assert read("k", default) is default
    assert read("k", None) is None
    with pytest.raises(TaskFailed) as caught:
        read("k")
    assert (caught.value.kind, caught.value.category) == ("missing (k)", "config")


def test_the_message_shows_key_value_and_what_is_expected() -> None:
    with pytest.raises(TaskFailed) as caught:
        Params({"timeout": ["soon"]}).duration("timeout")
    expected = "Parameter 'timeout' must be a duration such as 1h 30m, or a number of seconds, but it is [\"soon\"]"
    assert caught.value.message == expected


def test_an_optional_map_is_empty_when_missing_or_null() -> None:
    assert Params({"a": None, "b": {"c": 1}}).optional_map("a") == {}
    assert Params({"b": {"c": 1}}).optional_map("b") == {"c": 1}
    with pytest.raises(TaskFailed):
        Params({"a": 1}).optional_map("a")


def test_params_are_a_read_only_mapping() -> None:
    params = Params({"a": 1, "b": None})
    assert dict(params) == {"a": 1, "b": None}
    assert params.get("a") == 1
    assert params.get("c", 2) == 2
    assert "b" in params and "c" not in params
    assert not hasattr(params, "__setitem__")


@pytest.mark.parametrize(
    ("values", "names", "result"),
    [
        ({"pg": {"host": "h", "port": 1}, "host": "top"}, ["pg"], {"host": "top", "port": 1}),
        ({"pg": {"host": "h"}, "host": None}, ["pg"], {"host": "h"}),
        ({"aws": {"s3": {"a": 1}, "a": 2, "b": 3}}, ["aws.s3", "aws"], {"a": 1, "b": 3}),
        ({"x": {"env": {"A": 1, "B": 1}}, "env": {"A": 2}}, ["x"], {"env": {"A": 2, "B": 1}}),
        ({"pg": None}, ["pg"], {}),
        ({"a": 1}, ["pg", "aws.s3"], {"a": 1}),
    ],
)
def test_gaps_are_filled_from_named_maps(values: dict[str, Any], names: list[str], result: dict[str, Any]) -> None:
    before = copy.deepcopy(values)
    filled = Params(values).with_defaults(*names)
    assert {key: filled[key] for key in result} == result
    assert values == before


@pytest.mark.parametrize(("values", "name"), [({"pg": 1}, "pg"), ({"aws": {"s3": []}}, "aws.s3")])
def test_a_map_of_defaults_must_be_a_map(values: dict[str, Any], name: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        Params(values).with_defaults(name)
    assert caught.value.kind == f"bad_type ({name})"


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ({"a": 1, "b": 2}, {"c": 3, "a": 4}, {"a": 4, "b": 2, "c": 3}),
        ({"m": {"a": 1, "k": {"p": 1}}}, {"m": {"k": {"q": 2}}}, {"m": {"a": 1, "k": {"p": 1, "q": 2}}}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
        ({"m": {"a": 1}}, {"m": None}, {"m": None}),
        ({"m": None}, {"m": {"a": 1}}, {"m": {"a": 1}}),
    ],
)
def test_maps_merge_deeply_and_all_else_replaces(base: Any, over: Any, result: Any) -> None:
    assert json.dumps(merge(base, over)) == json.dumps(result)


# Other processes may have the machine: how long an example takes says nothing.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "é\n", "${x}"])
KEYS = st.sampled_from("abcd")
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
MAPS = st.dictionaries(KEYS, VALUES)


@calm
@given(MAPS, MAPS)
def test_a_merge_leaves_its_arguments_alone_and_keeps_the_order(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = json.dumps([base, over])
    merged = merge(base, over)
    assert json.dumps([base, over]) == before
    assert list(merged) == list(base) + [key for key in over if key not in base]
    assert all(merged[key] == over[key] for key in over if not isinstance(over[key], dict))


@calm
@given(MAPS)
def test_nothing_is_neutral_in_a_merge_and_so_is_the_map_itself(tree: dict[str, Any]) -> None:
    assert json.dumps(merge(tree, {})) == json.dumps(merge({}, tree)) == json.dumps(tree)
    assert json.dumps(merge(tree, tree)) == json.dumps(tree)


# With values that are not maps merging is associative; a scalar between two maps would forget the first.
FLAT = st.dictionaries(KEYS, st.integers())


@calm
@given(FLAT, FLAT, FLAT)
def test_a_merge_of_three_may_begin_at_either_end(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    assert json.dumps(merge(merge(a, b), c)) == json.dumps(merge(a, merge(b, c)))


def test_a_merge_shares_what_does_not_change() -> None:
    inner = {"x": 1}
    assert merge({"a": inner}, {"b": 1})["a"] is inner


def test_marked_texts_are_those_with_a_dollar_but_never_keys() -> None:
    before = {"$k": ["${x}", "plain", {"a": "$"}], "n": 1}
    marked = mark_templates(before)
    assert marked == before
    kinds = [type(marked["$k"][0]), type(marked["$k"][1]), type(marked["$k"][2]["a"]), type(next(iter(marked)))]
    assert kinds == [Template, str, Template, str]
    assert type(before["$k"][0]) is str


def test_a_map_is_a_dict_with_places() -> None:
    made = Map("f.dig", 2, 3)
    made["a"] = 1
    made.places["a"] = ("g.dig", 5, 6)
    assert made == {"a": 1}
    assert (made.place("a"), made.place("b")) == (("g.dig", 5, 6), ("f.dig", 2, 3))
    assert copy.deepcopy(made).place("a") == ("g.dig", 5, 6)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1000.0, "1000.0"), (1.1, "1.1"), (1e7, "1.0E7"), (9999999.5, "9999999.5"), (12345678.9, "1.23456789E7"),
        (0.001, "0.001"), (0.00099, "9.9E-4"), (1e-7, "1.0E-7"), (1.5e-5, "1.5E-5"), (-2.5e10, "-2.5E10"),
        (1.2345678901234567e19, "1.2345678901234567E19"), (1e22, "1.0E22"), (1e100, "1.0E100"), (0.0, "0.0"),
        (-0.0, "-0.0"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (float("nan"), "NaN"),
        (123456789012345680.0, "1.2345678901234568E17"), (5e-324, "5.0E-324"),
    ],
)  # fmt: skip
def test_doubles_are_printed_as_java_prints_them(value: float, text: str) -> None:
    assert java_double(value) == text


@calm
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_double_reads_back_as_the_same(value: float) -> None:
    assert float(java_double(value)) == value


def test_json_is_compact_and_keeps_all_characters() -> None:
    value = {"é": [1, 1.5, 1e7, True, None, 'a"b\n'], "m": {}, "big": 12345678901234567890, "t": Template("${x}")}
    text = '{"é":[1,1.5,1.0E7,true,null,"a\\"b\\n"],"m":{},"big":12345678901234567890,"t":"${x}"}'
    assert json_text(value) == text
    assert json_text(float("nan")) == '"NaN"'


@calm
@given(VALUES)
def test_json_text_is_what_json_says(value: Any) -> None:
    assert json_text(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize(
    ("word", "candidates", "found"),
    [
        ("_paralell", ["_retry", "_parallel"], "_parallel"),
        ("_exprot", ["_error", "_export"], "_export"),
        ("timezon", ["timezone"], "timezone"),
        ("abcd", ["abxy"], "abxy"),  # exactly half
        ("abcd", ["axyz"], None),
        ("anything", [], None),
        ("", ["a"], None),
    ],
)
def test_a_suggestion_is_near_enough(word: str, candidates: list[str], found: str | None) -> None:
    assert suggest(word, candidates) == found
