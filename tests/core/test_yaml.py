"""Loading of workflow files: the conformance cases of group L, and what dagrun adds: places, limits, remedies."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagrun.core import yaml
from dagrun.core.config import Map, Seq, Template
from dagrun.errors import WorkflowError

CASES_FILE = Path(__file__).parent.parent / "conformance" / "language.json"
CASES = [case for case in json.loads(CASES_FILE.read_text("utf-8"))["cases"] if case["group"] == "L"]


def load(text: str, **files: str) -> Map:
    """Load `text` as f.dig; other files by name, with _ for the dot before `dig`."""
    return load_files({"f.dig": text, **{f"{name}.dig": content for name, content in files.items()}})


def load_files(files: dict[str, str]) -> Map:
    def include(including_file: str, path: str) -> tuple[str, str]:
        name = yaml.resolve_include(including_file, path)
        if name not in files:
            raise WorkflowError(f"there is no file '{name}'", kind="include_not_found")
        return name, files[name]

    first = next(iter(files))
    return yaml.load(files[first], first, include)


def failure(text: str, **files: str) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        load(text, **files)
    return caught.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['id']}-{case['title']}")
def test_a_file_loads_as_in_digdag(case: dict[str, Any]) -> None:
    expected = case.get("dagrun_differs", {}).get("expect") or case["expect"]
    files = {name: yaml.decode(text.encode(), name) for name, text in case["files"].items()}
    if "error" in expected:
        with pytest.raises(WorkflowError) as caught:
            load_files(files)
        assert caught.value.kind == expected["error"]
        assert caught.value.file in files
        assert caught.value.line >= 1 and caught.value.column >= 1
    else:
        # As text, because the order of keys and the difference between 1 and 1.0 count.
        assert json.dumps(load_files(files)) == json.dumps(expected["tree"])


def java(*values: Any) -> str:
    return json.dumps(values)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("TRUE", "TRUE"),
        ("no", "no"),
        ("y", "y"),
        ("~", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("0", 0),
        ("-3", -3),
        ("+4", 4),
        ("1_000", 1000),
        ("00", 0),
        ("-010", -8),
        ("0_1", 1),
        ("08", "08"),
        ("-0x1F", -31),
        ("0b2", "0b2"),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("0.5", "0.5"),
        ("0.0", "0.0"),
        ("-0.5", "-0.5"),
        ("07:00:00", "07:00:00"),
        ("10:30", "10:30"),
        ("12:30:45.5", 45045.5),
        ("12:30.5", 750.5),
        ("-1:30:00.5", -5400.5),
        ("2016-01-01", "2016-01-01"),
        ("2016-01-01 00:00:00", "2016-01-01 00:00:00"),
        (".inf", "Infinity"),
        ("-.INF", "-Infinity"),
        (".NaN", "NaN"),
        ("1.0e400", "Infinity"),
        ("-1.0e400", "-Infinity"),
        ("=", "="),
        ("-", None),
        (".", "."),
        ("١", "١"),
        ("! 12", 12),
        ("!", None),
        ("!!str 1", "1"),
        ("!!bool yes", True),
        ("!!int 1:30", 90),
        ("!!int 12345678901234567890:01", 740740734074074073401),
        ("!!int '010'", 8),
        ("!!float 0.5", 0.5),
        ("!!float 1:30.5", 90.5),
        ("!!timestamp 2016-01-01", 1451606400000),
        ("!!timestamp 2016-01-01T09:00:00.25+09:00", 1451606400250),
        ("!!timestamp 2016-01-01 00:00:00 -1:30", 1451611800000),
        ("!!set {b, a, 1}", ["b", "a", 1]),
        ("!!omap [x: 1, y: 2]", {"x": 1, "y": 2}),
        ("!!pairs [x: 1, x: 2]", [["x", 1], ["x", 2]]),
        ("! [1]", [1]),
        ("a#b", "a#b"),
        ("what?", "what?"),
        ("https://example.com/x?y=1", "https://example.com/x?y=1"),
    ],
)
def test_a_value_means_what_the_table_of_the_specification_says(written: str, value: Any) -> None:
    if written == "-":
        value = [None]
        written = "\n- "
    assert java(load(f"a: {written}\n")["a"]) == java(value)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("true: 1\n010: 2\n1e7: 3\n.inf: 4\n", ["true", "8", "1.0E7", "Infinity"]),
        ("? [1, 2]\n: a\n? {x: 1}\n: b\n", ["[1, 2]", "{x=1}"]),
        ("a: &k b\n*k : 1\n", ["a", "b"]),
        ("'<<': 1\n", ["<<"]),
        ("$x: 1\n", ["$x"]),
    ],
)
def test_keys_become_text(text: str, keys: list[str]) -> None:
    loaded = list(load(text))
    assert loaded == keys
    assert not any(isinstance(key, Template) for key in loaded)


def test_a_later_key_of_the_same_text_wins_at_the_earlier_place() -> None:
    assert java(load("1: a\nx: b\n01: c\n")) == java({"1": "c", "x": "b"})


def test_only_texts_with_a_dollar_are_templates() -> None:
    loaded = load("a: ${x}\nb: plain\nc: ['$y', \"z\"]\nd: |\n  echo $HOME\ne: !!str $z\n")
    kinds = [type(value) for value in (loaded["a"], loaded["b"], *loaded["c"], loaded["d"], loaded["e"])]
    assert kinds == [Template, str, Template, str, Template, Template]


def test_maps_lists_and_keys_know_their_place() -> None:
    loaded = load("a: 1\nb:\n  - c: {d: 2}\n!include : part.dig\nlast: 3\n", part="\n  i:\n    k: 1\n")
    assert isinstance(loaded["b"], Seq)
    assert (loaded.file, loaded.line, loaded.column) == ("f.dig", 1, 1)
    assert (loaded["b"].file, loaded["b"].line, loaded["b"].column) == ("f.dig", 3, 3)
    assert loaded.place("b") == ("f.dig", 2, 1)
    assert loaded["b"][0]["c"].place("d") == ("f.dig", 3, 9)
    assert loaded.place("i") == ("part.dig", 2, 3)
    assert loaded["i"].place("k") == ("part.dig", 3, 5)
    assert loaded.place("last") == ("f.dig", 5, 1)
    assert loaded.place("missing") == ("f.dig", 1, 1)


def test_deeply_merged_includes_keep_the_places_of_both_files() -> None:
    loaded = load("m: {a: 1, k: {p: 1}}\n!include : x.dig\n", x="m: {b: 2, k: {q: 2}}\n")
    assert loaded == {"m": {"a": 1, "k": {"p": 1, "q": 2}, "b": 2}}
    assert loaded["m"].place("a") == ("f.dig", 1, 5)
    assert loaded["m"]["k"].place("q") == ("x.dig", 1, 15)


def test_an_include_leaves_the_maps_alone_that_an_alias_shares() -> None:
    loaded = load("a: &a {k: 1}\nb: *a\n!include : x.dig\n", x="b: {j: 2}\n")
    assert loaded == {"a": {"k": 1}, "b": {"k": 1, "j": 2}}


def test_a_merge_key_after_an_include_replaces_what_the_include_brought() -> None:
    loaded = load("x: &x {i: 9, a: 9}\na: 1\n!include : x.dig\n<<: *x\n", x="i: 1\n")
    assert java(loaded) == java({"x": {"i": 9, "a": 9}, "a": 1, "i": 9})


def test_includes_work_in_nested_maps_in_lists_and_from_other_directories() -> None:
    files = {
        "d/f.dig": "l:\n  - !include : sub/a.dig\n    z: 1\nv: [!include sub/b.dig]\n",
        "d/sub/a.dig": "!include : b.dig\na: 1\n",
        "d/sub/b.dig": "b: 2\n",
    }
    assert java(load_files(files)) == java({"l": [{"b": 2, "a": 1, "z": 1}], "v": [{"b": 2}]})


def test_the_old_spelling_of_an_include_in_a_text_is_honoured() -> None:
    assert load("'!include:1': x.dig\n'!include:2': y.dig\n", x="a: 1\n", y="b: 2\n") == {"a": 1, "b": 2}
    assert failure("a: '!include:x.dig'\n", x="a: 1\n").kind == "include_not_found"


@pytest.mark.parametrize(
    ("including", "path", "target"),
    [
        ("f.dig", "a.dig", "a.dig"),
        ("f.dig", "./x/../a.dig", "a.dig"),
        ("d/f.dig", "e/a.dig", "d/e/a.dig"),
        ("d/f.dig", "../d/a.dig", "d/a.dig"),
        ("./d/f.dig", "a.dig", "d/a.dig"),
        ("/p/f.dig", "/p/a.dig", "/p/a.dig"),
        ("../f.dig", "a.dig", "../a.dig"),
        ("f.dig", "..a.dig", "..a.dig"),
        ("f.dig", "../a.dig", None),
        ("d/f.dig", "../a.dig", None),
        ("d/f.dig", "../dd/a.dig", None),
        ("../f.dig", "../a.dig", None),
        ("f.dig", "/etc/passwd", None),
        ("/p/f.dig", "/pp/a.dig", None),
    ],
)
def test_an_include_stays_in_the_directory_of_its_file(including: str, path: str, target: str | None) -> None:
    if target is not None:
        assert yaml.resolve_include(including, path) == target
        return
    with pytest.raises(WorkflowError) as caught:
        yaml.resolve_include(including, path)
    assert caught.value.kind == "include_outside"


def test_the_place_of_a_refused_include_is_that_of_its_path() -> None:
    error = failure("a: 1\n!include : ../b.dig\n")
    assert (error.kind, error.file, error.line, error.column) == ("include_outside", "f.dig", 2, 12)


PROBLEMS = [  # text, kind, line, column, what message and hint say
    ("a:\n\tb: 1\n", "yaml_syntax", 2, 1, "tab", "spaces"),
    ("+t: {echo>: ${x}}\n", "yaml_syntax", 1, 14, "${...} without quotes", "quotes"),
    ("+t: [${x}]\n", "yaml_syntax", 1, 7, "${...} without quotes", "quotes"),
    ("a: [1, 2\nb: 3\n", "yaml_syntax", 2, 2, "opens in line 1", "closing bracket"),
    ("a: b: c\n", "yaml_syntax", 1, 5, "`: `", "quotes"),
    ("a: @x\n", "yaml_syntax", 1, 4, "start with @", "quotes"),
    ("a: %x\n", "yaml_syntax", 1, 4, "start with %", "quotes"),
    ("a: {b: `c}\n", "yaml_syntax", 1, 8, "start with `", "quotes"),
    ("cron>: */5 * * * *\n", "yaml_syntax", 1, 9, "start with *", "quotes"),
    ("a: & b\n", "yaml_syntax", 1, 5, "start with &", "quotes"),
    ("x: 1\na: 'b\nc: 1\n", "yaml_syntax", 2, 4, "never closed", "Close"),
    ('a: "\\d"\n', "yaml_syntax", 1, 5, "escape", "single quotes"),
    ('a: "\\ud83d"\n', "yaml_syntax", 1, 7, "no character", "both halves"),
    ('a: "\\/"\n', "yaml_syntax", 1, 4, "escape", "without the backslash"),
    ("a: 'it's'\n", "yaml_syntax", 1, 8, "begins in line 1", "quote"),
    ("a:\n  - 1\n b: 2\n", "yaml_syntax", 3, 2, "begins in line 1", "column"),
    ("a: x\nfoo\nb: 1\n", "yaml_syntax", 3, 1, "without `: `", "indent"),
    ("if>: !${x}\n", "yaml_syntax", 1, 8, "start with !", "quotes"),
    ("a: !x!y z\n", "yaml_syntax", 1, 4, "start with !", "quotes"),
    ("a: 1\nb: é\x07\n", "yaml_syntax", 2, 5, "U+0007", "escape"),
    ("a: 1\nb: \ud800\n", "yaml_syntax", 2, 4, "U+D800", "escape"),
    ("a: *b\n", "yaml_syntax", 1, 4, "no anchor", "&b"),
    ("a: {<<: [1]}\n", "yaml_syntax", 1, 9, "merge key", "*anchor"),
    ("+t:\n  if>: !x\n", "unknown_tag", 2, 8, "!x", "quotes"),
    ("a: !!python/object/apply:os.system [ls]\n", "unknown_tag", 1, 4, "!!python/object/apply:os.system", ""),
    ("a: !!python/name:os.system x\n", "unknown_tag", 1, 4, "!!python/name:os.system", ""),
    ("!include: x.dig\n", "unknown_tag", 1, 1, "!include:", "space before the colon"),
    ("a: !!int 1.5\n", "bad_tag_value", 1, 4, "!!int", "quotes"),
    ("a: !!bool maybe\n", "bad_tag_value", 1, 4, "!!bool", "quotes"),
    ("a: !!binary x\n", "bad_tag_value", 1, 4, "!!binary", "quotes"),
    ("a: !!timestamp 2016-13-01\n", "bad_tag_value", 1, 4, "!!timestamp", "quotes"),
    ("a: !!map x\n", "bad_tag_value", 1, 4, "!!map", ""),
    ("a: !!str [x]\n", "bad_tag_value", 1, 4, "!!str", ""),
    ("a: !!omap [x]\n", "bad_tag_value", 1, 4, "!!omap", ""),
    (f"a: 1{'0' * 5000}\n", "bad_tag_value", 1, 4, "digits", "quotes"),
    ("!include : [x]\n", "bad_tag_value", 1, 12, "path", "'file.dig'"),
    ("a: 1\nb: 2\n'a': 3\n", "dup_key", 3, 1, "'a'", "line 1"),
    ("x: {~: 1}\n", "null_key", 1, 5, "null", "quotes"),
    ("a: 1\n---\nb: 1\n", "multi_document", 2, 1, "second document", "---"),
    ("", "not_a_map", 1, 1, "empty", "+task"),
    ("- a\n", "not_a_map", 1, 1, "a list", "+task"),
    ("hello\n", "not_a_map", 1, 1, "a single value", "+task"),
    ("a: &x [*x]\n", "nesting_too_deep", 1, 8, "&x", "Move"),
    ("a: " + "[" * 900 + "]" * 900, "nesting_too_deep", 1, 103, "100 levels", "call>"),
]


@pytest.mark.parametrize(("text", "kind", "line", "column", "says", "remedy"), PROBLEMS)
def test_an_error_names_place_and_remedy(text: str, kind: str, line: int, column: int, says: str, remedy: str) -> None:
    error = failure(text)
    assert (error.kind, error.file, error.line, error.column) == (kind, "f.dig", line, column)
    assert says in error.message
    assert remedy in (error.hint or "")


def test_an_escaped_backslash_before_a_slash_is_no_escape() -> None:
    assert load("a: \"\\\\/\"\nb: '\\/'\nc: \\/\n") == {"a": "\\/", "b": "\\/", "c": "\\/"}


def test_an_escaped_pair_of_utf_16_is_one_character() -> None:
    text = r'{"\ud83d\ude00": "a\uD83D\uDE00\ud83d\ude00\0", "b": {"c": 1}, "d": "\U0001f600\0"}'
    loaded = load(text)
    assert loaded == {"😀": "a😀😀\0", "b": {"c": 1}, "d": "😀\0"}
    assert loaded.places["b"] == ("f.dig", 1, text.index('"b"') + 1)


def test_what_only_looks_like_a_pair_stays_as_it_is() -> None:
    text = "a: '\\uD83D\\ude00 \\U0001f600\\0'\nb: \\ud83d\\uDE00\nc: |\n  \\ud83D\\ude00\nd: \"\\\\ud83d\\\\ude00\"\n"
    pair = "\\ud83d\\ude00"
    assert load(text) == {
        "a": "\\uD83D\\ude00 \\U0001f600\\0",
        "b": "\\ud83d\\uDE00",
        "c": "\\ud83D\\ude00\n",
        "d": pair,
    }


def test_a_circle_of_includes_is_named_file_by_file() -> None:
    error = failure("!include : a.dig\n", a="x: {y: !include b.dig}\n", b="!include : a.dig\n")
    assert error.kind == "nesting_too_deep"
    assert "f.dig → a.dig → b.dig → a.dig" in error.message
    assert error.file == "b.dig"


def test_a_long_chain_of_includes_is_refused() -> None:
    files = {f"{n}.dig": f"!include : {n + 1}.dig\n" for n in range(1000)}
    with pytest.raises(WorkflowError) as caught:
        load_files(files)
    assert caught.value.kind == "nesting_too_deep"


def test_levels_count_across_includes_and_aliases() -> None:
    deep = "[" * 60 + "]" * 60
    assert failure(f"a: {deep[:60]}!include x.dig {deep[60:]}\n", x=f"b: {deep}\n").kind == "nesting_too_deep"
    assert failure(f"a: &a {deep}\nb: {deep[:60]}*a{deep[60:]}\n").kind == "nesting_too_deep"
    assert load(f"a: &a {deep}\nb: [*a]\n")["b"] == [load(f"a: {deep}\n")["a"]]


@pytest.mark.parametrize("text", ["a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 3000)), "a: " + "{b: " * 99999])
def test_a_deep_file_is_refused_before_it_hurts(text: str) -> None:
    assert failure(text).kind in ("nesting_too_deep", "yaml_syntax")


def test_aliases_may_not_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)]
    error = failure("".join(lines))
    assert error.kind == "alias_bomb"
    assert error.line == 7


def test_merge_keys_may_not_blow_up() -> None:
    wide = ", ".join(f"k{n}: 1" for n in range(2000))
    assert failure(f"a: &a {{{wide}}}\n" + "".join(f"t{n}: {{<<: *a}}\n" for n in range(2000))).kind == "alias_bomb"


def test_many_values_without_aliases_are_no_bomb() -> None:
    text = "a: &a 1\nb:\n" + "- x\n" * 20_000 + "c: *a\n"
    assert len(load(text)["b"]) == 20_000


def test_a_huge_file_is_refused_at_once() -> None:
    assert failure("a: b\n" * 2_000_001).kind == "file_too_large"


def test_included_texts_count_together() -> None:
    big = "a: 'x'\n" + "#" * 1_000_000
    assert failure("!include : x.dig\n" * 11, x=big).kind == "file_too_large"


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"a: 1\nb: \xff\n", 2, 4),
        ("\ufeffa: é".encode() + b"\xe9\n", 1, 5),
        ("a: 1".encode("utf-16"), 1, 1),
        (b"\x7fELF\n\0\0", 2, 1),
        (b"a: \0\xff", 1, 4),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data: bytes, line: int, column: int) -> None:
    with pytest.raises(WorkflowError) as caught:
        yaml.decode(data, "f.dig")
    assert (caught.value.kind, caught.value.line, caught.value.column) == ("not_text", line, column)
    assert "UTF-8" in (caught.value.hint or "")


def test_files_cannot_be_included_where_there_are_none() -> None:
    with pytest.raises(WorkflowError) as caught:
        yaml.load("!include : a.dig\n", "f.dig")
    assert caught.value.kind == "include_not_found"


# Other processes may have the machine: how long an example takes says nothing.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Line separators fold in quoted texts, surrogates can't be written, and <0.5> is a text by the rules of Digdag.
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff"))
NAMES = TEXTS.filter(lambda text: not text.startswith("!include:"))
PLAIN = st.none() | st.booleans() | st.integers() | NAMES
KEYS = NAMES.filter(lambda text: len(json.dumps(text)) < 1000)  # YAML allows no longer ones
TREES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@calm
@given(st.dictionaries(KEYS, TREES), st.booleans())
def test_json_is_a_workflow_file(tree: dict[str, Any], ensure_ascii: bool) -> None:
    try:
        assert java(load(json.dumps(tree, ensure_ascii=ensure_ascii))) == java(tree)
    except WorkflowError as error:  # characters that YAML has not
        assert "control character" in error.message


@calm
@given(st.text(st.sampled_from("ab1: \n-\t{}[],&*!?|>'\"%@`#$<~.\\/x")))
def test_any_text_is_a_map_or_a_clean_error(text: str) -> None:
    try:
        assert isinstance(load(text, a="a: 1\n"), Map)
    except WorkflowError as error:
        assert error.line is not None and error.line >= 1
        assert error.column is not None and error.column >= 1
        assert error.message


@calm
@given(st.text("abc./", max_size=8), st.text("abc./", max_size=12))
def test_an_accepted_include_is_below_its_directory(directory: str, path: str) -> None:
    including = posixpath.join(directory, "f.dig")
    try:
        target = yaml.resolve_include(including, path)
    except WorkflowError:
        return
    top = posixpath.normpath(directory or ".")
    assert top in (".", target) or target.startswith(top.rstrip("/") + "/")
