"""What the engine takes for a result: nothing but one, whatever a plug-in writes."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagrun.plugins import host
from dagrun.plugins.operator import Again, Command, Ended, Subtask, Subtasks, Succeeded, TaskFailed, TryFile
from dagrun.plugins.registry import Origin
from dagrun.plugins.results import LARGEST, Nonsense, decode, encode, encode_failure

HOSTED = host.Hosted("x", Origin(file="operators/x.py"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = {
    "succeeded": ["stored", "exported", "reset", "subtasks", "reason"],
    "again": ["after", "memo", "wake_on"],
    "command": ["argv", "environment", "files", "secrets", "image", "workdir_on_path"],
}


def text_of(result) -> str:
    return json.dumps({**encode(result), "retries": True, "warnings": []})


def changed(result, **fields) -> str:
    data = encode(result)
    return json.dumps({**data, "result": {**data["result"], **fields}, "retries": True, "warnings": []})


@pytest.mark.parametrize(
    "result",
    [
        Succeeded(),
        Succeeded({"a": [1, {"b": None}]}, {"e": 1.5}, ("a.b",), Subtasks({"+a": {"echo>": "x"}}), "done"),
        Succeeded(subtasks=Subtasks(items=(Subtask("+a", {"echo>": "${i}"}, {"i": 1}),), options={"_parallel": True})),
        Again(0.0, {}),
        Again(2.5, {"n": 1}, 7),
        Command(("a", TryFile("f")), {"A": TryFile("f")}, {"f": b"\xff", "g": "x"}, ("s",), {"image": "i"}, True),
    ],
)
def test_a_result_arrives_as_it_was_sent(result):
    assert decode(text_of(result)).result == result


def test_a_failure_arrives_as_it_was_sent():
    sent = TaskFailed("no", "my_kind", None, platform=True, facts={"stored": {"x": 1}})
    answer = decode(json.dumps({**encode_failure(sent), "retries": False, "warnings": ["w"]}))
    assert vars(answer.failure) == vars(sent)
    assert (answer.retries, answer.warnings) == (False, ("w",))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "its result is not JSON"),
        ("[1", "its result is not JSON"),
        ("[" * 100_000, "its result is not JSON"),
        ("[" * 200 + "]" * 200, "its result has more than 100 levels of maps and lists"),
        ("1", "its result must be a map"),
        ("{}", "warnings must be a list"),
        ('{"warnings": [1], "retries": true}', "warnings must be a list of texts"),
        ('{"warnings": [], "retries": 1}', "retries must be true or false"),
        ('{"warnings": [], "retries": true, "kind": "x"}', "its result is of no known kind: x"),
        (changed(Succeeded(), stored=1), "stored must be a map"),
        (changed(Succeeded(), stored={"x": "\ud800"}), "a text of its result is no valid Unicode"),
        (changed(Succeeded(), stored={"x": float("nan")}), "NaN is not a JSON value"),
        (changed(Succeeded(), reset=[1]), "reset must be a list of texts"),
        (changed(Succeeded(), reason=1), "reason must be a text"),
        (changed(Succeeded(), subtasks=[]), "subtasks must be a map"),
        (changed(Succeeded(), subtasks={"items": [1], "options": {}}), "subtasks.items must be a map"),
        (changed(Again(1, {}), after="1"), "after must be a number"),
        (changed(Again(1, {}), after=True), "after must be a number"),
        (changed(Again(1, {}), after=-1), "after must be a number of seconds, at most a year; it is -1"),
        (changed(Again(1, {}), after=1e300), "after must be a number of seconds, at most a year; it is 1e[+]300"),
        (changed(Again(1, {}), memo=None), "memo must be a map"),
        (changed(Command(("a",)), argv=[]), "argv must name a program"),
        (changed(Command(("a",)), argv=["a\0"]), "argv must be a text or a TryFile, without NUL"),
        (changed(Command(("a",)), argv=[{"file": "../x"}]), "'../x' can't be the name of a file of the try"),
        (changed(Command(("a",)), files={"/etc/x": ""}), "'/etc/x' can't be the name of a file of the try"),
        (changed(Command(("a",)), files={"x": 1}), "files.x must be a text or bytes"),
        (changed(Command(("a",)), files={"x": {"base64": "?"}}), "files.x is no base64"),
        (changed(Command(("a",)), environment={"A=B": ""}), "environment: 'A=B' can't be the name of a variable"),
        (changed(Command(("a",)), image="x"), "image must be a map"),
    ],
)
def test_what_is_no_result_is_told(text, problem):
    with pytest.raises(Nonsense, match=problem):
        decode(text)


@given(st.data())
def test_whatever_stands_in_the_file_it_is_a_result_or_nonsense(data):
    kind = data.draw(st.sampled_from([*FIELDS, "", None]))
    whole = {name: data.draw(VALUES) for name in FIELDS.get(kind, [])}
    text = json.dumps({"kind": kind, "result": whole, "retries": True, "warnings": data.draw(VALUES | st.just([]))})
    try:
        found = decode(text)
    except Nonsense:
        return
    assert found.result is not None


# -- the file itself


@pytest.fixture
def answer(tmp_path):
    return lambda code=0: host.answer(HOSTED, Ended(code, str(tmp_path))).failure


def test_a_result_that_is_too_large_is_not_read(answer, tmp_path):
    with open(tmp_path / host.RESULT_FILE, "wb") as file:
        file.truncate(LARGEST + 1)
    failure = answer()
    assert failure.kind == "bad_result"
    assert failure.message == (
        "Operator x> of operators/x.py gave a bad result: it has 10,000,001 bytes, and may have 10,000,000; "
        "write large data to a file or a table, and return its name; mend operators/x.py"
    )


@pytest.mark.parametrize("make", ["fifo", "directory", "link", "bytes"])
def test_what_is_no_file_of_text_is_a_bad_result(make, answer, tmp_path):
    path = tmp_path / host.RESULT_FILE
    if make == "fifo":
        os.mkfifo(path)
    elif make == "directory":
        path.mkdir()
    elif make == "link":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(b"\xff")
    assert answer().kind == "bad_result"


def test_no_result_after_a_kill_names_the_signal(answer):
    assert answer(139).message.startswith("Operator x> of operators/x.py was killed by SIGSEGV and gave no result; ")
