"""What is wrong in files and on the command line: one clear error, before anything has run."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagrun.core.compiler import compile_workflow
from dagrun.core.yaml import load
from dagrun.errors import UserError
from tests.effort import examples

OK = "+a:\n  echo>: x\n"
DEEP = "".join(f"{' ' * depth}+a:\n" for depth in range(400)) + " " * 400 + "echo>: x\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)

# name: (files, line of the error in w.dig or None, words of the error)
BROKEN: dict[str, tuple[dict[str, str | bytes], int | None, str]] = {
    "unknown key in a group": ({"w.dig": "+g:\n  foo: 1\n  +a:\n    echo>: x\n"}, 2, "a group can't have these keys: foo"),
    "unknown key at the top": ({"w.dig": "timezon: UTC\n" + OK}, 1, "did you mean timezon → timezone?"),
    "two operators": ({"w.dig": "+a:\n  echo>: x\n  sh>: y\n"}, 3, "one operator only"),
    "operator with children": ({"w.dig": "+a:\n  echo>: x\n  +b:\n    echo>: y\n"}, 3, "can't have tasks of its own"),
    "operator at the top": ({"w.dig": "echo>: x\n"}, 1, "echo>"),
    "duplicate key": ({"w.dig": "+a:\n  echo>: x\n+a:\n  echo>: y\n"}, 3, "+a"),
    "tab": ({"w.dig": "+a:\n\techo>: x\n"}, 2, "tab"),
    "odd indentation": ({"w.dig": "+a:\n    echo>: x\n  foo: y\n"}, 3, ""),
    "unclosed quote": ({"w.dig": '+a:\n  echo>: "x\n'}, None, "quote"),
    "unclosed bracket": ({"w.dig": "+a:\n  for_each>: {x: [1, 2\n"}, None, ""),
    "second colon": ({"w.dig": "+a:\n  echo>: a: b\n"}, 2, "Put the text in quotes"),
    "missing include": ({"w.dig": "!include : common.yml\n" + OK}, 1, "common.yml"),
    "include outside": ({"w.dig": "!include : ../common.yml\n" + OK}, 1, "../common.yml"),
    "include of itself": ({"w.dig": "!include : w.dig\n" + OK}, 1, "w.dig"),
    "broken include": ({"w.dig": "+a: {!include : b.yml}\n", "b.yml": "a: [\n"}, None, "b.yml"),
    "list": ({"w.dig": "- a\n- b\n"}, 1, "map"),
    "text": ({"w.dig": "just text\n"}, 1, "map"),
    "empty": ({"w.dig": ""}, None, "empty"),
    "only comments": ({"w.dig": "# nothing\n"}, None, ""),
    "two documents": ({"w.dig": OK + "---\n" + OK}, 3, "document"),
    "cycle": ({"w.dig": "_parallel: true\n+a:\n  _needs: [+b]\n  echo>: x\n+b:\n  _needs: [+a]\n  echo>: x\n"}, None, "+w+a"),
    "unknown need": ({"w.dig": "_parallel: true\n+aa:\n  echo>: x\n+b:\n  _needs: [+ab]\n  echo>: x\n"}, 5, "+ab"),
    "need of itself": ({"w.dig": "+a:\n  _needs: [+a]\n  echo>: x\n"}, None, "+a"),
    "need into a retried group": (
        {"w.dig": "+g:\n  _retry: 1\n  +a:\n    echo>: x\n+b:\n  _needs: [+g+a]\n  echo>: x\n"}, 6, "need +g",
    ),
    "unknown after": ({"w.dig": "_parallel: true\n+a:\n  echo>: x\n+b:\n  _after: [+z]\n  echo>: x\n"}, 5, "+z"),
    "later after": ({"w.dig": "_parallel: true\n+a:\n  _after: [+b]\n  echo>: x\n+b:\n  echo>: x\n"}, 3, "+b"),
    "too large": ({"w.dig": OK + "# " + "x" * (10 << 20)}, None, "10,000,000"),
    "alias bomb": ({"w.dig": BOMB + OK}, None, "alias"),
    "deep nesting": ({"w.dig": DEEP}, None, "more than 100 levels"),
    "binary": ({"w.dig": b"\x00\x01\x02\xff" * 50}, None, "w.dig"),
    "not UTF-8": ({"w.dig": b"+a:\n  echo>: \xff\xfe\n"}, None, "UTF-8"),
    "Python object": ({"w.dig": "+a:\n  echo>: !!python/object/apply:os.system ['true']\n"}, 2, "python"),
    "unknown tag": ({"w.dig": "+a:\n  echo>: !foo x\n"}, 2, "!foo"),
    "bad parallel": ({"w.dig": "_parallel: sometimes\n" + OK}, 1, "_parallel"),
    "bad slots": ({"w.dig": "_parallel: {slots: 0}\n" + OK}, 1, "slots"),
    "bad limit": ({"w.dig": "_parallel: {limit: x}\n" + OK}, 1, "limit"),
    "bad needs": ({"w.dig": "+a:\n  _needs: 5\n  echo>: x\n"}, 2, "_needs"),
    "bad export": ({"w.dig": "_export: [1]\n" + OK}, 1, "_export"),
    "bad error": ({"w.dig": "+a:\n  echo>: x\n  _error: [1]\n"}, 3, "_error"),
    "broken handler": ({"w.dig": "+a:\n  echo>: x\n  _error:\n    echo>: x\n    sh>: y\n"}, 5, "one operator only"),
    "bad time zone": ({"w.dig": "timezone: Mars/Base\n" + OK}, 1, "Asia/Tokyo"),
    "null task": ({"w.dig": "+a:\n"}, 1, "+a"),
    "bad task name": ({"w.dig": "+a b:\n  echo>: x\n"}, 1, "+a b"),
    "bad compat": ({"w.dig": "compat: yes please\n" + OK}, 1, "compat"),
    "bad sla": ({"w.dig": "sla:\n  time: noon\n" + OK}, None, "sla"),
    "task is a list": ({"w.dig": "+a: [1]\n"}, 1, "+a"),
    "option of tasks on a group": ({"w.dig": "+g:\n  _timeout: 5m\n  +a:\n    echo>: x\n"}, 2, "_timeout: write it at the tasks"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_its_place_before_anything_runs(project, name):
    files, line, words = BROKEN[name]
    for file, content in files.items():
        project.write(file, content)
    ended = project.run("run", "w.dig", code=2)
    assert ended.out == "" and ended.err.startswith("error: ")
    assert words in ended.err
    if line is not None:
        assert f"w.dig:{line}:" in ended.err or f"w.dig:{line}\n" in ended.err
    else:
        assert ".dig" in ended.err or ".yml" in ended.err or "sla" in ended.err
    assert not (project.directory / ".dagrun" / "state.db").exists() or project.json("attempts") == []


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(text=st.one_of(st.text(max_size=60), st.text(alphabet="+ab_>:-[]{}&*!|\n \t'\"#,1", max_size=60)))
def test_any_text_compiles_or_is_refused(text):
    try:
        compile_workflow("w", load(text, "w.dig", None))
    except UserError as problem:
        assert str(problem)


def test_a_directory_and_a_dangling_link_are_no_workflows(project):
    (project.directory / "d.dig").mkdir()
    os.symlink("nowhere", project.directory / "l.dig")
    for name in ("d.dig", "l.dig"):
        ended = project.run("run", name, code=None)
        assert ended.code in (2, 3) and name in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "v.dig"), 3, "v.dig"),
        (("run", "ww"), 3, "did you mean"),
        (("run", "w.dig", "+b"), 3, "task not found: +b"),
        (("run", "w.dig", "-p", "x"), 2, "-p x: write KEY=VALUE"),
        (("run", "w.dig", "-P", "none.yml"), 3, "parameter file not found: none.yml"),
        (("run", "w.dig", "-P", "bad.yml"), 2, "bad.yml:2:1"),
        (("run", "w.dig", "-c", "none"), 3, "configuration file not found: none"),
        (("run", "w.dig", "--session", "someday"), 2, "someday"),
        (("run", "w.dig", "--session", "2026-02-30"), 2, "2026-02-30"),
        (("run", "w.dig", "--session", "schedule"), 2, "has no schedule"),
        (("run", "w.dig", "--start", "+a", "--goal", "+a"), 2, "can't be used together"),
        (("run", "w.dig", "--rerun", "--start", "+a"), 2, "can't be used together"),
        (("run", "w.dig", "--max-task-threads", "-3"), 2, "--max-task-threads"),
        (("run", "w.dig", "--max-task-threads", "x"), 2, "--max-task-threads"),
        (("run", "w.dig", "--nosuch"), 2, "--nosuch"),
        (("run",), 2, "Missing argument"),
        (("rnu", "w.dig"), 2, "run"),
        (("run", "w.dig", "--database", "mysql://a/b"), 2, "postgresql://"),
        (("run", "w.dig", "--database", "."), 2, "directory"),
        (("run", "w.dig", "--database", "w.dig"), 2, "w.dig"),
        (("run", "w.dig", "--project", "nowhere"), 3, "nowhere"),
        (("attempts", "--project", "nowhere"), 3, "nowhere"),
        (("attempts", "--limit", "0"), 2, "--limit"),
        (("graph", "w.dig", "--format", "svg"), 2, "mermaid"),
        (("secrets", "--local", "--set", "a b=c"), 2, "a b"),
        (("init", "1x"), 2, "1x"),
    ],
)
def test_wrong_use_is_told_in_one_error(project, arguments, code, words):
    project.write("w.dig", OK)
    project.write("bad.yml", "[1, 2\n")
    ended = project.run(*arguments, code=None)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert not (project.directory / ".dagrun" / "state.db").exists() or project.json("attempts") == []


# name: (files, the task that fails, words of its error)
FAILING: dict[str, tuple[dict[str, str], str, str]] = {
    "undefined variable": ({"w.dig": "+a:\n  echo>: ${nix}\n"}, "+w+a (w.dig:1)", "nix is not defined"),
    "endless expression": ({"w.dig": "+a:\n  echo>: ${(function(){while(true){}})()}\n"}, "+w+a", "did not end within 5 s"),
    "greedy expression": ({"w.dig": "+a:\n  echo>: ${(function(){var a='x';while(true){a+=a}})()}\n"}, "+w+a", "memory"),
    "broken expression": ({"w.dig": "+a:\n  echo>: ${1 +}\n"}, "+w+a", "SyntaxError"),
    "missing script": ({"w.dig": "+a:\n  sh>: ./missing.sh\n"}, "+w+a", "code 127"),
    "unknown operator": ({"w.dig": "+a:\n  ehco>: x\n"}, "+w+a", "did you mean echo>?"),
    "operator of Digdag alone": ({"w.dig": "+a:\n  pg>: x.sql\n"}, "+w+a", "Unknown operator: pg> (dagrun doesn't have this one of Digdag's"),
    "docker": ({"w.dig": "_export:\n  docker: {image: busybox, docker: /no/client}\n+a:\n  sh>: echo never\n"}, "+w+a", "/no/client, which starts containers, can't be run"),
    "docker without an image": ({"w.dig": "_export:\n  docker: {}\n+a:\n  sh>: echo never\n"}, "+w+a", "needs the name of an image"),
    "bad timeout": ({"w.dig": "+a:\n  sh>: echo never\n  _timeout: soon\n"}, "+w+a", "_timeout"),
    "bad workspace": ({"w.dig": "+a:\n  sh>: echo never\n  _workspace: '${1}'\n"}, "+w+a", "own, shared or project"),
    "directory outside": ({"w.dig": "+a:\n  sh>: echo never\n  _workdir: ../..\n"}, "+w+a", "outside of the project"),
    "call of a missing file": ({"w.dig": "+a:\n  call>: sub/v.dig\n"}, "+w+a", "sub/v.dig"),
    "call of a broken file": ({"w.dig": "+a:\n  call>: sub/v.dig\n", "sub/v.dig": "+b: [1]\n"}, "+w+a", "v.dig"),
    "call of itself": ({"w.dig": "+a:\n  call>: w.dig\n"}, "+w+a^sub", "does this workflow call itself?"),
    "call of a bad name": ({"w.dig": "+a:\n  call>: 1st/v\n", "1st/v.dig": OK}, "+w+a", "to w1st/v.dig (runtime)\n"),
    "call outside": ({"w.dig": "+a:\n  call>: ../v\n"}, "+w+a", "/project' (illegal argument)\n"),
    "file outside": ({"w.dig": "+a:\n  mail>: ../v\n  subject: s\n  to: b@x.org\n"}, "+w+a", "/project' (config)\n"),
    "missing dependency": ({"w.dig": "+a:\n  require>: v\n"}, "+w+a", "Dependent workflow not found: v"),
    "missing function": ({"w.dig": "+a:\n  py>: m.call\n", "m.py": "x = 1\n"}, "+w+a", "call"),
    "bad output": ({"w.dig": "+a:\n  sh>: echo x > $DAGRUN_OUT\n"}, "+w+a", "is not JSON"),
    "output is no map": ({"w.dig": "+a:\n  sh>: echo 5 > $DAGRUN_OUT\n"}, "+w+a", "must be a map"),
    "redirects are no map": ({"w.dig": "+a:\n  sh>: echo never\n  _secrets: db\n"}, "+w+a", "'_secrets' must be a map"),
    "missing secret": ({"w.dig": '+a:\n  sh>: echo never\n  _env: {A: "${secret:b}"}\n'}, "+w+a", "dagrun secrets --local --set b"),
    "loop over no list": ({"w.dig": "+a:\n  for_each>: {x: 5}\n  _do: {echo>: x}\n"}, "+w+a", ""),
    "too many tasks": ({"w.dig": "+a:\n  loop>: 200000\n  _do: {echo>: x}\n"}, "+w+a", "100000"),
    "null as retry": ({"w.dig": "+a:\n  sh>: echo never\n  _retry:\n"}, "+w+a", "_retry can't be null"),
    "bad retry": ({"w.dig": "+a:\n  sh>: echo never\n  _retry: often\n"}, "+w+a", "_retry"),
}  # fmt: skip


SLOW = {"endless expression"}  # by its nature


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.soak] * (one in SLOW)) for one in FAILING])
def test_what_only_a_running_task_meets_fails_that_task(project, name):
    files, task, words = FAILING[name]
    for file, content in files.items():
        project.write(file, content + ("+z:\n  sh>: echo z >> $OUTSIDE/ran\n" if file == "w.dig" else ""))
    ended = project.run("run", "w.dig", code=1)
    end = ended.err[ended.err.index("w: attempt 1 failed after") :]
    assert task in end and words in end and "never" not in ended.out
    assert end.rstrip().endswith("to go on from there: dagrun retry 1") and not project.ran()
    states = {one["name"]: one["state"] for one in project.json("tasks", "1")}
    assert states["+w+a"] in ("error", "group_error") and states["+w+z"] == "blocked"
