"""`dagrun retry`: what is planned, and that exactly this is run (features F38, F39)."""

from __future__ import annotations

import pytest

SESSION = ("--session", "2026-01-15")
DIAMOND = """
_export:
  target: one
_parallel: true
+a:
  sh>: sh a.sh
+b:
  _needs: [+a]
  sh>: echo b $target >> $OUTSIDE/ran
+c:
  _needs: [+a]
  sh>: echo c >> $OUTSIDE/ran
+d:
  _needs: [+b, +c]
  sh>: echo d >> $OUTSIDE/ran; test -e $OUTSIDE/mended
"""


@pytest.fixture
def diamond(project):
    """Attempt 1, which failed at its last task."""
    project.write("w.dig", DIAMOND)
    project.write("a.sh", "echo a >> $OUTSIDE/ran\n")
    project.run("run", "w.dig", *SESSION, code=1)
    (project.outside / "ran").unlink()
    (project.outside / "mended").touch()
    return project


def plan(project, *options: str) -> dict[str, str]:
    return {one["task"].removeprefix("+w"): one["action"] for one in project.json("retry", "1", "--plan", *options)}


def test_the_plan_says_for_each_task_what_becomes_of_it_and_why(diamond):
    out = diamond.run("retry", "last", "--plan").out
    assert [line.split(maxsplit=2) for line in out.splitlines()] == [
        ["+w", "run", "was group_error"],
        ["+w+a", "reuse", "unchanged"],
        ["+w+b", "reuse", "unchanged"],
        ["+w+c", "reuse", "unchanged"],
        ["+w+d", "run", "command_failed before"],
    ]
    assert not diamond.ran() and len(diamond.json("attempts")) == 1


def test_what_had_succeeded_is_not_repeated(diamond):
    diamond.run("retry", "1")
    assert diamond.ran() == ["d"]
    reused = {task["name"]: task["reused_from"] for task in diamond.json("tasks", "last")}
    assert (reused["+w+a"], reused["+w+d"]) == (1, None)


def test_a_changed_script_runs_again_and_all_that_depends_on_it(diamond):
    diamond.write("a.sh", "echo A >> $OUTSIDE/ran\n")
    assert plan(diamond) == {"": "run", "+a": "run", "+b": "run", "+c": "run", "+d": "run"}
    assert "a.sh" in diamond.run("retry", "1", "--plan").out
    diamond.run("retry", "1")
    assert sorted(diamond.ran()) == sorted(["A", "b", "one", "c", "d"])


def test_a_variable_counts_for_the_tasks_that_name_it(diamond):
    diamond.write("w.dig", DIAMOND.replace("target: one", "target: two").replace("b $target", "b ${target}"))
    assert plan(diamond)["+b"] == "run" and plan(diamond)["+c"] == "reuse"


def test_keep_changed_goes_by_names(diamond):
    diamond.write("a.sh", "exit 1\n")
    diamond.run("retry", "1", "--keep-changed")
    assert diamond.ran() == ["d"]


def test_keep_revision_runs_the_files_as_they_were(diamond):
    diamond.write("w.dig", "broken")
    diamond.run("retry", "1", "--keep-revision")
    assert diamond.ran() == ["d"]


def test_a_revision_can_be_named(diamond):
    revision = diamond.json("attempts")[0]["revision"]
    diamond.write("w.dig", "broken")
    diamond.run("retry", "1", "--revision", revision[:12])
    assert diamond.ran() == ["d"]
    assert "revision not found: 123" in diamond.run("retry", "1", "--revision", "123", code=3).err


def test_from_runs_a_task_and_all_that_depends_on_it_also_after_a_success(diamond):
    diamond.run("retry", "1")
    diamond.run("retry", "2", "--from", "+b")
    assert diamond.ran() == ["d", "b", "one", "d"]


def test_only_runs_that_one(diamond):
    diamond.run("retry", "1", "--from", "+c", "--only", code=None)
    assert diamond.ran() == ["c"]


def test_new_and_gone_tasks_are_named(diamond):
    diamond.write("w.dig", DIAMOND.replace("+c:", "+e:").replace("+b, +c", "+b, +e"))
    found = plan(diamond)
    assert (found["+e"], found["+c"], found["+a"]) == ("new", "gone", "reuse")


def test_a_parameter_may_be_changed(project):
    project.write("w.dig", "+a:\n  echo>: ${x}\n+b:\n  sh>: test $x = 2\n")
    project.run("run", "w.dig", *SESSION, "-p", "x=1", code=1)
    assert project.run("retry", "last", "-p", "x=2").out == "2\n"


def test_generated_tasks_are_reused_one_by_one(project):
    project.write(
        "w.dig",
        "+l:\n  loop>: 3\n  _do:\n    sh>: echo $i >> $OUTSIDE/ran; test $i != 1 || test -e $OUTSIDE/mended\n",
    )
    project.run("run", "w.dig", *SESSION, code=1)
    (project.outside / "mended").touch()
    project.run("retry", "last")
    assert project.ran() == ["0", "1", "1", "2"]


def test_stored_values_of_reused_tasks_are_seen(project):
    project.write(
        "w.dig", """+a:\n  sh>: echo '{"v":42}' > $DAGRUN_OUT\n+b:\n  sh>: echo $v; test -e $OUTSIDE/mended\n"""
    )
    project.run("run", "w.dig", *SESSION, code=1)
    (project.outside / "mended").touch()
    assert project.run("retry", "last").out == "42\n"


def test_a_session_names_its_newest_attempt(diamond):
    diamond.run("retry", "w@2026-01-15")
    assert diamond.json("attempts")[0]["resumed_from"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("9",), 3, "attempt not found: 9"),
        (("x",), 2, "'x' names no attempt; use its number, last, or workflow@SESSION-TIME"),
        (("9" * 30,), 2, "names no attempt"),
        (("²",), 2, "'²' names no attempt"),
        (("1", "--only"), 2, "--only goes with --from"),
        (("1", "--from", "+z"), 3, "task not found: +z (there are: +w+a, +w+b, +w+c, +w+d)"),
        (("1", "--revision", "a", "--keep-revision"), 2, "can't be used together"),
        (("1", "--resume-from", "+a", "--keep-changed"), 2, "can't be used with"),
    ],
)
def test_what_can_not_be_done_is_said(diamond, arguments, code, message):
    assert message in diamond.run("retry", *arguments, code=None).err
    diamond.run("retry", *arguments, code=code)
    assert len(diamond.json("attempts")) == 1
